"""FER+: ten votes a picture instead of FER2013's one label (Barsoum et al., ICMI 2016, arXiv 1608.01041).

Another set of labels, hence another task: its figures carry its name and stand in no column of FER2013's.
"""

import csv
import dataclasses
import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer_lightning.data.archive import existing
from fer_lightning.data.bounds import damage_named
from fer_lightning.data.sources import CachedFaces
from fer_lightning.data.faces import SPLITS, TRAIN
from fer_lightning.data.fingerprint import content_fingerprint
from fer_lightning.data.naming import LABEL_NAMES, SPLIT_NAMES
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

NAME, TITLE, PREFIX = "ferplus", "FER+", "ferplus-"
"""Of the data group's choice; for people; and what the names of figures (metrics, tags) begin with."""

OTHERS = {"contempt": "contempt", "unknown": "unknown", "nf": "no face"}
"""Columns of votes for something else than the seven expressions, and what they say."""

LEAST_AGREEMENT = 0.4
"""With FER2013's labels: rows in another order agree by 0.2, as chance does; in the same order by about 0.75."""

MAX_BYTES = 32 << 20
"""fer2013new.csv has 1.6 MB."""


class Votes(NamedTuple):
    """split: (N,) uint8, an index into SPLITS; counts: (N, 10) votes for EXPRESSIONS, then for OTHERS."""

    split: np.ndarray
    counts: np.ndarray


class Verdicts(NamedTuple):
    """labels: (N,) uint8, the expression with the most votes; shares: (N, 7) float32 of the votes for expressions.

    majority: (N,) bool, whether that expression has more than half of all votes; mostly: (N,) bool, whether the seven
    expressions have more than half together; other: (N,) index of the entry of OTHERS that has a majority, or -1.
    """

    labels: np.ndarray
    shares: np.ndarray
    majority: np.ndarray
    mostly: np.ndarray
    other: np.ndarray


def read_votes(path: str | Path) -> Votes:
    """The votes of fer2013new.csv: Usage, a name (not used) and ten counts a row, rows in the order of fer2013.csv.

    Raises InputError with the line for anything else.
    """
    path = existing(path)
    with damage_named(str(path)):
        if path.is_dir() or path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: not fer2013new.csv of FER+, a csv of 1.6 MB")
        lines = csv.reader(path.read_text(encoding="utf-8-sig").splitlines())
        columns = [name.strip().lower() for name in next(lines, [])]
        places = {LABEL_NAMES.get(name, name): place for place, name in enumerate(columns)}
        needed = ["usage", *range(len(EXPRESSIONS)), *OTHERS]
        if missing := [EXPRESSIONS[name] if isinstance(name, int) else name for name in needed if name not in places]:
            raise InputError(
                f"{path}: no column {', '.join(missing)}; expected fer2013new.csv of FER+, with Usage, Image name, "
                "neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, NF"
            )
        split, counts = bytearray(), []
        for number, row in enumerate(lines, start=2):
            if not row:
                continue
            if len(row) != len(columns):
                raise InputError(f"{path}, line {number}: {len(row)} columns, expected {len(columns)}. Is it cut off?")
            usage = row[places["usage"]].strip()
            if usage.lower() not in SPLIT_NAMES:
                raise InputError(
                    f"{path}, line {number}: Usage {usage[:40]!r} is unknown. Valid: Training, PublicTest, PrivateTest"
                )
            votes = [row[places[name]].strip() for name in needed[1:]]
            if bad := next((vote for vote in votes if not (vote.isascii() and vote.isdigit() and len(vote) < 4)), None):
                raise InputError(f"{path}, line {number}: {bad[:40]!r} is no number of votes")
            split.append(SPLIT_NAMES[usage.lower()])
            counts.append([int(vote or 0) for vote in votes])
    if not counts:
        raise InputError(f"{path}: a header, but no votes; is the file cut off?")
    return Votes(np.frombuffer(split, np.uint8), np.array(counts, dtype=np.int64))


