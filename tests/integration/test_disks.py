"""A run folder on a full or a read-only disk: one clear message, and what was saved is whole."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tiny_runs import NO_FINALE, ON_CPU

from fer_lightning.networks.weight_files import read_checkpoint

SMALL = [
    "data.images=70",
    "data.batch_size=28",
    "model=conv_poster",
    "model.conv=[{filters: 2, kernel: 5, pool: 8}]",
    "model.hidden=[8]",
    *ON_CPU,
    *NO_FINALE,
]


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A mount on `folder` for the time of the block; the test is skipped where this user may not mount."""
    folder.mkdir(exist_ok=True)
    if not shutil.which("mount") or subprocess.run(["mount", *options, folder], capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("kilobytes", [4, 12, 20, 32, 48, 64, 80, 96])
def test_a_full_disk_stops_a_run_with_one_message_and_what_was_saved_is_whole(kilobytes, train, tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs") as disk:
        result = train(*SMALL, f"hydra.run.dir={disk / 'run'}", "trainer.max_epochs=60")
        assert result.code == 2, result
        assert "error: " in result.err
        assert len(result.err.strip().splitlines()) == 1, result.err
        assert re.search(r"No space left on device.*(resume=true|kept)", result.err)
        assert not list(disk.rglob("*.partial"))
        assert not (disk / "run" / "metrics.json").exists()
        for checkpoint in disk.rglob("*.ckpt"):
            read_checkpoint(checkpoint)


def test_a_read_only_run_folder_is_reported(train, tmp_path):
    short = [*SMALL, "trainer.max_epochs=1", "draw.every=0"]
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as disk:
        assert train(*short, f"hydra.run.dir={disk / 'run'}").code == 0
        (disk / "run" / "metrics.json").unlink()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for folder in ("run", "new"):
            result = train(*short, f"hydra.run.dir={disk / folder}", "resume=true")
            assert result.code == 2
            assert "Read-only file system" in result.err
            assert "Traceback" not in result.err
            assert len(result.err.strip().splitlines()) == 1, result.err
