"""The event reader against TensorBoard's own, and what training draws into the event files."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer_lightning.data.faces import VAL
from fer_lightning.data.sources import open_faces
from fer_lightning.networks.weight_files import load_network
from fer_lightning.report.events import read_events, records
from fer_lightning.report.runs import read_run


def test_events_are_read_as_tensorboard_reads_them(drawn_runs):
    folder = drawn_runs / "shallow" / "tensorboard"
    ours = read_events(folder)
    theirs = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0}).Reload()
    assert ours.scalars.keys() == set(theirs.Tags()["scalars"])
    for tag, values in ours.scalars.items():
        assert values == {event.step: event.value for event in theirs.Scalars(tag)}
    assert ours.pictures.keys() == set(theirs.Tags()["images"])
    for tag, pictures in ours.pictures.items():
        assert pictures == {event.step: event.encoded_image_string for event in theirs.Images(tag)}
    assert {"confusion_counts/val", "deepdream_probabilities"} <= ours.tensors.keys()


def test_an_event_file_that_is_being_written_is_read_up_to_its_last_whole_record(drawn_runs, tmp_path):
    (path,) = (drawn_runs / "shallow" / "tensorboard").glob("events.*")
    whole = list(records(path))
    content, cut = path.read_bytes(), tmp_path / "events.out.tfevents.1"
    for length in np.random.default_rng(0).integers(0, len(content), 30).tolist():
        cut.write_bytes(content[:length])
        part = list(records(cut))
        assert part == whole[: len(part)]
        assert len(part) < len(whole)


def test_the_confusion_counts_are_those_of_the_validated_network(drawn_runs):
    trained = load_network(drawn_runs / "deep" / "checkpoints" / "last.ckpt")
    faces = open_faces(trained.data)
    rows = faces.rows(VAL)
    with torch.no_grad():
        predicted = trained.network(torch.from_numpy(faces.images[rows])[:, None]).argmax(dim=1)
    run = read_run(drawn_runs / "deep")
    counts = run.events.tensors["confusion_counts/val"]
    np.testing.assert_array_equal(counts[1], confusion_matrix(faces.labels[rows], predicted, labels=range(7)))
    for epoch, accuracy in enumerate(run.history["val/accuracy"]):
        assert counts[epoch].trace() / counts[epoch].sum() == pytest.approx(accuracy)
    assert run.confusion.trace() / run.confusion.sum() == pytest.approx(run.accuracy)
