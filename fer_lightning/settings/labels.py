"""`data.labels`: names or numbers by which a source labels its faces, to expressions; null leaves a class out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BeforeValidator, PlainSerializer
from pydantic_core import PydanticCustomError

from fer_lightning.errors import near_misses
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.settings.validation import IS_PATH

LARGEST_FILE = 64 << 10
"""Bytes of a file of labels."""


def _pairs(value: Any) -> tuple[tuple[str, str | None], ...] | None:
    """Sorted pairs of a mapping, or of the YAML file of this path; None for null and for an empty mapping."""
    if isinstance(value, str):
        value = _file_content(value)
    if value is None or isinstance(value, tuple):
        return value
    if not isinstance(value, Mapping):
        raise _error("expected names or numbers with expressions, as in {1: surprise, 2: null}, or a file of them")
    for name, expression in value.items():
        if isinstance(name, Mapping | list | tuple) or (expression is not None and expression not in EXPRESSIONS):
            hint = near_misses(expression, EXPRESSIONS)
            raise _error(f"{name}: expected null or one of {', '.join(EXPRESSIONS)}, not {expression!r}.{hint}")
    pairs = sorted((str(name), expression) for name, expression in value.items())
    compared = [name.strip().lower() for name, _ in pairs]
    if twice := [name for name in compared if not name or compared.count(name) > 1]:
        raise _error(f"{twice[0]!r} stands there twice, or is empty; names are compared whatever their case")
    return tuple(pairs) or None


def _file_content(text: str) -> Any:
    path = Path(text).expanduser()
    try:
        if not path.is_file():
            raise _error("no such file; expected {name: expression, ...}, or the path of a YAML file of this form")
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise _error(f"a file of more than {LARGEST_FILE:,} bytes; expected a small YAML file")
        content = OmegaConf.to_container(OmegaConf.create(data.decode("utf-8-sig")))
    except (OSError, ValueError, AssertionError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise _error(f"not a YAML file of names and expressions ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(content, dict) or not content:
        raise _error("expected a YAML file of names or numbers with expressions, a line each as in `1: surprise`")
    return content


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
