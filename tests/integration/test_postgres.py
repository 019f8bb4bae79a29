"""Searches whose storage is a real PostgreSQL server: shared by workers, killed, and refused in time."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from integration.forked_searches import forked
from integration.postgres_server import new_database, running_server
from optuna.trial import TrialState
from small_searches import QUICK as ONE_EPOCH
from small_searches import in_folder, rows
from sqlalchemy.exc import SQLAlchemyError

from fer_lightning.search.storage import server_locks, with_driver

QUICK = [word for word in ONE_EPOCH if "epochs" not in word] + ["trainer.max_epochs=3"]


@pytest.fixture(scope="module")
def server():
    with running_server() as url:
        yield url


@pytest.fixture
def database(server, request):
    return new_database(server, f"test{abs(hash(request.node.name)) % 10**8}")


def options(folder: Path, database: str, trials: int) -> list[str]:
    return [*in_folder(folder, trials), f"hydra.sweeper.storage={database}"]


def stored(database: str, name: str) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.RDBStorage(with_driver(database))
    try:
        return optuna.load_study(study_name=name, storage=storage).get_trials()
    finally:
        storage.engine.dispose()


def test_three_workers_share_a_study_and_two_go_on_when_one_is_killed_in_mid_trial(tmp_path, database):
    folder = tmp_path / "shared"
    folder.mkdir()
    found = forked(1, 1, "3,alone", *QUICK, *options(folder, database, 6))
    assert found["statuses"] == [0, 0]
    assert found["changed"] == []
    trials = stored(database, "shared")
    assert [trial.number for trial in trials] == list(range(6))
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert sorted(row["tries"] for row in rows(folder)) == ["1", "1", "1", "1", "1", "2"]
    assert sum(found["trained"].values()) - len(found["trained"]) <= 1


@pytest.mark.timeout(600)
def test_three_workers_killed_at_random_run_exactly_n_trials(tmp_path, database):
    folder, kills = tmp_path / "killed", 10
    folder.mkdir()
    more = ["trainer.max_epochs=6", "hydra.sweeper.retries=100"]
    found = forked(kills, 7, "3", *QUICK, *more, *options(folder, database, 6))
    assert found["changed"] == []
    assert [trial.number for trial in stored(database, "killed")] == list(range(6))
    assert [row["trial"] for row in rows(folder)] == [str(number) for number in range(6)]
    assert sum(found["trained"].values()) - len(found["trained"]) <= kills


def test_a_trial_goes_on_on_a_machine_that_does_not_see_the_folder_of_the_first(tmp_path, database, train):
    """Without a shared disk: the finished folds come from the storage, and are not trained again."""
    first, second = tmp_path / "a" / "apart", tmp_path / "b" / "apart"
    first.mkdir(parents=True)
    settings = [*QUICK, "trainer.max_epochs=1", "cv.folds=4"]
    forked(1, 3, "1,alone", *settings, *options(first, database, 1), longest=2)
    finished = list(first.glob("trial-0000/fold-*/metrics.json"))
    assert finished
    result = train(*settings, *options(second, database, 1))
    assert result.code == 0, result.err
    (trial,) = stored(database, "apart")
    assert trial.state == TrialState.COMPLETE
    assert trial.user_attrs["tries"] == 2
    for path in finished:
        copied = second / path.relative_to(first)
        assert copied.read_text() == path.read_text()
        assert not (copied.parent / "checkpoints").exists()


def test_locks_end_with_the_process_that_holds_them(database):
    code = (
        "import sys, time; from fer_lightning.search.storage import server_locks; "
        "locks = server_locks(sys.argv[1], 's'); locks.acquire('trial-0'); print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, database], stdout=subprocess.PIPE, text=True)
    locks = server_locks(database, "s")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert not locks.is_free("trial-0")
    assert locks.is_free("trial-1")
    another = server_locks(database, "another")
    assert another.is_free("trial-0")
    another.close()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    patience = time.monotonic() + 10
    while not locks.is_free("trial-0"):
        assert time.monotonic() < patience
        time.sleep(0.02)
    locks.acquire("trial-0")
    assert not locks.is_free("trial-0")
    locks.close()


def test_a_lost_connection_is_a_lost_storage(database):
    import psycopg

    locks = server_locks(database, "s")
    locks.acquire("trial-0")
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'")
    with pytest.raises(SQLAlchemyError, match="terminating connection"):
        locks.acquire("trial-0")
    locks.close()


def test_a_server_that_does_not_answer_is_refused_before_any_training(train, tmp_path):
    result = train(*QUICK, *options(tmp_path, "postgresql://fer@127.0.0.1:1/none", 2))
    assert result.code == 2
    assert "hydra.sweeper.storage=postgresql://fer@127.0.0.1:1/none: cannot be opened" in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_study_in_another_space_is_refused(train, tmp_path, database):
    folder = tmp_path / "study"
    assert train(*ONE_EPOCH, *options(folder, database, 1)).code == 0
    result = train(*ONE_EPOCH, "optimizer.lr=interval(0.1, 0.2)", *options(folder, database, 2))
    assert result.code == 2
    assert "space.optimizer.lr was" in result.err
