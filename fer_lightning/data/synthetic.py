"""Synthetic faces: soft-shaded cartoons of the seven expressions, drawn by the program without any file.

An expression is a set of facial action units of the Facial Action Coding System. Faces differ in build, hair, light and
pose, and in how strongly and with which units they show their expression, so that the classes overlap. The drawing is
one for grey and for colour: a tone is a number for each face, or one for each of its channels, in front of the others.
"""

from numbers import Integral, Real
from types import SimpleNamespace

import numpy as np

from fer_lightning.data.faces import SIDE, TEST, TRAIN, VAL, Faces, copy_groups
from fer_lightning.data.synthetic_colours import colours
from fer_lightning.errors import InputError
from fer_lightning.expressions import EXPRESSIONS

ACTION_UNITS: dict[str, dict[int, float]] = {
    "angry": {4: 1.0, 5: 0.5, 7: 1.0, 10: 0.2, 17: 0.4, 23: 0.4, 24: 0.8, 25: 0.2},
    "disgust": {4: 0.4, 6: 0.3, 7: 0.4, 9: 1.0, 10: 1.0, 17: 0.6, 25: 0.3},
    "fear": {1: 1.0, 2: 0.7, 4: 0.9, 5: 0.9, 20: 1.0, 25: 0.9, 26: 0.3},
    "happy": {6: 0.8, 12: 1.0, 25: 0.8, 26: 0.1},
    "sad": {1: 0.9, 4: 0.9, 6: 0.2, 15: 1.0, 17: 0.6, 43: 0.7},
    "surprise": {1: 1.0, 2: 1.0, 5: 0.8, 25: 1.0, 26: 1.0},
    "neutral": {},
}
"""Share of the faces of an expression that show an action unit: Ekman & Friesen (FACS, 1978), loosened in the manner of
Du, Tao & Martinez (PNAS 2014, E1454). 1 inner and 2 outer brow up, 4 brows down and together, 5 upper lid up, 6
cheeks up, 7 lids tight, 9 nose wrinkled, 10 upper lip up, 12 lip corners up, 15 lip corners down, 17 chin up, 20 lips
stretched, 23 lips tightened, 24 lips pressed, 25 lips parted, 26 jaw dropped, 43 lids drooping."""

PEOPLE = {
    "skin": (0.45, 0.88), "jaw": (0.0, 0.45), "chin": (1.12, 1.3), "age": (0.0, 1.0), "iris": (0.08, 0.35),
    "eye_x": (0.4, 0.46), "eye_y": (-0.2, -0.12), "eye_wide": (0.2, 0.25), "brow_y": (-0.5, -0.43),
    "brow_thick": (0.04, 0.085), "arch": (0.02, 0.1), "nose_y": (0.24, 0.34), "nose_wide": (0.13, 0.19),
    "mouth_y": (0.64, 0.72), "mouth_wide": (0.34, 0.44), "lips": (0.05, 0.1), "lipstick": (0.0, 0.2),
    "hair_wide": (1.04, 1.3), "hairline": (-1.1, -0.75), "curl": (0.05, 0.6), "part": (-0.5, 0.5), "strand": (4.0, 8.0),
    "wall": (0.05, 0.95), "wall_slope": (-0.25, 0.25), "clothes": (0.1, 0.6), "harsh": (0.25, 0.5),
    "hidden_x": (-1.0, 1.0), "hidden_y": (0.1, 1.2), "thing": (0.05, 0.95),
}  # fmt: skip
"""Ranges of what differs between persons. Lengths in half widths of a face, from its middle; tone 0 is black."""

MOMENT = {
    "roll": (-0.17, 0.17), "yaw": (-0.3, 0.3), "pitch": (-0.12, 0.12), "pixels": (18.0, 21.0), "x": (-1.8, 1.8),
    "y": (-1.6, 1.6), "gaze_x": (-0.1, 0.1), "gaze_y": (-0.03, 0.03), "lopsided": (-0.07, 0.07),
    "cocked": (-0.05, 0.05), "lamp_x": (-0.75, 0.75), "lamp_y": (-0.6, 0.2), "bias": (0.38, 0.62),
    "contrast": (0.8, 1.2),
}  # fmt: skip
"""Ranges of pose, light and asymmetry at difficulty 1, which scales them. `roll`: tangent of half the angle; `pixels`:
half width of the face; `bias`: 0.5 leaves the tones as they are."""

