"""Figures of an evaluation against other implementations and sums done by hand; the command and what it leaves."""

import contextlib
import io
import json
import sys

import numpy as np
import pytest
import torch
from hydra import compose as compose_config
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from scipy.stats import chi2
from skimage.feature import hog as reference_hog
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as reference_confusion
from small_sets import csv_text, encoded, in_csv_order, pictures

from fer_lightning.calibration import expected_calibration_error, fit_temperature, with_temperature
from fer_lightning.checkpoints import load_classifier
from fer_lightning.commands import CONF
from fer_lightning.data.faces import TEST, TRAIN, VAL
from fer_lightning.data.sources import open_source
from fer_lightning.evaluate import main
from fer_lightning.evaluation import named
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.scores import (
    balanced_accuracy,
    confusion_matrix,
    macro_f1,
    mcnemar,
    mean_and_sd,
    per_class,
    wilson_interval,
)
from fer_lightning.test_time import VIEWS, probabilities

SMALL = ["data=synthetic", "data.images=140"]
NETWORK = ["model.conv=[{filters: 4, kernel: 7, pool: 4}]", "model.hidden=[16]", "data.batch_size=16", "draw.every=0"]
QUICK = [*SMALL, *NETWORK, "trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.precision=32-true"]


def evaluate(*overrides):
    """`python -m fer_lightning.evaluate OVERRIDES` in this process: exit status, stdout, stderr."""
    out, err, code, arguments = io.StringIO(), io.StringIO(), 0, sys.argv
    sys.argv = ["evaluate", *map(str, overrides)]
    GlobalHydra.instance().clear()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = arguments
    return code, out.getvalue(), err.getvalue()


def evaluation(folder):
    return json.loads((folder / "evaluation.json").read_text())


def predictions(folder):
    with np.load(folder / "predictions.npz") as kept:
        return dict(kept)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, train):
    """A hybrid network and two conv networks, each trained for one epoch."""
    root = tmp_path_factory.mktemp("runs")
    for name, model, seed in (("hybrid", "hybrid_poster", 0), ("conv", "conv_poster", 0), ("conv1", "conv_poster", 1)):
        ended = train(*QUICK, f"model={model}", f"seed={seed}", f"hydra.run.dir={root / name}")
        assert ended.code == 0, ended.err
    return root


@pytest.fixture
def checkpoint(runs):
    return lambda name: runs / name / "checkpoints" / "best.ckpt"


@pytest.fixture
def leaky(tmp_path):
    """A csv whose val copies the first training image and mirrors the last one; no PrivateTest."""
    made = in_csv_order(pictures(seed=1, counts=(4, 2, 0)))
    train = [picture for picture in made if picture.split == TRAIN]
    val = [picture for picture in made if picture.split == VAL]
    exact = val[0]._replace(jpeg=train[0].jpeg)
    mirrored = val[1]._replace(jpeg=encoded(np.ascontiguousarray(train[-1].pixels[:, ::-1]), "PNG"))
    path = tmp_path / "leaky.csv"
    path.write_text(csv_text([*train, exact, mirrored, *val[2:]]))
    return path


@pytest.mark.parametrize("seed", range(5))
def test_class_figures_are_those_of_sklearn(seed):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, 7 - (seed == 1), 60), rng.integers(seed == 2, 7, 60)
    matrix = confusion_matrix(labels, predicted, 7)
    assert np.array_equal(matrix, reference_confusion(labels, predicted, labels=range(7)))
    precision, recall, f1, n = precision_recall_fscore_support(labels, predicted, labels=range(7), zero_division=0)
    found = per_class(matrix, EXPRESSIONS)
    for row, name in enumerate(EXPRESSIONS):
        expected = {"precision": precision[row], "recall": recall[row], "f1": f1[row], "n": n[row]}
        assert found[name] == pytest.approx(expected)
    assert macro_f1(matrix) == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0))
    if seed != 1:  # sklearn warns of a class that is predicted and never true
        assert balanced_accuracy(matrix) == pytest.approx(balanced_accuracy_score(labels, predicted))


@pytest.mark.parametrize(("right", "n"), [(8, 10), (0, 5), (5, 5), (2620, 3589)])
def test_wilson_interval_holds_the_shares_that_a_score_test_would_not_refuse(right, n):
    share, quantile = right / n, chi2.ppf(0.95, 1)
    low, high = wilson_interval(right, n)
    assert low <= share <= high
    for bound in (low, high):
        if 0 < bound < 1:
            assert n * (share - bound) ** 2 == pytest.approx(quantile * bound * (1 - bound))


