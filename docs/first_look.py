"""The picture at the head of the README: a run on synthetic faces, and the filters of a run on FER2013.

python docs/first_look.py RUN FER2013_RUN docs/first_look.png
    RUN:          python -m fer_lightning.train experiment=try_out model=hybrid_deep
    FER2013_RUN:  python -m fer_lightning.train experiment=poster data.path=fer2013.zip
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torchmetrics.functional.classification import multiclass_confusion_matrix

from fer_lightning.checkpoints import load_classifier, read_checkpoint
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import VAL
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.visualize.filters import filter_grid, tile

FACES_EACH = 5


def main(run: Path, fer2013_run: Path, picture: Path) -> None:
    best = run / "checkpoints" / "best.ckpt"
    classifier = load_classifier(best)
    datamodule = FaceDataModule(read_checkpoint(best)["config"]["data"])
    datamodule.setup()
    images, labels = datamodule.tensors.images[datamodule.rows[VAL]], datamodule.tensors.labels[datamodule.rows[VAL]]
    with torch.no_grad():
        predicted = torch.cat([classifier.classify(chunk).argmax(dim=1) for chunk in images.split(128)])
    figure = Figure(figsize=(12, 4.6), dpi=100, layout="constrained", facecolor="white")
    faces, filters, matrix = figure.subplots(1, 3, width_ratios=[1.05, 1, 1.05])

    rows = [torch.where(labels == label)[0][:FACES_EACH] for label in range(len(EXPRESSIONS))]
    sheet = tile(images[torch.cat(rows)] / 255, columns=FACES_EACH, gap=2)[0]
    faces.imshow(sheet, cmap="gray", vmin=0, vmax=1, aspect="auto")
    faces.set_yticks([50 * label + 26 for label in range(len(EXPRESSIONS))], EXPRESSIONS)
    faces.set_xticks([])
    faces.set_title("synthetic faces", loc="left", fontsize=10)

    trained = load_classifier(fer2013_run / "checkpoints" / "best.ckpt").network
    weights = next(module.weight for module in trained.modules() if isinstance(module, torch.nn.Conv2d))
    filters.imshow(filter_grid(weights, 30, columns=5)[0], cmap="gray", vmin=0, vmax=1)
    filters.set_axis_off()
    filters.set_title("first layer's filters, trained on FER2013", loc="left", fontsize=10)

    counts = multiclass_confusion_matrix(predicted, labels, len(EXPRESSIONS))
    shares = counts / counts.sum(dim=1, keepdim=True)
    matrix.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in torch.cartesian_prod(torch.arange(len(EXPRESSIONS)), torch.arange(len(EXPRESSIONS))).tolist():
        colour = "white" if shares[row, column] > 0.5 else "black"
        matrix.text(column, row, f"{shares[row, column]:.0%}", ha="center", va="center", fontsize=8, color=colour)
    matrix.set_xticks(range(len(EXPRESSIONS)), EXPRESSIONS, rotation=45, ha="right", fontsize=8)
    matrix.set_yticks(range(len(EXPRESSIONS)), EXPRESSIONS, fontsize=8)
    accuracy = (predicted == labels).float().mean()
    matrix.set_title(f"validation, true in rows: accuracy {accuracy:.0%}", loc="left", fontsize=10)
    figure.savefig(picture)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