SMALLEST = 10 * len(EXPRESSIONS)  # with fewer images some split would lack an expression
CHUNK = 16  # images drawn at once, which fit in the processor's cache; it changes the time, not the images


def synthetic_faces(
    n: int = 5000, seed: int = 0, label_noise: float = 0.03, difficulty: float = 1.0, side: int | None = None
) -> Faces:
    """Draw `n` faces, equally many of each expression, in random order: 80 % train, 10 % val, 10 % test.

    Without `side` they are grey, of 48 x 48 pixels; with it the same faces are in colour, of `side` x `side` pixels.

    label_noise: share of the training labels that are wrong, 0 to 0.5; the labels of val and test are always true.
    difficulty: from 0 (frontal faces in good light, with the full expression) to 1.5.
    The same arguments give the same bytes. Raises InputError for values out of range.
    """
    for name, value, kind, low, high in (("n", n, Integral, SMALLEST, 10**6), ("seed", seed, Integral, 0, 2**63),
                                         ("label_noise", label_noise, Real, 0, 0.5),
                                         ("difficulty", difficulty, Real, 0, 1.5),
                                         ("side", side or SIDE, Integral, SIDE, 512)):  # fmt: skip
        if not isinstance(value, kind) or not low <= value <= high:
            number = "a whole number" if kind is Integral else "a number"
            why = " (every split needs every expression)" if name == "n" else ""
            raise InputError(f"data=synthetic, {name}={value!r}: expected {number} from {low} to {high}{why}.")
    order, choice, noise, mistakes, hues = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5))
    expressions = order.permutation((np.arange(n) % len(EXPRESSIONS)).astype(np.uint8))
    parameters = _parameters(expressions, difficulty, choice)
    tones = {} if side is None else colours(parameters, hues)
    images = np.empty((n, SIDE, SIDE) if side is None else (n, side, side, 3), dtype=np.uint8)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        p = SimpleNamespace(**{name: values[part] for name, values in parameters.items()})
        p.eyeball, p.teeth, p.lip, p.light = 0.35 + 0.6 * p.skin, 0.5 + 0.42 * p.skin, p.skin - p.lipstick, 1.0
        vars(p).update({name: values[:, part] for name, values in tones.items()})
        drawn = _draw(p, side or SIDE)
        drawn += p.noise * noise.standard_normal(drawn.shape[-3:], dtype=np.float32)
        images[part] = np.moveaxis(drawn.clip(0, 1) * 255 + 0.5, 0, -1) if tones else drawn.clip(0, 1) * 255 + 0.5
    split = np.full(n, TRAIN, dtype=np.uint8)
    for expression in range(len(EXPRESSIONS)):
        rows = np.flatnonzero(expressions == expression)
        tenth = round(len(rows) / 10)
        split[rows[:tenth]], split[rows[tenth : 2 * tenth]] = VAL, TEST
    labels, train = expressions.copy(), np.flatnonzero(split == TRAIN)
    wrong = mistakes.permutation(train)[: round(label_noise * len(train))]
    labels[wrong] = (labels[wrong] + mistakes.integers(1, len(EXPRESSIONS), len(wrong))) % len(EXPRESSIONS)
    note = f"{len(wrong)} of {len(train)} training labels are wrong on purpose; those of val and test are true."
    return Faces(images, labels, split, copy_groups(images), notes=(note,))


