"""A run that is stopped anywhere and resumed ends as one that was never stopped; runs are not mixed or overwritten."""

import io
import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from rich.console import Console
from small_sets import csv_text, encoded, pictures
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import FC, RANDOM, STEPS, differences, run_fit, settings_from, stop_fit, weights

from fer_lightning.data.loader import Batches, FaceTensors
from fer_lightning.errors import InputError
from fer_lightning.files import run_lock
from fer_lightning.networks.weight_files import read_checkpoint

PLATEAU = [*FC, "schedule=plateau", "schedule.patience=1", "model.dropout=0.3", "optimizer.lr=0.5"]
ADAMW = [*FC, "optimizer=adamw", "model.class_weights=true", "model.dropout=0.3", "trainer.max_epochs=3"]
PART_OF_AN_EPOCH = [*RANDOM, "+trainer.limit_train_batches=3"]


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(console: Console) -> str:
    return console.file.getvalue()


def copy_without_metrics(run: Path, folder: Path) -> Path:
    """What a kill just before the end leaves of a run."""
    shutil.copytree(run, folder)
    (folder / "metrics.json").unlink()
    return folder


@pytest.mark.parametrize(
    ("overrides", "moment"),
    [
        *((RANDOM, {"step": step}) for step in (0, STEPS - 1, 2 * STEPS - 1)),
        (RANDOM, {"validation": 0}),
        (RANDOM, {"validation": 1}),
        (RANDOM, {"step": STEPS + 2, "signum": signal.SIGINT}),
        ([*PLATEAU, "trainer.max_epochs=4"], {"validation": 1}),
        ([*PLATEAU, "trainer.max_epochs=4"], {"step": 9}),
        (ADAMW, {"validation": 1}),
        (PART_OF_AN_EPOCH, {"step": 4}),
        (PART_OF_AN_EPOCH, {"validation": 1}),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_run_stopped_by_a_signal_is_resumed_exactly(overrides, moment, uninterrupted, tmp_path):
    """At every place of an epoch, the last step and the last validation of all included."""
    stopped = stop_fit(tmp_path, *overrides, **moment)
    assert stopped == signal.Signals(moment.get("signum", signal.SIGTERM)).name
    run_fit(tmp_path, *overrides, "resume=true")
    assert differences(uninterrupted(*overrides), tmp_path) == []


def test_a_run_stopped_again_and_again_is_resumed_exactly(whole_run, tmp_path):
    for step in (1, 2, 7):
        stop_fit(tmp_path, *RANDOM, "resume=true", step=step)
    run_fit(tmp_path, *RANDOM, "resume=true")
    assert differences(whole_run, tmp_path) == []


def test_what_was_trained_before_the_signal_is_not_trained_again(tmp_path):
    stop_fit(tmp_path, *RANDOM, step=STEPS + 2)
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == STEPS + 3
    run_fit(tmp_path, *RANDOM, "resume=true", console=(screen := console()))
    assert "resumes in epoch 2, step 4 of 5" in printed(screen)


def test_accumulated_gradients_are_not_lost(uninterrupted, tmp_path):
    """A signal between two batches whose gradients belong together takes effect after the second."""
    overrides = [*RANDOM, "ema.decay=0", "trainer.accumulate_grad_batches=2"]
    stop_fit(tmp_path, *overrides, step=STEPS + 2)
    loops = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["loops"]["fit_loop"]
    assert loops["epoch_loop.batch_progress"]["current"]["processed"] == 4
    run_fit(tmp_path, *overrides, "resume=true")
    assert differences(uninterrupted(*overrides), tmp_path) == []


def test_a_run_that_ended_before_its_last_pictures_draws_them_when_resumed(fc_run, tmp_path):
    folder = copy_without_metrics(fc_run, tmp_path / "run")
    for file in (folder / "tensorboard").glob("events*"):
        file.unlink()
    run_fit(folder, *FC, "trainer.max_epochs=2", "draw.deepdream=true", "draw.embedding=7", "resume=true")
    assert "deepdream/happy" in EventAccumulator(str(folder / "tensorboard")).Reload().Tags()["images"]
    assert "last_hidden" in (folder / "tensorboard" / "projector_config.pbtxt").read_text()


def test_a_finished_run_stays_as_it_is(whole_run, train):
    files = [path for path in whole_run.rglob("*") if path.is_file() and ".hydra" not in path.parts]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
    result = train(*RANDOM, f"hydra.run.dir={whole_run}", "resume=true")
    assert result.code == 0
    assert "this run is finished" in result.out
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files} == before


def test_a_finished_run_continues_when_more_epochs_are_asked_for(fc_run, uninterrupted, tmp_path):
    """With a schedule that does not depend on the number of epochs, as the longer run from the beginning."""
    shutil.copytree(fc_run, tmp_path / "run")
    longer = [*FC, "draw.every=0", "trainer.max_epochs=3"]
    assert run_fit(tmp_path / "run", *longer, "resume=true")["epochs"] == 3
    assert differences(uninterrupted(*longer), tmp_path / "run") == []


def test_resume_without_a_checkpoint_begins_at_the_beginning_and_says_so(tmp_path):
    run_fit(tmp_path, *FC, "trainer.max_epochs=1", "draw.every=0", "resume=true", console=(screen := console()))
    assert "begins at the beginning" in printed(screen)


def test_a_second_run_in_the_same_folder_is_refused_and_the_first_kept(whole_run, train):
    before = (whole_run / "checkpoints" / "last.ckpt").read_bytes()
    result = train(*RANDOM, f"hydra.run.dir={whole_run}")
    assert result.code == 2
    assert "already holds a run. Add resume=true" in result.err
    assert (whole_run / "checkpoints" / "last.ckpt").read_bytes() == before


def test_a_run_is_not_resumed_with_other_settings(whole_run, train, tmp_path):
    folder = copy_without_metrics(whole_run, tmp_path / "run")
    before = (folder / ".hydra" / "config.yaml").read_bytes()
    result = train(*RANDOM, "optimizer.lr=0.5", f"hydra.run.dir={folder}", "resume=true")
    assert result.code == 2
    assert "optimizer.lr was 0.05" in result.err
    assert (folder / ".hydra" / "config.yaml").read_bytes() == before


def without(folder: Path, *keys: str) -> None:
    """Remove settings from a run's last checkpoint, as if it had been written before they existed."""
    path = folder / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    for key in keys:
        *groups, name = key.split(".")
        settings = content["config"]
        for group in groups:
            settings = settings[group]
        del settings[name]
    torch.save(content, path)


NEWER = ("checkpoint_minutes", "early_stopping", "data.unique", "model.label_smoothing", "trainer.gradient_clip_val")


def test_a_run_whose_saved_settings_lack_newer_keys_is_resumed_with_their_defaults(fc_run, uninterrupted, tmp_path):
    shutil.copytree(fc_run, tmp_path / "run")
    without(tmp_path / "run", *NEWER)
    longer = [*FC, "draw.every=0", "trainer.max_epochs=3"]
    run_fit(tmp_path / "run", *longer, "resume=true")
    assert differences(uninterrupted(*longer), tmp_path / "run") == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.unique=true", "data.unique was False in the run in .* and is True now"),
        ("model.label_smoothing=0.1", r"model.label_smoothing was 0.0 in the run in .* and is 0.1 now"),
        ("early_stopping.patience=3", "early_stopping.patience was None in the run in .* and is 3 now"),
    ],
)
def test_another_value_of_a_newer_key_is_refused_by_name(override, said, fc_run, tmp_path):
    copy_without_metrics(fc_run, tmp_path / "run")
    without(tmp_path / "run", *NEWER)
    with pytest.raises(InputError, match=said):
        run_fit(tmp_path / "run", *FC, "draw.every=0", "trainer.max_epochs=3", "resume=true", override)


