"""Searches of many processes: killed at random, shared by workers, run by launchers."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from integration.forked_searches import forked
from optuna.trial import TrialState
from small_searches import QUICK, in_folder, rows, stored

LAUNCHERS = {
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", []),
    "ray": (
        "hydra_plugins.hydra_ray_launcher",
        ["+hydra.launcher.ray.init.include_dashboard=false", "+hydra.launcher.ray.init.num_cpus=2"],
    ),
}
KILLED = ["hydra.sweeper.retries=100", "trainer.max_epochs=6"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_runs_the_trials_side_by_side(tmp_path, launcher):
    package, more = LAUNCHERS[launcher]
    pytest.importorskip(package, reason=f"the launcher {launcher} is not installed")
    options = [f"hydra/launcher={launcher}", "hydra.sweeper.jobs=2", *more]
    command = [sys.executable, "-m", "fer_lightning.train", *QUICK, *options, *in_folder(tmp_path, 4)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [row["trial"] for row in rows(tmp_path)] == ["0", "1", "2", "3"]
    assert {row["state"] for row in rows(tmp_path)} == {"COMPLETE"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, train):
    """The four trials of a search that nobody stopped."""
    folder = tmp_path_factory.mktemp("sweeps") / "undisturbed"
    assert train(*QUICK, *KILLED, *in_folder(folder, 4)).code == 0
    return folder


def scores(folder: Path) -> list[dict[str, str]]:
    return [{key: row[key] for key in row if key not in ("wall_seconds", "tries")} for row in rows(folder)]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_a_search_killed_at_random_ends_as_one_that_was_not(undisturbed, tmp_path, storage):
    kills = 12
    result = forked(kills, 5, "1", *QUICK, *KILLED, f"hydra.sweeper.storage={storage}", *in_folder(tmp_path, 4))
    assert scores(tmp_path) == scores(undisturbed)
    if storage == "sqlite":
        assert [trial.number for trial in stored(tmp_path)] == list(range(4))
    assert result["changed"] == []
    assert sum(result["trained"].values()) - len(result["trained"]) <= kills  # at each kill, an epoch under way
    assert sum(int(row["tries"]) for row in rows(tmp_path)) > 4 + kills // 10  # many a kill hit a trial


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("workers", "storage"), [(2, "sqlite"), (3, "journal")])
def test_workers_share_the_trials_of_one_study(tmp_path, workers, storage):
    result = forked(0, 0, str(workers), *QUICK, f"hydra.sweeper.storage={storage}", *in_folder(tmp_path, 5))
    assert result["statuses"] == [0] * workers
    assert [row["trial"] for row in rows(tmp_path)] == [str(number) for number in range(5)]
    assert {row["tries"] for row in rows(tmp_path)} == {"1"}
    assert {row["state"] for row in rows(tmp_path)} <= {"COMPLETE", "PRUNED"}
    assert set(result["trained"].values()) == {1}


def test_a_worker_takes_over_the_trial_of_one_that_was_killed_and_stays_dead(tmp_path):
    result = forked(1, 3, "2,alone", *QUICK, *KILLED, *in_folder(tmp_path, 4))
    assert result["changed"] == []
    assert [row["trial"] for row in rows(tmp_path)] == ["0", "1", "2", "3"]
    assert sorted(row["tries"] for row in rows(tmp_path)) == ["1", "1", "1", "2"]
    assert sum(result["trained"].values()) - len(result["trained"]) <= 1


def test_ctrl_c_counts_as_no_death_and_the_same_command_goes_on(tmp_path, train):
    words = [*QUICK, "trainer.max_epochs=200", *in_folder(tmp_path, 1)]
    command = [sys.executable, "-m", "fer_lightning.train", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as search:
        while not (tmp_path / "trial-0000" / "fold-1" / "checkpoints" / "last.ckpt").exists():
            assert search.poll() is None
            time.sleep(0.1)
        search.send_signal(signal.SIGINT)
        _, said = search.communicate(timeout=60)
    assert search.returncode == 128 + signal.SIGINT
    assert f"stopped by SIGINT; the same command goes on with the study in {tmp_path}" in said
    (trial,) = stored(tmp_path)
    assert (trial.state, trial.user_attrs["tries"]) == (TrialState.RUNNING, 0)
    result = train(*words)
    assert result.code == 0, result.err
    assert [(row["state"], row["tries"]) for row in rows(tmp_path)] == [("COMPLETE", "1")]
