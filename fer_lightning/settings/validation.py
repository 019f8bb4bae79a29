"""Settings models are strict and frozen; a wrong value is told with its key and with what would be valid."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, WrapValidator, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from fer_lightning.errors import InputError, near_misses


class Settings(BaseModel):
    """Strict and frozen: no conversion of types, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    DATA_KEYS: ClassVar[Collection[str] | None] = None
    """In the settings of a command: keys of `data` that have an effect there, None for all of them."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        keys = list(cls.model_fields)
        for key in values if isinstance(values, Mapping) else ():
            if key not in keys:
                words = f"{key}: no such setting.{near_misses(key, keys)} Keys: {', '.join(keys)}"
                raise PydanticCustomError("unknown_key", "{words}", {"words": words})
        return values


UNIONS = frozenset({"data", "model", "optimizer", "schedule", "logger"})
"""Fields with a choice of models, by `name` or `kind`: pydantic puts the choice into the location of an error."""

IS_PATH = "path"
"""Mark of the settings that are paths: the command line takes their values literally."""

S = TypeVar("S", bound=Settings)


def path_keys(model: type[Settings]) -> set[str]:
    """The dotted keys of a model's settings that are paths."""
    keys = {name for name, field in model.model_fields.items() if IS_PATH in field.metadata}
    for name, field in model.model_fields.items():
        keys |= {f"{name}.{key}" for inner in _models(field.annotation) for key in path_keys(inner)}
    return keys


def _models(annotation: Any) -> list[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def expected(words: str, holds: Callable[[Any], bool] = lambda _: True) -> WrapValidator:
    """Validator whose message is `expected {words}`, for a wrong type as for a value that `holds` refuses."""

    def check(value: Any, validate: Callable[[Any], Any]) -> Any:
        try:
            valid = validate(value)
            if holds(valid):
                return valid
        except ValidationError:
            pass
        raise PydanticCustomError("expected", "expected {words}", {"words": words})

    return WrapValidator(check)


def whole(least: int, most: float = math.inf, null: bool = False) -> WrapValidator:
    """A whole number between two bounds, both included; with `null`, None too."""
    words = f"a whole number of {least} or more" if most == math.inf else f"a whole number from {least} to {most}"
    return expected(words + ", or null" * null, lambda value: value is None or least <= value <= most)


def number(
    least: float = 0, most: float = math.inf, below: float = math.inf, above: bool = False, null: bool = False
) -> WrapValidator:
    """A number from `least` (above it with `above`) to `most`, or to below `below`; with `null`, None too."""
    words = f"a number above {least:g}" if above else f"a number of at least {least:g}"
    if most < math.inf:
        words = f"{words}, at most {most:g}" if above else f"a number from {least:g} to {most:g}"
    words += f" and below {below:g}" * (below < math.inf) + ", or null" * null
    return expected(words, lambda x: x is None or (least <= x <= most and x < below and not (above and x == least)))


def conflict(words: str) -> PydanticCustomError:
    """What a validator of a whole model raises: words that begin with the key."""
    return PydanticCustomError("conflict", "{words}", {"words": words})


def parse(model: type[S], values: Mapping[Any, Any], prefix: str = "") -> S:
    """Plain values as a settings model. Raises InputError with the key, the value, and what would be valid."""
    try:
        if targets := [key for key in flatten(values) if key.rpartition(".")[2] == "_target_"]:
            raise InputError(f"{prefix}{targets[0]}: settings are values; nothing here is built from a _target_")
        return model.model_validate(dict(values))
    except RecursionError:
        raise InputError(f"{prefix}settings are nested too deep") from None
    except ValidationError as error:
        raise InputError(prefix + _message(error.errors()[0])) from None


def dump(settings: Settings) -> dict[str, Any]:
    """Plain values of some settings, as `parse` takes them; Lightning's arguments only where they were given."""
    return settings.model_dump(exclude_unset=True)


def flatten(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted keys: {"optimizer": {"lr": 0.1}} is {"optimizer.lr": 0.1}."""
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        leaves.update(flatten(value, f"{key}.") if isinstance(value, Mapping) and value else {key: value})
    return leaves


def _message(error: ErrorDetails) -> str:
    """`optimizer.lr=-1: expected a number above 0`, from one of pydantic's errors."""
    head, *rest = error["loc"] or ("",)
    places = [head, *rest[1:]] if head in UNIONS else [head, *rest]
    key = "".join(f"[{place}]" if isinstance(place, int) else f".{place}" for place in places).strip(".")
    given, kind, context = error["input"], error["type"], error.get("ctx", {})
    if kind == "missing":
        return f"{key} is missing"
    if kind in ("unknown_key", "conflict"):
        return f"{key}.{error['msg']}".strip(".")
    if kind.startswith("union_tag") and isinstance(given, Mapping):
        tag = "name" if "(" in context["discriminator"] else context["discriminator"].strip("'")
        if tag not in given:
            return f"{key}.{tag} is missing"
        choices = context["expected_tags"].replace("'", "")
        hint = near_misses(given[tag], choices.split(", "))
        return f"{key}.{tag}={given[tag]!r}: No such choice.{hint} Choices: {choices}"
    if kind.startswith("union_tag") or kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"{key}={'null' if given is None else given}: expected a group of settings"
    if kind == "too_short":
        return f"{key}={given!r}: expected a list of at least {context['min_length']}"
    if kind == "literal_error":
        hint = near_misses(given, context["expected"].replace("'", "").replace(" or ", ", ").split(", "))
        return f"{key}={given!r}: expected {context['expected']}.{hint}".removesuffix(".")
    return f"{key}={given!r}: {error['msg'].replace('Input should be', 'expected').replace('valid ', '')}"
