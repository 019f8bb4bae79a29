"""The search space: Hydra's sweep overrides as Optuna distributions, and a trial's values as overrides again."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from fer_lightning.errors import InputError


@dataclass(frozen=True)
class Space:
    """dimensions: what is searched, by config key. fixed: the overrides that all trials share. texts: as given."""

    dimensions: dict[str, BaseDistribution]
    fixed: list[str]
    texts: dict[str, str]

    def described(self) -> dict[str, str]:
        """Each dimension as text, for comparing two spaces."""
        return {key: distribution_to_json(dimension) for key, dimension in self.dimensions.items()}

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """The command line of a trial with these values."""
        return [*self.fixed, *(f"{key}={choice_text(values[key])}" for key in self.dimensions)]

    def extremes(self) -> list[dict[str, Any]]:
        """A few settings in which every end of every interval and every choice occurs."""
        ends = {
            key: list(dimension.choices)
            if isinstance(dimension, CategoricalDistribution)
            else [dimension.low, dimension.high]  # type: ignore[attr-defined]
            for key, dimension in self.dimensions.items()
        }
        longest = max(len(values) for values in ends.values())
        return [{key: values[min(i, len(values) - 1)] for key, values in ends.items()} for i in range(longest)]

    def grid(self) -> list[dict[str, Any]]:
        """Every combination, the last dimension changing fastest. Raises InputError for an interval without steps."""
        columns = []
        for key, dimension in self.dimensions.items():
            if isinstance(dimension, CategoricalDistribution):
                columns.append(list(dimension.choices))
            elif isinstance(dimension, IntDistribution) and not dimension.log:
                columns.append(list(range(dimension.low, dimension.high + 1, dimension.step)))
            elif isinstance(dimension, FloatDistribution) and dimension.step is not None:
                steps = round((dimension.high - dimension.low) / dimension.step)
                columns.append([float(f"{dimension.low + i * dimension.step:.12g}") for i in range(steps + 1)])
            else:
                raise InputError(
                    f"{key}: a grid needs choice(...) or range(...), and this is an interval without steps"
                )
        return [dict(zip(self.dimensions, values, strict=True)) for values in itertools.product(*columns)]


def read_space(params: Mapping[str, Any], arguments: Sequence[str], loader: Any = None) -> Space:
    """The space of a sweep file's `params` and of the command line, which wins where both name a key.

    params: Hydra's sweep syntax by key, as in {"optimizer.lr": "tag(log, interval(1e-4, 1e-1))"}; a plain value fixes
    the key. loader: Hydra's config loader, for `glob`. Raises InputError for an empty space and for an empty dimension.
    """
    parser = OverridesParser.create(config_loader=loader)
    overrides = {
        override.get_key_element(): override
        for override in parser.parse_overrides([*(f"{key}={value}" for key, value in params.items()), *arguments])
    }
    dimensions = {key: dimension(override) for key, override in overrides.items() if override.is_sweep_override()}
    if not dimensions:
        raise InputError(
            "the search space is empty: no setting varies. Give a dimension on the command line, as in "
            "'optimizer.lr=tag(log, interval(1e-4, 1e-1))' or model.dropout=0,0.3, or one of the files of sweeps="
        )
    fixed = [str(override.input_line) for key, override in overrides.items() if key not in dimensions]
    texts = {key: str(overrides[key].input_line).partition("=")[2].strip() for key in dimensions}
    return Space(dimensions, fixed, texts)


def dimension(override: Override) -> BaseDistribution:
    """The distribution of one sweep override: interval, range or choice, with the tags log and int."""
    value, given = override.value(), override.input_line
    try:
        if isinstance(value, IntervalSweep):
            assert value.start is not None
            assert value.end is not None
            log = "log" in value.tags
            if "int" in value.tags or isinstance(value.start, int):
                return IntDistribution(int(value.start), int(value.end), log=log)
            return FloatDistribution(value.start, value.end, log=log)
        if isinstance(value, RangeSweep):
            # Hydra adds binary fractions up: its range(0.1, 0.4, 0.1) ends with 0.39999999999999997
            points = sorted(point for point in value.range() if not math.isclose(point, float(value.stop or 0)))
            if not points:
                raise ValueError("the range is empty")
            if all(isinstance(point, int) for point in points):
                return IntDistribution(int(points[0]), int(points[-1]), step=abs(int(value.step)))
            low, high = (float(f"{point:.12g}") for point in (points[0], points[-1]))
            return FloatDistribution(low, high, step=abs(float(value.step)))
        pairs = zip(override.sweep_iterator(), override.sweep_string_iterator(), strict=True)
        return CategoricalDistribution(
            [raw if raw is None or isinstance(raw, bool | int | float) else text for raw, text in pairs]
        )
    except ValueError as error:
        raise InputError(f"{given}: not a dimension that can be searched: {error}") from error


def choice_text(value: Any) -> str:
    """A value of a dimension on the right of `=`; a choice that is text is Hydra's already."""
    return value if isinstance(value, str) else hydra_text(value)


def hydra_text(value: Any) -> str:
    """A plain value in Hydra's grammar for the right of `=`."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        case list():
            return "[" + ",".join(hydra_text(item) for item in value) + "]"
        case dict():
            return "{" + ",".join(f"{key}:{hydra_text(item)}" for key, item in value.items()) + "}"
        case _:
            return str(value)
