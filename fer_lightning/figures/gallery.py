"""The pictures that `fer_lightning.visualize` draws of a trained network, with their file names, in their order."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures import activations, curves, deepdream, filters, mistakes, saliency
from fer_lightning.figures.confusion import confusion_picture
from fer_lightning.figures.sheets import contact_sheet, faces_to_rgb, overlay_heat
from fer_lightning.settings import VisualizeSettings

CLASSES = len(EXPRESSIONS)

Pictures = Iterator[tuple[str, Figure | Tensor]]


def draw_gallery(
    network: nn.Module,
    title: str,
    faces: Tensor,
    labels: Tensor,
    probabilities: Tensor,
    calibration: tuple[np.ndarray, np.ndarray, np.ndarray, float],
    settings: VisualizeSettings,
) -> Pictures:
    """File names and pictures: filters, activation maps, dreams, saliency; mistakes and curves.

    faces: (N, C, H, H) uint8; labels: (N,) int64; probabilities: (N, 7) by the network; calibration: as
    `curves.reliability_figure` takes it. Raises InputError where the faces hold none to start a dream from.
    """
    yield from _network_pictures(network, title, faces, labels, settings)
    yield from _prediction_pictures(f"{title}, val", faces, labels, probabilities)
    yield "reliability", curves.reliability_figure(*calibration, title=f"{title}, val")


def _network_pictures(
    network: nn.Module, title: str, faces: Tensor, labels: Tensor, settings: VisualizeSettings
) -> Pictures:
    """Filters, activation maps, dreams and saliency; all but the mean Grad-CAM are of one face of each emotion."""
    rows = activations.one_face_each(faces, labels, CLASSES)
    shown, true = faces[rows], labels[rows]
    if (weights := filters.first_filters(network)) is not None:
        yield "filters", filters.filter_grid(weights)
        yield "filters-first-30", filters.filter_grid(weights, most=30, columns=10)
        for name, maps in activations.activation_maps(network, shown).items():
            if settings.layer in (None, name):
                words = f"{title}, {name}: maps of {maps.shape[2]}x{maps.shape[3]}, "
                words += f"sparsity {activations.sparsity(maps):.0%}, locality {activations.locality(maps):.2f}"
                yield f"activations-{name}", activations.activation_sheet(shown, maps, _names(true), words, side=144)
    yield from _dreams(network, title, shown, true, settings)
    layer = None if weights is None else activations.require_layer(network, settings.layer)
    heats = {} if layer is None else {f"Grad-CAM {layer}": saliency.grad_cam(network, shown, true, layer)}
    heats["input gradients"] = saliency.input_gradients(network, shown, true)
    heats["occlusion"] = saliency.occlusion(network, shown, true).relu()
    sheet = [faces_to_rgb(shown), *(overlay_heat(shown, heat) for heat in heats.values())]
    words = f"{title}: evidence for the true emotion"
    yield "saliency", contact_sheet(sheet, ("face", *heats), _names(true), title=words)
    if layer is not None:
        means, heat, counts = saliency.mean_grad_cams(network, faces, labels, CLASSES, layer)
        sheet, row_names = [faces_to_rgb(means), overlay_heat(means, heat)], ("mean face", "mean Grad-CAM")
        words = f"{title}: mean Grad-CAM of each emotion at {layer}"
        yield "grad-cam-means", contact_sheet(sheet, row_names, EXPRESSIONS, [[f"{n:,} faces" for n in counts]], words)


def _dreams(network: nn.Module, title: str, faces: Tensor, labels: Tensor, settings: VisualizeSettings) -> Pictures:
    """Dreams towards each emotion, and towards the layer or channel of the settings."""
    options, start, targets = settings.dream.model_dump(exclude={"start"}), faces, labels
    if settings.dream.start != "own":
        start = faces[labels == EXPRESSIONS.index(settings.dream.start)]
        if not len(start):
            raise InputError(f"dream.start={settings.dream.start}: the validation faces hold no such face")
        start, targets = start.expand(CLASSES, -1, -1, -1), torch.arange(CLASSES)
    dreams = deepdream.dream(start, deepdream.towards_emotion(network, targets), **options, least=deepdream.CERTAIN)
    log_odds = deepdream.towards_emotion(network, targets, enough=math.inf)
    captions = [[f"{p:.1%}" for p in log_odds(pictures).sigmoid().tolist()] for pictures in (start, dreams)]
    words = f"{title}: dreams towards each emotion, with its probability"
    yield "deepdream", deepdream.dream_sheet(start, dreams, _names(targets), captions, words)
    if settings.layer is not None:
        towards = deepdream.towards_layer(network, settings.layer, settings.channel)
        options["smoothness"] *= 0.02  # the mean of a map rises far less than log odds do
        dreams = deepdream.dream(faces, towards, **options)
        captions = [[f"{value:.2f}" for value in towards(pictures).tolist()] for pictures in (faces, dreams)]
        what = settings.layer if settings.channel is None else f"{settings.layer}-{settings.channel}"
        words = f"{title}: dreams towards {what}, with its activation"
        yield f"deepdream-{what}", deepdream.dream_sheet(faces, dreams, _names(labels), captions, words)


def _prediction_pictures(title: str, faces: Tensor, labels: Tensor, probabilities: Tensor) -> Pictures:
    """Confusion matrix, most confused pairs, most confident mistakes, doubtful labels, precision-recall curves."""
    cells = torch.bincount(labels * CLASSES + probabilities.argmax(dim=1), minlength=CLASSES**2)
    matrix = cells.view(CLASSES, CLASSES).numpy()
    yield "confusion-matrix", confusion_picture(matrix, EXPRESSIONS, title)
    yield "confused-pairs", mistakes.pairs_figure(mistakes.confused_pairs(matrix), EXPRESSIONS)
    confident = mistakes.confident_mistakes(probabilities, labels)
    doubtful = mistakes.probably_mislabelled(probabilities, labels)
    for name, rows, what in (
        ("mistakes", confident, "the most confident mistakes"),
        ("doubtful-labels", doubtful[:24], f"{len(doubtful):,} labels in doubt, the least likely first"),
    ):
        words = f"{title}: {what}"
        yield name, mistakes.mistakes_sheet(faces, probabilities, labels, rows, EXPRESSIONS, words)
    yield "precision-recall", curves.precision_recall_figure(probabilities, labels, EXPRESSIONS, title)


def _names(labels: Tensor) -> list[str]:
    return [EXPRESSIONS[label] for label in labels.tolist()]
