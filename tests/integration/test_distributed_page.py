"""The commands of docs/distributed.md that need no GPU and no SLURM run as they stand there."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fer_lightning.settings import CONF

PAGE = CONF.parent / "docs" / "distributed.md"
COMMANDS = [line for line in PAGE.read_text().splitlines() if "trainer.accelerator=cpu" in line]
PROGRAMS = {"python": [sys.executable], "torchrun": [sys.executable, "-m", "torch.distributed.run"]}


def test_the_page_shows_each_way_on_a_cpu():
    assert [command.split()[0] for command in COMMANDS] == ["python", "torchrun", "python"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", COMMANDS, ids=["own processes", "torchrun", "folds"])
def test_a_command_of_the_page_runs(command: str, tmp_path: Path):
    program, *words = shlex.split(command, comments=True)
    several = [*PROGRAMS[program], *words, "draw.every=0", f"hydra.run.dir={tmp_path / 'run'}"]
    ended = subprocess.run(several, capture_output=True, text=True, timeout=800)
    assert ended.returncode == 0, ended.stderr
    assert "2 processes" in ended.stdout or "2 workers" in ended.stdout
    assert (tmp_path / "run" / "metrics.json").exists()
