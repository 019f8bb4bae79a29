"""Mistakes of the user's side: what went wrong, where, and what would be valid. Printed without a traceback."""

import errno
import os
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path


class InputError(ValueError):
    """A value, file or setting that cannot be used; the message is written for the person who gave it."""


_DISK = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO", "ENOTDIR", "EISDIR", "ENAMETOOLONG")
    if hasattr(errno, name)
}


def disk_trouble(error: OSError, folder: str | Path) -> str:
    """The message for what the disk or its owner's rights keep from being written; raises other errors again."""
    if error.errno not in _DISK:
        raise error
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else folder
    return (
        f"{place}: {error.strerror}. Checkpoints and results written before are whole; once there is room, training "
        "goes on with resume=true"
    )


def near_misses(word: str, valid: Iterable[str]) -> str:
    """`" Did you mean hybrid_deep?"` for the name closest to `word`, or an empty string when none is close.

    Of dotted names the last part alone may be close too: `epochs` is near `trainer.max_epochs`. Equals are all named.
    """

    def likeness(first: str, second: str) -> float:
        return SequenceMatcher(None, first, second).ratio()

    word = str(word)  # a key of YAML may be a number
    leaf = word.rpartition(".")[2]
    scores = {name: max(likeness(word, name), likeness(leaf, name.rpartition(".")[2]) - 0.01) for name in valid}
    best = max(scores.values(), default=0.0)
    close = [name for name, score in scores.items() if score > max(best - 0.02, 0.6)]
    return f" Did you mean {' or '.join(close[:3])}?" if close else ""