def test_calibration_error_of_a_case_done_by_hand():
    # four answers at 0.9, three of them right; two at 0.6, both right: 4/6 * |0.9 - 0.75| + 2/6 * |0.6 - 1|
    sure = torch.tensor([0.9, 0.1, 0, 0, 0, 0, 0]).expand(4, 7)
    unsure = torch.tensor([0.0, 0.6, 0.4, 0, 0, 0, 0]).expand(2, 7)
    error = expected_calibration_error(torch.cat([sure, unsure]), torch.tensor([0, 0, 0, 3, 1, 1]))
    assert error == pytest.approx(4 / 6 * 0.15 + 2 / 6 * 0.4, abs=1e-6)


def test_fitted_temperature_undoes_the_factor_by_which_logits_were_sharpened():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 7, generator=random, dtype=torch.float64) * 1.5
    labels = torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]
    too_sure = (3 * logits).softmax(1)
    temperature = fit_temperature(too_sure, labels)
    assert temperature == pytest.approx(3, rel=0.03)
    calibrated = with_temperature(too_sure, temperature)
    assert torch.equal(calibrated.argmax(1), logits.argmax(1))
    assert torch.allclose(with_temperature(too_sure, 3.0), logits.softmax(1))
    before, after = (expected_calibration_error(one.float(), labels) for one in (too_sure, calibrated))
    assert after < 0.02 < 0.1 < before


def test_mcnemar_of_a_case_done_by_hand():
    # of ten images five only the first reads rightly, one only the second: p = 2 (1 + 6) / 2^6
    first = np.array([1, 1, 1, 1, 1, 0, 1, 1, 0, 0], dtype=bool)
    second = np.array([0, 0, 0, 0, 0, 1, 1, 1, 0, 0], dtype=bool)
    found = mcnemar(first, second)
    assert (found["only_first_right"], found["only_second_right"]) == (5, 1)
    assert found["p_value"] == pytest.approx(14 / 64)
    assert found["difference"] == pytest.approx(0.4)
    assert found["difference_ci95"] == pytest.approx([0.4 - 0.4111, 0.4 + 0.4111], abs=1e-4)  # 1.96 sqrt(4.4) / 10
    assert mcnemar(second, first)["difference"] == pytest.approx(-0.4)


def test_a_classifier_does_not_differ_from_itself():
    right = np.array([True, False, True])
    assert mcnemar(right, right)["p_value"] == 1
    assert mcnemar(right, right)["difference_ci95"] == [0, 0]


def test_deviation_over_seeds_is_the_samples():
    assert mean_and_sd([0.6, 0.7, 0.8]) == pytest.approx({"mean": 0.7, "sd": 0.1})
    assert mean_and_sd([0.6]) == {"mean": 0.6, "sd": None}


def test_ten_crops_are_corners_and_middle_and_their_mirror_images():
    face = torch.arange(48 * 48.0).reshape(1, 1, 48, 48)
    views = list(VIEWS["tencrop"](face))
    assert [view.shape for view in views] == [(1, 1, 48, 48)] * 10
    for plain, mirrored in zip(views[::2], views[1::2], strict=True):
        assert torch.equal(plain.flip(-1), mirrored)
    for view, (top, left) in zip(views[::2], [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)], strict=True):
        crop = Image.fromarray(face[0, 0, top : top + 44, left : left + 44].numpy())
        enlarged = np.asarray(crop.resize((48, 48), Image.Resampling.BILINEAR))
        assert np.allclose(view[0, 0].numpy(), enlarged, atol=1e-2)


