"""The boundary between Hydra and the code: a composed config is checked and becomes plain values, once."""

import math
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fer_lightning.errors import InputError, near_misses

Check = Callable[[Any], bool]


def whole(least: int, most: float = math.inf) -> tuple[Check, str]:
    """A whole number between two bounds, both included."""
    expected = f"a whole number of {least} or more" if most == math.inf else f"a whole number from {least} to {most}"
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most, expected


def number(least: float, below: float = math.inf, above: bool = False) -> tuple[Check, str]:
    """A number from `least` (above it with `above`) to below `below`."""
    expected = f"a number {'above' if above else 'of at least'} {least:g}"
    expected += "" if below == math.inf else f" and below {below:g}"

    def check(value: Any) -> bool:
        real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return real and (value > least if above else value >= least) and value < below

    return check, expected


def one_of(*choices: Any) -> tuple[Check, str]:
    """One of a few values."""
    return lambda value: value in choices and not (isinstance(value, bool) and True not in choices), (
        " or ".join(str(choice).lower() if isinstance(choice, bool) else str(choice) for choice in choices)
    )


def or_null(check: tuple[Check, str]) -> tuple[Check, str]:
    """null, or what another check lets through."""
    return lambda value: value is None or check[0](value), f"{check[1]}, or null"


def betas(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(number(0, 1)[0](item) for item in value)


SWITCH = one_of(True, False)
FOLDS = (lambda value: value == 0 or whole(2, 100)[0](value), "0 (off) or a whole number from 2 to 100")
TEXT = (lambda value: isinstance(value, str), "text")

CHECKS: dict[str, tuple[Check, str]] = {
    "seed": whole(0, 2**32 - 1),
    "resume": SWITCH,
    "memory_format": one_of("auto", "channels_last", "contiguous"),
    "checkpoint_minutes": or_null(number(0)),
    "early_stopping.patience": or_null(whole(1)),
    "ema.decay": number(0, 1),
    "draw.every": whole(0),
    "draw.share": number(0),
    "draw.deepdream": SWITCH,
    "draw.embedding": whole(0),
    "cv.folds": FOLDS,
    "cv.seed": whole(0, 2**32 - 1),
    **dict.fromkeys(("model.name", "model.kind", "data.name", "optimizer.name", "schedule.name"), TEXT),
    "data.path": or_null(TEXT),
    "data.cache_dir": or_null(TEXT),
    "data.batch_size": whole(2),
    "data.votes": or_null(TEXT),
    "data.soft": SWITCH,
    "data.unique": SWITCH,
    "data.check_counts": SWITCH,
    "data.download": SWITCH,
    "data.channels": one_of(1, 3),
    "data.size": whole(8, 512),
    "data.images": whole(70),
    "data.seed": whole(0, 2**32 - 1),
    "data.label_noise": number(0, 1),
    "model.batch_norm": SWITCH,
    "model.class_weights": SWITCH,
    "model.label_smoothing": number(0, 1),
    "model.dropout": number(0, 1),
    "optimizer.lr": number(0, above=True),
    "optimizer.weight_decay": number(0),
    "optimizer.momentum": number(0, 1),
    "optimizer.betas": (betas, "two numbers of at least 0 and below 1, as in [0.9,0.999]"),
    "schedule.patience": whole(1),
    "trainer.max_epochs": whole(1),
}
"""What each key may hold. Keys that are not here are checked where they are used (model.conv, data.augment, data.hog),
or by Lightning (the rest of trainer)."""


HOG = ("orientations", "pixels_per_cell", "cells_per_block", "block_norm")
OF_TRAIN = ("early_stopping", "ema", "draw", "cv")
GROUPS = ("data", "data.augment", "data.hog", "model", "optimizer", "schedule", "trainer", *OF_TRAIN)
"""Keys that hold further keys."""


def plain(config: DictConfig) -> dict[str, Any]:
    """The config as plain dicts, lists and numbers. Raises InputError for a value of the wrong type or out of range."""
    values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(values, dict)
    return checked(values)


def checked(values: dict[Any, Any]) -> dict[str, Any]:
    """Plain settings, whether composed or kept in a file. Raises InputError as `plain` does."""
    if code := [key for key in flat(values) if key.rpartition(".")[2] == "_target_"]:
        raise InputError(f"{code[0]}: settings are values; nothing here is built from a _target_")
    node: Any
    for group in GROUPS:
        node = values
        for name in group.split("."):
            node = node.get(name, None if "resume" in values else {})  # the config of training has them all
            if not isinstance(node, dict):
                raise InputError(f"{group}={'null' if node is None else node}: expected a group of settings")
    for key in values.get("data", {}).get("hog", {}):
        if key not in HOG:
            raise InputError(f"data.hog.{key}: no such setting.{near_misses(str(key), HOG)} Keys: {', '.join(HOG)}")
    for key, (check, expected) in CHECKS.items():
        node = values
        *parents, name = key.split(".")
        for parent in parents:
            node = node.get(parent, {})
        if name in node and not check(node[name]):
            raise InputError(f"{key}={node[name]!r}: expected {expected}")
    return {str(key): value for key, value in values.items()}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted keys: {"optimizer": {"lr": 0.1}} is {"optimizer.lr": 0.1}."""
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        leaves.update(flat(value, f"{key}.") if isinstance(value, dict) and value else {key: value})
    return leaves
