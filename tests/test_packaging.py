"""What a user installs and types: the wheel, the Makefile's targets and the README's commands."""

import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fer_lightning.cli import settings_of
from fer_lightning.settings import TrainSettings

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text()
TRAIN_COMMANDS = re.findall(r"^python -m fer_lightning\.train (.*?)(?:\s+# .*)?$", README, re.MULTILINE)


def test_a_wheel_works_from_any_folder(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=PROJECT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        weights = {name for name in archive.namelist() if name.startswith("fer_lightning/weights/bundled.")}
    assert weights == {"fer_lightning/weights/bundled.safetensors", "fer_lightning/weights/bundled.json"}
    assert wheel.stat().st_size < 10e6
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(*words: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(site)}
        ran = subprocess.run([sys.executable, *words], cwd=elsewhere, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    arguments = ["model=fc", "data.images=70", "trainer.max_epochs=1", "trainer.accelerator=cpu", "hydra.run.dir=run"]
    run("-m", "fer_lightning", "train", *arguments)
    assert (elsewhere / "run" / "metrics.json").exists()
    assert "learning rate" in run("-m", "fer_lightning.train", "--help")
    conf = run("-c", "import fer_lightning.settings as settings; print(settings.CONF)")
    assert Path(conf.strip()).is_relative_to(site)
    run("-m", "fer_lightning.report", "run", "--out", "report")
    assert (elsewhere / "report" / "report.html").exists()
    run("-m", "fer_lightning.evaluate", "checkpoint=bundled", "data=synthetic", "data.images=70")
    assert (elsewhere / "runs" / "bundled" / "evaluation-val" / "evaluation.json").exists()
    assert run("-m", "fer_lightning.weights") == (PROJECT / "docs" / "model_card.md").read_text()


@pytest.mark.parametrize(
    "command", [command for command in TRAIN_COMMANDS if not any(part in command for part in ("...", "--", "+best="))]
)
def test_the_readmes_train_commands_compose(command, compose):
    words = [word for word in shlex.split(command) if not word.startswith("hydra.")]
    settings_of(compose(*words), TrainSettings)


def test_the_makefile_has_the_promised_targets():
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert {"setup", "train", "test", "test-integration", "check", "bench", "tensorboard", "report"} <= targets


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/reliability.md", "docs/model_card.md", "sweeps/README.md"]
)
def test_a_page_names_only_files_that_exist(page):
    for name in re.findall(r"\]\(((?!http)[^)#]+)\)", (PROJECT / page).read_text()):
        assert ((PROJECT / page).parent / name).exists(), name
