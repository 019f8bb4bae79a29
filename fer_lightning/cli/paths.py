"""Paths on the command line are taken literally: blanks, brackets, `=` and accents need no quotes for Hydra.

Hydra's grammar reads the right side of `key=value` as an expression. For settings that are paths, the value is quoted
for it, unless it is null, wholly quoted, holds `${`, or is a choice() or glob().
"""

import os
import re
from collections.abc import Collection, Sequence

HYDRA_PATHS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweeper.storage")
"""Settings of Hydra's own that are paths, or addresses of databases."""

LISTS = ("checkpoint", "data.soft_labels")
"""Settings that may be lists of paths."""

MAPPING = "data.labels"
"""The setting that may be a mapping, as in {1: surprise}, instead of the path of one."""

_EXPRESSION = re.compile(r"""null|'.*'|".*"|(choice|glob|sort|shuffle)\(.*\)|.*\$\{.*""", re.DOTALL)


def literal_paths(arguments: Sequence[str], keys: Collection[str], multirun: bool) -> list[str]:
    """The command line with the values of path settings quoted for Hydra's grammar.

    keys: the dotted names of settings that are paths. multirun: whether a comma separates values to sweep over, unless
    a file of the whole name exists. `checkpoint=[a,b]` is a list where no file has this name. `~` is the home folder.
    """
    return [_literal(word, keys, multirun) for word in arguments]


def _literal(word: str, keys: Collection[str], multirun: bool) -> str:
    key, equals, value = word.partition("=")
    if not equals or key.lstrip("+") not in (*keys, *HYDRA_PATHS) or not value or _EXPRESSION.fullmatch(value):
        return word
    if not exists(value):
        if key.lstrip("+") == MAPPING and value.startswith("{") and value.endswith("}"):
            mappings = re.split(r"(?<=\}),(?=\{)", value) if multirun else [value]
            return f"{key}={','.join(map(quoted, mappings))}"  # texts: names may hold anything
        if key in LISTS and value.startswith("[") and value.endswith("]"):
            return f"{key}=[{','.join(quoted(part.strip()) for part in parted(value[1:-1]) if part.strip())}]"
        if multirun and "," in value and key not in HYDRA_PATHS:
            return f"{key}={','.join(map(quoted, parted(value)))}"
    return f"{key}={quoted(value)}"


def parted(text: str) -> list[str]:
    """Paths between commas; where a file or folder has commas in its name, the longest such name is one path."""
    words, paths = text.split(","), []
    while words:
        ends = (end for end in range(len(words), 1, -1) if exists(",".join(words[:end]).strip()))
        end = next(ends, 1)
        paths.append(",".join(words[:end]))
        words = words[end:]
    return paths


def exists(text: str) -> bool:
    """Whether a file or folder of this name exists."""
    try:
        return os.path.exists(os.path.expanduser(text))
    except ValueError:  # a NUL character
        return False


def quoted(text: str) -> str:
    """A text in Hydra's single quotes; in front of a quote, and at the end, backslashes are doubled."""
    if _EXPRESSION.fullmatch(text):
        return text
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", os.path.expanduser(text))
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"
