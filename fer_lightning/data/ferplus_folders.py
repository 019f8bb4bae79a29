"""FER+'s own output: folders FER2013Train, FER2013Valid and FER2013Test of images, each with its votes in label.csv."""

import csv
import re
from collections import Counter
from pathlib import Path

import numpy as np

from fer_lightning.data.archives import MAX_FILES, Member, existing_path, members, report_damage
from fer_lightning.data.csv_reader import MAX_LINE_BYTES
from fer_lightning.data.faces import Faces, copy_groups
from fer_lightning.data.ferplus import OTHERS, majority_of
from fer_lightning.data.image_reader import MAX_IMAGE_BYTES, ImageReader, read_image
from fer_lightning.data.picture_forms import FER2013_FORM, PictureForm, joined, notes_on, notes_on_form
from fer_lightning.data.split_names import split_of_folder, split_of_source
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

COLUMNS = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt", "unknown", "nf")
"""The votes in a row of label.csv, after the image's name and its box."""

_ORDER = [COLUMNS.index(name) for name in (*EXPRESSIONS, *OTHERS)]
_ROW = re.compile(rb'(\xef\xbb\xbf)?[^,"\r\n]+\.\w+,"?\(\d+, *\d+, *\d+, *\d+\)"?(,\d+){10}\s*(\n|$)')


def holds_votes(member: Member) -> bool:
    """Whether a file is a label.csv of FER+: no header; name, box and ten votes in each row."""
    return member.form == "text" and _ROW.match(member.head) is not None


def read_ferplus_folders(path: str | Path, form: PictureForm = FER2013_FORM) -> Faces:
    """Faces with their votes, as FER+'s generate_training_data.py writes them; labels are those with the most votes.

    Sorted by split and name. Raises InputError where no label.csv is found, where a row is none of it, and for images
    that cannot be read.
    """
    path = existing_path(path)
    votes: dict[str, list[int]] = {}
    pixels: dict[str, np.ndarray] = {}
    conversions: Counter[str] = Counter()
    for member in members(path):
        if holds_votes(member):
            votes |= _read_votes(member)
        elif ImageReader.accepts(member) and member.form in ("JPEG", "PNG"):
            data = member.read(MAX_IMAGE_BYTES + 1)
            pixels[member.name] = read_image(data, member.form, member.where, conversions, form)
    if not votes:
        raise InputError(
            "data.votes is not set: data=ferplus needs fer2013new.csv, the votes of FER+, from "
            "https://github.com/microsoft/FERPlus, or as data.path the folders that its program writes, such as "
            f"FER2013Train with images and label.csv; {path} holds no such label.csv"
        )
    names = sorted(
        votes.keys() & pixels.keys(), key=lambda name: (_split_of(name, path), name.rpartition("/")[2], name)
    )
    if not names:
        raise InputError(f"{path}: the images that its label.csv names are not beside it, as {min(votes)}")
    images = joined([[pixels[name] for name in names]], conversions)
    counts = np.array([votes[name] for name in names], np.int32)
    split = np.array([_split_of(name, path) for name in names], np.uint8)
    notes = notes_on(conversions, images.shape[1]) + notes_on_form(images, form)
    for left, what in ((pixels.keys() - votes.keys(), "images without votes"), (votes.keys() - pixels.keys(), "votes")):
        if left:
            notes.append(f"Left out: {len(left):,} {what}{' without an image' * (what == 'votes')} ({min(left)}).")
    return Faces(images, majority_of(counts).labels, split, copy_groups(images), tuple(notes), counts)


def _read_votes(member: Member) -> dict[str, list[int]]:
    """The votes of a label.csv, in the order of EXPRESSIONS and OTHERS, by the path of the image."""
    folder, slash, _ = member.name.rpartition("/")
    votes: dict[str, list[int]] = {}
    with report_damage(member.where):
        for number, line in enumerate(iter(lambda: member.stream.readline(MAX_LINE_BYTES), b""), start=1):
            if not line.strip():
                continue
            place = f"{member.where}, line {number}"
            if not _ROW.fullmatch(line):
                raise InputError(f"{place}: expected the name of an image, its box and ten votes. Is it cut off?")
            name, _, *cells = next(csv.reader([line.decode("utf-8-sig")]))
            if number > MAX_FILES or f"{folder}{slash}{name}" in votes:
                raise InputError(f"{place}: {name} stands there twice, or there are more than {MAX_FILES:,} rows")
            own = [int(cell[:4]) for cell in cells]
            votes[f"{folder}{slash}{name}"] = [own[column] for column in _ORDER]
    return votes


def _split_of(name: str, path: Path) -> int:
    of_folders = (split_of_folder(folder) for folder in reversed(name.split("/")[:-1]))
    split = next((split for split in of_folders if split is not None), split_of_source(path.resolve().name))
    if split is None:
        raise InputError(f"{path}: {name} is in no split's folder, such as FER2013Train, FER2013Valid, FER2013Test")
    return split
