"""FER+ labels: votes read, judged as a plain loop judges them, matched row by row, and named in every figure."""

import csv
import json

import numpy as np
import pytest
import torch
from small_sets import USAGES, csv_text, in_csv_order, pictures
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_evaluate import evaluate

from fer_lightning.config import plain
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import TRAIN, VAL
from fer_lightning.data.ferplus import judged, read_votes
from fer_lightning.data.sources import open_source
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.hog import hog
from fer_lightning.report.found import gather

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
COLUMNS = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt", "unknown", "NF")


def ballot(**votes):
    """The ten cells of a row, in the order of the file."""
    return [votes.get(column, 0) for column in COLUMNS]


def votes_text(rows):
    lines = [f"{usage},fer{number:07d}.png,{','.join(map(str, cells))}" for number, (usage, cells) in enumerate(rows)]
    return "\n".join([HEADER, *lines]) + "\n"


@pytest.fixture
def source(tmp_path):
    """A csv of 70 faces and votes on them: most as FER2013 says, some otherwise."""
    made = in_csv_order(pictures(seed=2, counts=(6, 2, 2)))
    rows = [(USAGES[one.split], ballot(**{EXPRESSIONS[one.label]: 8, "unknown": 2})) for one in made]
    rows[0] = (USAGES[TRAIN], ballot(contempt=8, sad=2))
    rows[1] = (USAGES[TRAIN], ballot(NF=10))
    rows[2] = (USAGES[TRAIN], ballot(fear=5, surprise=5))  # no majority
    rows[3] = (USAGES[TRAIN], ballot(**{EXPRESSIONS[(made[3].label + 1) % 7]: 10}))
    rows[45] = (USAGES[VAL], ballot(fear=5, surprise=5))
    (tmp_path / "fer2013.csv").write_text(csv_text(made))
    (tmp_path / "votes.csv").write_text(votes_text(rows))
    return tmp_path, made, rows


def overrides(folder, *more):
    paths = [f"data.path={folder / 'fer2013.csv'}", f"data.votes={folder / 'votes.csv'}"]
    return ["data=ferplus", *paths, "data.check_counts=false", *more]


@pytest.mark.parametrize("seed", range(3))
def test_votes_are_judged_as_a_plain_loop_judges_them(seed):
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(10, rng.dirichlet(np.full(10, 0.4), 300))
    found = judged(counts)
    for row, votes in enumerate(counts.tolist()):
        valid = [count if count > 1 else 0 for count in votes]
        winners = [place for place, count in enumerate(valid) if count > sum(valid) / 2]
        assert found.majority[row] == (bool(winners) and winners[0] < 7)
        assert found.other[row] == (winners[0] - 7 if winners and winners[0] >= 7 else -1)
        if found.majority[row]:
            assert found.labels[row] == winners[0]
        assert found.mostly[row] == (sum(valid[:7]) > sum(valid) / 2)
        if found.mostly[row]:
            assert found.shares[row] == pytest.approx([count / sum(valid[:7]) for count in valid[:7]])


def test_columns_of_the_file_go_to_the_expressions_of_their_name(source):
    folder, _, rows = source
    votes = read_votes(folder / "votes.csv")
    for found, (_, cells) in zip(votes.counts.tolist(), rows, strict=True):
        expected = dict(zip(COLUMNS, cells, strict=True))
        assert found == [expected[name] for name in (*EXPRESSIONS, "contempt", "unknown", "NF")]


def test_majority_labels_leave_out_what_has_none(source, compose):
    folder, made, _ = source
    faces = open_source(plain(compose(*overrides(folder)))["data"])
    assert len(faces) == len(made) - 4
    pixels = [one.pixels for row, one in enumerate(made) if row not in (0, 1, 2, 45)]
    np.testing.assert_array_equal(faces.images, pixels)
    expected = [one.label for one in made]
    expected[3] = (made[3].label + 1) % 7
    assert faces.labels.tolist() == [label for row, label in enumerate(expected) if row not in (0, 1, 2, 45)]
    assert "4 of 70 images are left out: no majority 2, contempt 1, unknown 0, no face 1" in faces.notes[-1]
    own = open_source(plain(compose("data=fer2013", *overrides(folder)[1:2], "data.check_counts=false"))["data"])
    assert faces.fingerprint != own.fingerprint


