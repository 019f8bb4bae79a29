"""What is drawn during training says what is true, costs what it may, and leaves nothing behind."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer_lightning import callbacks
from fer_lightning.callbacks import board, drawing, ending
from fer_lightning.checkpoints import load_classifier, read_checkpoint
from fer_lightning.config import plain
from fer_lightning.data.faces import VAL
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.run import build
from fer_lightning.visualize.activations import activation_maps, one_face_each

ANY = ["data.images=280", "data.batch_size=32", "trainer.accelerator=cpu", "trainer.precision=32-true"]
CONV = "[{filters: 4, kernel: 7, pool: 4},{filters: 5, pool: 2}]"
SMALL = [*ANY, "model=conv_poster", f"model.conv={CONV}", "model.hidden=[8]"]
TRAINED = [*SMALL, "trainer.max_epochs=2", "draw.embedding=20", "draw.share=1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, train):
    """A run of two epochs with everything drawn; the matrices that were drawn are kept."""
    folder, drawn, draw = tmp_path_factory.mktemp("runs") / "drawn", {}, drawing.confusion_picture

    def keep(matrix, names, title):
        drawn.setdefault(title, []).append(matrix)
        return draw(matrix, names, title)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(drawing, "confusion_picture", keep)
        ended = train(*TRAINED, f"hydra.run.dir={folder}")
    assert ended.code == 0, ended.err
    return folder, drawn


@pytest.fixture(scope="module")
def events(run):
    accumulator = EventAccumulator(str(run[0] / "tensorboard"), size_guidance={"images": 0})
    accumulator.Reload()
    return accumulator


def test_the_board_holds_every_picture_of_the_contract(events):
    images = set(events.Tags()["images"])
    pictures = {"confusion_matrix/val", "confusion_matrix/train", "filters/conv1", "activations/conv1"}
    assert pictures | {"activations/conv2"} | {f"deepdream/{name}" for name in EXPRESSIONS} == images
    assert [event.step for event in events.Images("activations/conv2")] == [0, 1]
    large = images - {"filters/conv1"}  # this network has four filters only
    assert all(event.width > 400 for tag in large for event in events.Images(tag))


def test_the_drawn_matrices_are_those_of_the_validated_network_and_of_the_training_answers(run, events):
    folder, drawn = run
    datamodule, _ = build(read_checkpoint(folder / "checkpoints" / "last.ckpt")["config"])
    network, rows = load_classifier(folder / "checkpoints" / "last.ckpt"), datamodule.rows[VAL]
    labels = datamodule.tensors.labels[rows]
    with torch.no_grad():
        answers = network.classify(datamodule.tensors.images[rows]).argmax(dim=1)
    np.testing.assert_array_equal(drawn["val"][1], confusion_matrix(labels, answers, labels=range(7)))
    train = drawn["train"][1]
    assert train.sum() == 224
    np.testing.assert_array_equal(train.sum(axis=1), datamodule.class_counts())
    assert train.trace() / train.sum() == pytest.approx(events.Scalars("train/accuracy")[-1].value)


def test_the_sparsity_curve_is_the_counted_share_of_zeros(run, events):
    folder, _ = run
    datamodule, _ = build(read_checkpoint(folder / "checkpoints" / "last.ckpt")["config"])
    network, rows = load_classifier(folder / "checkpoints" / "last.ckpt"), datamodule.rows[VAL]
    images, labels = datamodule.tensors.images[rows], datamodule.tensors.labels[rows]
    faces = images[one_face_each(images, labels, 7)]
    for name, maps in activation_maps(network.network, network.classify, faces).items():
        counted = int((maps == 0).sum()) / maps.numel()
        curve = events.Scalars(f"sparsity/{name}")
        assert [event.step for event in curve] == [0, 1]
        assert curve[-1].value == pytest.approx(counted, abs=1e-6)
        assert 0 <= events.Scalars(f"locality/{name}")[-1].value <= 1


def test_the_projector_has_a_row_and_a_thumbnail_for_each_face(run):
    (table,) = (run[0] / "tensorboard").rglob("tensors.tsv")
    values = np.loadtxt(table, delimiter="\t")
    assert values.shape == (20, 8)
    words = (table.parent / "metadata.tsv").read_text().splitlines()
    assert words[0] == "label\tseen\tanswer"
    assert len(words) == 21
    assert all((line.split("\t")[0] == line.split("\t")[1]) == line.endswith("right") for line in words[1:])
    assert (table.parent / "sprite.png").exists()


def test_train_and_val_lie_on_one_chart(events):
    (layout,) = events.Tensors("custom_scalars__config__")
    text = layout.tensor_proto.string_val[0]
    assert b"^train/accuracy$" in text
    assert b"^val/accuracy$" in text


def test_drawing_changes_nothing_in_the_weights(run, train, tmp_path):
    assert train(*SMALL, "trainer.max_epochs=2", "draw.every=0", f"hydra.run.dir={tmp_path / 'plain'}").code == 0
    first, second = (
        read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"] for folder in (run[0], tmp_path / "plain")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    accumulator = EventAccumulator(str(tmp_path / "plain" / "tensorboard"))
    accumulator.Reload()
    assert not accumulator.Tags()["images"]


class Writer:
    """Takes what a TensorBoard writer takes, and counts it."""

    def __init__(self):
        self.taken = 0

    def take(self, *values, **settings):
        self.taken += 1

    add_image = add_tensor = add_scalar = add_embedding = add_custom_scalars = take


@pytest.fixture
def stage(compose, monkeypatch):
    """A trainer's stand-in with real faces and an untrained network, and the writer that gets the pictures."""
    datamodule, network = build(plain(compose(*SMALL)))
    network.val_confusion.update(torch.arange(7), torch.arange(7))
    writer = Writer()
    for module in (board, drawing, ending):
        monkeypatch.setattr(module, "board", lambda trainer: writer)
    strategy = SimpleNamespace(broadcast=lambda value: value, reduce=lambda value, reduce_op: value)
    trainer = SimpleNamespace(
        datamodule=datamodule, strategy=strategy, sanity_checking=False, current_epoch=0, max_epochs=60
    )
    return trainer, network, writer


