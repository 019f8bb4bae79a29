"""A plain --multirun: what is refused before it begins, jobs that fail, folders, resuming, figures over seeds."""

import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hydra.core.global_hydra import GlobalHydra

from fer_lightning.cli import Invocation, hydra_command
from fer_lightning.errors import InputError
from fer_lightning.files import run_lock
from fer_lightning.settings import AuditSettings, TrainSettings
from fer_lightning.signals import Stopped


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Began(list[tuple[str, int, str]]):
    """Network, seed and folder of every job that began; those in `bad` end by its error."""

    bad: dict[tuple[str, int], BaseException] = {}


@pytest.fixture
def began() -> Began:
    return Began()


def accuracy(model: str, seed: int) -> float:
    return 0.3 + 0.1 * (model == "conv_deep") + 0.011 * seed**2


@pytest.fixture
def multirun(monkeypatch, capsys, tmp_path, began) -> Callable[..., Ended]:
    """`python -m fer_lightning.train --multirun OVERRIDES hydra.sweep.dir=sweep` with a training that takes no time."""

    def job(settings: TrainSettings, invocation: Invocation) -> None:
        name = settings.model.name, settings.seed
        began.append((*name, invocation.folder.name))
        if name in began.bad:
            raise began.bad[name]
        figures: dict[str, Any] = {"seconds": 2.0, "val/accuracy": accuracy(*name)}
        if settings.cv.folds:
            figures = {"seconds": 2.0, "cv/mean": accuracy(*name)}
        (invocation.folder / "metrics.json").write_text(json.dumps(figures))

    def ended(*overrides: str) -> Ended:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["train", "--multirun", "hydra.sweep.dir=sweep", *overrides])
        GlobalHydra.instance().clear()
        began.clear()
        code = 0
        try:
            hydra_command("config", TrainSettings)(job)()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        return Ended(code, *capsys.readouterr())

    monkeypatch.setattr(Began, "bad", {})
    return ended


def kept(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "sweep" / "jobs.json").read_text())


