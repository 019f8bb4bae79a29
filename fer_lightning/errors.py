"""Errors of the user's input: one message that says what is wrong, where, and what would be valid. No traceback."""

import errno
import os
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path


class InputError(ValueError):
    """A value, file or setting that cannot be used; the message is written for the person who gave it."""


_DISK_ERRORS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO", "ENOTDIR", "EISDIR", "ENAMETOOLONG")
    if hasattr(errno, name)
}


def disk_message(error: OSError, folder: str | Path) -> str:
    """Message for disk-full and permission errors; any other OSError is raised again."""
    if error.errno not in _DISK_ERRORS:
        raise error
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else folder
    return (
        f"{place}: {error.strerror}. Checkpoints and results written before are intact; once there is room, training "
        "goes on with resume=true"
    )


def near_misses(word: object, valid: Iterable[str]) -> str:
    """`" Did you mean hybrid_deep?"` for the valid name closest to `word`, or an empty string when none is close.

    The last part of a dotted name may match alone: `epochs` is near `trainer.max_epochs`. Ties are all named.
    """

    def similarity(first: str, second: str) -> float:
        return SequenceMatcher(None, first, second).ratio()

    word = str(word)  # a YAML key may be a number
    leaf = word.rpartition(".")[2]
    scores = {name: max(similarity(word, name), similarity(leaf, name.rpartition(".")[2]) - 0.01) for name in valid}
    best = max(scores.values(), default=0.0)
    close = [name for name, score in scores.items() if score > max(best - 0.02, 0.6)]
    return f" Did you mean {' or '.join(close[:3])}?" if close else ""
