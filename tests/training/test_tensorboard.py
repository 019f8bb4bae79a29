"""What is drawn during training is true, takes at most its share of the time, and leaves nothing behind."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, LambdaCallback
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray
from tiny_runs import FC, NO_FINALE, ON_CPU, run_fit, settings_from, weights

from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import VAL
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.activations import activation_maps, one_face_each
from fer_lightning.networks.weight_files import load_network
from fer_lightning.training import tensorboard
from fer_lightning.training.tensorboard import Pace

CONV = [
    "data.images=140",
    "data.batch_size=16",
    "model=conv_poster",
    "model.conv=[{filters: 4, kernel: 7, pool: 4},{filters: 5, pool: 2}]",
    "model.hidden=[8]",
    *ON_CPU,
    "trainer.max_epochs=2",
]


def events_of(folder) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "tensors": 0}).Reload()


class ModesAndGradients(Callback):
    """Freezes a layer's mode; keeps modes and gradients from before and after what is drawn at the end of a run."""

    def on_train_start(self, trainer, pl_module) -> None:
        pl_module.network.features.conv1.eval()

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.before = self.state_of(pl_module)

    def on_train_end(self, trainer, pl_module) -> None:
        self.after = self.state_of(pl_module)

    def state_of(self, module) -> tuple[dict[str, bool], list[bool]]:
        modes = {name: part.training for name, part in module.network.named_modules()}
        return modes, [parameter.grad is None for parameter in module.parameters()]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A run with everything drawn: its folder, and what `ModesAndGradients` saw."""
    folder, seen = tmp_path_factory.mktemp("drawn"), ModesAndGradients()
    run_fit(folder, *CONV, "draw.embedding=10", "draw.share=1", callbacks=[seen])
    return folder, seen


@pytest.fixture(scope="module")
def events(drawn):
    return events_of(drawn[0])


@pytest.fixture(scope="module")
def val(drawn):
    """Validation faces and labels of that run, its network, and its data module."""
    datamodule = FaceDataModule(settings_from(*CONV).data)
    datamodule.setup()
    rows, network = datamodule.rows[VAL], load_network(drawn[0] / "checkpoints" / "last.ckpt").network
    return datamodule.loaded.images[rows], datamodule.loaded.labels[rows], network, datamodule


def test_the_board_holds_every_picture_of_the_contract(events):
    images = set(events.Tags()["images"])
    pictures = {"confusion_matrix/val", "confusion_matrix/train", "filters/conv1", "activations/conv1"}
    assert pictures | {"activations/conv2"} | {f"deepdream/{name}" for name in EXPRESSIONS} == images
    assert [event.step for event in events.Images("activations/conv2")] == [0, 1]
    large = images - {"filters/conv1"}  # this network has four filters only
    assert all(event.width > 400 for tag in large for event in events.Images(tag))


def test_curves_and_hyperparameters_are_there(events):
    curves = {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/macro_f1", "lr"}
    assert curves <= set(events.Tags()["scalars"])
    assert all([event.step for event in events.Scalars(tag)] == [0, 1] for tag in curves)
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_the_matrices_are_those_of_the_validated_network_and_of_the_training_predictions(events, val):
    images, labels, network, datamodule = val
    drawn = {
        split: make_ndarray(events.Tensors(f"confusion_counts/{split}")[-1].tensor_proto) for split in ("val", "train")
    }
    with torch.no_grad():
        predicted = network(images).argmax(dim=1)
    np.testing.assert_array_equal(drawn["val"], confusion_matrix(labels, predicted, labels=range(7)))
    np.testing.assert_array_equal(drawn["train"].sum(axis=1), datamodule.class_counts())
    assert drawn["train"].trace() / 112 == pytest.approx(events.Scalars("train/accuracy")[-1].value)


def test_the_pictures_of_matrices_show_the_counts(monkeypatch, tmp_path):
    shown, draw = [], tensorboard.confusion_picture

    def keep(matrix, names, title):
        shown.append((title, matrix))
        return draw(matrix, names, title)

    monkeypatch.setattr(tensorboard, "confusion_picture", keep)
    run_fit(tmp_path, *FC, "trainer.max_epochs=1")
    written = events_of(tmp_path)
    assert [title for title, _ in shown] == ["val", "train"]
    for title, matrix in shown:
        np.testing.assert_array_equal(
            matrix, make_ndarray(written.Tensors(f"confusion_counts/{title}")[0].tensor_proto)
        )


def test_the_sparsity_curve_is_the_counted_share_of_zeros(events, val):
    images, labels, network, _ = val
    for name, maps in activation_maps(network, images[one_face_each(images, labels, 7)]).items():
        curve = events.Scalars(f"sparsity/{name}")
        assert [event.step for event in curve] == [0, 1]
        assert curve[-1].value == pytest.approx(int((maps == 0).sum()) / maps.numel(), abs=1e-6)
        assert 0 <= events.Scalars(f"locality/{name}")[-1].value <= 1


def test_the_projector_has_a_row_and_a_thumbnail_for_each_face(drawn, val):
    images, labels, network, _ = val
    (table,) = (drawn[0] / "tensorboard").rglob("tensors.tsv")
    with torch.no_grad():
        hidden = network.embed(*network.preprocessing(images[:10]))
        predicted = network(images[:10]).argmax(dim=1)
    np.testing.assert_allclose(np.loadtxt(table, delimiter="\t"), hidden, atol=1e-5)
    words = (table.parent / "metadata.tsv").read_text().splitlines()
    assert words[0] == "label\tseen\tanswer"
    assert words[1:] == [
        f"{EXPRESSIONS[label]}\t{EXPRESSIONS[answer]}\t{'right' if label == answer else 'wrong'}"
        for label, answer in zip(labels[:10].tolist(), predicted.tolist(), strict=True)
    ]
    assert (table.parent / "sprite.png").exists()


def test_the_probabilities_of_dreams_are_those_of_a_real_face_and_rise(events):
    before, after = make_ndarray(events.Tensors("deepdream_probabilities")[0].tensor_proto)
    assert before.sum() == pytest.approx(1, abs=1e-5)  # of one face, each emotion's
    assert (after > before).all()


def test_train_and_val_lie_on_one_chart(events):
    (layout,) = events.Tensors("custom_scalars__config__")
    text = layout.tensor_proto.string_val[0]
    assert b"^train/accuracy$" in text
    assert b"^val/accuracy$" in text


def test_drawing_changes_neither_weights_nor_modes_nor_gradients(drawn, tmp_path):
    folder, seen = drawn
    run_fit(tmp_path, *CONV, "draw.every=0", callbacks=[ModesAndGradients()])
    plain = weights(tmp_path)
    assert all(torch.equal(value, plain[name]) for name, value in weights(folder).items())
    assert not events_of(tmp_path).Tags()["images"]
    (modes, gradients), (modes_after, gradients_after) = seen.before, seen.after
    assert modes_after == modes
    assert modes["features.conv2.norm"]
    assert not modes["features.conv1.norm"]
    assert gradients_after == gradients


def test_epochs_of_drawing_leave_no_hook_and_no_figure(tmp_path):
    left = []

    def look(trainer, module) -> None:
        if trainer.current_epoch not in (1, 6):
            return
        gc.collect()
        kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
        hooks = sum(len(getattr(part, kind)) for part in module.network.modules() for kind in kinds)
        left.append((hooks, sum(type(thing) is Figure for thing in gc.get_objects())))

    watch = LambdaCallback(on_train_epoch_end=look, on_train_end=look)
    settings = [*CONV, "draw.share=1000", "draw.deepdream=false", "draw.embedding=7", "trainer.max_epochs=6"]
    run_fit(tmp_path, *settings, callbacks=[watch])
    assert len(left) == 2
    assert left[0] == left[1]
    assert left[0][0] == 0
    events = events_of(tmp_path)
    assert all([event.step for event in events.Images(tag)] == [*range(6)] for tag in events.Tags()["images"])


def test_every_third_epoch_is_drawn_and_the_last(tmp_path):
    run_fit(tmp_path, *CONV, *NO_FINALE, "draw.every=3", "draw.share=1000", "trainer.max_epochs=5")
    events = events_of(tmp_path)
    for tag in ("confusion_matrix/val", "confusion_matrix/train", "filters/conv1", "activations/conv2"):
        assert [event.step for event in events.Images(tag)] == [0, 3, 4]


def test_a_network_without_conv_layers_is_drawn_as_far_as_it_goes(tmp_path):
    run_fit(tmp_path, *FC, "trainer.max_epochs=1", "draw.embedding=7")
    tags = events_of(tmp_path).Tags()
    assert set(tags["images"]) == {"confusion_matrix/val", "confusion_matrix/train"}
    assert not [tag for tag in tags["scalars"] if tag.startswith(("sparsity", "locality"))]
    assert len(list((tmp_path / "tensorboard").rglob("tensors.tsv"))) == 1


def test_pictures_are_thinned_out_when_they_would_take_more_than_their_share(monkeypatch):
    """A hundred epochs, each as long as a picture takes."""
    now, drawn = [0.0], []
    monkeypatch.setattr(tensorboard.time, "perf_counter", lambda: now[0])
    pace = Pace(every=1, share=0.05)
    trainer = SimpleNamespace(max_epochs=100, strategy=SimpleNamespace(broadcast=bool))
    for trainer.current_epoch in range(100):
        if pace.draws(trainer):
            drawn.append(trainer.current_epoch)
            with pace.timed():
                now[0] += 1.0
        now[0] += 1.0
    assert drawn[0] == 0
    assert drawn[-1] == 99
    assert pace.spent - 2 <= 0.05 * now[0]  # the first and the last are drawn whatever they cost
    assert len(drawn) >= 4
