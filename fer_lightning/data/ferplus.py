"""FER+: ten votes an image instead of FER2013's one label (Barsoum et al., ICMI 2016, arXiv 1608.01041).

Another set of labels, hence another task: the names of its figures begin with PREFIX.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_lightning.data.archives import existing_path, report_damage
from fer_lightning.data.csv_reader import MAX_LINE_BYTES, header_of, rows_of, usage_of
from fer_lightning.data.faces import SPLITS, TRAIN, Faces
from fer_lightning.data.label_names import NAMES
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

NAME, TITLE, PREFIX = "ferplus", "FER+", "ferplus-"  # in settings; in titles; before the names of figures
OTHERS = {"contempt": "contempt", "unknown": "unknown", "nf": "no face"}  # columns of votes for no expression of ours
LEAST_AGREEMENT = 0.4  # with FER2013's labels: 0.75 where the rows are in the same order, 0.2 by chance


class Majority(NamedTuple):
    """What the votes on each image decide.

    labels: (N,) uint8, the expression with the most votes; shares: (N, 7) float32 of the votes for expressions.
    decided: (N,) bool, whether that expression has more than half of all votes; expressive: (N,) bool, whether the
    seven have more than half together; other: (N,) the index in OTHERS of what has more than half, or -1.
    """

    labels: np.ndarray
    shares: np.ndarray
    decided: np.ndarray
    expressive: np.ndarray
    other: np.ndarray


def read_votes(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """The votes of fer2013new.csv, rows in the order of fer2013.csv.

    Returns split (N,) uint8, an index into SPLITS, and counts (N, 10) of the votes for EXPRESSIONS, then for OTHERS.
    Raises InputError with the line for anything else.
    """
    path = existing_path(path)
    split, counts = bytearray(), []
    needed = ["usage", *range(len(EXPRESSIONS)), *OTHERS]
    with report_damage(str(path)), path.open("rb") as stream:
        header = header_of(stream.readline(MAX_LINE_BYTES))
        columns = [NAMES.get(name, name) for name in header.columns]
        if missing := [EXPRESSIONS[name] if isinstance(name, int) else name for name in needed if name not in columns]:
            raise InputError(
                f"{path}: no column {', '.join(missing)}; expected fer2013new.csv of FER+, with Usage, Image name, "
                "neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, NF"
            )
        for place, row in rows_of(stream, str(path), header):
            cells = dict(zip(columns, row, strict=True))
            usage, *votes = (cells[name].strip() or "0" for name in needed)
            split.append(usage_of(usage, place))
            if bad := [vote for vote in votes if not (vote.isascii() and vote.isdigit() and len(vote) < 4)]:
                raise InputError(f"{place}: {bad[0][:40]!r} is no number of votes")
            counts.append([int(vote) for vote in votes])
    if not counts:
        raise InputError(f"{path}: a header, but no votes; is the file cut off?")
    return np.frombuffer(split, np.uint8), np.array(counts, dtype=np.int64)


def majority_of(counts: np.ndarray) -> Majority:
    """What (N, 10) votes decide. Single votes are first dropped as outliers, as in the authors' code."""
    counts = np.where(counts > 1, counts, 0)
    seven, total = counts[:, : len(EXPRESSIONS)], counts.sum(axis=1)
    top = counts.argmax(axis=1)
    decided = 2 * counts.max(axis=1) > total
    expressions = seven.sum(axis=1, keepdims=True)
    shares = np.divide(seven, expressions, out=np.zeros(seven.shape), where=expressions > 0)
    return Majority(
        labels=seven.argmax(axis=1).astype(np.uint8),
        shares=shares.astype(np.float32),
        decided=decided & (top < len(EXPRESSIONS)),
        expressive=2 * expressions[:, 0] > total,
        other=np.where(decided & (top >= len(EXPRESSIONS)), top - len(EXPRESSIONS), -1),
    )


def relabel(
    faces: Faces, path: str | Path | None, soft: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, str]:
    """The FER+ labels of FER2013's faces. Faces without a majority for one of the seven expressions are left out.

    path: of fer2013new.csv; None for faces that hold their votes. soft: train on the shares of the votes; train then
    also keeps faces without a majority if the seven expressions have more than half of the votes together. Returns the
    rows (n,) of the faces that are kept, their labels (n,) and shares (n, 7), None without `soft`, and a note. Raises
    InputError where the votes do not belong to these faces, split by split and row by row.
    """
    if path is None:
        assert faces.votes is not None
        counts = faces.votes.astype(np.int64)
    else:
        counts = _votes_on(faces, path)
    majority = majority_of(counts)
    kept = majority.decided | (majority.expressive & (faces.split == TRAIN) if soft else False)
    reasons = {name: int((majority.other[~kept] == place).sum()) for place, name in enumerate(OTHERS.values())}
    reasons = {"no majority": int((~kept).sum()) - sum(reasons.values()), **reasons}
    note = (
        f"Labels are those of {TITLE}{', training targets the shares of its votes' if soft else ''}; "
        f"{(~kept).sum():,} of {len(faces):,} images are left out: "
        f"{', '.join(f'{name} {count:,}' for name, count in reasons.items())}."
    )
    return np.flatnonzero(kept), majority.labels[kept], majority.shares[kept] if soft else None, note


def _votes_on(faces: Faces, path: str | Path) -> np.ndarray:
    """The votes (N, 10) of fer2013new.csv on each face. Raises InputError where they do not belong to these faces."""
    voted_split, votes = read_votes(path)
    counts = np.empty((len(faces), votes.shape[1]), dtype=np.int64)
    present = np.unique(faces.split).tolist()
    for split in present:
        rows, voted = faces.rows(split), np.flatnonzero(voted_split == split)
        if len(rows) != len(voted):
            name = SPLITS[split]
            raise InputError(f"data.votes={path}: votes on {len(voted):,} images of {name}; the data has {len(rows):,}")
        counts[rows] = votes[voted]
    majority = majority_of(counts)
    for split in present:
        agree = (majority.labels == faces.labels)[majority.decided & (faces.split == split)]
        if agree.sum() < LEAST_AGREEMENT * len(agree):
            raise InputError(
                f"data.votes={path}: the votes agree with FER2013's labels on {agree.mean():.0%} of the "
                f"{SPLITS[split]} images, little more than by chance. Their rows are in the order of fer2013.csv; "
                "copies of the set as image files are in another one, so data.path must be the csv"
            )
    return counts


def prefix_of(data: str) -> str:
    """What the names of figures begin with for a choice of the data group: PREFIX, or nothing."""
    return PREFIX if data == NAME else ""


def title_of(data: str) -> str:
    """The name of a choice of the data group in titles."""
    return TITLE if data == NAME else data


def prefixed(figures: Mapping[str, Any], names: Collection[str], prefix: str) -> dict[str, Any]:
    """The same mapping, with `prefix` before the keys that are among `names`."""
    return {f"{prefix}{key}" if key in names else key: value for key, value in figures.items()}


def unprefixed(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping that `prefixed` was given. Raises TypeError for anything but a mapping, as a file may hold."""
    if not isinstance(figures, Mapping):
        raise TypeError(f"expected names and values, not {type(figures).__name__}")
    return {key.removeprefix(PREFIX): value for key, value in figures.items()}
