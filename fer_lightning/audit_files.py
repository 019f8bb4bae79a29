"""The files of an audit: its figures, a row for every image that has a copy, and contact sheets of the groups."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.data.audit import Audit
from fer_lightning.data.faces import SPLITS
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.copies import Group, sheet_of_groups
from fer_lightning.figures.sheet import png
from fer_lightning.files import write_json, write_atomic

AUDIT, COPIES = "audit.json", "copies.csv"

KINDS = {
    "conflicts": "Exact copies with different labels",
    "leaks": "Exact copies in different splits",
    "exact": "Exact copies, the largest groups first",
    "mirrored": "Mirrored copies",
    "near": "Near copies, the least similar first",
    "flat": "Images of one grey value",
}
"""The contact sheets: beginnings of their file names, and titles."""

A_PAGE = 40
"""Groups on a sheet."""


def write_audit(folder: Path, found: Audit, figures: dict[str, Any], pages: int | None) -> list[Path]:
    """The files of an audit, each whole or not at all, audit.json last; returns them all.

    pages: contact sheets of each kind at most, None for all. Sheets of an earlier audit in `folder` are replaced.
    Raises InputError where nothing can be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind in KINDS:
            for old in folder.glob(f"{kind}-[0-9]*.png"):
                old.unlink()
            for number, picture in enumerate(_sheets(found, kind, pages), start=1):
                path = folder / f"{kind}-{number}.png"
                write_atomic(path, picture)
                written.append(path)
        write_atomic(folder / COPIES, copies_table(found))
        write_json(folder / AUDIT, figures)
    except OSError as error:
        raise InputError(f"{folder}: the results cannot be written ({error.strerror or error})") from error
    return [folder / AUDIT, folder / COPIES, *written]


def copies_table(found: Audit) -> str:
    """A csv with one row for each image that has a copy of any kind, ordered by group.

    row: its number in the data, from 0, in the order of the csv, or of split and number of the image files; exact,
    mirrored, near: its group when such copies, and those of the columns before, count as one, empty where it is alone.
    """
    faces, joined, rows = found.faces, found.joined(), []
    sizes = {kind: np.bincount(groups) for kind, groups in joined.items()}
    for row in np.lexsort((np.arange(len(faces)), joined["exact"], joined["mirrored"], joined["near"])).tolist():
        group = {kind: int(groups[row]) for kind, groups in joined.items()}
        held = {kind: number if sizes[kind][number] > 1 else "" for kind, number in group.items()}
        if held["near"] != "":
            rows.append({"row": row, "split": SPLITS[faces.split[row]], "label": EXPRESSIONS[faces.labels[row]]} | held)
    table = io.StringIO()
    writer = csv.DictWriter(table, ["row", "split", "label", *joined], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def _sheets(found: Audit, kind: str, pages: int | None) -> Iterator[bytes]:
    members = _members(found, kind)
    starts = range(0, len(members), A_PAGE)
    for start in starts if pages is None else starts[:pages]:
        shown = members[start : start + A_PAGE]
        title = f"{KINDS[kind]}: {start + 1:,} to {start + len(shown):,} of {len(members):,}"
        yield png(sheet_of_groups([_group(found, rows, heading) for rows, heading in shown], title))


def _members(found: Audit, kind: str) -> list[tuple[np.ndarray, str]]:
    """Rows and heading of each group of one kind, in the order in which they are shown."""
    if kind == "flat":
        return [(np.array([row]), f"row {row}") for row in np.flatnonzero(found.flat).tolist()]
    if kind == "mirrored":
        return [(found.first[pair], "") for pair in found.mirrored]
    if kind == "near":
        near = found.only_near
        return [
            (found.first[pair], f"r = {correlation:.3f}{', mirrored' if mirrored else ''}")
            for pair, correlation, mirrored in zip(*near, strict=True)
        ]
    order = np.argsort(found.exact, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(found.exact))[:-1])
    faces = found.faces
    several = {"conflicts": faces.labels, "leaks": faces.split, "exact": np.arange(len(faces))}[kind]
    chosen = [rows for rows in groups if len(np.unique(several[rows])) > 1]
    chosen.sort(key=lambda rows: -len(rows))
    return [(rows, f"{len(rows)} images" if len(rows) > 2 else "") for rows in chosen]


def _group(found: Audit, rows: np.ndarray, heading: str) -> Group:
    faces = found.faces
    splits = [SPLITS[split] for split in faces.split[rows]]
    return Group(faces.images[rows], splits, [EXPRESSIONS[label] for label in faces.labels[rows]], heading)
