"""When something is drawn or checked during training. The drawing itself is in `visualize`."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.callbacks import Callback

from fer_lightning.callbacks.board import LayOutScalars, Pace
from fer_lightning.callbacks.divergence import Diverged, StopWhenDiverged
from fer_lightning.callbacks.drawing import DrawActivations, DrawConfusion, DrawFilters
from fer_lightning.callbacks.early_stopping import StopEarly
from fer_lightning.callbacks.ending import DrawDreams, DrawEmbedding
from fer_lightning.callbacks.going_on import EndAnyway, GoOnWithinEpoch
from fer_lightning.callbacks.keeping import KeepBestAndLast

__all__ = [
    "Diverged",
    "DrawActivations",
    "DrawConfusion",
    "DrawDreams",
    "DrawEmbedding",
    "DrawFilters",
    "EndAnyway",
    "GoOnWithinEpoch",
    "KeepBestAndLast",
    "LayOutScalars",
    "Pace",
    "StopEarly",
    "StopWhenDiverged",
    "drawing_callbacks",
]


def drawing_callbacks(draw: Mapping[str, Any]) -> list[Callback]:
    """The callbacks that the `draw` group of the config asks for; none at all for `draw.every=0`."""
    if not draw["every"]:
        return []
    pace = Pace(draw["every"], draw["share"])
    callbacks: list[Callback] = [LayOutScalars(), DrawFilters(pace), DrawActivations(pace), DrawConfusion(pace)]
    if draw["deepdream"]:
        callbacks.append(DrawDreams())
    if draw["embedding"]:
        callbacks.append(DrawEmbedding(draw["embedding"]))
    return callbacks
