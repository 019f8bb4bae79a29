"""The report: seconds for six runs, beside what TensorBoard's own reader takes for their event files alone.

python benchmarks/report.py [RUN ...]     # default: six networks of the project, untrained, with 30 epochs of pictures
"""

import csv
import json
import sys
import tempfile
import time
from pathlib import Path

import hydra
import torch
from record import report, row
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from fer_lightning.cli import settings_of
from fer_lightning.data.synthetic import synthetic_faces
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.activations import activation_maps, activation_sheet, one_face_each, sparsity_and_locality
from fer_lightning.figures.confusion import confusion_picture
from fer_lightning.figures.deepdream import dream_picture
from fer_lightning.figures.filters import filter_grid, first_filters
from fer_lightning.networks import build_network
from fer_lightning.report.page import write_report
from fer_lightning.settings import CONF, TrainSettings

MODELS = ("conv_shallow", "conv_deep", "conv_poster", "hybrid_shallow", "hybrid_deep", "hybrid_poster")
EPOCHS = 30


def make_run(folder: Path, model: str) -> Path:
    """The files of a run of 30 epochs: pictures of the real size, of an untrained network, the same in every epoch."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        settings = settings_of(hydra.compose("config", [f"model={model}"]), TrainSettings)
    network = build_network(settings.model, settings.data.inputs).eval()
    network.preprocessing.mean.fill_(120.0)
    network.preprocessing.std.fill_(60.0)
    drawn = synthetic_faces(500)
    images, labels = torch.from_numpy(drawn.images)[:, None], torch.from_numpy(drawn.labels)
    faces = images[one_face_each(images, labels, len(EXPRESSIONS))]
    maps = activation_maps(network, faces)
    counts = torch.randint(0, 900, (len(EXPRESSIONS),) * 2)
    pictures = {f"activations/{name}": activation_sheet(faces, of_layer) for name, of_layer in maps.items()}
    pictures["filters/conv1"] = filter_grid(first_filters(network))
    for split in ("train", "val"):
        pictures[f"confusion_matrix/{split}"] = confusion_picture(counts.numpy(), EXPRESSIONS, split)
    quantities = {"val/accuracy": 0.6, "val/loss": 1.1, "val/macro_f1": 0.5, "train/accuracy": 0.7, "train/loss": 0.8}
    writer = SummaryWriter(folder / "tensorboard")
    history = []
    for epoch in range(EPOCHS):
        for tag, picture in pictures.items():
            writer.add_image(tag, picture, epoch)
        writer.add_tensor("confusion_counts/val", counts, epoch)
        for tag, value in sparsity_and_locality(maps).items():
            writer.add_scalar(tag, value, epoch)
        history.append({"epoch": epoch, **quantities, "lr": 0.1, "images_per_second": 1.0, "seconds": 60.0})
    for name, face in zip(EXPRESSIONS, faces, strict=True):
        dreamed = face + 20 * torch.randn(face.shape)
        writer.add_image(f"deepdream/{name}", dream_picture(face.float(), dreamed), EPOCHS)
    writer.close()
    with open(folder / "history.csv", "w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(history[0]))
        table.writeheader()
        table.writerows(history)
    metrics = quantities | {"best_epoch": 20, "epochs": EPOCHS, "seed": 0, "model": model, "data": "synthetic"}
    metrics |= {"split_sizes": {"train": 400, "val": 50, "test": 50}, "seconds": 60.0 * EPOCHS, "parameters": 1}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        given = [Path(word) for word in sys.argv[1:]]
        runs = given or [make_run(Path(folder) / model, model) for model in MODELS]
        events = [path for run in runs for path in run.rglob("events.out.tfevents.*")]
        begin = time.perf_counter()
        page = write_report(runs, Path(folder) / "report")
        seconds, size = time.perf_counter() - begin, page.stat().st_size
        begin = time.perf_counter()
        for path in events:
            EventAccumulator(str(path), size_guidance={"images": 0, "tensors": 0}).Reload()
        theirs = time.perf_counter() - begin
        megabytes = sum(path.stat().st_size for path in events) / 1e6
    print(f"{len(runs)} runs, {megabytes:.0f} MB of events: {seconds:.1f} s for a page of {size / 1e6:.1f} MB")
    print(f"TensorBoard's reader: {theirs:.1f} s for the events alone")
    result = {
        "runs": len(runs),
        "seconds": seconds,
        "seconds_of_tensorboards_reader": theirs,
        "megabytes_of_events": megabytes,
        "megabytes_of_page": size / 1e6,
    }
    times = result["seconds"], result["seconds_of_tensorboards_reader"]
    report("report", [row("report of six runs; TensorBoard's reader", *times, "s", at_most=30, of="ours")], **result)


if __name__ == "__main__":
    main()