def test_soft_targets_are_shares_in_training_and_the_majority_in_validation(source, compose):
    folder, made, _ = source
    module = FaceDataModule(plain(compose(*overrides(folder, "data.soft=true", "data.augment.flip=0")))["data"], True)
    module.setup()
    assert module.split_sizes == {"train": 40, "val": 13, "test": 14}
    row = next(row for row, image in enumerate(module.faces.images) if np.array_equal(image, made[2].pixels))
    shares = torch.zeros(7)
    shares[[EXPRESSIONS.index("fear"), EXPRESSIONS.index("surprise")]] = 0.5
    assert torch.equal(module.tensors.shares[row], shares)
    (batch,) = module.train_dataloader()
    assert batch.targets.shape == (40, 7)
    torch.testing.assert_close(batch.targets.sum(dim=1), torch.ones(40))
    place = next(
        place for place, image in enumerate(batch.images) if torch.equal(image[0], torch.tensor(made[2].pixels).float())
    )
    assert torch.equal(batch.targets[place], shares)
    (validation,) = module.val_dataloader()
    assert validation.targets.dtype == torch.int64
    torch.testing.assert_close(batch.hog, hog(batch.images[:, 0]))  # of the rows that were kept


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-1], "votes on 13 images of test; the data has 14"),
        (lambda lines: [lines[0], *np.roll(lines[1:43], 7), *lines[43:]], "in the order of fer2013.csv"),
        (lambda lines: [lines[0].replace("sadness", "sorrow"), *lines[1:]], "no column sad; expected fer2013new.csv"),
        (lambda lines: [*lines[:5], lines[5].replace("8", "x"), *lines[6:]], "line 6: 'x' is no number of votes"),
        (lambda lines: [*lines[:5], lines[5] + ",1", *lines[6:]], "line 6: 13 columns, expected 12"),
        (lambda lines: [*lines[:5], lines[5].replace("Training", "Tset"), *lines[6:]], "line 6: Usage 'Tset'"),
        (lambda lines: lines[:1], "a header, but no votes"),
        (lambda lines: [], "no column usage"),
    ],
)
def test_votes_that_do_not_belong_to_the_faces_are_refused(source, compose, change, said):
    folder, *_ = source
    path = folder / "votes.csv"
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(InputError, match=said):
        open_source(plain(compose(*overrides(folder)))["data"])


def test_votes_must_be_named(source, compose):
    folder, *_ = source
    with pytest.raises(InputError, match=r"data\.votes is not set: data=ferplus needs fer2013new\.csv"):
        open_source(
            plain(compose("data=ferplus", f"data.path={folder / 'fer2013.csv'}", "data.check_counts=false"))["data"]
        )


def test_every_figure_of_a_run_and_of_its_evaluation_is_named_ferplus(source, train, tmp_path):
    folder, *_ = source
    run = tmp_path / "run"
    network = ["model.conv=[{filters: 4, kernel: 7, pool: 4}]", "model.hidden=[16]", "data.batch_size=16"]
    settings = ["trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.precision=32-true", "draw.deepdream=false"]
    arguments = [*overrides(folder, "data.soft=true"), *network, *settings, f"hydra.run.dir={run}"]
    ended = train(*arguments)
    assert ended.code == 0, ended.err
    assert "on FER+" in ended.out
    metrics = json.loads((run / "metrics.json").read_text())
    figures = {"val/accuracy", "val/loss", "val/macro_f1", "train/accuracy", "train/loss"}
    assert {f"ferplus-{name}" for name in figures} <= metrics.keys()
    assert not figures & metrics.keys()
    columns = set(next(csv.reader((run / "history.csv").read_text().splitlines())))
    assert {f"ferplus-{name}" for name in figures} <= columns
    assert not figures & columns
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()
    tags = {*events.Tags()["scalars"], *events.Tags()["images"]}
    assert {f"ferplus-{name}" for name in (*figures, "confusion_matrix/val")} <= tags
    assert not {*figures, "confusion_matrix/val"} & tags
    again = train(*arguments, "resume=true")
    assert again.code == 0, again.err
    assert "finished" in again.out

    code, out, err = evaluate(f"checkpoint={run / 'checkpoints' / 'best.ckpt'}", *overrides(folder))
    assert code == 0, err
    assert "conv_poster on FER+, val (13 images)" in out
    found = json.loads((run / "ferplus-evaluation-val" / "evaluation.json").read_text())
    assert found["ferplus-accuracy"] == pytest.approx(metrics["ferplus-val/accuracy"])
    assert not {"accuracy", "macro_f1", "ece", "confusion_matrix", "per_class"} & found.keys()
    assert found["data"] == found["trained_on"] == "ferplus"

    data = ["data=fer2013", overrides(folder)[1], "data.check_counts=false"]
    compare = f"compare={run / 'ferplus-evaluation-val'}"
    code, out, err = evaluate(f"checkpoint={run / 'checkpoints' / 'best.ckpt'}", *data, compare)
    assert code == 2
    assert "other images" in err
    code, out, err = evaluate(f"checkpoint={run / 'checkpoints' / 'best.ckpt'}", *data)
    assert code == 0, err
    assert "Trained on FER+, scored on fer2013." in out

    report = gather([run])
    assert [one.accuracy for one in report.runs] == [metrics["ferplus-val/accuracy"]]
    assert [figures["data"] for _, figures in report.runs[0].evaluations] == ["ferplus"]


def test_folds_of_ferplus_are_named_too(source, train, tmp_path):
    folder, *_ = source
    network = ["model.conv=[{filters: 2, kernel: 7, pool: 4}]", "model.hidden=[8]", "data.batch_size=16"]
    settings = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.precision=32-true", "draw.every=0"]
    ended = train(*overrides(folder), *network, *settings, "cv.folds=2", f"hydra.run.dir={tmp_path / 'cv'}")
    assert ended.code == 0, ended.err
    metrics = json.loads((tmp_path / "cv" / "metrics.json").read_text())
    assert "cv/mean" not in metrics
    fold = json.loads((tmp_path / "cv" / "fold-1" / "metrics.json").read_text())
    assert metrics["ferplus-cv/scores"][0] == fold["ferplus-val/accuracy"]
