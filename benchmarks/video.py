"""Faces in a video: time of a frame, beside decoding it alone; memory of a long video, beside a short one.

One thread. The videos are made here: scikit-image's astronaut moving over a photo. Prints one JSON line last.

python benchmarks/video.py [--weights W] [--frames 600]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from recognition import peak_memory
from record import report, row
from skimage import data

from fer_lightning.recognition.recognizer import Recognizer
from fer_lightning.recognition.video_files import open_video, written_video
from fer_lightning.recognition.videos import analyse_video

WIDTH, HEIGHT, RATE, TIMED = 640, 480, 25, 25


def make(path: Path, frames: int) -> Path:
    """A video of so many frames."""
    background = Image.fromarray(data.coffee()).resize((WIDTH, HEIGHT))
    head = Image.fromarray(data.astronaut()).crop((120, 20, 300, 220))
    with written_video(path, RATE) as writer:
        for number in range(frames):
            picture = background.copy()
            picture.paste(head, (4 * number % (WIDTH - 180), 100))
            writer.add(np.asarray(picture), number / RATE)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", action="append", default=[])
    parser.add_argument("--frames", type=int, default=600)
    given = parser.parse_args()
    torch.set_num_threads(1)
    recognizer = Recognizer.load(*given.weights, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        clip, copy = make(Path(folder) / "clip.mp4", TIMED), Path(folder) / "copy.mp4"
        spent: dict[str, list[float]] = {"alone": [], "faces": [], "annotated": []}
        for _ in range(2):
            began = time.process_time()
            with open_video(clip) as video:
                for frame in video:
                    frame.picture  # noqa: B018
            spent["alone"].append(time.process_time() - began)
            for name, target in (("faces", None), ("annotated", copy)):
                began = time.process_time()
                analyse_video(recognizer, clip, annotate=target)
                spent[name].append(time.process_time() - began)
        alone, faces, annotated = (1e3 * min(values) / TIMED for values in spent.values())
        weights = [part for name in given.weights for part in ("--weights", name)]
        memory = []
        for frames in (given.frames // 10, given.frames):
            video = make(Path(folder) / "long.mp4", frames)
            options = ["--every", "50", "--jobs", "1", "--annotate", folder + "/copies", "--csv", folder + "/faces.csv"]
            memory.append(peak_memory([str(video), *options, *weights])[0])
    short, long = memory
    rows = [
        row(f"a frame of {WIDTH}x{HEIGHT}, CPU; decoding alone", faces, alone, "ms"),
        row("the same, with the annotated video", annotated, alone, "ms"),
        row(f"memory for {given.frames:,} frames; for a tenth", long, short, "MB", at_most=1.1),
    ]
    report("video", rows)


if __name__ == "__main__":
    main()
