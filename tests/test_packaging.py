"""What a user installs and types: the wheel, the Makefile's targets and the README's commands."""

import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fer_lightning.config import plain

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text()
TRAIN_COMMANDS = re.findall(r"^python -m fer_lightning\.train (.*?)(?:\s+# .*)?$", README, re.MULTILINE)


def test_a_wheel_works_from_any_folder(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    arguments = ["model=fc", "data.images=70", "trainer.max_epochs=1", "trainer.accelerator=cpu", "hydra.run.dir=run"]
    ran = subprocess.run(
        [sys.executable, "-m", "fer_lightning.train", *arguments],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert (elsewhere / "run" / "metrics.json").exists()
    where = "import fer_lightning.commands as c; print(c.CONF)"
    found = subprocess.run(
        [sys.executable, "-c", where],
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        cwd=elsewhere,
    )
    assert Path(found.stdout.strip()).is_relative_to(site)


@pytest.mark.parametrize(
    "command", [command for command in TRAIN_COMMANDS if "..." not in command and "--" not in command]
)
def test_the_readmes_train_commands_compose(command, compose):
    plain(compose(*(word for word in shlex.split(command) if not word.startswith("hydra."))))


def test_the_makefile_has_the_promised_targets():
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert {"setup", "train", "test", "check", "bench", "tensorboard"} <= targets


def test_readme_names_only_files_that_exist():
    for name in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (PROJECT / name).exists(), name
