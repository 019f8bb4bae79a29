"""The gallery of a trained network: every picture that can be drawn of it, one after the other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures import activations, deepdream, mistakes as errors, saliency
from fer_lightning.figures.confusion import confusion_picture
from fer_lightning.figures.filters import filter_grid, first_filters
from fer_lightning.figures.precision_recall import precision_recall_figure
from fer_lightning.figures.reliability import reliability, reliability_figure
from fer_lightning.figures.sheet import CELL, grey, overlaid, sheet_figure

CLASSES = len(EXPRESSIONS)

Pictures = Iterator[tuple[str, Figure | Tensor]]
"""Names and pictures: figures, or (C, H, W), uint8 or with values 0 to 1."""


@dataclass(frozen=True)
class Subject:
    """A trained network in evaluation mode, and the faces it is looked at with.

    images: (N, 1, 48, 48) uint8; labels: (N,) int64. layer: the conv layer of Grad-CAM, None for a network without any.
    """

    name: str
    network: nn.Module
    images: Tensor
    labels: Tensor
    layer: str | None

    def one_of_each(self) -> tuple[Tensor, Tensor, list[str]]:
        """One face of each emotion, their labels, and their names."""
        rows = activations.one_face_each(self.images, self.labels, CLASSES)
        labels = self.labels[rows]
        return self.images[rows], labels, [EXPRESSIONS[label] for label in labels.tolist()]


def gallery(
    subject: Subject, dreaming: Mapping[str, Any], only_layer: str | None = None, channel: int | None = None
) -> Pictures:
    """Filters, activation maps, dreams, saliency and errors.

    dreaming: `start` (an emotion's name, or own) and the settings of `deepdream.dream`. only_layer: draw the activation
    maps of this layer alone, and a dream towards it, or towards one channel of it.
    """
    if subject.layer is not None:
        yield from filters(subject)
        yield from maps(subject, only_layer)
    yield from dreams(subject, dreaming)
    if only_layer is not None:
        yield from layer_dreams(subject, dreaming, only_layer, channel)
    yield from looks(subject)
    yield from mistakes(subject)


def filters(subject: Subject) -> Pictures:
    """The first layer's filters: all, and the first 30 as on the poster."""
    weights = first_filters(subject.network)
    assert weights is not None
    yield "filters", filter_grid(weights)
    yield "filters-first-30", filter_grid(weights, most=30, columns=10)


def maps(subject: Subject, only_layer: str | None) -> Pictures:
    """The activation maps of every conv layer, or of one, for one face of each emotion."""
    faces, _, names = subject.one_of_each()
    for layer, of_layer in activations.activation_maps(subject.network, faces).items():
        if only_layer in (None, layer):
            rows = activations.activation_rows(faces, of_layer, side=CELL)
            shown, held, height, width = len(rows[0]) - 1, *of_layer.shape[1:]
            zero, local = activations.zero_share(of_layer), activations.locality(of_layer)
            title = f"{layer}: {shown} of its {held} maps of {height}x{width}; zero {zero:.0%}, locality {local:.2f}"
            columns = ["", *(str(number) for number in range(shown))]
            yield f"activations-{layer}", sheet_figure(rows, names, columns, title=title)


def dreams(subject: Subject, dreaming: Mapping[str, Any]) -> Pictures:
    """Dreams towards each emotion, from one face or from one of each."""
    settings = dict(dreaming)
    start = settings.pop("start")
    faces, labels, _ = subject.one_of_each()
    if start == "own":
        targets, real = labels, faces
    else:
        begin = (labels == EXPRESSIONS.index(start)).nonzero()[:, 0]
        if not len(begin):
            raise InputError(f"dream.start={start}: the validation faces hold no such face")
        targets, real = torch.arange(CLASSES), faces[begin].expand(CLASSES, -1, -1, -1)
    dreamed = deepdream.dream(
        real, deepdream.towards_emotion(subject.network, targets), **settings, least=deepdream.CERTAIN
    )
    with torch.no_grad():
        before, after = (
            [f"{p:.1%}" for p in subject.network(faces).softmax(dim=1).gather(1, targets[:, None])[:, 0].tolist()]
            for faces in (real, dreamed)
        )
    names = [EXPRESSIONS[target] for target in targets.tolist()]
    title = f"{subject.name}: dreams towards each emotion, with its probability"
    yield "deepdream", deepdream.dream_figure(real, dreamed, names, before, after, title)


def layer_dreams(subject: Subject, dreaming: Mapping[str, Any], layer: str, channel: int | None) -> Pictures:
    """Dreams of one face of each emotion towards a conv layer, or one channel of it."""
    settings = {key: value for key, value in dreaming.items() if key != "start"}
    settings["smoothness"] *= 0.02  # a mean over a map rises far less than log odds do
    faces, _, names = subject.one_of_each()
    goal = deepdream.towards_layer(subject.network, layer, channel)
    dreamed = deepdream.dream(faces, goal, **settings)
    with torch.no_grad():
        before, after = ([f"{value:.2f}" for value in goal(pictures).tolist()] for pictures in (faces, dreamed))
    what = layer if channel is None else f"{layer}-{channel}"
    title = f"{subject.name}: dreams towards {what}, with its answer"
    yield f"deepdream-{what}", deepdream.dream_figure(faces, dreamed, names, before, after, title)


def looks(subject: Subject) -> Pictures:
    """Where the network looks, for one face of each emotion, and on average."""
    network, layer = subject.network, subject.layer
    faces, labels, names = subject.one_of_each()
    heats = [
        ("input gradients", saliency.input_gradients(network, faces, labels)),
        ("occlusion", saliency.occlusion(network, faces, labels)),
    ]
    if layer is not None:
        heats.insert(0, (f"Grad-CAM {layer}", saliency.grad_cam(network, faces, labels, layer)))
    title = f"{subject.name}: what speaks for the true emotion"
    yield "saliency", saliency.saliency_figure(faces, heats, names, title)
    if layer is not None:
        means, heat, counts = saliency.mean_grad_cams(network, subject.images, subject.labels, CLASSES, layer)
        captions = [[f"{count:,} faces" for count in counts], [""] * CLASSES]
        rows = [grey(means), overlaid(means, heat)]
        title = f"{subject.name}: mean Grad-CAM of each emotion at {layer}"
        yield "grad-cam-means", sheet_figure(rows, ("mean face", "mean Grad-CAM"), EXPRESSIONS, captions, title)


def mistakes(subject: Subject) -> Pictures:
    """Confusion matrix, most confused pairs, most confident mistakes, doubtful labels, curves."""
    images, labels = subject.images, subject.labels
    with torch.no_grad():
        answers = torch.cat([subject.network(chunk).float().softmax(dim=1) for chunk in images.split(256)])
    cells = torch.bincount(labels * CLASSES + answers.argmax(dim=1), minlength=CLASSES**2)
    matrix = cells.view(CLASSES, CLASSES).numpy()
    title = f"{subject.name}, val"
    yield "confusion-matrix", confusion_picture(matrix, EXPRESSIONS, title)
    yield "confused-pairs", errors.pairs_figure(errors.confused_pairs(matrix), EXPRESSIONS)
    confident, doubtful = errors.confident_mistakes(answers, labels), errors.probably_mislabelled(answers, labels)
    for name, rows, words in (
        ("mistakes", confident, f"{title}: the most confident mistakes"),
        ("doubtful-labels", doubtful[:24], f"{title}: {len(doubtful):,} labels in doubt, the worst first"),
    ):
        yield name, errors.mistakes_figure(images, answers, labels, rows, EXPRESSIONS, words)
    yield "precision-recall", precision_recall_figure(answers.numpy(), labels.numpy(), EXPRESSIONS, title)
    yield "reliability", reliability_figure(reliability(answers, labels), title)