def judged(counts: np.ndarray) -> Verdicts:
    """What (N, 10) votes say. Single votes are dropped as outliers first, as the authors do in their code."""
    counts = np.where(counts > 1, counts, 0)
    seven, total = counts[:, : len(EXPRESSIONS)], counts.sum(axis=1)
    top = counts.argmax(axis=1)
    decided = 2 * counts.max(axis=1) > total
    expressions = seven.sum(axis=1, keepdims=True)
    shares = np.divide(seven, expressions, out=np.zeros(seven.shape), where=expressions > 0)
    return Verdicts(
        labels=seven.argmax(axis=1).astype(np.uint8),
        shares=shares.astype(np.float32),
        majority=decided & (top < len(EXPRESSIONS)),
        mostly=2 * expressions[:, 0] > total,
        other=np.where(decided & (top >= len(EXPRESSIONS)), top - len(EXPRESSIONS), -1),
    )


def with_votes(faces: CachedFaces, path: str | Path, soft: bool = False) -> CachedFaces:
    """The faces with FER+ labels, those without a majority for one of the seven expressions left out.

    soft: train on the shares of the votes, also of faces without a majority, if the seven have more than half of the
    votes together; val and test go by the majority all the same. Raises InputError where the votes do not belong to
    these faces, split by split and row by row.
    """
    votes = read_votes(path)
    counts = np.empty((len(faces), votes.counts.shape[1]), dtype=np.int64)
    for number, name in enumerate(SPLITS):
        rows, theirs = faces.rows(number), np.flatnonzero(votes.split == number)
        if not len(rows):
            continue
        if len(rows) != len(theirs):
            raise InputError(
                f"data.votes={path}: votes on {len(theirs):,} images of {name}; the data has {len(rows):,}"
            )
        counts[rows] = votes.counts[theirs]
    verdicts = judged(counts)
    for number in np.unique(faces.split).tolist():
        agree = (verdicts.labels == faces.labels)[verdicts.majority & (faces.split == number)]
        if agree.sum() < LEAST_AGREEMENT * len(agree):
            raise InputError(
                f"data.votes={path}: the votes agree with FER2013's labels on {agree.mean():.0%} of the "
                f"{SPLITS[number]} images, little more than by chance. Their rows are in the order of fer2013.csv; "
                "copies of the set as image files are in another one, so data.path must be the csv"
            )
    chosen = verdicts.majority | (verdicts.mostly & (faces.split == TRAIN) if soft else False)
    kept = np.flatnonzero(chosen)
    left_out = {name: int((verdicts.other[~chosen] == place).sum()) for place, name in enumerate(OTHERS.values())}
    undecided = len(faces) - len(kept) - sum(left_out.values())
    reasons = ", ".join(f"{name} {count:,}" for name, count in {"no majority": undecided, **left_out}.items())
    note = (
        f"Labels are those of {TITLE}{', training targets the shares of its votes' if soft else ''}; "
        f"{len(faces) - len(kept):,} of {len(faces):,} images are left out: {reasons}."
    )
    arrays: dict[str, Any] = {
        name: np.ascontiguousarray(getattr(faces, name)[kept]) for name in ("images", "split", "copy_groups")
    }
    part = dataclasses.replace(
        faces,
        **arrays,
        labels=verdicts.labels[kept],
        notes=(*faces.notes, note),
        shares=verdicts.shares[kept] if soft else None,
        whole=faces,
        kept=kept,
    )
    digest = content_fingerprint(part) + ("" if part.shares is None else part.shares.tobytes().hex())
    return dataclasses.replace(part, fingerprint=hashlib.sha256(digest.encode()).hexdigest())


def prefix_of(data: str) -> str:
    """What the names of figures begin with for the data group's choice: nothing, or PREFIX."""
    return PREFIX if data == NAME else ""


def title_of(data: str) -> str:
    """The data group's choice as people know it."""
    return TITLE if data == NAME else data


def prefixed(figures: Mapping[str, Any], names: Collection[str], prefix: str) -> dict[str, Any]:
    """The same mapping, with `prefix` before the keys that are among `names`."""
    return {f"{prefix}{key}" if key in names else key: value for key, value in figures.items()}


def unprefixed(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping that `prefixed` was given. Raises TypeError for what is none, as a file may hold."""
    if not isinstance(figures, Mapping):
        raise TypeError(f"expected names and values, not {type(figures).__name__}")
    return {key.removeprefix(PREFIX): value for key, value in figures.items()}
