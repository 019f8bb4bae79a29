"""The sweeper that `hydra/sweeper=study` names: turns overrides into dimensions, and runs the search."""

import contextlib
import io
import logging
import math
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from fer_lightning.cli import settings_of
from fer_lightning.errors import InputError
from fer_lightning.settings import SearchSettings, TrainSettings, parse
from fer_lightning.signals import Stopped

if TYPE_CHECKING:
    from fer_lightning.search.space import Dimension, Space
    from fer_lightning.search.study import Outcome


class StudySweeper(Sweeper):
    """An Optuna study over the trials of a sweep. settings: conf/hydra/sweeper/study.yaml."""

    def __init__(self, **settings: Any):
        self.config: Any = None
        self.launcher: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.loader = config, hydra_context.config_loader
        launcher = Plugins.instance().instantiate_launcher
        self.launcher = launcher(hydra_context=hydra_context, task_function=run_job, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Check the settings and the space, then search; torch is imported in between."""
        from fer_lightning.training.processes import require_one_process, stop_with_parent, this_worker

        if this_worker():
            stop_with_parent()
        folder, settings = Path(self.config.hydra.sweep.dir).absolute(), search_settings(self.config.hydra)
        launcher = self.config.hydra.runtime.choices["hydra/launcher"]
        settings = require_one_process(settings, launcher if launcher != "basic" else None)
        space = read_space(settings.params, arguments, self.loader)
        extremes = space.check(settings, self.compose)
        from fer_lightning.search.space import hydra_text
        from fer_lightning.search.worker import search

        logging.getLogger("hydra").setLevel(logging.WARNING)  # "Launching 1 jobs locally", before each trial
        words = [*sys.argv[1:], f"hydra.sweep.dir={hydra_text(str(folder))}"]  # which may hold the time of day
        command = [sys.executable, "-m", "fer_lightning.train", *words]
        try:
            return search(folder, settings, space, extremes, self.compose, self.launch, command)
        except Stopped as stopped:
            stopped.advice = f"the same command goes on with the study in {folder}"
            raise

    def compose(self, overrides: Sequence[str], alone: bool) -> TrainSettings:
        """The checked settings of some overrides, with `alone` without those of the sweep's command line."""
        name, words = self.config.hydra.job.config_name, list(overrides)
        if alone:
            return settings_of(self.loader.load_configuration(name, words, RunMode.RUN), TrainSettings)
        return settings_of(self.loader.load_sweep_config(self.config, words), TrainSettings)

    def launch(self, jobs: Sequence[list[str]], number: int) -> "list[Outcome]":
        """Run jobs by their overrides, the first of that number; returns how each trial ended, or raises its error."""
        ended = self.launcher.launch(jobs, initial_job_idx=number)
        with contextlib.redirect_stderr(io.StringIO()):  # Hydra prints a line before it raises a job's error
            return [job.return_value for job in ended]


def run_job(config: DictConfig) -> "Outcome":
    """Run the trial that `hydra.sweeper.trial` names, in whatever process the launcher started."""
    from fer_lightning.search.trial import run_trial

    hydra = HydraConfig.get()
    return run_trial(
        partial(settings_of, config, TrainSettings), search_settings(hydra), Path(hydra.runtime.output_dir)
    )


def search_settings(hydra: Any) -> SearchSettings:
    """The checked settings of the search in Hydra's own config. Raises InputError."""
    values: Any = OmegaConf.to_container(hydra.sweeper, resolve=True)
    return parse(SearchSettings, {key: values[key] for key in values if key[0] != "_"}, prefix="hydra.sweeper.")


def read_space(params: Mapping[str, Any], arguments: Sequence[str], loader: Any = None) -> "Space":
    """The space of a sweep file's `params` and of the command line, which wins where both name a key.

    params: Hydra's sweep syntax by key, as in {"optimizer.lr": "tag(log, interval(1e-4, 1e-1))"}; a plain value fixes
    the key. loader: Hydra's config loader, for `glob`. Raises InputError for an empty space and for an empty dimension.
    """
    from fer_lightning.search.space import Space

    words = [*(f"{key}={value}" for key, value in params.items()), *arguments]
    overrides = {word.get_key_element(): word for word in OverridesParser.create(loader).parse_overrides(words)}
    dimensions = {key: dimension(word) for key, word in overrides.items() if word.is_sweep_override()}
    if not dimensions:
        raise InputError(
            "the search space is empty: no setting varies. Give a dimension on the command line, as in "
            "'optimizer.lr=tag(log, interval(1e-4, 1e-1))' or model.dropout=0,0.3, or one of the files of sweeps="
        )
    texts = {key: str(word.input_line) for key, word in overrides.items()}
    fixed = [texts[key] for key in texts if key not in dimensions]
    return Space(dimensions, fixed, {key: texts[key].partition("=")[2].strip() for key in dimensions})


def dimension(override: Override) -> "Dimension":
    """The dimension of one sweep override: interval, range or choice, with the tags log and int."""
    from fer_lightning.search.space import Choice, interval

    value = override.value()
    try:
        if isinstance(value, IntervalSweep):
            number = int if "int" in value.tags or isinstance(value.start, int) else float
            return interval(number(value.start or 0), number(value.end or 0), log="log" in value.tags)
        if isinstance(value, RangeSweep):
            # Hydra adds binary fractions up: its range(0.1, 0.4, 0.1) ends with 0.39999999999999997
            points = sorted(point for point in value.range() if not math.isclose(point, value.stop or 0))
            if not points:
                raise ValueError("the range is empty")
            whole = all(isinstance(point, int) for point in points)
            low, high = (point if whole else float(f"{point:.12g}") for point in (points[0], points[-1]))
            return interval(low, high, step=abs(value.step))
        pairs = zip(override.sweep_iterator(), override.sweep_string_iterator(), strict=True)
        return Choice([raw if raw is None or isinstance(raw, bool | int | float) else text for raw, text in pairs])
    except ValueError as error:
        raise InputError(f"{override.input_line}: not a dimension that can be searched: {error}") from error
