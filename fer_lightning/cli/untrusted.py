"""Settings from untrusted files: only plain values are accepted.

Hydra instantiates every `_target_` below `hydra` (callbacks, launchers, log handlers), unpickles the file of
`--experimental-rerun`, and imports what `hydra.searchpath` names. None of that may come from a file.
"""

import re
from argparse import ArgumentError
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import yaml
from hydra._internal.utils import get_args_parser  # private: Hydra has no public parser of its own options

from fer_lightning.errors import InputError

LARGEST_FILE = 8 << 10
"""Bytes of a file of settings; ours have one or two thousand."""

MAX_FILES, MAX_DEPTH = 1000, 50

_OVERRIDE = re.compile(r"\+{0,2}(?!hydra\b)\w+([./]\w+)*=[^\n]*")
_REACHES_HYDRA = re.compile(r"(^|[^\w-])hydra($|[^\w-])|_target_|\$\{")


def with_best(arguments: list[str]) -> list[str]:
    """The command line with `+best=PATH` replaced by the file's overrides, except keys also on the command line."""
    given = {word.partition("=")[0].lstrip("+") for word in arguments if "=" in word}
    words: list[str] = []
    for word in arguments:
        name, _, path = word.partition("=")
        if name.lstrip("+") != "best":
            words.append(word)
            continue
        overrides = best_overrides(Path(path).expanduser())
        words += [override for override in overrides if override.partition("=")[0].lstrip("+") not in given]
    return words


def best_overrides(path: Path) -> list[str]:
    """The overrides of a search's best.yaml. Raises InputError for any other file, and for what is no plain setting."""
    try:
        text = _read(path)
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
    """Raise InputError where a command line removes a setting, or hands Hydra a file that could make it run code.

    `--config-dir` is allowed for a folder whose files set nothing of `hydra`, name no `_target_` and hold no `${...}`.
    """
    if removed := [word for word in arguments if word.startswith("~")]:
        raise InputError(f"{removed[0]}: settings are not removed; null, 0 or false switches one off, where it says so")
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        given, unknown = parser.parse_known_args(list(arguments))
    except ArgumentError as error:
        raise InputError(f"{error}; --help lists the settings, --hydra-help the options") from None
    if unknown and "=" in unknown[0] and not unknown[0].startswith("-"):
        raise InputError(f"{unknown[0]}: settings stand together, before all options or after them")
    if unknown:
        raise InputError(f"{unknown[0]}: no such option; --help lists the settings, --hydra-help the options")
    for option in ("config_path", "config_name", "experimental_rerun"):
        if getattr(given, option) is not None:
            raise InputError(f"--{option.replace('_', '-')} is not offered: a file so named could run code")
    if any(word.lstrip("+~").startswith("hydra.searchpath") for word in given.overrides):
        raise InputError("hydra.searchpath is not offered: give a folder of settings by --config-dir")
    if given.config_dir is not None:
        _require_plain_folder(Path(given.config_dir))


def _require_plain_folder(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml")]
    if len(files) > MAX_FILES:
        raise InputError(f"--config-dir {folder}: more than {MAX_FILES:,} files of settings; is it the right folder?")
    for file in files:
        try:
            text = _read(file)
            packages = [line for line in text.splitlines() if line.lstrip().startswith("#") and "@package" in line]
            words: Iterable[str] = [*_scalars(text), *packages]
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise InputError(f"{file}: no file of settings ({' '.join(str(error).split())[:200]})") from error
        if "hydra" in file.relative_to(folder).parts or any(map(_REACHES_HYDRA.search, words)):
            raise InputError(
                f"{file}: settings of `hydra`, a `_target_` or a ${{...}} are not taken from a file of --config-dir; "
                "give them on the command line"
            )


def _scalars(text: str) -> Iterator[str]:
    """Every key and value of a YAML text. Aliases are not followed, so that a bomb of them does not unfold."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.ScalarEvent):
            yield event.value


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise ValueError(f"more than {LARGEST_FILE:,} bytes")
    return data.decode("utf-8")
