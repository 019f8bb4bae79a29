"""Audit a set of faces: copies, leaks between splits, conflicting labels, flat images, class counts.

python -m fer_lightning.audit data=fer2013 data.path=fer2013.zip
"""

import shlex
import sys
import time
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from fer_lightning.audit_files import AUDIT, COPIES, write_audit
from fer_lightning.commands import hydra_command
from fer_lightning.config import number, or_null, plain, whole
from fer_lightning.data.audit import audited
from fer_lightning.data.faces import SPLITS
from fer_lightning.data.ferplus import NAME as FERPLUS
from fer_lightning.data.sources import open_source
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

DATA_KEYS = {"path", "cache_dir", "check_counts", "download", "images", "seed", "label_noise"}
"""What of the `data` group has an effect here."""

SAID = {
    "val_in_train": "val images that stand in train",
    "test_in_train": "test images that stand in train",
    "test_in_val": "test images that stand in val",
}


def audit(config: dict[str, Any], folder: Path | None, command: str) -> dict[str, Any]:
    """Audit by a checked, plain config into `folder`, or below runs; returns what audit.json holds."""
    console, began = Console(highlight=False), time.perf_counter()
    faces = open_source(config["data"] | {"check_counts": False})
    found = audited(faces, config["threshold"])
    figures = {
        "data": config["data"]["name"],
        "data_path": config["data"]["path"],
        "data_fingerprint": faces.fingerprint,
        **found.figures(),
        "notes": list(faces.notes),
        "command": command,
    }
    figures["seconds"] = time.perf_counter() - began
    folder = folder or Path("runs") / f"audit-{config['data']['name']}-{faces.fingerprint[:8]}"
    files = write_audit(folder, found, figures, config["pages"])
    show(console, figures)
    for note in faces.notes:
        console.print(f"note: {note}")
    sheets = ", ".join(path.name for path in files if path.suffix == ".png")
    console.print(f"{figures['seconds']:.1f} s. Look next at {folder / AUDIT}, {COPIES}", soft_wrap=True, end="")
    console.print(f" and the contact sheets {sheets}" if sheets else "", soft_wrap=True)
    return figures


def show(console: Console, figures: dict[str, Any]) -> None:
    """The tables on the screen."""
    kinds = {"exact": figures, "or mirrored": figures["mirrored"], "or near": figures["near"]}
    splits = [name for name in SPLITS if figures["splits"][name]]
    held = ", ".join(f"{name} {figures['splits'][name]:,}" for name in splits)
    table = Table(title=f"{figures['data']}, {figures['images']:,} images: {held}", title_justify="left")
    table.add_column("copies:")
    for kind in kinds:
        table.add_column(kind, justify="right")
    rows = {"different images": "unique", "redundant images": "redundant"}
    for words, key in rows.items():
        table.add_row(words, *(f"{counts[key]:,}" for counts in kinds.values()))
    for name in splits:
        table.add_row(f"  within {name}", *(f"{counts['redundant_within'][name]:,}" for counts in kinds.values()))
    for key, words in SAID.items():
        first, _, second = key.partition("_in_")
        if first in splits and second in splits:
            table.add_row(words, *(f"{counts['leaks'][key]:,}" for counts in kinds.values()))
    table.add_row("groups with several labels", *(f"{counts['conflicting_groups']:,}" for counts in kinds.values()))
    console.print(table)
    near = figures["near"]
    console.print(
        f"near: {near['pairs']:,} pairs of different images, {near['mirrored_pairs']:,} of them mirrored, "
        f"correlate by {near['threshold']:g} or more",
        soft_wrap=True,
    )
    console.print(f"images of one grey value: {figures['flat']:,}\n")
    classes = Table(title="Class counts", title_justify="left", padding=(0, 0, 0, 1))
    for heading in ("", *EXPRESSIONS, "sum"):
        classes.add_column(heading, justify="right" if heading else "left")
    official = figures["data"] == "fer2013"
    for name in splits:
        for source, counts in ((name, figures["class_counts"][name]), ("  official", figures["official_counts"][name])):
            if source == name or (official and counts != figures["class_counts"][name]):
                classes.add_row(source, *(f"{counts[one]:,}" for one in EXPRESSIONS), f"{sum(counts.values()):,}")
    console.print(classes)
    if official:
        yes = "These are the official counts" + ("." if len(splits) == len(SPLITS) else " of the splits that are here.")
        no = "These are not the official counts of FER2013: a re-split, augmented or cut copy?"
        console.print(yes if figures["has_official_counts"] else no)


def require_valid(config: dict[str, Any], overridden: list[str]) -> None:
    """Raise InputError for a value out of range, or a setting of the data that has no effect here."""
    if config["data"]["name"] == FERPLUS:
        raise InputError("data=ferplus: an audit is of FER2013's own labels; give data=fer2013")
    for override in overridden:
        group, dot, key = override.partition("=")[0].lstrip("+~").partition(".")
        if group == "data" and dot and key not in DATA_KEYS:
            raise InputError(f"data.{key}: without effect here; every image is looked at as it stands in the data")
    least = number(0, above=True)[0]
    for key, (check, expected) in {
        "threshold": (lambda value: least(value) and value <= 1, "a number above 0, at most 1"),
        "pages": or_null(whole(0)),
    }.items():
        if not check(config[key]):
            raise InputError(f"{key}={config[key]!r}: expected {expected}")


@hydra_command("audit")
def main(config: DictConfig) -> None:
    values, hydra = plain(config), HydraConfig.get()
    require_valid(values, list(hydra.overrides.task))
    told = any(override.startswith("hydra.run.dir=") for override in hydra.overrides.hydra)
    folder = Path(hydra.runtime.output_dir) if told else None
    audit(values, folder, f"python -m fer_lightning.audit {shlex.join(sys.argv[1:])}")


if __name__ == "__main__":
    main()
