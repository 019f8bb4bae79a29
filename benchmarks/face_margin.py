"""Where a detector's box lies in FER2013's pictures: the margins of fer_lightning/recognition/crops.py.

Faces of the Training part are enlarged, their edges repeated around them, and searched. Of the pictures in which the
detector finds one face, its box's centre and longer side give the square that FER2013 would have cut out, upright where
the detector gives landmarks; medians over the faces, with their quartiles.

python benchmarks/face_margin.py [fer2013.zip] [--faces 1500] [--seed 0]     # default: FER2013=path, or
                                                                            # ../shared/data/fer2013.zip
"""

import argparse
import json
import math
import os
from pathlib import Path

import numpy as np
from PIL import Image

from fer_lightning.data.faces import TRAIN
from fer_lightning.data.sources import open_fer2013
from fer_lightning.errors import InputError
from fer_lightning.recognition.crops import tilt
from fer_lightning.recognition.detectors import DEFAULT_SCORES, build_detector

BESIDE_THE_PROJECT = Path(__file__).resolve().parents[2] / "shared" / "data" / "fer2013.zip"
SIDE, AROUND, ENLARGED = 48, 36, 4
"""Pixels of a picture, pixels repeated on each of its sides, and how many times the whole is enlarged."""


def margins(name: str, faces: np.ndarray) -> np.ndarray:
    """Side, right and down (N, 3) of FER2013's square around the box, in units of the box's longer side."""
    detector, found = build_detector(name), []
    whole = (SIDE + 2 * AROUND) * ENLARGED
    for face in faces:
        padded = Image.fromarray(np.pad(face, AROUND, mode="edge")).resize((whole, whole), Image.Resampling.BICUBIC)
        detections = detector.detect(np.asarray(padded.convert("RGB")))
        if len(detections) != 1:
            continue
        x, y, width, height = detections[0].box
        side, angle = max(width, height), tilt(detections[0])
        right, down = (whole / 2 - x - width / 2) / side, (whole / 2 - y - height / 2) / side
        cosine, sine = math.cos(angle), math.sin(angle)
        found.append((SIDE * ENLARGED / side, right * cosine + down * sine, down * cosine - right * sine))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default=os.environ.get("FER2013", BESIDE_THE_PROJECT))
    parser.add_argument("--faces", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if not Path(given.data).exists():
        print(f"left out: FER2013 is not at {given.data}")
        return
    faces = open_fer2013(given.data)
    rows = np.random.default_rng(given.seed).permutation(faces.rows(TRAIN))[: given.faces]
    result: dict[str, object] = {"benchmark": "face_margin", "faces": len(rows)}
    for name in DEFAULT_SCORES:
        try:
            found = margins(name, faces.images[rows])
        except InputError as error:
            print(f"{name}: left out: {error}")
            continue
        low, middle, high = np.percentile(found, (25, 50, 75), axis=0)
        print(f"{name}: one face in {len(found)} of {len(rows)} pictures")
        for part, value, first, last in zip(("side", "right", "down"), middle, low, high, strict=True):
            print(f"  {part:5} {value:+.3f} (quartiles {first:+.3f} to {last:+.3f})")
        result[name] = {"found": len(found), "side": middle[0], "right": middle[1], "down": middle[2]}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