def test_flip_is_the_mean_of_a_face_and_its_mirror_image_each_with_its_own_hog(checkpoint):
    classifier = load_classifier(checkpoint("hybrid"))
    faces = torch.randint(0, 256, (3, 1, 48, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    expected = []
    with torch.no_grad():
        for pictures_ in (faces, faces.flip(-1)):
            features = [reference_hog(face[0], 9, (8, 8), (2, 2)) for face in pictures_.numpy()]
            expected.append(classifier(pictures_.float(), torch.tensor(np.array(features)).float()).softmax(1))
    found = probabilities([classifier], faces, "flip")
    assert torch.allclose(found[0], (expected[0] + expected[1]) / 2, atol=1e-5)


def test_evaluation_agrees_with_the_training_run_and_with_sklearn(runs, checkpoint, compose):
    code, out, err = evaluate(f"checkpoint={checkpoint('hybrid')}", *SMALL)
    assert code == 0, err
    found = evaluation(runs / "hybrid" / "evaluation-val")
    trained = json.loads((runs / "hybrid" / "metrics.json").read_text())
    assert found["accuracy"] == pytest.approx(trained["val/accuracy"])
    assert found["macro_f1"] == pytest.approx(trained["val/macro_f1"])
    faces = open_source(compose(*SMALL).data)
    classifier, rows = load_classifier(checkpoint("hybrid")), faces.rows(VAL)
    with torch.no_grad():
        predicted = classifier.classify(torch.from_numpy(faces.images[rows])[:, None]).argmax(1).numpy()
    assert found["confusion_matrix"] == reference_confusion(faces.labels[rows], predicted, labels=range(7)).tolist()
    assert found["n"] == len(rows) == found["n_unique"]
    assert found["data_fingerprint"] == faces.fingerprint
    assert f"{found['accuracy']:.2%}" in out
    assert found["command"].startswith("python -m fer_lightning.evaluate checkpoint=")
    with Image.open(runs / "hybrid" / "evaluation-val" / "confusion_matrix.png") as picture:
        assert min(picture.size) > 500


def test_temperature_for_test_is_the_one_fitted_on_val(runs, checkpoint):
    for split in ("val", "test"):
        assert evaluate(f"checkpoint={checkpoint('conv')}", *SMALL, f"split={split}")[0] == 0
    val, test = (evaluation(runs / "conv" / f"evaluation-{split}") for split in ("val", "test"))
    assert test["temperature"] == pytest.approx(val["temperature"], rel=1e-6)
    assert (val["temperature_fitted_on"], test["temperature_fitted_on"]) == ("val, these same images", "val")
    assert test["split"] == "test"
    assert test["images_sha256"] != val["images_sha256"]


def test_ensemble_is_the_mean_of_probabilities_and_its_members_stand_beside_it(tmp_path, runs, checkpoint, compose):
    paths = [checkpoint("conv"), checkpoint("conv1"), checkpoint("hybrid")]
    one_network = f"checkpoint=[{','.join(map(str, paths[:2]))}]"
    code, out, err = evaluate(one_network, *SMALL, f"hydra.run.dir={tmp_path / 'seeds'}")
    assert code == 0, err
    spread = evaluation(tmp_path / "seeds")["over_members"]["accuracy"]["sd"]
    assert f"{spread:.2%}" in next(line for line in out.splitlines() if "standard deviation" in line)
    joined = f"checkpoint=[{','.join(map(str, paths))}]"
    code, out, err = evaluate(joined, *SMALL, "tta=flip", f"hydra.run.dir={tmp_path / 'mixed'}")
    assert code == 0, err
    found = evaluation(tmp_path / "mixed")
    assert found["model"] == "2 x conv_poster + hybrid_poster"
    faces = open_source(compose(*SMALL).data)
    images = torch.from_numpy(faces.images[faces.rows(VAL)])[:, None]
    each = [probabilities([load_classifier(path)], images, "flip")[0] for path in paths]
    kept = predictions(tmp_path / "mixed")
    assert np.allclose(kept["probabilities"], torch.stack(each).mean(0).numpy(), atol=1e-6)
    right = [(one.argmax(1).numpy() == kept["labels"]).mean() for one in each]
    assert [member["accuracy"] for member in found["members"]] == pytest.approx(right)
    assert found["over_members"]["accuracy"]["mean"] == pytest.approx(np.mean(right))
    assert found["over_members"]["accuracy"]["sd"] == pytest.approx(np.std(right, ddof=1))
    assert "standard deviation" not in out  # of different networks there is none over seeds
    assert len(set(found["checkpoint_sha256"])) == 3


def test_two_evaluations_of_the_same_images_are_compared_image_by_image(tmp_path, checkpoint):
    for name in ("conv", "conv1"):
        arguments = [f"checkpoint={checkpoint(name)}", *SMALL, f"hydra.run.dir={tmp_path / name}"]
        compare = [f"compare={tmp_path / 'conv'}"] if name == "conv1" else []
        code, _, err = evaluate(*arguments, *compare)
        assert code == 0, err
    first, second = evaluation(tmp_path / "conv1"), evaluation(tmp_path / "conv")
    assert first["mcnemar"]["difference"] == pytest.approx(first["accuracy"] - second["accuracy"])
    code, _, err = evaluate(
        f"checkpoint={checkpoint('conv')}", *SMALL, "split=test", f"compare={tmp_path / 'conv'}",
        f"hydra.run.dir={tmp_path / 'other'}",
    )  # fmt: skip
    assert code == 2
    assert "other images (val, 14)" in err
    assert not (tmp_path / "other" / "evaluation.json").exists()


def test_copies_of_training_images_are_left_out_mirrored_ones_counted_apart(tmp_path, checkpoint, leaky):
    data = ["data=fer2013", f"data.path={leaky}", "data.check_counts=false"]
    code, _, err = evaluate(f"checkpoint={checkpoint('conv')}", *data, f"hydra.run.dir={tmp_path / 'out'}")
    assert code == 0, err
    found = evaluation(tmp_path / "out")
    assert (found["n"], found["n_unique"], found["n_unique_mirrored"]) == (14, 13, 12)
    kept = predictions(tmp_path / "out")
    right = kept["probabilities"].argmax(1) == kept["labels"]
    assert found["accuracy"] == pytest.approx(right.mean())
    assert any("val is not PublicTest" in note for note in found["notes"])


def test_a_source_without_the_split_is_refused_with_what_it_holds(runs, checkpoint, leaky):
    data = ["data=fer2013", f"data.path={leaky}", "data.check_counts=false"]
    code, _, err = evaluate(f"checkpoint={checkpoint('conv')}", *data, "split=test", "tta=flip")
    assert code == 2
    assert "split=test: the data holds no such images, but train 28, val 14" in err
    assert not (runs / "conv" / "evaluation-test-flip").exists()


def test_private_test_alone_can_be_scored(tmp_path, checkpoint):
    made = [picture for picture in pictures(counts=(0, 0, 3)) if picture.split == TEST]
    (tmp_path / "private.csv").write_text(csv_text(made))
    data = ["data=fer2013", f"data.path={tmp_path / 'private.csv'}", "data.check_counts=false", "split=test"]
    code, _, err = evaluate(f"checkpoint={checkpoint('conv')}", *data, f"hydra.run.dir={tmp_path / 'out'}")
    assert code == 0, err
    found = evaluation(tmp_path / "out")
    assert found["n"] == 21
    assert found["accuracy_unique"] is found["temperature"] is found["ece_with_temperature"] is None
    assert [note.split(",")[0] for note in found["notes"]] == [
        "Trained on synthetic",
        "There is no val",
        "There is no train",
    ]


def test_a_network_without_hog_computes_none(tmp_path, checkpoint, monkeypatch):
    def never(*arguments, **settings):
        raise AssertionError("HOG was computed")

    monkeypatch.setattr("fer_lightning.classifiers.hog", never)
    assert evaluate(f"checkpoint={checkpoint('conv')}", *SMALL, f"hydra.run.dir={tmp_path}")[0] == 0


def test_an_evaluation_is_replaced_by_its_like_and_by_no_other(tmp_path, checkpoint):
    same = [f"checkpoint={checkpoint('conv')}", *SMALL, f"hydra.run.dir={tmp_path}"]
    assert [evaluate(*same)[0] for _ in range(2)] == [0, 0]
    before = (tmp_path / "evaluation.json").read_text()
    code, _, err = evaluate(*same, "split=test")
    assert code == 2
    assert "holds an evaluation with another images_sha256" in err
    assert (tmp_path / "evaluation.json").read_text() == before
    assert not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data=synthetic"], "checkpoint=None: expected a checkpoint"),
        (["checkpoint=nowhere.ckpt", "data=synthetic"], "nowhere.ckpt: no such checkpoint"),
        (["checkpoint=a.ckpt", "data=fer2014"], "Did you mean fer2013"),
        (["checkpoint=a.ckpt", "data=synthetic", "split=public"], "expected train or val or test"),
        (["checkpoint=a.ckpt", "data=synthetic", "tta=fivecrop"], "expected none or flip or tencrop"),
        (["checkpoint=a.ckpt", "data=synthetic", "temperature=test"], "expected val, a number above 0, or null"),
        (["checkpoint=a.ckpt", "data=synthetic", "data.size=96"], "the checkpoint's own settings rule"),
        (["checkpoint=a.ckpt", "data=synthetic", "splt=val"], "Did you mean split"),
    ],
)
def test_a_mistake_gets_one_clear_message(overrides, said):
    code, out, err = evaluate(*overrides)
    assert code == 2
    assert said in err
    assert "Traceback" not in err + out


