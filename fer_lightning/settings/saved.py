"""Settings kept in files (checkpoints, cards, studies): reading those of earlier versions, comparing two of them."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fer_lightning.errors import InputError
from fer_lightning.settings.commands import TrainSettings
from fer_lightning.settings.trainer_arguments import WITHOUT_EFFECT
from fer_lightning.settings.validation import UNIONS, S, Settings, dump, flatten, parse

_PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir())
"""The config tree: inside an installed package, beside it in a checkout."""

VERSION = 2
"""Of the settings kept in files. 1 (files without a version): networks took normalised pictures, see weight_files."""

MAY_CHANGE = frozenset(
    {
        "resume",
        "compile",
        "checkpoint_minutes",
        "data.path",
        "data.votes",
        "data.cache_dir",
        "draw",
        "logger",
        "cv.workers",
    }
)
"""Settings, or groups of them, that do not change what is trained: they may differ when something is resumed."""


def restore(model: type[S], values: Mapping[str, Any], version: int, where: str) -> S:
    """Settings that a file keeps, written by this version of the project or an earlier one.

    version: VERSION of the time when it was written. Keys that the file lacks get their default. Raises InputError,
    beginning with `where`, for anything that `parse` refuses.
    """
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise InputError(f"{where}: its settings have version {version!r}; this program reads 1 to {VERSION}")
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: it holds no settings")
    filled = _merge(_yaml(CONF / "config.yaml"), values) if model is TrainSettings else dict(values)
    for group in {*UNIONS, "trainer"} & filled.keys():
        if isinstance(given := filled[group], Mapping):
            filled[group] = _merge(defaults(group, given.get("name", "default")), given)
            if group == "trainer":
                filled[group] = {key: value for key, value in filled[group].items() if key not in WITHOUT_EFFECT}
    return parse(model, filled, f"{where}: ")


def defaults(group: str, name: object) -> dict[str, Any]:
    """What conf/GROUP/NAME.yaml sets and inherits; for a name of the user's own, what all choices share."""
    names = {file.stem for file in (CONF / group).glob("*.yaml")}
    if isinstance(name, str) and name in names:
        return _yaml(CONF / group / f"{name}.yaml")
    return _yaml(shared) if (shared := CONF / "common" / f"{group}.yaml").exists() else {}


@cache
def _yaml(file: Path) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    parents = content.pop("defaults", [])
    merged: dict[str, Any] = {}
    for parent in parents if file.parent != CONF else ():
        if parent != "_self_":
            place = CONF / parent.removeprefix("/").removesuffix("@_here_") if "/" in parent else file.parent / parent
            merged = _merge(merged, _yaml(place.with_suffix(".yaml")))
    content.pop("hydra", None)
    return _merge(merged, content)


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _compared(settings: Settings) -> dict[str, Any]:
    values = flatten(dump(settings))
    if isinstance(settings, TrainSettings):
        values["trainer.devices"] = settings.trainer.devices_per_node or settings.trainer.devices
    return values


def require_same(before: Settings, now: Settings, what: str, may_change: frozenset[str] = MAY_CHANGE) -> None:
    """Raise InputError where settings differ that must not between what is resumed and this command.

    what: the thing that is resumed, as `the run in runs/mine`. may_change: keys, and groups by their name. Of devices,
    their number must be the same, not which they are.
    """
    was, becomes = _compared(before), _compared(now)
    for key in sorted(was.keys() | becomes.keys()):
        parts = key.split(".")
        free = any(".".join(parts[:length]) in may_change for length in range(1, len(parts) + 1))
        if not free and was.get(key) != becomes.get(key):
            raise InputError(
                f"{key} was {was.get(key)!r} in {what} and is {becomes.get(key)!r} now. "
                "Give the same settings, or another folder"
            )
