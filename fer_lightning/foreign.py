"""Settings that come from a file: read as settings and nothing else, so that no file of a stranger can run code.

Hydra builds whatever a composed config names as `_target_` below `hydra` (callbacks, launchers, log handlers),
unpickles the file of `--experimental-rerun`, and imports what `hydra.searchpath` names. None of that may come from a
file.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from hydra._internal.utils import get_args_parser

from fer_lightning.errors import InputError

LARGEST = 8 << 10
"""Bytes of a file of settings; ours have one or two thousand."""

MOST_FILES = 1000
DEEPEST = 50

_OVERRIDE = re.compile(r"\+{0,2}(?!hydra\b)\w+([./]\w+)*=[^\n]*")
_REACHES_HYDRA = re.compile(r"(^|[^\w-])hydra($|[^\w-])|_target_|\$\{")


def best_overrides(path: Path) -> list[str]:
    """The overrides that a search's best.yaml holds. InputError for any other file, and what is no plain setting."""
    try:
        text = _text(path)
        for _ in _scalars(text):  # not too deep for the loader
            pass
        content = yaml.safe_load(text)
        overrides = content["overrides"] if isinstance(content, dict) else None
    except (OSError, ValueError, KeyError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: not the best.yaml of a search ({type(error).__name__}: {reason})") from error
    if not isinstance(overrides, list) or not all(isinstance(override, str) for override in overrides):
        raise InputError(f"{path}: not the best.yaml of a search: it holds no list `overrides`")
    for override in overrides:
        if not _OVERRIDE.fullmatch(override) or "_target_" in override or "${" in override:
            raise InputError(
                f"{path}: {override[:100]!r} is no plain setting such as optimizer.lr=0.01; no other comes from a file"
            )
    return overrides


def require_settings_only(arguments: Sequence[str]) -> None:
    """Raise InputError where a command line hands Hydra a file that could make it run code.

    `--config-dir` is allowed for a folder whose files set nothing of `hydra`, name no `_target_` and hold no `${...}`.
    """
    given, _ = get_args_parser().parse_known_args(list(arguments))
    for option in ("config_path", "config_name", "experimental_rerun"):
        if getattr(given, option) is not None:
            raise InputError(f"--{option.replace('_', '-')} is not offered: a file so named could run code")
    if any(word.lstrip("+~").startswith("hydra.searchpath") for word in given.overrides):
        raise InputError("hydra.searchpath is not offered: give a folder of settings by --config-dir")
    if given.config_dir is not None:
        _require_settings_only_in(Path(given.config_dir))


def _require_settings_only_in(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml")]
    if len(files) > MOST_FILES:
        raise InputError(f"--config-dir {folder}: more than {MOST_FILES:,} files of settings; is it the right folder?")
    for file in files:
        try:
            text = _text(file)
            words = [*_scalars(text), *(line for line in text.splitlines() if line.lstrip().startswith("#"))]
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise InputError(f"{file}: no file of settings ({' '.join(str(error).split())[:200]})") from error
        comments = (word for word in words if not word.lstrip().startswith("#") or "@package" in word)
        if "hydra" in file.relative_to(folder).parts or any(map(_REACHES_HYDRA.search, comments)):
            raise InputError(
                f"{file}: settings of `hydra`, a `_target_` or a ${{...}} are not taken from a file of --config-dir; "
                "give them on the command line"
            )


def _scalars(text: str) -> Iterator[str]:
    """Every key and value of a YAML text; aliases are not followed, so that a bomb of them does not unfold."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} deep")
        if isinstance(event, yaml.ScalarEvent):
            yield event.value


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes")
    return data.decode("utf-8")
