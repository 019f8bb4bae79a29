"""An evaluation on the screen."""

from typing import Any

from rich.console import Console
from rich.table import Table

from fer_lightning.data.ferplus import NAME, title_of


def show(console: Console, figures: dict[str, Any]) -> None:
    """What evaluation.json holds, as tables: all together, by expression, and an ensemble's members."""
    console.print(totals(figures))
    classes = Table("", *("precision", "recall", "F1", "images"), title="By expression", title_justify="left")
    for name, row in figures["per_class"].items():
        classes.add_row(name, f"{row['precision']:.1%}", f"{row['recall']:.1%}", f"{row['f1']:.3f}", f"{row['n']:,}")
    console.print(classes)
    if "members" in figures:
        console.print(members(figures))
    for note in figures["notes"]:
        console.print(f"note: {note}")


def totals(figures: dict[str, Any]) -> Table:
    low, high = figures["accuracy_ci95"]
    data, augmented = title_of(figures["data"]), named_augmentation(figures["tta"])
    title = f"{figures['model']} on {data}, {figures['split']} ({figures['n']:,} images){augmented}"
    table = Table(title=title, title_justify="left", show_header=False)
    task = f"{data} " if figures["data"] == NAME else ""
    table.add_row(f"{task}accuracy", f"{figures['accuracy']:.2%}", f"{low:.2%} to {high:.2%} (95 %, Wilson)")
    for name, without in (("unique", "copies of train"), ("unique_mirrored", "mirrored ones too")):
        accuracy, left = figures[f"accuracy_{name}"], figures[f"n_{name}"]
        if accuracy is not None and (name == "unique" or left != figures["n_unique"]):
            table.add_row(f"  without {without}", f"{accuracy:.2%}", f"{left:,} images")
    table.add_row(f"{task}macro F1", f"{figures['macro_f1']:.4f}", "")
    table.add_row(f"{task}balanced accuracy", f"{figures['balanced_accuracy']:.2%}", "mean recall")
    table.add_row("calibration error", f"{figures['ece']:.4f}", "ECE, 15 bins")
    if figures["temperature"] is not None:
        fitted = f"{figures['temperature']:.3f}, {figures['temperature_fitted_on']}"
        table.add_row("  with temperature", f"{figures['ece_with_temperature']:.4f}", fitted)
    if test := figures.get("mcnemar"):
        other = f"{test['model']}{named_augmentation(test['tta'])}"
        low, high = test["difference_ci95"]
        table.add_row(
            "difference",
            f"{100 * test['difference']:+.2f} points",
            f"from {other}\n{100 * low:+.2f} to {100 * high:+.2f} (95 %); McNemar's exact p = {test['p_value']:.3g}",
        )
    return table


def members(figures: dict[str, Any]) -> Table:
    """The members of an ensemble one by one; where all are of one network, mean and standard deviation over seeds."""
    table = Table("model", "seed", "accuracy", title="Its members", title_justify="left")
    keys = [key for key in ("accuracy_unique", "macro_f1", "ece") if key in figures["over_members"]]
    for key in keys:
        table.add_column({"accuracy_unique": "without copies", "macro_f1": "macro F1", "ece": "ECE"}[key])
    for row in figures["members"]:
        table.add_row(row["model"], str(row["seed"]), *(written(key, row[key]) for key in ("accuracy", *keys)))
    if len({row["model"] for row in figures["members"]}) == 1:
        table.add_section()
        for words, part in (("mean", "mean"), ("standard deviation", "sd")):
            spread = figures["over_members"]
            table.add_row(words, "", *(written(key, spread[key][part]) for key in ("accuracy", *keys)))
    return table


def written(key: str, value: float) -> str:
    return f"{value:.2%}" if key.startswith("accuracy") else f"{value:.4f}"


def named_augmentation(tta: str | None) -> str:
    return "" if tta in (None, "none") else f", test-time augmentation {tta}"