def test_the_help_explains_every_setting_of_its_own():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        keys = [key for key in compose_config("evaluate") if key != "data"]
    code, out, _ = evaluate("--help")
    assert code == 0
    assert keys
    assert all(f"\n{key}=" in out for key in keys)


def test_an_ensemble_of_one_checkpoint_twice_is_refused(checkpoint):
    path = checkpoint("conv")
    code, _, err = evaluate(f"checkpoint=[{path},{path}]", *SMALL)
    assert code == 2
    assert "stands twice" in err


def test_predictions_from_a_stranger_cannot_run_code(tmp_path, checkpoint):
    assert evaluate(f"checkpoint={checkpoint('conv')}", *SMALL, f"hydra.run.dir={tmp_path / 'a'}")[0] == 0
    np.savez(
        tmp_path / "a" / "predictions.npz", labels=np.array([print], dtype=object), probabilities=np.zeros((14, 7))
    )
    arguments = [
        f"checkpoint={checkpoint('conv')}",
        *SMALL,
        f"compare={tmp_path / 'a'}",
        f"hydra.run.dir={tmp_path / 'b'}",
    ]
    code, _, err = evaluate(*arguments)
    assert code == 2
    assert "not an evaluation.json" in err


def test_an_ensemble_is_named_by_its_members():
    assert named(["conv_deep"]) == "conv_deep"
    assert named(["fc", "conv_deep", "fc"]) == "2 x fc + conv_deep"
