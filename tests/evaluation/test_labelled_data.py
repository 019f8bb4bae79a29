"""`data.labels` through a run: training, resume, best.yaml, evaluation; figures where an expression is absent."""

import json

import pytest
import yaml
from sklearn.metrics import f1_score
from small_sets import pictures, write_folder

from fer_lightning.data.faces import TRAIN, VAL
from fer_lightning.evaluation.records import read_evaluation
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.networks.weight_files import read_checkpoint

RAF = dict(zip(("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"), range(1, 8), strict=True))
NAMED = {name: f"très {name} ({number})" for name, number in RAF.items()}
QUICK = (
    "data=fer2013",
    "data.check_counts=false",
    "data.batch_size=16",
    "model=fc",
    "model.hidden=[8]",
    "draw.every=0",
)
QUICK += ("trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.precision=32-true")
MADE = pictures(counts=(6, 3, 0))


def write_set(folder, names):
    """Images in folders of these names; None leaves an expression out of train."""
    files = {}
    for picture in MADE:
        name = EXPRESSIONS[picture.label]
        if names.get(name, name) is not None or picture.split == VAL:
            part = {TRAIN: "train", VAL: "val"}[picture.split]
            files[f"{part}/{names.get(name, name) or name}/{picture.number}.jpg"] = picture.jpeg
    return write_folder(folder, files)


def flow(names):
    return "{" + ", ".join(f"{key}: {name}" for name, key in names.items()) + "}"


@pytest.fixture(params=["numbers", "names", "file"])
def source(request, tmp_path):
    """The path of a set and what `data.labels` is given."""
    names = NAMED if request.param == "names" else {name: str(number) for name, number in RAF.items()}
    path = write_set(tmp_path / "set", names)
    if request.param != "file":
        return path, flow(names)
    (tmp_path / "raf db [1].yaml").write_text("".join(f"{key}: {name}\n" for name, key in names.items()))
    return path, tmp_path / "raf db [1].yaml"


def test_labels_are_kept_by_resume_checkpoints_and_evaluation(source, train, run_command, tmp_path):
    path, labels = source
    words = (*QUICK, f"data.path={path}", f"data.labels={labels}", f"hydra.run.dir={tmp_path / 'run'}")
    ended = train(*words)
    assert ended.code == 0, ended.err
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    kept = read_checkpoint(best)["config"]["data"]["labels"]
    assert set(kept.values()) == set(EXPRESSIONS)
    ended = train(*words, "resume=true", "trainer.max_epochs=2")
    assert ended.code == 0, ended.err
    data = ("data=fer2013", f"data.path={path}", "data.check_counts=false")
    ended = run_command("evaluate", f"checkpoint={best}", *data, f"hydra.run.dir={tmp_path / 'scored'}")
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "scored" / "evaluation.json").read_text())
    assert found["n"] == 21
    assert any(note.endswith("as the checkpoint was trained on these data.") for note in found["notes"])
    trained = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert found["accuracy"] == pytest.approx(trained["val/accuracy"])


def test_a_file_of_labels_that_changed_is_named_on_resume(train, tmp_path):
    path, file = write_set(tmp_path / "set", {name: str(number) for name, number in RAF.items()}), tmp_path / "raf.yaml"
    file.write_text("".join(f"{number}: {name}\n" for name, number in RAF.items()))
    words = (*QUICK, f"data.path={path}", f"data.labels={file}", f"hydra.run.dir={tmp_path / 'run'}")
    assert train(*words).code == 0
    file.write_text(file.read_text().replace("1: surprise", "1: fear").replace("2: fear", "2: surprise"))
    ended = train(*words, "resume=true", "trainer.max_epochs=2")
    assert ended.code == 2
    assert "data.labels.1 was 'surprise' in the run" in ended.err
    assert "is 'fear' now" in ended.err


def test_best_yaml_holds_labels_whatever_their_names_and_trains_from_any_folder(source, train, tmp_path, monkeypatch):
    path, labels = source
    monkeypatch.chdir(tmp_path)
    given = labels.name if hasattr(labels, "name") else labels  # a path from here
    search = ("--multirun", "sweeps=lr_reg_hidden", "cv.folds=2", "hydra.sweeper.n_trials=1", "hydra.sweeper.first=[]")
    search += ("hydra.sweeper.pruner=none", "optimizer.lr=0.01,0.02", "hydra.sweeper.sampler=random")
    ended = train(*QUICK, f"data.path={path}", f"data.labels={given}", *search, f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert ended.code == 0, ended.err
    overrides = yaml.safe_load((tmp_path / "sweep" / "best.yaml").read_text())["overrides"]
    assert len([word for word in overrides if "data.labels" in word]) == 1
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ended = train(f"+best={tmp_path / 'sweep' / 'best.yaml'}", "draw.every=0", f"hydra.run.dir={tmp_path / 'best'}")
    assert ended.code == 0, ended.err
    assert read_checkpoint(tmp_path / "best" / "checkpoints" / "best.ckpt")["config"]["data"]["labels"]


def test_other_data_than_the_checkpoints_are_read_without_its_labels_and_this_is_said(train, run_command, tmp_path):
    path = write_set(tmp_path / "set", {"neutral": "contempt"})
    words = (*QUICK, f"data.path={path}", "data.labels={contempt: neutral}", f"hydra.run.dir={tmp_path / 'run'}")
    assert train(*words).code == 0
    data = ("data=fer2013", f"data.path={write_set(tmp_path / 'other', {})}", "data.check_counts=false")
    ended = run_command("evaluate", f"checkpoint={tmp_path / 'run' / 'checkpoints' / 'best.ckpt'}", *data)
    assert ended.code == 0, ended.err
    assert 'The checkpoint was trained with data.labels={"contempt": "neutral"}' in ended.out.replace("\n", " ")


def test_figures_are_over_the_expressions_that_are_there(train, run_command, tmp_path):
    """Val without neutral, which train has; a network that says neutral is wrong, and no more than that."""
    write_folder(tmp_path, {
        f"set/{'train' if p.split == TRAIN else 'val'}/{EXPRESSIONS[p.label]}/{p.number}.jpg": p.jpeg
        for p in MADE
        if p.split == TRAIN or p.label != 6
    })  # fmt: skip
    words = (*QUICK, f"data.path={tmp_path / 'set'}", "model.class_weights=true", "data.labels={contempt: null}")
    ended = train(*words, "trainer.max_epochs=2", f"hydra.run.dir={tmp_path / 'run'}")
    assert ended.code == 0, ended.err
    data = ("data=fer2013", f"data.path={tmp_path / 'set'}", "data.check_counts=false")
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    ended = run_command("evaluate", f"checkpoint={best}", *data, f"hydra.run.dir={tmp_path / 'scored'}")
    assert ended.code == 0, ended.err
    found, labels, probabilities = read_evaluation(tmp_path / "scored")
    predicted = probabilities.argmax(1)
    f1 = f1_score(labels, predicted, labels=sorted(set(labels.tolist())), average="macro", zero_division=0)
    assert found["macro_f1"] == pytest.approx(f1)
    trained = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert trained["val/macro_f1"] == pytest.approx(f1, abs=1e-6)
    assert found["per_class"]["neutral"]["n"] == 0
    assert "No image of neutral in val." in found["notes"]
