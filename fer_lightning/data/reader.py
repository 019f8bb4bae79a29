"""FER2013 as Faces from any form: a csv, a folder of images, or a zip or tar of either."""

import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fer_lightning.data.archives import Member, existing_path, members
from fer_lightning.data.csv_parts import CsvPart, CsvParts, split_of_path
from fer_lightning.data.csv_reader import header_of, read_csv
from fer_lightning.data.faces import SPLITS, TRAIN, VAL, Faces, copy_groups, picture_key
from fer_lightning.data.ferplus_folders import holds_votes
from fer_lightning.data.image_reader import ImageReader
from fer_lightning.data.label_names import LabelNames, unmatched
from fer_lightning.data.picture_forms import FER2013_FORM, PictureForm, fit_pictures, joined, notes_on_form
from fer_lightning.data.split_names import split_of_source
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

VALID_FORMS = (
    "fer2013.csv, icml_face_data.csv, train.csv, a folder of <split>/<emotion>/*.jpg or png, or a zip or tar of these"
)

VAL_FRACTION = 1 / 8  # of train, where there is no val: 3,589 of Training's 28,709 images, as PublicTest has
SHOWN = 8  # names in a message

DATA_LABELS = (
    "data.labels says what other names and numbers mean, or leaves them out, as in "
    "'data.labels={joyful: happy, contempt: null}'; with it, an expression may have no image"
)


