"""Audit a set of faces: copies, leaks between splits, conflicting labels, flat images, class counts.

python -m fer_lightning.audit data=fer2013 data.path=fer2013.zip
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from fer_lightning.cli import Invocation, hydra_command
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.files import write_atomic, write_json
from fer_lightning.settings import AuditSettings, FerPlusData

if TYPE_CHECKING:
    from fer_lightning.data.duplicates import Duplicates

AUDIT, COPIES = "audit.json", "copies.csv"
GROUPS_A_SHEET = 40


def write_audit(folder: Path, duplicates: "Duplicates", figures: dict[str, Any], pages: int | None) -> list[str]:
    """Write contact sheets, copies.csv and, last, audit.json, each atomically; returns the names of the sheets.

    pages: contact sheets of each kind at most, None for all. Sheets of an earlier audit in `folder` are removed. Raises
    InputError where nothing can be written.
    """
    import numpy as np

    from fer_lightning.data.duplicates import KINDS
    from fer_lightning.data.faces import SPLITS
    from fer_lightning.figures.sheets import Group, png, sheet_of_groups

    faces, names = duplicates.faces, []
    splits, labels = np.array(SPLITS)[faces.split], np.array(EXPRESSIONS)[faces.labels]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, title in KINDS.items():
            for earlier in folder.glob(f"{kind}-[0-9]*.png"):
                earlier.unlink()
            groups = duplicates.groups(kind)
            for start in range(0, len(groups), GROUPS_A_SHEET)[:pages]:
                shown = [
                    Group(faces.images[rows], splits[rows].tolist(), labels[rows].tolist(), heading)
                    for rows, heading in groups[start : start + GROUPS_A_SHEET]
                ]
                heading = f"{title}: {start + 1:,} to {start + len(shown):,} of {len(groups):,}"
                names.append(f"{kind}-{start // GROUPS_A_SHEET + 1}.png")
                write_atomic(folder / names[-1], png(sheet_of_groups(shown, heading)))
        write_atomic(folder / COPIES, duplicates.table())
        write_json(folder / AUDIT, figures)
    except OSError as error:
        raise InputError(f"{folder}: the results cannot be written ({error.strerror or error})") from error
    return names


def print_copies(console: Console, figures: dict[str, Any]) -> None:
    """Print the table of copies, and the numbers of near pairs and flat images."""
    kinds = {"exact": figures, "or mirrored": figures["mirrored"], "or near": figures["near"]}
    splits = [name for name, size in figures["splits"].items() if size]
    sizes = ", ".join(f"{name} {figures['splits'][name]:,}" for name in splits)
    table = Table(title=f"{figures['data']}, {figures['images']:,} images: {sizes}", title_justify="left")
    for heading in ("copies:", *kinds):
        table.add_column(heading, justify="right" if heading in kinds else "left")
    for words, key in (("different images", "unique"), ("redundant images", "redundant")):
        table.add_row(words, *(f"{one[key]:,}" for one in kinds.values()))
    for name in splits:
        table.add_row(f"  within {name}", *(f"{one['redundant_within'][name]:,}" for one in kinds.values()))
    for leak in figures["leaks"]:
        if set(leak.split("_in_")) <= set(splits):
            words = leak.replace("_in_", " images that stand in ")
            table.add_row(words, *(f"{one['leaks'][leak]:,}" for one in kinds.values()))
    table.add_row("groups with several labels", *(f"{one['conflicting_groups']:,}" for one in kinds.values()))
    near = figures["near"]
    pairs = f"{near['pairs']:,} pairs of different images, {near['mirrored_pairs']:,} of them mirrored"
    console.print(table)
    console.print(f"near: {pairs}, correlate by {near['threshold']:g} or more", soft_wrap=True)
    console.print(f"images of one grey value or colour: {figures['flat']:,}\n")


def print_class_counts(console: Console, figures: dict[str, Any]) -> None:
    """Print the images of each expression, of FER2013 beside the official numbers."""
    splits = [name for name, size in figures["splits"].items() if size]
    table = Table(title="Class counts", title_justify="left", padding=(0, 0, 0, 1))
    for heading in ("", *EXPRESSIONS, "sum"):
        table.add_column(heading, justify="right" if heading else "left")
    is_fer2013 = figures["data"] == "fer2013"
    for name in splits:
        counts, official = figures["class_counts"][name], figures["official_counts"][name]
        for heading, row in ((name, counts), ("  official", official)):
            if heading == name or (is_fer2013 and official != counts):
                table.add_row(heading, *(f"{row[one]:,}" for one in EXPRESSIONS), f"{sum(row.values()):,}")
    console.print(table)
    if is_fer2013:
        yes = "These are the official counts" + ("." if len(splits) == 3 else " of the splits that are here.")
        no = "These are not the official counts of FER2013: a re-split, augmented or cut copy?"
        console.print(yes if figures["has_official_counts"] else no)


@hydra_command("audit", AuditSettings)
def main(settings: AuditSettings, invocation: Invocation) -> None:
    """Audit into the run folder, or below `runs` where none was named."""
    from fer_lightning.data.duplicates import find_duplicates
    from fer_lightning.data.sources import open_faces

    data = settings.data
    if isinstance(data, FerPlusData):
        raise InputError("data=ferplus: an audit is of FER2013's own labels; give data=fer2013")
    console, began = Console(highlight=False), time.perf_counter()
    faces = open_faces(data, check_counts=False)
    duplicates = find_duplicates(faces, settings.threshold)
    source = {"data": data.name, "data_path": data.path, "data_fingerprint": faces.fingerprint}
    figures = {**source, **duplicates.figures(), "notes": list(faces.notes), "command": invocation.command}
    figures["seconds"] = time.perf_counter() - began
    folder = invocation.folder if invocation.chosen else Path(f"runs/audit-{data.name}-{faces.fingerprint[:8]}")
    sheets = write_audit(folder, duplicates, figures, settings.pages)
    print_copies(console, figures)
    print_class_counts(console, figures)
    for note in faces.notes:
        console.print(f"note: {note}")
    places = f"{folder / AUDIT}, {COPIES}" + (f" and the contact sheets {', '.join(sheets)}" if sheets else "")
    console.print(f"{figures['seconds']:.1f} s. Look next at {places}", soft_wrap=True)


if __name__ == "__main__":
    main()
