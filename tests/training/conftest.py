"""Runs that several tests of training look at. Tests that change a run folder take a copy."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import FC, RANDOM, run_fit


@pytest.fixture(scope="session")
def whole_run(train, tmp_path_factory) -> Path:
    """A run of RANDOM by the train command, never stopped."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    ended = train(*RANDOM, f"hydra.run.dir={folder}")
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="session")
def fc_run(train, tmp_path_factory) -> Path:
    """Two epochs of a small fully connected network by the train command, nothing drawn."""
    folder = tmp_path_factory.mktemp("runs") / "fc"
    ended = train(*FC, "draw.every=0", "trainer.max_epochs=2", f"hydra.run.dir={folder}")
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="session")
def uninterrupted(whole_run, tmp_path_factory) -> Callable[..., Path]:
    """The folder of a run with some overrides that was never stopped, trained once."""
    runs = {tuple(RANDOM): whole_run}

    def folder_of(*overrides: str) -> Path:
        if overrides not in runs:
            runs[overrides] = tmp_path_factory.mktemp("runs") / str(len(runs))
            run_fit(runs[overrides], *overrides)
        return runs[overrides]

    return folder_of
