"""FER2013 in whatever form it came, as Faces: a csv, a folder of images, or a zip or tar of either."""

import warnings
from pathlib import Path

import numpy as np

from fer_lightning.data.archive import Member, existing, members
from fer_lightning.data.csv_reader import columns_of, missing_columns, read_csv
from fer_lightning.data.faces import SPLITS, TRAIN, VAL, Faces, copy_groups
from fer_lightning.data.image_set import ImageSet
from fer_lightning.data.splits import drawn_val
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

VALID_FORMS = (
    "fer2013.csv, icml_face_data.csv, train.csv, a folder of <split>/<emotion>/*.jpg or png, or a zip or tar of these"
)

SHOWN = 8
"""How many names a message lists."""


def read_faces(path: str | Path) -> Faces:
    """Faces of a csv, folder, zip or tar, told apart by content; nothing is unpacked to disk.

    Where a folder or archive holds several, a csv with Usage is preferred to images, and these to a csv without. A csv
    keeps its order; images are sorted by split and number. A source without val gets one drawn from train (see splits).
    `notes` say what was converted, drawn or left out. Raises InputError on anything that cannot be read.
    """
    path = existing(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # what an image needed is counted, and said once
        images, labels, split, notes = _arrays(path)
    groups = copy_groups(images)
    notes += _missing_expressions(labels, split, path)
    if TRAIN in split and VAL not in split:
        rows = np.flatnonzero(split == TRAIN)
        rows = rows[drawn_val(images[rows], labels[rows], groups[rows])]
        split = split.copy()
        split[rows] = VAL
        notes.append(f"There is no val: {len(rows):,} images were drawn from train, stratified, copies kept together.")
    return Faces(images, labels, split, groups, tuple(notes))


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Images, labels and split as the source has them, and what is to be said of them."""
    image_set, table, others = ImageSet(), None, []
    for member in members(path):
        if member.form == "text" and not missing_columns(columns := columns_of(member.head)):
            if "usage" in columns or table is None:
                table = member.name, *read_csv(member.stream, member.where)
            if "usage" in columns:
                break
        elif image_set.takes(member):
            image_set.add(member)
        else:
            others.append(_described(member))
    if table is not None and (table[3] is not None or not len(image_set)):
        name, images, labels, split = table
        notes = [] if name == path.name else [f"Read from {name} in {path.name}."]
        if split is None:
            notes.append(f"{name} has no Usage: all its images are taken for train.")
            split = np.full(len(labels), TRAIN, np.uint8)
        return images, labels, split, notes
    if not len(image_set):
        raise InputError(f"{path}: no faces found. Found: {_found(others, image_set)}. Valid: {VALID_FORMS}")
    return *image_set.arrays(), image_set.notes()


def _described(member: Member) -> str:
    if member.form != "text":
        return f"{member.name} ({member.form})"
    columns = columns_of(member.head)
    first_line = ", ".join(column[:20] for column in columns[:5])
    return f"{member.name} (text without a column {missing_columns(columns)}; its first line: {first_line})"


def _found(others: list[str], image_set: ImageSet) -> str:
    more = f" and {len(others) - SHOWN:,} more" if len(others) > SHOWN else ""
    return " ".join([", ".join(others[:SHOWN]) + more, *image_set.notes()]).strip() or "nothing"


def _missing_expressions(labels: np.ndarray, split: np.ndarray, path: Path) -> list[str]:
    """A note for each split but train that lacks an expression. Raises InputError when train lacks one."""
    notes = []
    for index, name in enumerate(SPLITS):
        counts = np.bincount(labels[split == index], minlength=len(EXPRESSIONS)).tolist()
        missing = [expression for expression, count in zip(EXPRESSIONS, counts, strict=True) if not count]
        if missing and index == TRAIN and any(counts):
            listed = ", ".join(f"{expression} {count:,}" for expression, count in zip(EXPRESSIONS, counts, strict=True))
            raise InputError(f"{path}: no image of {missing[0]} to learn from. Images in train: {listed}")
        if missing and any(counts):
            notes.append(f"No image of {' or '.join(missing)} in {name}.")
    return notes
