"""Optuna's samplers and pruners of a search's settings."""

import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, PartialFixedSampler, RandomSampler, TPESampler

from fer_lightning.errors import InputError
from fer_lightning.search.space import Value
from fer_lightning.settings import SearchSettings

BY_EPOCH = ("median", "hyperband")
"""Pruners that look at each epoch; `wilcoxon` looks at each fold."""


def build_sampler(settings: SearchSettings, number: int, grid: Sequence[dict[str, Value]] = ()) -> BaseSampler:
    """The sampler for the trial of that number: its draws depend on (seed, number) and the study alone.

    Raises InputError where the sampler's package is not installed.
    """
    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):
        match settings.sampler:
            case "tpe":
                return TPESampler(seed=seed)
            case "gp":
                return GPSampler(seed=seed)
            case "cmaes":
                if find_spec("cmaes") is None:  # Optuna would find out only at the second trial
                    raise InputError(
                        "hydra.sweeper.sampler=cmaes needs a package that is not installed: "
                        "pip install 'fer_lightning[cmaes]'"
                    )
                return CmaEsSampler(seed=seed, warn_independent_sampling=False)
            case "random":
                return RandomSampler(seed=seed)
            case "grid":
                return PartialFixedSampler(grid[number], RandomSampler(seed=seed))


def build_pruner(settings: SearchSettings, folds: int, epochs: int) -> BasePruner:
    """Wilcoxon's test across folds, or median or Hyperband over the epochs of all folds. Raises InputError."""
    options: dict[str, Any] = settings.pruner_options
    try:
        with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):
            match settings.pruner:
                case "wilcoxon":
                    return WilcoxonPruner(**{"p_threshold": 0.13, **options})
                case "median":
                    return MedianPruner(**options)
                case "hyperband":
                    return HyperbandPruner(**{"min_resource": 1, "max_resource": folds * epochs, **options})
                case "none":
                    return NopPruner()
    except (TypeError, ValueError) as error:
        raise InputError(f"hydra.sweeper.pruner_options={options}: {settings.pruner}: {error}") from error