LENGTHS = ["draw.every=0", "trainer.max_epochs=2"]


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "linear", "steps"])
@pytest.mark.parametrize("ended", [True, False])
def test_more_epochs_are_refused_under_a_schedule_that_depends_on_their_number(
    schedule, ended, fc_run, uninterrupted, tmp_path
):
    overrides = [*FC, *LENGTHS, f"schedule={schedule}"]
    shutil.copytree(uninterrupted(*overrides), tmp_path / "run")
    if not ended:
        (tmp_path / "run" / "metrics.json").unlink()
    before = weights(tmp_path / "run")
    said = f"max_epochs was 2 in the run in .*run and is 3 now, and schedule={schedule} .*can go on: constant, plateau"
    with pytest.raises(InputError, match=said):
        run_fit(tmp_path / "run", *overrides, "trainer.max_epochs=3", "resume=true")
    assert all(torch.equal(before[name], value) for name, value in weights(tmp_path / "run").items())


def test_plateau_goes_on_with_more_epochs_as_the_longer_run(uninterrupted, tmp_path):
    overrides = [*FC, "draw.every=0", "schedule=plateau"]
    run_fit(tmp_path, *overrides, "trainer.max_epochs=2")
    run_fit(tmp_path, *overrides, "trainer.max_epochs=4", "resume=true")
    assert differences(uninterrupted(*overrides, "trainer.max_epochs=4"), tmp_path) == []