def rows(out: str) -> list[list[str]]:
    """The cells of all tables on the screen."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line.startswith("│")]


REFUSED = {
    "a value of one job": (["seed=0,1,-2"], "job 3 of 3 (seed=-2): seed=-2: expected a whole number from 0 to"),
    "no number": (["seed=0,x"], "job 2 of 2 (seed=x): seed='x': expected a whole number from 0 to 4294967295"),
    "an empty value": (["seed=0,"], "'seed=0,' cannot be read as key=value"),
    "nothing": (["optimizer.lr="], "optimizer.lr='': expected a number above 0"),
    "a choice": (
        ["model=fc,hybrid_dep"],
        "job 2 of 2 (model=hybrid_dep): model=hybrid_dep: no such model. Did you mean",
    ),
    "a group": (["modell=fc,conv_deep"], "job 1 of 2 (modell=fc): modell: no such setting. Did you mean model?"),
    "a key of one network": (
        ["model=conv_deep,fc", "model.conv=[{filters: 4}]"],
        "job 2 of 2 (model=fc): model.conv: no such setting.",
    ),
    "a key": (["seed=0,1", "optimizer.lrr=1"], "optimizer.lrr: no such setting. Did you mean optimizer.lr?"),
    "a key given twice": (["seed=0,1", "seed=2"], "seed is given twice, the second time as seed=2; give it once"),
    "a job given twice": (["seed=0,1,0"], "seed=0 is given twice; give each job once"),
    "an interval": (["optimizer.lr=interval(0,1)"], "an interval is searched by a study: add sweeps=lr_reg_hidden or"),
    "no values": (["seed=range(1,1)"], "seed=range(1,1): no value, so there is no job"),
    "both ways": (["resume=true,false"], "resume=true,false: one value, which is that of all jobs"),
    "an answer that is none": (["resume=perhaps"], "resume=perhaps: expected true or false"),
    "folders": (["hydra.sweep.dir=a,hydra.sweep.subdir=b", "seed=0,x"], "job 2 of 2 (seed=x): seed='x'"),
    "a setting of searches": (
        ["seed=0,1", "hydra.sweeper.n_trials=3"],
        "hydra.sweeper.n_trials: a setting of searches",
    ),
    "a list": (["seed=[0,1]"], "seed=[0, 1]: expected a whole number from 0 to 4294967295"),
    "null in a choice": (
        ["optimizer.lr=choice(null,1.0)"],
        "'optimizer.lr=choice(null,1.0)' cannot be read as key=val",
    ),
    "a launcher": (
        ["hydra/launcher=joblibb", "seed=0,1"],
        "hydra/launcher=joblibb: no such hydra/launcher. Did you me",
    ),
    "an option in between": (["seed=0,1", "--config-dir=.", "seed=2"], "seed=2: settings stand together, before all o"),
    "several devices": (["seed=0,1", "trainer.devices=2"], "job 1 of 2 (seed=0): trainer.devices=2: its processes are"),
    "a setting of Hydra": (["hydra.verbose=true,false"], "Sweeping over Hydra's configuration is not supported"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_all_jobs_are_checked_before_the_first_begins(kind, multirun, began, tmp_path):
    overrides, said = REFUSED[kind]
    ended = multirun(*overrides)
    assert ended.code == 2
    assert ended.err.startswith(f"error: {said}")
    assert (ended.out, ended.err.count("\n")) == ("", 1)
    assert began == []
    assert list(tmp_path.iterdir()) == []


def test_the_option_may_stand_anywhere(multirun, began, monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    assert multirun("model=fc", "-m", "seed=0,1").code == 0
    assert [seed for _, seed, _ in began] == [0, 1]


def test_every_combination_is_a_job_in_a_folder_of_its_own(multirun, began, tmp_path):
    ended = multirun("seed=0,1", "model=fc,conv_deep")
    assert ended.code == 0
    names = [(model, seed) for seed in (0, 1) for model in ("fc", "conv_deep")]
    assert began == [(model, seed, f"seed={seed}__model={model}") for model, seed in names]
    assert [line for line in ended.out.splitlines() if "job 2" in line] == ["job 2 of 4 (seed=0 model=conv_deep)"]
    assert "Launching" not in ended.out
    assert rows(ended.out)[:4] == [
        [str(number), str(seed), model, f"{accuracy(model, seed):.2%}", "2.0", "done"]
        for number, (model, seed) in enumerate(names, start=1)
    ]
    assert [job["state"] for job in kept(tmp_path)["jobs"]] == ["done"] * 4
    assert max(map(len, ended.out.splitlines())) <= 80
    assert not (tmp_path / "sweep" / "run.lock").exists()


def test_a_job_that_fails_is_named_and_the_others_run(multirun, began, tmp_path):
    began.bad = {("fc", 1): InputError("the data is gone"), ("fc", 2): RuntimeError("out of memory\nmore")}
    ended = multirun("model=fc", "seed=0,1,2,3")
    assert ended.code == 2
    assert [seed for _, seed, _ in began] == [0, 1, 2, 3]
    assert [row[-1] for row in rows(ended.out)[:4]] == ["done", "failed", "failed", "done"]
    assert "job 2 of 4 (seed=1) failed: the data is gone\n" in ended.out
    assert "job 3 of 4 (seed=2) failed: RuntimeError: out of memory (see " in ended.out
    assert ended.err == (
        "error: 2 of 4 jobs failed; the same command with hydra.sweep.dir=sweep resume=true tries again\n"
    )
    assert "Traceback" in (tmp_path / "sweep" / "seed=2" / "failure.txt").read_text()
    assert not (tmp_path / "sweep" / "seed=1").exists()  # nothing was written there
    assert [job["reason"] for job in kept(tmp_path)["jobs"]][1] == "the data is gone"

    began.bad = {}
    again = multirun("model=fc", "seed=0,1,2,3", "resume=true")
    assert (again.code, [seed for _, seed, _ in began]) == (0, [1, 2])
    assert [row[-1] for row in rows(again.out)[:4]] == ["left alone", "done", "done", "left alone"]
    assert {job["reason"] for job in kept(tmp_path)["jobs"]} == {None}


def test_mean_and_standard_deviation_over_the_seeds_of_each_setting(multirun, began, tmp_path):
    began.bad = {("conv_deep", 5): InputError("no")}
    out = multirun("model=fc,conv_deep", "seed=0,3,5", "optimizer.lr=0.1").out
    seeds = {"fc": [0, 3, 5], "conv_deep": [0, 3]}
    scores = {model: [accuracy(model, seed) for seed in seeds[model]] for model in seeds}
    for row, group in zip(scores, kept(tmp_path)["over_seeds"], strict=True):
        assert (group["overrides"], group["figure"]) == ({"model": row}, "val/accuracy")
        assert group["mean"] == pytest.approx(statistics.fmean(scores[row]))
        assert group["sd"] == pytest.approx(statistics.stdev(scores[row]))
        assert group["n"] == len(scores[row])
        shares = [f"{group['mean']:.2%}", f"{group['sd']:.2%}", str(len(scores[row]))]
        assert [row, *shares] in rows(out)
    assert multirun("model=fc,conv_deep", "hydra.sweep.dir=other").out.count("seeds") == 0


def test_cross_validations_show_the_mean_of_their_folds(multirun, tmp_path):
    out = multirun("cv.folds=2", "seed=1,2", "model=fc").out
    assert [job["figure"] for job in kept(tmp_path)["jobs"]] == ["cv/mean"] * 2
    assert rows(out)[0] == ["1", "1", f"{accuracy('fc', 1):.2%}", "2.0", "done"]
    assert "cv/mean over seeds" in out


def test_a_command_is_not_run_into_the_jobs_of_another(multirun, began):
    assert multirun("seed=0,1").code == 0
    ended = multirun("seed=0,1")
    assert (ended.code, began) == (2, [])
    assert ended.err.startswith("error: sweep already holds jobs. Add resume=true to go on with them, or name another")


def test_jobs_are_found_by_their_settings(multirun, began, tmp_path):
    multirun("seed=0,1", "model=fc", "data.path=old")
    assert multirun("model=fc", "data.path=old", "seed=3,1,0", "resume=true").code == 0  # another order, one more
    assert began == [("fc", 3, "seed=3")]
    multirun("data.path=old", "seed=0,1", "model=fc,conv_deep", "resume=true")
    assert began == [("conv_deep", seed, f"seed={seed}__model=conv_deep") for seed in (0, 1)]
    multirun("model=conv_deep", "optimizer.lr=0.5", "data.path=old", "seed=0,1", "resume=true")  # other networks
    assert began == [("conv_deep", 0, "seed=0-2"), ("conv_deep", 1, "seed=1-2")]
    multirun("seed=0,1", "model=fc", "data.path=new", "trainer.max_epochs=90", "resume=true")  # what may change
    assert began == [("fc", 0, "seed=0"), ("fc", 1, "seed=1")]
    folders = [job["folder"] for job in kept(tmp_path)["jobs"]]
    assert len(folders) == len(set(folders)) == 7


def test_settings_that_may_change_make_jobs_of_their_own_where_they_vary(multirun, began):
    multirun("model=fc", "trainer.max_epochs=1,2")
    assert [folder for *_, folder in began] == ["max_epochs=1", "max_epochs=2"]


def test_folders_hold_no_comma_and_no_slash(multirun, began):
    multirun("model=fc", "data.path=/a/b.zip,/a/c.zip", "model.hidden=[4,8],[8]", "seed=0")
    names = [folder for *_, folder in began]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"path=a_[bc].zip__hidden=(4_)?8", name) for name in names)
    multirun("model.hidden=" + ",".join(f"[{', '.join(['17'] * n)}]" for n in (90, 91, 92)), "hydra.sweep.dir=long")
    assert len({folder for *_, folder in began}) == 3


def test_a_stop_ends_all_jobs_and_says_how_to_go_on(multirun, began, tmp_path):
    began.bad = {("fc", 1): Stopped("SIGTERM")}
    ended = multirun("model=fc", "seed=0,1,2")
    assert (ended.code, len(began)) == (143, 2)
    assert ended.err == ("stopped by SIGTERM; the same command with hydra.sweep.dir=sweep resume=true goes on\n")
    assert [row[-1] for row in rows(ended.out)[:3]] == ["done", "stopped", "waiting"]
    began.bad = {}
    assert multirun("model=fc", "seed=0,1,2", "resume=true").code == 0
    assert [seed for _, seed, _ in began] == [1, 2]


def test_two_processes_do_not_run_the_jobs_of_one_folder(multirun, began, tmp_path):
    with run_lock(tmp_path / "sweep", lambda _: None):
        ended = multirun("seed=0,1")
    assert (ended.code, began) == (2, [])
    assert ended.err.endswith("Wait until it ends, or name another hydra.sweep.dir\n")


def test_a_sweep_folder_that_cannot_be_made_is_named(multirun, began):
    ended = multirun("seed=0,1", "hydra.sweep.dir=/proc/nothing")
    assert (ended.code, began) == (2, [])
    assert ended.err.startswith("error: /proc/nothing: cannot be made (")


def test_a_damaged_record_is_named(multirun, tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "jobs.json").write_text("{")
    assert multirun("seed=0,1").err.startswith("error: sweep/jobs.json: damaged")


def test_jobs_of_a_command_without_resume(monkeypatch, tmp_path, capsys):
    places = []

    def job(settings: AuditSettings, invocation: Invocation) -> None:
        places.append(invocation.folder)
        assert invocation.chosen
        (invocation.folder / "audit.json").write_text(json.dumps({"redundant": 1234, "seconds": 1}))

    for more in ([], ["hydra.sweeper.resume=true"]):
        GlobalHydra.instance().clear()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["audit", "-m", "threshold=0.9,0.95", "hydra.sweep.dir=x", *more])
        hydra_command("audit", AuditSettings)(job)()
        table = rows(capsys.readouterr().out)
        assert [row[:3] for row in table] == [["1", "0.9", "1,234"], ["2", "0.95", "1,234"]]
    assert places == [tmp_path / "x" / "threshold=0.9", tmp_path / "x" / "threshold=0.95"]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_other_launchers_lose_no_job_by_the_failure_of_one(launcher, multirun, began, tmp_path):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher")
    began.bad = {("fc", 1): ValueError("a bug")}
    ended = multirun("model=fc", "seed=0,1,2", f"hydra/launcher={launcher}")
    assert ended.code == 2
    assert [row[-1] for row in rows(ended.out)[:3]] == ["done", "failed", "done"]
    assert "ValueError: a bug (see" in ended.out
    assert kept(tmp_path)["over_seeds"][0]["n"] == 2
