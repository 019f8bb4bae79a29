"""The search space: distributions by config key, and the values of a trial as overrides of the command line.

Imports no torch, so that a wrong space is refused within a second.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from fer_lightning.errors import InputError
from fer_lightning.settings import SearchSettings, TrainSettings

Choice = CategoricalDistribution
Dimension: TypeAlias = CategoricalDistribution | FloatDistribution | IntDistribution
Value: TypeAlias = bool | int | float | str | None
"""Of a dimension; text is in Hydra's grammar, as `[256,512]`."""

Compose: TypeAlias = Callable[[Sequence[str], bool], TrainSettings]
"""The checked settings of some overrides, with those of the command line that began the search, or without."""


def interval(low: float, high: float, log: bool = False, step: float | None = None) -> Dimension:
    """Numbers from `low` to `high`, both included, whole where both are. Raises ValueError for an empty interval."""
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log, step=int(step or 1))
    return FloatDistribution(low, high, log=log, step=step)


def points(dimension: Dimension) -> list[Value]:
    """All values of a dimension, none for an interval without steps."""
    match dimension:
        case CategoricalDistribution():
            return list(dimension.choices)
        case IntDistribution(log=False):
            return list(range(dimension.low, dimension.high + 1, dimension.step))
        case FloatDistribution(step=float(step)):
            count = round((dimension.high - dimension.low) / step) + 1
            return [float(f"{dimension.low + i * step:.12g}") for i in range(count)]
    return []


def contains(dimension: Dimension, value: Any) -> bool:
    """Whether a value is one of a dimension's."""
    valid = points(dimension)
    if valid or isinstance(dimension, Choice):
        return value in valid
    return isinstance(value, int | float) and dimension.low <= value <= dimension.high


def suggest(trial: Trial, name: str, dimension: Dimension) -> Value:
    """Draw a trial's value of a dimension, unless it has one."""
    match dimension:
        case CategoricalDistribution():
            return trial.suggest_categorical(name, dimension.choices)
        case IntDistribution():
            return trial.suggest_int(name, dimension.low, dimension.high, step=dimension.step, log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, step=dimension.step, log=dimension.log)


@dataclass(frozen=True)
class Space:
    """dimensions: what is searched, by config key. fixed: overrides of all trials. texts: dimensions as given."""

    dimensions: Mapping[str, Dimension]
    fixed: list[str]
    texts: dict[str, str]

    def overrides(self, values: Mapping[str, Value]) -> list[str]:
        """The command line of a trial with these values."""
        texts = {key: value if isinstance(value, str) else hydra_text(value) for key, value in values.items()}
        return [*self.fixed, *(f"{key}={texts[key]}" for key in self.dimensions)]

    def known(self, setting: Mapping[str, Any]) -> dict[str, Value]:
        """Those values of a setting, by key, that the space holds."""
        values = {key: hydra_text(value) if isinstance(value, list | dict) else value for key, value in setting.items()}
        keys = [key for key in self.dimensions if key in values and contains(self.dimensions[key], values[key])]
        return {key: values[key] for key in keys}

    def extremes(self) -> list[dict[str, Value]]:
        """A few settings in which every end of every interval and every choice occurs."""
        ends: dict[str, Sequence[Value]] = {
            key: dimension.choices if isinstance(dimension, Choice) else [dimension.low, dimension.high]
            for key, dimension in self.dimensions.items()
        }
        longest = max(map(len, ends.values()))
        return [{key: values[min(i, len(values) - 1)] for key, values in ends.items()} for i in range(longest)]

    def check(self, settings: SearchSettings, compose: Compose) -> list[TrainSettings]:
        """The training settings at the extremes. Raises InputError where they or the sampler allow no search."""
        if settings.sampler == "grid":
            self.grid()
        checked = []
        for values in self.extremes():
            checked.append(compose(self.overrides(values), False))
            if not checked[-1].cv.folds:
                raise InputError("cv.folds=0: a search chooses by cross-validation; give cv.folds=5, say")
        return checked

    def grid(self) -> list[dict[str, Value]]:
        """Every combination, the last dimension changing fastest. Raises InputError for an interval without steps."""
        columns = {key: points(dimension) for key, dimension in self.dimensions.items()}
        if open_ended := [key for key, column in columns.items() if not column]:
            raise InputError(
                f"{open_ended[0]}: a grid needs choice(...) or range(...), and this is an interval without steps"
            )
        return [dict(zip(columns, values, strict=True)) for values in itertools.product(*columns.values())]


def hydra_text(value: Any) -> str:
    """A plain value in Hydra's grammar for the right of `=`."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return "'" + re.sub(r"(\\+)$", r"\1\1", re.sub(r"(\\*)'", r"\1\1\\'", value)) + "'"
        case list():
            return "[" + ",".join(map(hydra_text, value)) + "]"
        case dict():
            return "{" + ",".join(f"{key}:{hydra_text(item)}" for key, item in value.items()) + "}"
        case _:
            return str(value)