def test_fewer_epochs_than_were_trained_are_refused(fc_run, tmp_path):
    folder = copy_without_metrics(fc_run, tmp_path / "run")
    with pytest.raises(InputError, match=r"max_epochs=1: the run in .*run is in its epoch 2 already"):
        run_fit(folder, *FC, "draw.every=0", "trainer.max_epochs=1", "resume=true")


@pytest.mark.parametrize(
    "override",
    ["data.batch_size=28", "trainer.accumulate_grad_batches=2", "+trainer.limit_train_batches=2", "seed=5"],
)
def test_what_else_changes_the_steps_of_an_epoch_is_refused(override, fc_run, tmp_path):
    shutil.copytree(fc_run, tmp_path / "run")
    key = override.lstrip("+").partition("=")[0]
    with pytest.raises(InputError, match=f"{key} was .* in the run in .* and is .* now"):
        run_fit(tmp_path / "run", *FC, "draw.every=0", "trainer.max_epochs=3", override, "resume=true")


@pytest.fixture
def set_of_faces(tmp_path):
    """A csv of 28 train, 14 val and 7 test faces, and the overrides of a short run on it."""
    made = sorted(pictures(counts=(4, 2, 1)), key=lambda picture: (picture.split, picture.number))
    file = tmp_path / "faces.csv"
    file.write_text(csv_text(made))
    return made, file, [*FC[1:], "data=fer2013", f"data.path={file}", "data.check_counts=false", "draw.every=0"]


def change(made, row):
    """The same face with one pixel changed."""
    pixels = made[row].pixels.copy()
    pixels[20, 20] ^= 1
    made[row] = made[row]._replace(jpeg=encoded(pixels, "PNG"))


@pytest.mark.parametrize(("row", "part"), [(3, "train"), (30, "val")])
def test_a_run_is_not_resumed_on_other_faces(row, part, set_of_faces, tmp_path):
    made, file, overrides = set_of_faces
    run_fit(tmp_path / "run", *overrides, "trainer.max_epochs=1")
    change(made, row)
    file.write_text(csv_text(made))
    said = r"faces.csv: these are not the faces that .*last.ckpt was trained on \(train 28, val 14, but other images"
    with pytest.raises(InputError, match=said):
        run_fit(tmp_path / "run", *overrides, "trainer.max_epochs=2", "resume=true")


