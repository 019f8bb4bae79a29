"""An evaluation on the screen."""

from typing import Any

from rich.console import Console
from rich.table import Table

from fer_lightning.data.ferplus import NAME, title_of


def print_evaluation(console: Console, evaluation: dict[str, Any]) -> None:
    """Print what evaluation.json holds: overall, by expression, an ensemble's members, and the notes."""
    console.print(_overall(evaluation))
    table = Table("", *("precision", "recall", "F1", "images"), title="By expression", title_justify="left")
    for name, row in evaluation["per_class"].items():
        scores = (f"{row['precision']:.1%}", f"{row['recall']:.1%}", f"{row['f1']:.3f}") if row["n"] else ("-",) * 3
        table.add_row(name, *scores, f"{row['n']:,}")
    console.print(table)
    if "members" in evaluation:
        console.print(_members(evaluation))
    for note in evaluation["notes"]:
        console.print(f"note: {note}")


def _overall(evaluation: dict[str, Any]) -> Table:
    data, (low, high) = title_of(evaluation["data"]), evaluation["accuracy_ci95"]
    title = f"{evaluation['model']} on {data}, {evaluation['split']} ({evaluation['n']:,} images)"
    table = Table(title=title + _augmentation(evaluation["tta"]), title_justify="left", show_header=False)
    task = f"{data} " if evaluation["data"] == NAME else ""
    table.add_row(f"{task}accuracy", f"{evaluation['accuracy']:.2%}", f"{low:.2%} to {high:.2%} (95 %, Wilson)")
    kinds = {"unique": "copies of train", "unique_mirrored": "mirrored ones too", "unique_near": "near ones too"}
    before = None
    for name, without in kinds.items():
        accuracy, n = evaluation[f"accuracy_{name}"], evaluation[f"n_{name}"]
        if n is not None and n != before:
            table.add_row(
                f"  without {without}", "none is left" if accuracy is None else f"{accuracy:.2%}", f"{n:,} images"
            )
        before = n
    if evaluation["n_near_copies"]:
        of_all = f"of {evaluation['n']:,} images, exact and mirrored ones included"
        table.add_row("near copies of train", f"{evaluation['n_near_copies']:,}", of_all)
    table.add_row(f"{task}macro F1", f"{evaluation['macro_f1']:.4f}", "")
    table.add_row(f"{task}balanced accuracy", f"{evaluation['balanced_accuracy']:.2%}", "mean recall")
    table.add_row("calibration error", f"{evaluation['ece']:.4f}", "ECE, 15 bins")
    if evaluation["temperature"] is not None:
        fitted = f"{evaluation['temperature']:.3f}, {evaluation['temperature_fitted_on']}"
        table.add_row("  with temperature", f"{evaluation['ece_with_temperature']:.4f}", fitted)
    if test := evaluation.get("mcnemar"):
        low, high = (f"{100 * bound:+.2f}" for bound in test["difference_ci95"])
        words = f"{low} to {high} (95 %); McNemar's exact p = {test['p_value']:.3g}"
        other = f"from {test['model']}{_augmentation(test['tta'])}"
        table.add_row("difference", f"{100 * test['difference']:+.2f} points", f"{other}\n{words}")
    return table


def _members(evaluation: dict[str, Any]) -> Table:
    """With mean and standard deviation where all are of one model, that is, over its seeds."""
    titles = {"accuracy": "accuracy", "accuracy_unique": "without copies", "macro_f1": "macro F1", "ece": "ECE"}
    rows, spread = list(evaluation["members"]), evaluation["over_members"]
    keys = [key for key in titles if key in spread]
    if len({row["model"] for row in rows}) == 1:
        for words, part in (("mean", "mean"), ("standard deviation", "sd")):
            rows.append({"model": words, "seed": ""} | {key: spread[key][part] for key in keys})
    table = Table("model", "seed", *(titles[key] for key in keys), title="Its members", title_justify="left")
    for row in rows:
        values = (f"{row[key]:.2%}" if key.startswith("accuracy") else f"{row[key]:.4f}" for key in keys)
        table.add_row(row["model"], str(row["seed"]), *values)
    return table


def _augmentation(tta: str | None) -> str:
    return "" if tta in (None, "none") else f", test-time augmentation {tta}"