def test_fifty_epochs_of_drawing_leave_no_hook_and_no_figure(stage):
    trainer, network, writer = stage
    pace = callbacks.Pace()
    drawn = [callbacks.DrawFilters(pace), callbacks.DrawActivations(pace), callbacks.DrawConfusion(pace)]
    drawn.append(callbacks.DrawEmbedding(14))
    outputs = {"labels": torch.zeros(4, dtype=torch.int64), "logits": torch.zeros(4, 7)}

    def epoch():
        for callback in drawn:
            callback.on_train_epoch_start(trainer, network)
            callback.on_train_batch_end(trainer, network, outputs, None, 0)
            callback.on_validation_epoch_start(trainer, network)
            callback.on_validation_epoch_end(trainer, network)
            callback.on_train_end(trainer, network)
        trainer.current_epoch += 1

    def left():
        gc.collect()
        kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
        hooks = sum(len(getattr(module, kind)) for module in network.modules() for kind in kinds)
        return hooks, sum(type(thing) is Figure for thing in gc.get_objects())

    for callback in drawn:
        callback.on_fit_start(trainer, network)
    epoch()
    before, taken = left(), writer.taken
    for _ in range(50):
        epoch()
    assert before[0] == 0
    assert left() == before
    assert writer.taken == 51 * taken


def test_dreaming_leaves_the_network_training_and_without_hooks_or_slopes(stage):
    trainer, network, writer = stage
    network.train()
    network.network.features.conv1.eval()  # as a frozen part would be
    callbacks.DrawDreams().on_train_end(trainer, network)
    assert writer.taken == 8  # seven dreams and their probabilities
    assert network.training
    assert network.network.features.conv2.norm.training
    assert not network.network.features.conv1.norm.training
    assert all(parameter.grad is None for parameter in network.parameters())


def test_pictures_are_thinned_out_when_they_would_take_more_than_their_share(stage, monkeypatch):
    trainer, _, _ = stage
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(board.time, "perf_counter", lambda: clock.now)
    trainer.max_epochs = 100
    pace, drawn = callbacks.Pace(every=1, share=0.05), []
    for trainer.current_epoch in range(100):
        if pace.draws(trainer):
            drawn.append(trainer.current_epoch)
            with pace.timed():
                clock.now += 1.0  # a picture takes as long as an epoch
        clock.now += 1.0
    assert drawn[0] == 0
    assert drawn[-1] == 99
    assert pace.spent - 2 <= 0.05 * clock.now  # the first and the last are drawn whatever they cost
    assert len(drawn) >= 4


def test_every_third_epoch_is_drawn_and_the_last(stage):
    trainer, _, _ = stage
    trainer.max_epochs = 8
    pace, drawn = callbacks.Pace(every=3), []
    for trainer.current_epoch in range(8):
        drawn += [trainer.current_epoch] if pace.draws(trainer) else []
    assert drawn == [0, 3, 6, 7]


def test_a_network_without_conv_layers_is_drawn_as_far_as_it_goes(compose, stage):
    trainer, _, writer = stage
    _, network = build(plain(compose(*ANY, "model=fc", "model.hidden=[8]")))
    for callback in (callbacks.DrawFilters(), callbacks.DrawActivations()):
        callback.on_fit_start(trainer, network)
        callback.on_validation_epoch_start(trainer, network)
    assert writer.taken == 0
    callbacks.DrawEmbedding(7).on_train_end(trainer, network)
    assert writer.taken == 1
