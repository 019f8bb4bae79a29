"""Mistakes of the user's side: what went wrong, where, and what would be valid. Commands print them without a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """A value, file or setting that cannot be used; the message is written for the person who gave it."""


def near_misses(word: str, valid: Iterable[str]) -> str:
    """`" Did you mean hybrid_deep?"` for the names closest to `word`, or an empty string when none is close."""
    names = sorted(valid)
    close = get_close_matches(word, names, n=2, cutoff=0.6) or [name for name in names if name.endswith(f".{word}")][:2]
    return f" Did you mean {' or '.join(close)}?" if close else ""