def _parameters(expressions: np.ndarray, difficulty: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The random parameters of the faces, but for their noise: name to (n, 1, 1) float32. `auN`: unit N, 0 to 1.2."""
    n = len(expressions)

    def between(low: float, high: float, stretch: float = 1.0) -> np.ndarray:
        return (low + high) / 2 + (high - low) / 2 * stretch * rng.uniform(-1, 1, (n, 1, 1))

    def some(share: float) -> np.ndarray:
        return rng.random((n, 1, 1)) < share

    parameters = {name: between(*bounds) for name, bounds in PEOPLE.items()}
    parameters |= {name: between(*bounds, difficulty) for name, bounds in MOMENT.items()}
    parameters |= {"blur": between(0, min(0.3 * difficulty, 0.33)), "noise": between(0, 1) ** 2 * 0.05 * difficulty}
    parameters |= {name: some(0.05 * difficulty) for name in ("glasses", "fringe", "hand", "block")}
    parameters["bald"] = some(0.07)
    parameters["long_hair"] = some(0.4) & ~parameters["bald"]
    parameters["beard"] = (some(0.2) & ~parameters["long_hair"]) * between(0.3, 0.8)
    fair = some(0.4) & (parameters["skin"] > 0.6)
    parameters["hair"] = np.where(fair, between(0.4, 0.85), between(0.03, 0.3))
    for turn in ("roll", "yaw"):
        parameters[turn] *= between(0, 1)  # most people hold their head nearly straight
    intensity = 1 - 0.6 * difficulty * rng.beta(1.2, 1.6, (n, 1, 1))
    for unit in sorted({unit for used in ACTION_UNITS.values() for unit in used}):
        share = np.array([ACTION_UNITS[name].get(unit, 0.0) for name in EXPRESSIONS])[expressions, None, None]
        shown = 0.5 + min(difficulty, 1) * (rng.random((n, 1, 1)) - 0.5) < share
        stray = 0.18 * difficulty * rng.beta(0.5, 2.5, (n, 1, 1))  # a face at rest is never quite still
        parameters[f"au{unit}"] = np.maximum(shown * intensity * between(0.7, 1.3, difficulty), stray).clip(0, 1.2)
    return {name: values.astype(np.float32) for name, values in parameters.items()}


def _draw(p: SimpleNamespace, side: int) -> np.ndarray:
    """Draw faces of the parameters `p`, back to front; float32, 0 black to 1 white, without noise.

    Returns (B, side, side), or (3, B, side, side) where the tones are colours. Lengths are in 48ths of the picture.
    """
    grid = np.arange(side, dtype=np.float32) - (side - 1) / 2
    if side != SIDE:
        grid *= np.float32(SIDE / side)
    p.sharpness = p.pixels * np.float32(side / SIDE)
    x, y = grid - p.x, grid[:, None] - p.y
    cosine, sine = (1 - p.roll * p.roll) / (1 + p.roll * p.roll), 2 * p.roll / (1 + p.roll * p.roll)
    right, down = (cosine * x + sine * y) / p.pixels, (cosine * y - sine * x) / p.pixels
    image = p.wall + p.wall_slope / 24 * grid + np.zeros_like(right)
    _head(image, right, down, p)
    # the middle of a head that turns moves further than its rim
    u, v = right - p.yaw * (1 - right * right), down - p.pitch * (1 - 0.6 * down * down)
    # a feature is drawn only where the pose can have taken it
    for draw, top, bottom, margin in ((_eyes, 8, 34, 3), (_brows, 0, 28, 3), (_nose, 12, 46, 5), (_mouth, 25, 48, 5)):
        edges = [round(place * side / SIDE) for place in (top, bottom, margin, SIDE - margin)]
        window = np.s_[..., slice(*edges[:2]), slice(*edges[2:])]
        draw(image[window], u[window].copy(), v[window].copy(), p)
    _in_front(image, right, down, p)
    image *= 1 + 0.012 * p.lamp_x * grid
    for across in (image, image.swapaxes(-1, -2)):
        across[..., 1:-1, :] += p.blur * (across[..., 2:, :] + across[..., :-2, :] - 2 * across[..., 1:-1, :])
    image *= p.light
    np.clip(image, 0, 1, out=image)
    image /= (1 / p.bias - 2) * (1 - image) + 1  # Schlick's bias instead of a power: the same curve, cheaper
    return (image - 0.5) * p.contrast + 0.5


def _paint(image: np.ndarray, mask: np.ndarray, tone: np.ndarray | float) -> None:
    image += mask * (tone - image)


def _cover(inside: np.ndarray, p: SimpleNamespace) -> np.ndarray:
    """Share of each pixel within a shape, from the distance to its edge, positive inside."""
    return (inside * p.sharpness + 0.5).clip(0, 1)


def _hill(a: np.ndarray, b: np.ndarray | float = 0.0) -> np.ndarray:
    """A smooth hill over the unit disc."""
    rest = np.maximum(1 - a * a - b * b, 0)
    return rest * rest


def _line(distance: np.ndarray, width: float) -> np.ndarray:
    """A stroke: 1.1 along its middle, 0 from 1.1 widths on."""
    return np.maximum(1.1 - np.abs(distance) / width, 0)


def _waves(phase: np.ndarray) -> np.ndarray:
    """Triangle waves of period 1 between 0 and 1."""
    return np.abs(phase - np.floor(phase) - 0.5) * 2


def _head(image: np.ndarray, u: np.ndarray, v: np.ndarray, p: SimpleNamespace) -> None:
    a = np.abs(u)
    short = 0.6 - 0.6 * (u / p.hair_wide) ** 2 - np.where(v < 0, 0.32, 1.4) * v * v
    behind = np.maximum(short, p.long_hair * np.minimum(p.hair_wide - a, v))
    _paint(image, _cover(behind, p) * (1 - p.bald), p.hair * (0.92 + 0.12 * _waves((a + 0.1 * v) * p.strand)))
    _paint(image, _cover(np.minimum(0.62 - a, v - 0.6), p), p.skin * 0.6)  # neck
    _paint(image, _cover(v - 1.22 - 0.15 * a, p), p.clothes)
    ears = (3 * _hill((a - 0.97) / 0.2, (v - 0.02) / 0.3)).clip(0, 1)
    _paint(image, ears * (1 - p.long_hair), p.skin * 0.8)
    height = v / np.where(v < 0, 1.3, p.chin + 0.14 * p.au26)
    width = u / (1 - 0.25 * p.jaw * np.maximum(height, 0) ** 2)
    rest = 1 - width * width - height * height
    light = p.lamp_x * width + p.lamp_y * height + 0.95 * np.sqrt(np.maximum(rest, 0))
    egg = _cover(rest * 0.5, p)
    _paint(image, egg, 1.05 * p.skin * (1 - p.harsh + p.harsh * light))
    beard = (2 * _hill(width / 0.9, (v - 0.95) / 0.62)).clip(0, 1)
    _paint(image, egg * beard * p.beard, p.hair * 0.8)


def _eyes(image: np.ndarray, u: np.ndarray, v: np.ndarray, p: SimpleNamespace) -> None:
    a, y, side = np.abs(u) - p.eye_x, v - p.eye_y, np.sign(u)
    image *= 1 - 0.22 * _hill(a / 0.36, (y + 0.05) / 0.26)
    almond = 1 - (a / p.eye_wide) ** 2
    frown = p.au4 * (1 - np.minimum(p.au1, 1))
    upper = np.maximum(0.105 + 0.075 * p.au5 - 0.035 * (p.au6 + p.au7) - 0.02 * (p.au9 + frown) - 0.055 * p.au43, 0.03)
    lower = np.maximum(0.07 + 0.015 * (p.au5 - p.au9) - 0.04 * (p.au6 + p.au7), 0.01)
    lash = y + upper * almond - (0.14 * p.au43 + 0.06 * p.au1 * p.au4 - 0.08 * frown) * a
    rim = y - lower * almond
    ball = _cover(np.minimum(lash, -rim), p) * (almond > 0)
    _paint(image, ball, p.eyeball)
    x, y_pupil = a - p.gaze_x * side, y - p.gaze_y
    radius = np.sqrt(x * x + y_pupil * y_pupil)
    _paint(image, ball * _cover(0.125 - radius, p), p.iris * (8 * radius).clip(0, 1))
    image += 0.35 * ball * _hill((x * side - 0.03) / 0.06, (y_pupil + 0.05) / 0.06)  # the lamp in the eye
    lids = (3 * almond).clip(0, 1)
    _paint(image, lids * np.minimum(_line(lash, 0.06), 1) * 0.8, 0.05)
    _paint(image, lids * _line(rim, 0.055) * (0.3 + 0.25 * p.au7 + 0.2 * p.au6), p.skin * 0.35)
    pouch = _hill(a / 0.3, (y - 0.16 - 0.2 * a) / 0.06)
    _paint(image, pouch * (0.25 * p.age + 0.5 * p.au6 + 0.2 * p.au9).clip(0, 0.8), p.skin * 0.5)
    frame = _line((a / 0.33) ** 2 + (y / 0.27) ** 2 - 1, 0.25).clip(0, 0.85)
    _paint(image, frame * p.glasses, 0.1)


def _brows(image: np.ndarray, u: np.ndarray, v: np.ndarray, p: SimpleNamespace) -> None:
    along = (np.abs(u) - p.eye_x + 0.05 * p.au4 * (1 - 0.6 * p.au1)) / 0.33  # -1 at the nose, 1 at the temple
    inner = 0.15 * p.au1 - 0.17 * p.au4 * (1 - 0.75 * p.au1) - 0.05 * p.au9
    outer = 0.15 * p.au2 - 0.03 * p.au4 - 0.02 * p.au9
    line = p.brow_y - (inner + outer + (outer - inner) * along) / 2 + p.arch * (along * along - 0.4)
    bar = p.brow_thick * (1.1 - 0.45 * along) - np.abs(v - line - p.cocked * np.sign(u))
    brow = _cover(np.minimum(bar, 0.25 - 0.25 * along * along), p)
    _paint(image, brow * 0.85, np.minimum(p.hair, p.skin * 0.7) * 0.75)
    furrow = np.minimum(_line(np.abs(u) - 0.075, 0.06), 1) * _hill((v - p.brow_y - 0.05) / 0.2)
    _paint(image, furrow * np.minimum(p.au4, 1) * (0.8 - 0.35 * p.au1), p.skin * 0.4)
    wrinkles = np.maximum(2 * _waves((v + 0.08 * u * u) * 6.5) - 1, 0) * _hill(u / 0.65, (v + 0.82) / 0.26)
    _paint(image, wrinkles * (0.4 * p.age + 0.3) * (0.6 * (p.au1 + p.au2)).clip(0, 1), p.skin * 0.45)


def _nose(image: np.ndarray, u: np.ndarray, v: np.ndarray, p: SimpleNamespace) -> None:
    a, y = np.abs(u), v - p.nose_y + 0.04 * p.au9
    image += 0.1 * p.skin * (_hill(v / 0.5) * _hill(u / 0.09) + _hill(u / 0.1, (y + 0.05) / 0.1))
    flank = _line(a - 0.1 - 0.1 * np.maximum(v, 0), 0.07).clip(0, 1) * _hill((v - 0.08) / 0.36)
    image *= 1 - (0.16 - 0.12 * p.lamp_x * np.sign(u)) * flank
    nostrils = np.minimum(1.6 * _hill((a - 0.55 * p.nose_wide) / 0.085, (y - 0.045) / 0.05), 1)
    _paint(image, nostrils * 0.7, p.skin * 0.2)
    _paint(image, _hill((a - p.nose_wide) / 0.05, y / 0.1) * (0.3 + 0.4 * p.au9), p.skin * 0.5)
    wrinkles = np.maximum(2 * _waves((v - 0.5 * a) * 6) - 1, 0) * _hill(u / 0.3, (v + 0.1) / 0.28)
    _paint(image, wrinkles * np.minimum(p.au9, 1) * 0.85, p.skin * 0.3)
    # the fold from the nose to the corner of the mouth, and the cheek beside it
    fold = _line(a - p.nose_wide - 0.05 - (0.5 + 0.4 * p.au12) * np.abs(y) - 0.12 * p.au20, 0.09).clip(0, 1)
    strain = (0.25 * p.age + 0.3 * p.au12 + 0.75 * p.au9 + 0.6 * p.au10 + 0.2 * p.au15).clip(0, 1)
    _paint(image, fold * _hill((y - 0.2) / 0.27) * strain * 0.6, p.skin * 0.4)
    image += 0.16 * p.skin * np.maximum(p.au12, p.au6) * _hill((a - 0.52) / 0.24, (v - 0.22) / 0.2)


def _mouth(image: np.ndarray, u: np.ndarray, v: np.ndarray, p: SimpleNamespace) -> None:
    pull = 0.28 * p.au12 + 0.3 * p.au20 + 0.05 * p.au15 - 0.22 * p.au26 - 0.15 * p.au24 - 0.1 * p.au23 - 0.08 * p.au10
    wide = p.mouth_wide * (1 + pull)
    x = u / wide
    bow = np.maximum(1 - x * x, 0)
    corners = 0.15 * p.au15 - 0.17 * p.au12 + 0.09 * p.au17 + 0.05 * p.au10 + 0.03 * p.au20 - 0.015
    middle = p.mouth_y + 0.035 * p.au12 - 0.05 * p.au17 - 0.02 * (p.au10 + p.au9 - p.au26)
    y = v - middle - corners * x * x - p.lopsided * x  # from the line where the lips meet
    open_ = bow * (1 + 0.9 * p.au20 * x * x) * p.au25
    above = open_ * (0.045 + 0.1 * p.au26 + 0.07 * p.au10)
    below = open_ * (0.05 + 0.07 * (p.au12 + p.au20) + 0.26 * p.au26)
    full = p.lips * (1 - 0.55 * p.au24) * (1 - 0.35 * p.au23) * (1 - 0.2 * p.au12 - 0.15 * p.au20)
    lip = full * np.minimum(2 * bow, 1)
    raised = (0.05 * p.au10 + 0.03 * p.au9) * bow
    lips = _cover(np.minimum(below + 1.15 * lip - y, y + above + 0.85 * lip + raised), p)
    _paint(image, lips * _cover((1 - np.abs(x)) * wide, p), 0.78 * p.lip)
    gap = _cover(np.minimum(below - y, y + above), p) * np.minimum(18 * (above + below), 1)
    _paint(image, gap, 0.07)
    smile = (p.au12 + p.au20 + 0.5 * p.au10).clip(0.25, 1)
    _paint(image, gap * _cover(0.03 + 0.11 * smile - above - y, p) * (0.5 + 0.5 * smile), p.teeth)
    _paint(image, gap * _hill(x / 0.7, (y - below) / 0.14) * np.minimum(p.au26, 1) * 0.6, p.skin * 0.5)  # tongue
    seam = np.minimum(_line(y, 0.065), 1) * (8.4 - 8 * np.abs(x)).clip(0, 1) * (1 - gap)
    _paint(image, seam * (1 - np.minimum(1.2 * p.au25, 0.9) * (bow > 0.1)) * 0.85, 0.08)
    dimples = _hill((np.abs(x) - 1.03) / 0.17, y / 0.09)
    _paint(image, dimples * (0.25 + 0.4 * (p.au12 + p.au15) + 0.3 * p.au24).clip(0, 0.8), p.skin * 0.3)
    _paint(image, _hill(x / 0.7, (y - below - 1.15 * lip - 0.06) / 0.06) * 0.35, p.skin * 0.45)
    _paint(image, _hill(u / 0.22, (v - 1.02 - 0.1 * p.au26) / 0.1) * np.minimum(p.au17, 1) * 0.45, p.skin * 0.4)


def _in_front(image: np.ndarray, u: np.ndarray, v: np.ndarray, p: SimpleNamespace) -> None:
    """Hair over the forehead, or over the eyes; a hand; a thing of any tone."""
    strands = _waves((u - p.part) * (1.2 + 0.4 * v) * p.strand)
    edge = p.hairline + 0.4 * p.fringe - 2 * p.bald + p.curl * (u - p.part) ** 2 + 0.14 * strands * _waves(2.6 * u)
    cap = np.minimum(0.6 - 0.6 * (u / p.hair_wide) ** 2 - 0.3 * v * v, edge - v)
    gloss = 0.88 + 0.12 * strands + 0.25 * _hill((v + 1.05) / 0.2)
    _paint(image, _cover(cap, p), p.hair * gloss)
    x, y = u - p.hidden_x, v - p.hidden_y
    knuckles = np.maximum(2 * _waves((x - 0.3 * y) * 4.5) - 1, 0)
    palm = _cover(0.5 - np.sqrt(x * x + 0.5 * y * y), p)
    _paint(image, palm * p.hand, p.skin * (1 - 0.4 * knuckles * knuckles))
    _paint(image, _cover(np.minimum(0.32 - np.abs(x), 0.42 - np.abs(y)), p) * p.block * (1 - p.hand), p.thing)
