"""Colours of the synthetic faces: skin, hair, eyes, lips, clothes, background and light, drawn for each person.

Each tone keeps about the brightness that it has in grey, and tells nothing of the expression.
"""

import colorsys
from collections.abc import Mapping

import numpy as np

SKIN = ((1.36, 0.90, 0.72), (1.17, 0.95, 0.82))
"""Red, green and blue of dark and of light skin, over its brightness."""

HAIR = {"black": (1.04, 0.98, 0.98), "brown": (1.3, 0.93, 0.7), "fair": (1.24, 1.0, 0.55), "red": (1.75, 0.8, 0.4)}
EYES = {"brown": (1.55, 0.88, 0.5), "hazel": (1.2, 1.02, 0.55), "green": (0.85, 1.15, 0.75), "blue": (0.6, 1.05, 1.6)}
"""Colours over their brightness."""

LIPS = (1.06, 0.76, 0.78)
"""Of lips, over those of the skin."""

LIGHT = 0.07
"""Largest relative change of red by the colour of the light; blue changes the other way."""


def colours(parameters: Mapping[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Colours by the names of the tones that they replace, (3, n, 1, 1) float32, of faces with these parameters.

    parameters: tones by name, (n, 1, 1). light: factor of the whole picture.
    """
    n = len(parameters["skin"])

    def chosen(table: Mapping[str, tuple[float, float, float]], shares: np.ndarray) -> np.ndarray:
        """One row of a table for each face, with its own share of another. shares: (n, k) or (k,) of the rows."""
        rows = (rng.random((n, 1)) > np.broadcast_to(shares, (n, len(table))).cumsum(axis=1)).sum(axis=1)
        palette, other = np.array(list(table.values())), rng.integers(0, len(table), n)
        mixed = 0.3 * rng.random((n, 1))
        return _as_channels((1 - mixed) * palette[rows.clip(max=len(table) - 1)] + mixed * palette[other])

    def painted(strongest: float) -> np.ndarray:
        """A hue of any kind for each face, over its brightness."""
        hues, saturations = rng.random(n), strongest * rng.random(n) ** 0.7
        rgb = np.array([colorsys.hsv_to_rgb(*each, 1.0) for each in zip(hues, saturations, strict=True)])
        return _as_channels(rgb / (rgb @ np.array([0.299, 0.587, 0.114]))[:, None])

    skin, hair = parameters["skin"], parameters["hair"]
    pale = ((skin - 0.45) / 0.43).clip(0, 1)
    dark, light = (_as_channels(np.array([tone])) for tone in SKIN)
    skin_colour = dark + (light - dark) * pale
    skin_colour = skin_colour + np.array([0.05, -0.02, -0.04])[:, None, None, None] * rng.uniform(-1, 1, (n, 1, 1))
    fair = np.where(hair.reshape(n, 1) > 0.35, (0.0, 0.25, 0.6, 0.15), (0.45, 0.45, 0.0, 0.1))
    eyes = np.where(pale.reshape(n, 1) > 0.5, (0.35, 0.2, 0.15, 0.3), (0.9, 0.1, 0.0, 0.0))
    warm = LIGHT * rng.uniform(-1, 1, n)
    tones = {
        "skin": skin * skin_colour,
        "hair": hair * chosen(HAIR, fair),
        "iris": parameters["iris"] * 1.3 * chosen(EYES, eyes),
        "wall": parameters["wall"] * painted(0.55),
        "clothes": parameters["clothes"] * painted(0.9),
        "thing": parameters["thing"] * painted(0.9),
        "light": _as_channels(np.stack([1 + warm, np.ones(n), 1 - warm], axis=1)),
    }
    white = 0.8 + 0.2 * skin_colour
    tones["eyeball"], tones["teeth"] = (0.35 + 0.6 * skin) * white, (0.5 + 0.42 * skin) * white
    red = np.array([0.2, 1.2, 1.0])[:, None, None, None]
    tones["lip"] = tones["skin"] * _as_channels(np.array([LIPS])) - parameters["lipstick"] * red
    return {name: values.astype(np.float32) for name, values in tones.items()}


def _as_channels(rgb: np.ndarray) -> np.ndarray:
    """(n, 3) as (3, n, 1, 1)."""
    return rgb.T[:, :, None, None]
