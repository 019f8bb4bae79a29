"""FER2013 as Faces from any form: a csv, a folder of images, or a zip or tar of either."""

import warnings
from pathlib import Path

import numpy as np

from fer_lightning.data.archives import Member, existing_path, members
from fer_lightning.data.csv_reader import columns_of, missing_columns, read_csv
from fer_lightning.data.faces import SPLITS, TRAIN, VAL, Faces, copy_groups, picture_key
from fer_lightning.data.image_reader import ImageReader
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

VALID_FORMS = (
    "fer2013.csv, icml_face_data.csv, train.csv, a folder of <split>/<emotion>/*.jpg or png, or a zip or tar of these"
)

VAL_FRACTION = 1 / 8  # of train, where there is no val: 3,589 of Training's 28,709 images, as PublicTest has
SHOWN = 8  # names in a message


def read_faces(path: str | Path) -> Faces:
    """Faces of a csv, folder, zip or tar, recognised by content; nothing is unpacked to disk.

    Where a folder or archive holds several, a csv with Usage is preferred to images, and images to a csv without. A csv
    keeps its order; images are sorted by split and number. Where there is no val, one is drawn from train. `notes` say
    what was converted, drawn or left out. Raises InputError for anything that cannot be read.
    """
    path = existing_path(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # conversions are counted, and noted once
        images, labels, split, notes = _read_arrays(path)
    groups = copy_groups(images)
    notes += _missing_expressions(labels, split, path)
    if TRAIN in split and VAL not in split:
        rows = np.flatnonzero(split == TRAIN)
        rows = rows[draw_val(images[rows], labels[rows], groups[rows])]
        split = split.copy()
        split[rows] = VAL
        notes.append(f"There is no val: {len(rows):,} images were drawn from train, stratified, copies kept together.")
    return Faces(images, labels, split, groups, tuple(notes))


def draw_val(images: np.ndarray, labels: np.ndarray, copy_groups: np.ndarray) -> np.ndarray:
    """Which images go to val: about VAL_FRACTION of each class, in whole copy groups, never all of a class.

    images: (N, H, W) uint8, labels: (N,), copy_groups: (N,); returns (N,) bool. No random number is drawn: groups are
    taken in the order of a checksum of their image, so that the same images give the same split in any order. A group
    whose copies carry different labels counts for the first of these in EXPRESSIONS.
    """
    _, first, group, size = np.unique(copy_groups, return_index=True, return_inverse=True, return_counts=True)
    group_label = np.full(len(first), np.iinfo(labels.dtype).max, dtype=labels.dtype)
    np.minimum.at(group_label, group, labels)
    wanted = np.round(np.bincount(group_label, weights=size) * VAL_FRACTION)
    in_val = np.zeros(len(first), dtype=bool)
    for number in sorted(range(len(first)), key=lambda number: picture_key(images[first[number]])):
        if size[number] <= wanted[group_label[number]]:
            wanted[group_label[number]] -= size[number]
            in_val[number] = True
    return in_val[group]


def _read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Images, labels and split as the source has them, and notes."""
    image_reader, table, others = ImageReader(), None, []
    for member in members(path):
        if member.form == "text" and not missing_columns(columns := columns_of(member.head)):
            if "usage" in columns or table is None:
                table = member.name, *read_csv(member.stream, member.where)
            if "usage" in columns:
                break
        elif image_reader.accepts(member):
            image_reader.add(member)
        else:
            others.append(_description(member))
    if table is not None and (table[3] is not None or not len(image_reader)):
        name, images, labels, split = table
        notes = [] if name == path.name else [f"Read from {name} in {path.name}."]
        if split is None:
            notes.append(f"{name} has no Usage: all its images are taken for train.")
            split = np.full(len(labels), TRAIN, np.uint8)
        return images, labels, split, notes
    if not len(image_reader):
        more = f" and {len(others) - SHOWN:,} more" if len(others) > SHOWN else ""
        found = " ".join([", ".join(others[:SHOWN]) + more, *image_reader.notes()]).strip() or "nothing"
        raise InputError(f"{path}: no faces found. Found: {found}. Valid: {VALID_FORMS}")
    return *image_reader.arrays(), image_reader.notes()


def _description(member: Member) -> str:
    if member.form != "text":
        return f"{member.name} ({member.form})"
    columns = columns_of(member.head)
    first_line = ", ".join(column[:20] for column in columns[:5])
    return f"{member.name} (text without a column {missing_columns(columns)}; its first line: {first_line})"


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
