"""The picture at the head of the README: a run on synthetic faces, and the filters of a run on FER2013.

python docs/first_look.py RUN FER2013_RUN docs/first_look.png
    RUN:          python -m fer_lightning.train experiment=try_out model=hybrid_deep
    FER2013_RUN:  python -m fer_lightning.train experiment=poster data.path=fer2013.zip
"""

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from skimage.util import montage
from sklearn.metrics import confusion_matrix

from fer_lightning.data.faces import VAL
from fer_lightning.data.sources import open_faces
from fer_lightning.evaluation.inference import predict_probabilities
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.confusion import accuracy_of, row_shares
from fer_lightning.figures.filters import filter_grid, first_filters
from fer_lightning.networks.weight_files import load_network

FACES_EACH = 5


def main(run: Path, fer2013_run: Path, picture: Path) -> None:
    """Draw into `picture`."""
    trained = load_network(run / "checkpoints" / "best.ckpt")
    assert trained.data is not None
    drawn = open_faces(trained.data)
    rows = drawn.rows(VAL)
    images, labels = torch.tensor(drawn.images[rows]), drawn.labels[rows]
    predicted = predict_probabilities([trained.network], images[:, None])[0].argmax(dim=1).numpy()
    figure = Figure(figsize=(12, 4.6), dpi=100, layout="constrained", facecolor="white")
    faces, filters, matrix = figure.subplots(1, 3, width_ratios=[1.05, 1, 1.05])

    shown = [images[labels == label][:FACES_EACH] for label in range(len(EXPRESSIONS))]
    grid = (len(EXPRESSIONS), FACES_EACH)
    faces.imshow(montage(torch.cat(shown).numpy(), fill=255, grid_shape=grid, padding_width=2), "gray", aspect="auto")
    faces.set_yticks([50 * label + 26 for label in range(len(EXPRESSIONS))], EXPRESSIONS)
    faces.set_xticks([])
    faces.set_title("synthetic faces", loc="left", fontsize=10)

    weights = first_filters(load_network(fer2013_run / "checkpoints" / "best.ckpt").network)
    assert weights is not None
    filters.imshow(filter_grid(weights, 30, columns=5)[0], cmap="gray", vmin=0, vmax=1)
    filters.set_axis_off()
    filters.set_title("first layer's filters, trained on FER2013", loc="left", fontsize=10)

    counts = confusion_matrix(labels, predicted, labels=range(len(EXPRESSIONS)))
    shares = row_shares(counts)
    matrix.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        matrix.text(column, row, f"{share:.0%}", ha="center", va="center", fontsize=8, color=colour)
    matrix.set_xticks(range(len(EXPRESSIONS)), EXPRESSIONS, rotation=45, ha="right", fontsize=8)
    matrix.set_yticks(range(len(EXPRESSIONS)), EXPRESSIONS, fontsize=8)
    matrix.set_title(f"validation, true in rows: accuracy {accuracy_of(counts):.0%}", loc="left", fontsize=10)
    figure.savefig(picture)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
