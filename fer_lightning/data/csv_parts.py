"""The csvs of one source: each read into its split, twins read once, what is ambiguous refused."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import combinations

import numpy as np

from fer_lightning.data.archives import MAX_FILES
from fer_lightning.data.faces import SIDE, SPLITS, TRAIN
from fer_lightning.data.label_names import LabelNames
from fer_lightning.data.picture_forms import joined, notes_on
from fer_lightning.data.split_names import split_of_file, split_of_folder
from fer_lightning.errors import InputError

SHOWN = 8  # twins in the notes


@dataclass(frozen=True, eq=False)
class CsvPart:
    """A csv of labelled faces.

    name: its path in the source; images: (N, H, H) or (N, H, H, 3) uint8; labels: (N,) uint8; usage: (N,) uint8, the
    split by the column Usage, or None without it; read: how labels were read; named: the split that its path tells, or
    None; conversions: of its images, by the keys of CONVERSIONS.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    usage: np.ndarray | None
    read: LabelNames
    named: int | None
    conversions: Counter[str] = field(default_factory=Counter)

    @property
    def split(self) -> np.ndarray:
        """The split of each face, (N,) uint8; train where nothing tells it."""
        if self.usage is not None:
            return self.usage
        return np.full(len(self.labels), TRAIN if self.named is None else self.named, np.uint8)

    @property
    def depth(self) -> tuple[int, str]:
        """The number of folders and archives around it, and its name."""
        return self.name.count("/"), self.name

    @property
    def splits(self) -> set[int]:
        return set(self.split.tolist())

    @cached_property
    def faces(self) -> Counter[bytes]:
        """How often each face, a checksum of image and label, stands in it."""
        return Counter(self._checksums)

    @cached_property
    def faces_by_split(self) -> Counter[tuple[bytes, int]]:
        """How often each face stands in each split."""
        return Counter(zip(self._checksums, self.split.tolist(), strict=True))

    @cached_property
    def _checksums(self) -> list[bytes]:
        rows = zip(self.images, self.labels.tolist(), strict=True)
        return [blake2b(image.tobytes() + bytes([label]), digest_size=16).digest() for image, label in rows]

    def repeats(self, other: "CsvPart") -> bool:
        """Whether it adds nothing to `other`: the same faces in the same splits, or a part of those with Usage."""
        if other.usage is not None:
            if self.usage is not None:
                return self.faces_by_split <= other.faces_by_split
            return self.faces <= other.faces and (self.named is None or self._agrees_with(other))
        return self.usage is None and self.named in (None, other.named) and self.faces == other.faces

    def _agrees_with(self, other: "CsvPart") -> bool:
        """Whether a csv with Usage has these faces in train as this one's name says, or apart from it."""
        held = {face for face, split in other.faces_by_split if (split == TRAIN) == (self.named == TRAIN)}
        return self.faces.keys() <= held


def split_of_path(path: str) -> int | None:
    """The split that a csv's name tells, or else the nearest of its folders and archives."""
    *folders, file = path.split("/")
    of_folders = (split_of_folder(folder) for folder in reversed(folders))
    return next((split for split in (split_of_file(file), *of_folders) if split is not None), None)


class CsvParts:
    """Collects the csvs of a source. At most two of equal faces are in memory at a time."""

    def __init__(self) -> None:
        self.parts: list[CsvPart] = []
        self._side = SIDE
        self._twins: dict[str, str] = {}  # name of a csv that adds nothing: name of one that has its faces

    def add(self, part: CsvPart, where: str) -> None:
        """Keep a csv, unless its faces stand in another; of equal ones that of the shorter path is kept.

        Raises InputError, which begins with `where`, for more rows than MAX_FILES.
        """
        for other in self.parts:
            if part.repeats(other) and not (other.repeats(part) and part.depth < other.depth):
                self._twins[part.name] = other.name
                return
        repeated = [other for other in self.parts if other.repeats(part)]
        self._twins |= {other.name: part.name for other in repeated}
        self.parts = [other for other in self.parts if other not in repeated] + [part]
        if sum(len(kept.labels) for kept in self.parts) > MAX_FILES:
            raise InputError(f"{where}: its csvs have more than {MAX_FILES:,} rows. Give one file as data.path")

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def has_usage(self) -> bool:
        return any(part.usage is not None for part in self.parts)

    def leave_out(self, splits: set[int]) -> list[str]:
        """Leave out the csvs that hold one of these splits; returns their names."""
        out = [part for part in self.parts if part.splits & splits]
        self.parts = [part for part in self.parts if part not in out]
        return sorted(part.name for part in out)

    def require_unambiguous(self, where: str, beside_images: bool = False) -> None:
        """Raise InputError, with names, where it is open which csv is to be read, or into which split."""
        if reason := self._ambiguity(beside_images):
            raise InputError(
                f"{where}: it is not clear what to read: {reason}. Give one file as data.path, or name csvs by their "
                "split, as train.csv, val.csv and test.csv"
            )

    def _ambiguity(self, beside_images: bool) -> str:
        parts = sorted(self.parts, key=lambda part: part.name)
        with_usage = [part.name for part in parts if part.usage is not None]
        without = [part.name for part in parts if part.usage is None]
        if with_usage and without:
            return f"{with_usage[0]} has a column Usage, {without[0]} has none, and its faces do not stand in the first"
        unnamed = [part.name for part in parts if part.usage is None and part.named is None]
        if unnamed and (len(parts) > 1 or beside_images):
            beside = next((part.name for part in parts if part.name != unnamed[0]), "images")
            return f"{unnamed[0]}, whose name tells no split, stands beside {beside}"
        for first, second in combinations(parts, 2):
            if both := first.splits & second.splits:
                return f"{first.name} and {second.name} both hold {SPLITS[min(both)]}, and other faces"
        return ""

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images, labels and split of all parts, sorted by split; each in its own order."""
        parts = sorted(self.parts, key=lambda part: (min(part.splits, default=0), part.name))
        images = joined([part.images for part in parts], parts[0].conversions)
        self._side = images.shape[1]
        return (
            images,
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.split for part in parts]),
        )

    def notes(self, source: str) -> list[str]:
        """Which csv was read as what, one sentence each. source: its name."""
        parts = sorted(self.parts, key=lambda part: part.name)
        by_name = [
            f"{part.name} as {SPLITS[part.named]}" for part in parts if part.usage is None and part.named is not None
        ]
        others = [part.name for part in parts if part.usage is not None or part.named is None]
        notes = [f"Read by name, without Usage: {', '.join(by_name)}."] if by_name else []
        notes += [f"Read from {' and '.join(others)} in {source}."] if others and others != [source] else []
        notes += [
            f"{part.name} has no Usage: all its images are taken for train."
            for part in parts
            if part.usage is None and part.named is None
        ]
        for twin in sorted(self._twins)[:SHOWN]:
            kept = twin
            while kept in self._twins:
                kept = self._twins[kept]
            notes.append(f"Left out: {twin}, whose faces stand in {kept}.")
        return notes + notes_on(sum((part.conversions for part in parts), Counter()), self._side)
