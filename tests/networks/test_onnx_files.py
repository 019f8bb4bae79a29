"""ONNX files: onnxruntime gives torch's probabilities for every network of the project and faces of any size."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from fer_lightning.cli import settings_of
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.hog import hog
from fer_lightning.networks import build_network
from fer_lightning.networks.onnx_files import OPSET, AnySize, OnnxNetwork, load_onnx, write_onnx
from fer_lightning.networks.weight_files import TrainedNetwork, load_network
from fer_lightning.settings import CONF, TrainSettings

VERSION_1 = Path(__file__).parent / "version_1"
SHAPES = ((1, 48, 48), (7, 48, 48), (3, 96, 80), (2, 31, 200), (1, 1, 1))
MODELS = [
    (f"model={file.stem}", "model.hidden=[8]", *["data.size=63"] * (file.stem == "alexnet"))
    for file in sorted(CONF.glob("model/*.yaml"))
    if file.stem != "vgg16"  # half a gigabyte: in tests/integration
]
SMALL = ("model=hybrid_poster", "model.conv=[{filters: 4, kernel: 5, pool: 4}]", "model.hidden=[8]")
VARIANTS = [
    ("model=fc", "model.input=pixels", "model.hidden=[8]"),
    (*SMALL, "data.channels=3", "data.size=96"),
    (*SMALL, "data.size=30"),
    (*SMALL, "model.batch_norm=false", "data.hog.orientations=6", "data.hog.pixels_per_cell=7"),
    *(
        ("model=fc", "model.hidden=[8]", f"data.hog.block_norm={norm}", "data.hog.cells_per_block=3")
        for norm in ("L1", "L1-sqrt", "L2")
    ),
    ("model=conv_poster", "model.conv=[{filters: 4, stride: 2, padding: 0, batch_norm: false, dropout: 0.3}]"),
]


def faces_of(shape: tuple[int, ...]) -> np.ndarray:
    """Noise on a slope, so that gradients are of all directions, some zero."""
    noise = np.random.default_rng(0).integers(0, 60, shape, dtype=np.uint8)
    noise[:, : shape[1] // 3] //= 60
    return noise + np.linspace(0, 190, shape[2]).astype(np.uint8)


def network_of(words: tuple[str, ...], compose) -> TrainedNetwork:
    """With random weights, and the statistics of some faces, so that no part of the graph is the identity."""
    settings = settings_of(compose(*words), TrainSettings)
    torch.manual_seed(0)
    network = build_network(settings.model, settings.data.inputs)
    torch.nn.init.normal_(network.head.scores.weight, std=0.3)
    faces = torch.from_numpy(faces_of((32, 48, 48)))
    features = hog(faces, **dict(settings.data.hog)) if network.uses_hog else torch.zeros(32, 0)
    statistics = (
        faces.float().mean(0, keepdim=True),
        faces.float().std(),
        features.mean(0),
        features.mean(0) + 0.01,
    )
    network.preprocessing.set_statistics(*statistics)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():  # the statistics of batch normalisation
        network(faces[:, None])
    network.temperature.fill_(1.3)
    network.eval()
    return TrainedNetwork(network, settings.model, settings.seed, settings.data, epoch=4)


def probabilities(network: torch.nn.Module, faces: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return AnySize(network)(torch.from_numpy(faces)).numpy()


@pytest.fixture(scope="module")
def small(compose) -> TrainedNetwork:
    return network_of(SMALL, compose)


@pytest.fixture(scope="module")
def written(small, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    write_onnx(path, small, {"fer_lightning": "9.9", "note": "grüße"}, [faces_of((4, 48, 48))])
    return path


@pytest.mark.parametrize("words", [*MODELS, *VARIANTS], ids=" ".join)
def test_onnxruntime_gives_torchs_probabilities(words, compose, tmp_path):
    trained = network_of(words, compose)
    difference = write_onnx(tmp_path / "a.onnx", trained, {}, [faces_of((2, 48, 48)), faces_of((2, 64, 50))])
    assert difference <= 1e-5
    loaded = load_onnx(tmp_path / "a.onnx", threads=1)
    for shape in SHAPES:
        found, faces = loaded.probabilities(faces_of(shape)), faces_of(shape)
        assert found.shape == (len(faces), 7)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, probabilities(trained.network, faces), rtol=0, atol=1e-5)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert np.ptp(loaded.probabilities(faces_of((7, 48, 48))), axis=0).max() > 1e-3, "the network ignores its input"


@pytest.mark.parametrize("name", ["best.ckpt", "hybrid_poster.safetensors"])
def test_averaged_weights_and_files_of_version_1_export_too(name, tmp_path):
    trained = load_network(VERSION_1 / name)
    write_onnx(tmp_path / "a.onnx", trained, {}, [faces_of((4, 48, 48))])
    found = load_onnx(tmp_path / "a.onnx").probabilities(faces_of((5, 60, 60)))
    np.testing.assert_allclose(found, probabilities(trained.network, faces_of((5, 60, 60))), rtol=0, atol=1e-5)


def test_the_file_says_what_it_is_and_names_nothing_of_this_machine(written, small):
    loaded, model = load_onnx(written), onnx.load(written)
    assert loaded.names == EXPRESSIONS
    assert loaded.card["note"] == "grüße"
    assert loaded.card["hyper_parameters"]["model"]["name"] == "hybrid_poster"
    assert loaded.card["opset"] == model.opset_import[0].version == OPSET
    assert (model.producer_name, model.producer_version) == ("fer_lightning", "9.9")
    dimensions = [[axis.dim_param for axis in end.type.tensor_type.shape.dim] for end in model.graph.input]
    assert dimensions == [["faces", "height", "width"]]
    for folder in (Path(torch.__file__).parent, Path(__file__).parents[2]):
        assert str(folder).encode() not in written.read_bytes()


def test_a_graph_that_gives_other_probabilities_is_not_kept(small, tmp_path, monkeypatch):
    honest = OnnxNetwork.probabilities
    monkeypatch.setattr(OnnxNetwork, "probabilities", lambda self, faces: honest(self, faces) + np.float32(2e-5))
    with pytest.raises(InputError, match=r"not written: its probabilities would differ from torch's by 2\.\de-05"):
        write_onnx(tmp_path / "a.onnx", small, {}, [faces_of((4, 48, 48))])
    assert not list(tmp_path.iterdir())


def test_a_network_of_numbers_that_are_none_is_not_kept(compose, tmp_path):
    broken = network_of(SMALL, compose)
    broken.network.head.scores.bias.data.fill_(float("nan"))
    with pytest.raises(InputError, match="would differ from torch's by nan"):
        write_onnx(tmp_path / "a.onnx", broken, {}, [faces_of((4, 48, 48))])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "faces",
    [np.zeros((48, 48), np.uint8), np.zeros((1, 48, 48), np.float32), np.zeros((1, 0, 48), np.uint8)],
    ids=["one face", "floats", "no rows"],
)
def test_faces_of_another_form_are_refused(faces, written):
    with pytest.raises(InputError, match=r"expected \(N, H, W\), or \(N, H, W, 3\) in colour, and uint8"):
        load_onnx(written).probabilities(faces)


def test_no_face_has_no_probabilities(written):
    assert load_onnx(written).probabilities(np.zeros((0, 20, 30), np.uint8)).shape == (0, 7)


def other_names(model: onnx.ModelProto) -> None:
    for entry in model.metadata_props:
        if entry.key == "names":
            entry.value = json.dumps(EXPRESSIONS[::-1])


CHANGES = {
    "without metadata": lambda model: model.ClearField("metadata_props"),
    "other names": other_names,
    "another output": lambda model: setattr(model.graph.output[0].type.tensor_type, "elem_type", 11),
    "an unknown operator": lambda model: setattr(model.graph.node[0], "op_type", "Malicious"),
    "a file of its own for weights": lambda model: onnx.external_data_helper.set_external_data(
        model.graph.initializer[0], "/etc/passwd"
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_other_onnx_files_are_refused(kind, written, tmp_path):
    model = onnx.load(written)
    CHANGES[kind](model)
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"other\.onnx: not an ONNX file of fer_lightning\.export"):
        load_onnx(tmp_path / "other.onnx")


@pytest.mark.parametrize("content", [b"", b"no graph", bytes(2000)])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "other.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"other\.onnx: not an ONNX file of fer_lightning\.export"):
        load_onnx(tmp_path / "other.onnx")
    with pytest.raises(InputError, match="no such file"):
        load_onnx(tmp_path / "none.onnx")


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_told_with_the_line_that_installs_it(missing, small, written, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=r"pip install 'fer_lightning\[onnx\]'"):
        write_onnx(tmp_path / "a.onnx", small, {}, [faces_of((4, 48, 48))])
    if missing == "onnxruntime":
        with pytest.raises(InputError, match=r"pip install 'fer_lightning\[onnx\]'"):
            load_onnx(written)
    else:
        assert load_onnx(written)
    assert not list(tmp_path.iterdir())