def test_a_run_is_not_resumed_on_fewer_faces(set_of_faces, tmp_path):
    made, file, overrides = set_of_faces
    run_fit(tmp_path / "run", *overrides, "trainer.max_epochs=1")
    file.write_text(csv_text(made[1:]))
    with pytest.raises(InputError, match=r"\(now train 27, val 14; then train 28, val 14\)"):
        run_fit(tmp_path / "run", *overrides, "trainer.max_epochs=2", "resume=true")


def test_a_run_is_resumed_on_the_same_faces_from_elsewhere_and_with_another_test_split(set_of_faces, tmp_path):
    made, file, overrides = set_of_faces
    run_fit(tmp_path / "run", *overrides, "trainer.max_epochs=1")
    change(made, 45)
    file.rename(tmp_path / "moved.csv").write_text(csv_text(made))
    longer = [f"data.path={tmp_path / 'moved.csv'}", "trainer.max_epochs=2", "resume=true"]
    assert run_fit(tmp_path / "run", *overrides, *longer)["epochs"] == 2


def test_an_earlier_run_that_does_not_say_its_faces_goes_on_with_a_note(fc_run, tmp_path):
    shutil.copytree(fc_run, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    del content["faces"]
    torch.save(content, path)
    run_fit(tmp_path / "run", *FC, "draw.every=0", "trainer.max_epochs=3", "resume=true", console=(screen := console()))
    assert "note" in printed(screen)
    assert "does not say which faces it was trained on" in " ".join(printed(screen).split())


@pytest.mark.parametrize(("more", "locked"), [([], ""), (["cv.folds=2"], ""), (["cv.folds=2"], "fold-2")])
def test_a_run_that_another_process_trains_is_refused(more, locked, train, tmp_path):
    """And is left as it is, whether resumed or begun; a fold is a run."""
    overrides = [*FC, "draw.every=0", "trainer.max_epochs=1", *more, f"hydra.run.dir={tmp_path / 'run'}"]
    with run_lock(tmp_path / "run" / locked, print):
        for resume in ("true", "false") if not locked else ("true",):
            result = train(*overrides, f"resume={resume}")
            assert result.code == 2
            assert "trains in it. Wait until it ends, or name another hydra.run.dir" in result.err
            assert len(result.err.strip().splitlines()) == 1
    assert train(*overrides, "resume=true").code == 0
    assert not list(tmp_path.rglob("run.lock"))


def test_a_run_that_is_trained_can_be_looked_at(fc_run, run_command, tmp_path):
    shutil.copytree(fc_run, tmp_path / "run")
    checkpoint = f"checkpoint={tmp_path / 'run' / 'checkpoints' / 'best.ckpt'}"
    with run_lock(tmp_path / "run", print):
        ended = run_command("evaluate", checkpoint, "data=synthetic", "data.images=70", "device=cpu")
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"epochs": "two"}'])
def test_a_damaged_metrics_file_is_reported_and_made_anew_when_removed(text, fc_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(fc_run, folder)
    (folder / "metrics.json").write_text(text)
    again = [*FC, "draw.every=0", "trainer.max_epochs=2", "resume=true"]
    with pytest.raises(InputError, match=r"metrics.json: damaged .*Remove it"):
        run_fit(folder, *again)
    (folder / "metrics.json").unlink()
    run_fit(folder, *again)
    expected, anew = (json.loads((run / "metrics.json").read_text()) for run in (fc_run, folder))
    assert anew == expected


def test_batches_continue_with_what_the_whole_epoch_would_have_given():
    images = torch.randint(0, 256, (100, 1, 48, 48), dtype=torch.uint8)
    augment = settings_from(*RANDOM).data.augment

    def batches() -> Batches:
        return Batches(FaceTensors(images, torch.arange(100) % 7), torch.arange(100), 20, 3, augment)

    whole, begun, resumed = batches(), batches(), batches()
    for each in (whole, begun):
        each.set_epoch(4)
    expected, given = list(whole), iter(begun)
    next(given), next(given)
    resumed.load_state_dict(begun.state_dict())
    rest = list(resumed)
    assert len(rest) == 3
    for one, other in zip(expected[2:], rest, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)
