"""`data.labels`: names or numbers by which a source labels its faces, to expressions; null leaves a class out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import yaml
from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

from fer_lightning.errors import near_misses
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.settings.validation import IS_PATH

LARGEST_FILE = 64 << 10
"""Bytes of a file of labels."""

_NULL = "tag:yaml.org,2002:null"


def labels_text(pairs: Mapping[str, str | None]) -> str:
    """A mapping as one word that `data.labels` takes; names may hold anything."""
    return json.dumps(dict(pairs), ensure_ascii=False)


def _pairs(value: Any) -> tuple[tuple[str, str | None], ...] | None:
    """Sorted pairs of a mapping, of its text, or of the YAML file of this path; None for null and an empty mapping."""
    if value is None or isinstance(value, tuple):
        return value
    if not isinstance(value, str | Mapping):
        raise _error("expected names or numbers with expressions, as in {1: surprise, 2: null}, or a file of them")
    pairs = list(value.items()) if isinstance(value, Mapping) else _pairs_of_text(value)
    for name, expression in pairs:
        if isinstance(name, Mapping | list | tuple) or (expression is not None and expression not in EXPRESSIONS):
            hint = near_misses(expression, EXPRESSIONS)
            raise _error(f"{name}: expected null or one of {', '.join(EXPRESSIONS)}, not {expression!r}.{hint}")
    pairs = sorted((str(name), expression) for name, expression in pairs)
    compared = [name.strip().lower() for name, _ in pairs]
    if twice := [name for name in compared if not name or compared.count(name) > 1]:
        raise _error(f"{twice[0]!r} stands there twice, or is empty; names are compared whatever their case")
    return tuple(pairs) or None


def _pairs_of_text(text: str) -> list[tuple[str, str | None]]:
    """Pairs of the text of a mapping, `{1: surprise, very happy: happy}`, or of the file of this path."""
    is_mapping = text.startswith("{") and text.endswith("}")
    try:
        if (path := Path(text).expanduser()).is_file():
            is_mapping = False
            with path.open("rb") as file:
                data = file.read(LARGEST_FILE + 1)
            if len(data) > LARGEST_FILE:
                raise _error(f"a file of more than {LARGEST_FILE:,} bytes; expected a small YAML file")
            text = data.decode("utf-8-sig")
        elif not is_mapping:
            raise _error("no such file; expected {name: expression, ...}, or the path of a YAML file of this form")
        node = yaml.compose(text, Loader=yaml.SafeLoader)  # names stay the text that they are: 01, no, 3.0
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        what = "a mapping such as {1: surprise, 2: null}" if is_mapping else "a YAML file of names and expressions"
        raise _error(f"not {what} ({' '.join(str(error).split())[:200]})") from error
    nodes = [one for pair in node.value for one in pair] if isinstance(node, yaml.MappingNode) else []
    if not all(isinstance(one, yaml.ScalarNode) for one in nodes) or not (nodes or is_mapping):
        raise _error("expected a YAML file of names or numbers with expressions, a line each as in `1: surprise`")
    values = [None if one.tag == _NULL else one.value for one in nodes]
    return [(str(nodes[place].value), values[place + 1]) for place in range(0, len(nodes), 2)]


def _error(words: str) -> PydanticCustomError:
    return PydanticCustomError("expected", "{words}", {"words": words})


Labels: TypeAlias = Annotated[
    tuple[tuple[str, str | None], ...] | None,
    BeforeValidator(_pairs),
    PlainSerializer(lambda pairs: None if pairs is None else dict(pairs)),
    IS_PATH,
]
"""Pairs of a name and an expression, so that settings can be hashed; a mapping where settings are written.

A file is read when settings are checked: checkpoints, studies and best.yaml hold what it said.
"""
