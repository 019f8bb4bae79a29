"""What a page is made of, apart from how it looks: sections of words, tables, charts, pictures and matrices."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Words:
    """A paragraph; `code` stands between backquotes."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of words below headings. The first column is aligned left, the others right unless `left`.

    What follows a line break in a cell is written smaller.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    left: bool = False


@dataclass(frozen=True)
class Chart:
    """A drawn figure, as vectors on the page and as `figures/<name>.png`."""

    name: str
    figure: Figure
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG file, on the page and as `figures/<name>.png`."""

    name: str
    png: bytes
    caption: str = ""


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix of counts, rows true: a table on the page, and `figures/<name>.png`."""

    name: str
    counts: np.ndarray
    title: str


@dataclass(frozen=True)
class Row:
    """Blocks beside each other, at least so wide (rem)."""

    blocks: Sequence["Block"]
    width: int = 28


@dataclass(frozen=True)
class Missing:
    """What is not there, and the command that makes it."""

    what: str
    command: str


Block = Words | Table | Chart | Picture | Matrix | Row | Missing


@dataclass
class Section:
    """A titled part of the page; `anchor` is its name within the page."""

    anchor: str
    title: str
    blocks: list[Block] = field(default_factory=list)