def read_faces(
    path: str | Path, labels: Mapping[str, str | None] | None = None, form: PictureForm = FER2013_FORM
) -> Faces:
    """Faces of a csv, folder, zip or tar, recognised by content; nothing is unpacked to disk.

    All parts of a source are read, each into the split that Usage, or else its file's or folder's name tells. Where the
    same split stands in both, a csv with Usage is preferred to images, and images to a csv without. A csv keeps its
    order; images are sorted by split and number. Where there is no val, one is drawn from train. labels: names or
    numbers of the source to expressions, or to None for those left out; with it, an expression may have no image. form:
    of the images, as `picture_forms` describes it.
    `notes` say what was converted, drawn or left out, and how numbers were read. Raises InputError for anything that
    cannot be read, or not in one way only.
    """
    path = existing_path(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # conversions are counted, and noted once
        source = _Source(path, labels or {}, form)
        images, classes, split = source.arrays()
    notes = source.notes() + notes_on_form(images, form)
    if not labels:
        _require_all_expressions(classes[split == TRAIN], path, notes)
    groups = copy_groups(images)
    if TRAIN in split and VAL not in split:
        rows = np.flatnonzero(split == TRAIN)
        rows = rows[draw_val(images[rows], classes[rows], groups[rows])]
        split = split.copy()
        split[rows] = VAL
        notes.append(f"There is no val: {len(rows):,} images were drawn from train, stratified, copies kept together.")
    notes += _missing_expressions(classes, split)
    return Faces(images, classes, split, groups, tuple(notes))


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


class _Source:
    """What one source holds: csvs of faces, images, and other files."""

    def __init__(self, path: Path, labels: Mapping[str, str | None], form: PictureForm):
        self._path, self._labels = path, labels
        split = split_of_source(path.resolve().name)
        self.images, self.csvs = ImageReader(LabelNames(labels), split, form), CsvParts()
        self._others: list[str] = []
        self._unlabelled: list[str] = []  # csvs of faces without labels
        self._notes: list[str] = []
        self._has_votes = False
        found: set[str] = set()
        for member in members(path, self.images.leave_out):
            header = header_of(member.head) if member.form == "text" else None
            if header and not header.missing:
                read = LabelNames(labels)
                images, classes, usage = read_csv(member.stream, member.where, read)
                conversions: Counter[str] = Counter()
                images, named = fit_pictures(images, form, conversions), split_of_path(member.name)
                named = split if named is None else named
                self.csvs.add(CsvPart(member.name, images, classes, usage, read, named, conversions), str(path))
                found |= read.counts.keys()
            elif self.images.accepts(member):
                self.images.add(member)
            else:
                if header and header.missing == "emotion":
                    self._unlabelled.append(member.name)
                self._has_votes |= holds_votes(member)
                self._others.append(_description(member))
        self._unmatched = unmatched(labels, found | self.images.labels.counts.keys())

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images, labels and split of what is read of it. Raises InputError where this is nothing, or ambiguous."""
        if self.csvs.has_usage or not len(self.images):
            if len(self.images):
                self._notes.append(f"{len(self.images):,} images are left out: a csv has Usage.")
                self.images = ImageReader()
        elif out := self.csvs.leave_out(self.images.splits):
            self._notes.append(f"{', '.join(out)} left out: the images are read instead.")
        self.csvs.require_unambiguous(str(self._path), bool(len(self.images)))
        self.images.require_known_splits(str(self._path))
        parts = [source.arrays() for source in (self.csvs, self.images) if len(source)]
        images, labels, split = _together(parts)
        if not len(labels):
            self._read().require_fer2013_numbers(str(self._path))
            if self._has_votes:
                raise InputError(
                    f"{self._path}: these are folders of FER+, with votes in label.csv. data=ferplus reads them, "
                    "without data.votes"
                )
            hint = f". {DATA_LABELS}" if self.images.left_out() else ""
            raise InputError(f"{self._path}: no faces found. Found: {self._found()}. Valid: {VALID_FORMS}{hint}")
        self._read().require_fer2013_numbers(str(self._path))
        if len(parts) == 1:
            return images, labels, split
        order = np.argsort(split, kind="stable")
        return images[order], labels[order], split[order]

    def notes(self) -> list[str]:
        """What was read how, and what was left out, one sentence each."""
        notes = self._notes + self.csvs.notes(self._path.name) + self.images.notes() + self._read().notes()
        if self._unlabelled:
            notes.append(f"Left out, without a column emotion: {', '.join(sorted(self._unlabelled)[:SHOWN])}.")
        return notes + self._unmatched

    def _read(self) -> LabelNames:
        """How the labels of what is read were read."""
        return self.images.labels.merge(part.read for part in self.csvs.parts)

    def _found(self) -> str:
        """What stands in a source without faces, for a message."""
        others = sorted(self._others)
        more = f" and {len(others) - SHOWN:,} more" if len(others) > SHOWN else ""
        found = [", ".join(others[:SHOWN]) + more, *(note.removesuffix(".") for note in self.images.notes())]
        return "; ".join(filter(None, found)) or "nothing"


def _together(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels and split of all parts, one after the other."""
    images = joined([images for images, _, _ in parts], Counter())
    nothing = np.empty(0, np.uint8)
    labels, split = (np.concatenate([nothing, *(part[place] for part in parts)]) for place in (1, 2))
    return images, labels, split


def _description(member: Member) -> str:
    if member.form != "text":
        return f"{member.name} ({member.form})"
    header = header_of(member.head)
    first_line = ", ".join(column[:20] for column in header.columns[:5])
    return f"{member.name} (text without a column {header.missing}; its first line: {first_line})"


def _require_all_expressions(labels: np.ndarray, path: Path, notes: list[str]) -> None:
    """Raise InputError where train, whose labels these are, lacks an expression. notes: what was left out."""
    counts = np.bincount(labels, minlength=len(EXPRESSIONS)).tolist()
    if 0 in counts and any(counts):
        listed = ", ".join(f"{expression} {count:,}" for expression, count in zip(EXPRESSIONS, counts, strict=True))
        raise InputError(
            f"{path}: no image of {EXPRESSIONS[counts.index(0)]} to learn from. Images in train: {listed}. "
            + "".join(f"{note} " for note in notes)
            + DATA_LABELS
        )


def _missing_expressions(labels: np.ndarray, split: np.ndarray) -> list[str]:
    """Notes on each split that lacks an expression, and on images of expressions that train lacks."""
    notes = []
    of_train, *_ = counts = [
        np.bincount(labels[split == index], minlength=len(EXPRESSIONS)).tolist() for index in range(len(SPLITS))
    ]
    for name, own in zip(SPLITS, counts, strict=True):
        missing = [expression for expression, count in zip(EXPRESSIONS, own, strict=True) if not count]
        if missing and any(own):
            notes.append(f"No image of {' or '.join(missing)} in {name}.")
        unseen = {EXPRESSIONS[label]: count for label, count in enumerate(own) if count and not of_train[label]}
        if unseen and any(of_train):
            listed = ", ".join(f"{expression} {count:,}" for expression, count in unseen.items())
            notes.append(f"In {name}, and not in train: {listed}. What is not trained on is not recognised.")
    return notes
