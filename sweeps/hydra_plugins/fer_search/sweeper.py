"""The sweeper that `hydra/sweeper=study` names: hands Hydra's overrides to `fer_lightning.search`."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf


class StudySweeper(Sweeper):
    """An Optuna study over the trials of a sweep. settings: conf/hydra/sweeper/study.yaml."""

    def __init__(self, **settings: Any):
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from fer_lightning.search.trial import run_trial  # here, since torch is imported with it

        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=run_trial, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from fer_lightning.commands import end_stopped
        from fer_lightning.config import plain
        from fer_lightning.search.search import search
        from fer_lightning.search.space import read_space
        from fer_lightning.stopping import Stopped

        config, launcher = self.config, self.launcher
        assert config is not None
        assert launcher is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        settings: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
        folder = Path(str(config.hydra.sweep.dir)).absolute()

        def compose(overrides: list[str], alone: bool = False) -> dict[str, Any]:
            name = config.hydra.job.config_name
            composed = (
                loader.load_configuration(name, overrides, RunMode.RUN)
                if alone
                else loader.load_sweep_config(config, overrides)
            )
            return plain(OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"]))

        def launch(jobs: Sequence[list[str]], number: int) -> Sequence[dict[str, Any]]:
            # `job.return_value` raises what went wrong only after Hydra has logged it
            outcomes = [job._return_value for job in launcher.launch(jobs, initial_job_idx=number)]
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
            return outcomes

        logging.getLogger("hydra").setLevel(logging.WARNING)  # "Launching 1 jobs locally", before each trial
        try:
            return search(folder, settings, read_space(settings["params"], arguments, loader), compose, launch)
        except Stopped as stopped:
            end_stopped(stopped, f"the same command goes on with the study in {folder}")
