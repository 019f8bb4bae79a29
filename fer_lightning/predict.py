"""Find the faces in photos and videos and name their emotions.

python -m fer_lightning.predict PATH... [--weights W] [--json F] [--csv F] [--annotate FOLDER]
"""

import argparse
import io
import math
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fer_lightning.errors import InputError
from fer_lightning.recognition.media_paths import PREFIX, STDIN, copies_of, is_video, is_video_file, media_of
from fer_lightning.signals import Stopped, stop_signals

if TYPE_CHECKING:
    from fer_lightning.recognition.face_table import Result
    from fer_lightning.recognition.recognizer import Recognizer

DETECTORS = ("cascade", "centerface")


def predict(given: argparse.Namespace) -> int:
    """Do what the command line says; returns the exit status. Raises InputError for what cannot be used."""
    media = media_of(given.paths, given.annotate)
    sources: dict[str, Any] = {name: name for name in media}
    if STDIN in sources:
        sources[STDIN] = io.BytesIO(sys.stdin.buffer.read())
    videos = {name for name, source in sources.items() if _is_video(source)}
    copies = copies_of(media, videos, given.annotate) if given.annotate else {}
    check_outputs(given.json, given.csv, given.annotate)
    recognizer = load_recognizer(given, with_videos=bool(videos) or given.camera is not None)
    from fer_lightning.recognition.console import open_screen
    from fer_lightning.recognition.prediction import Prediction

    other = next(name for name in DETECTORS if name != given.detector)
    results: list[Result] = []
    try:
        with open_screen(bars=given.camera is None) as screen:
            prediction = Prediction(recognizer, screen, given.every, given.smooth, given.jobs, other)
            if given.camera is None:
                coming = prediction.all(sources, videos, copies)
            else:
                copy = given.annotate and given.annotate / f"camera-{Path(given.camera).name}.mp4"
                coming = iter([prediction.camera(given.camera, copy)])
            for result in coming:
                results.append(result)
                screen.result(result)
    except Stopped as stopped:
        print(f"stopped by {stopped} after {len(results)} of {len(media)} {_kinds(media, videos)}", file=sys.stderr)
        return 128 + signal.Signals[str(stopped)]
    finally:
        write_tables(results, given.json, given.csv)
    failed = sum(result.error is not None for result in results)
    if len(media) > 1:
        people = sum(result.people for result in results)
        print(f"{_kinds(media, videos)}: {len(media)}, faces: {people}, unreadable: {failed}")
    for name, place in (("JSON", given.json), ("csv", given.csv), ("annotated copies", given.annotate)):
        if place is not None:
            print(f"{name}: {place}")
    return 1 if failed else 0


def load_recognizer(given: argparse.Namespace, with_videos: bool) -> "Recognizer":
    """The recognizer that the command line asks for."""
    for weights in given.weights:
        if weights != "bundled" and not Path(weights).expanduser().is_file():
            raise InputError(f"--weights {weights}: no such file")
    from fer_lightning.recognition.face_finder import ignore_warnings_of_pillow
    from fer_lightning.recognition.recognizer import Recognizer
    from fer_lightning.recognition.video_files import load_av

    if with_videos:
        load_av()
    ignore_warnings_of_pillow()
    recognizer = Recognizer.load(
        *given.weights,
        detector=given.detector,
        tta=given.tta,
        runtime=given.runtime,
        device=given.device,
        min_face_score=given.min_face_score,
        detect=given.detect,
    )
    import torch

    torch.set_num_threads(1)  # a photo has few faces: threads would wait for each other, and for detection
    return recognizer


def write_tables(results: "Sequence[Result]", json_file: Path | None, csv_file: Path | None) -> None:
    """Write the JSON and csv files, each atomically."""
    from fer_lightning.recognition.face_table import write_faces_csv, write_faces_json

    if json_file is not None:
        write_faces_json(json_file, results)
    if csv_file is not None:
        write_faces_csv(csv_file, results)


def _kinds(media: Collection[str], videos: Collection[str]) -> str:
    return "pictures" if not videos else "videos" if len(videos) == len(media) else "pictures and videos"


def _is_video(source: Any) -> bool:
    if isinstance(source, str):
        return is_video_file(source)
    return is_video(source.getbuffer()[:PREFIX].tobytes())


def check_outputs(json_file: Path | None, csv_file: Path | None, folder: Path | None) -> None:
    """Raise InputError for places where results cannot be written, before any work is done."""
    for option, file in (("--json", json_file), ("--csv", csv_file)):
        if file is not None and file.is_dir():
            raise InputError(f"{option} {file}: a folder; give the name of a file")
        if file is not None and not file.parent.is_dir():
            raise InputError(f"{option} {file}: there is no folder {file.parent}")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise InputError(f"--annotate {folder}: a file; give the name of a folder")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help explains the options)\n")


def parser() -> Parser:
    """The command line."""
    parser = Parser(
        prog="python -m fer_lightning.predict",
        description="Find the faces in photos and videos and name the emotion of each.",
        epilog="Exit status: 0 where every photo and video was read, 1 where some could not be, 2 for options that "
        "cannot be used. A picture without a face is no error.",
    )
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="a photo (JPEG, PNG, WebP, BMP, TIFF, GIF), a video (MP4, MOV, WebM, "
        "MKV, AVI, ...), a folder with all below it, a pattern such as 'holiday/*', or - (standard input)")  # fmt: skip
    add("--camera", metavar="N", help="instead of a PATH: a camera, live, by its number from 0 on (on Windows by its "
        "name); Ctrl-C ends and writes the results")  # fmt: skip
    results = parser.add_argument_group("results, besides the table on the screen")
    results.add_argument("--json", type=Path, metavar="F", help="all faces with all probabilities, as JSON")
    results.add_argument("--csv", type=Path, metavar="F", help="the same as a table, one row a face; of a video, a row "
        "a face and frame: its time line")  # fmt: skip
    results.add_argument("--annotate", type=Path, metavar="FOLDER", help="copies of the photos and videos with boxes "
        "and emotions; of a video also a figure of its time line")  # fmt: skip
    videos = parser.add_argument_group("videos and cameras (need the extra `video`)")
    videos.add_argument(
        "--every", type=positive, default=1, metavar="N", help="look for faces in every N-th frame only"
    )
    videos.add_argument(
        "--smooth",
        type=seconds,
        default=0.0,
        metavar="S",
        help="smooth the probabilities of each face exponentially with a time constant of S seconds (default: 0, off)",
    )
    faces = parser.add_argument_group("faces")
    faces.add_argument(
        "--detector",
        choices=DETECTORS,
        default="cascade",
        help="cascade: frontal faces, installed with "
        "this package; centerface: profiles, small and tilted faces too, needs the extra `faces` (default: cascade)",
    )
    faces.add_argument(
        "--min-face-score",
        type=float,
        metavar="S",
        help="least score of a face: of cascade a number "
        "of windows that agree (default 13), of centerface a confidence from 0 to 1 (default 0.35)",
    )
    faces.add_argument(
        "--no-detect",
        dest="detect",
        action="store_false",
        help="each picture is one face already, cropped as FER2013's are",
    )
    faces.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="processes that look for faces (default: one for each core where there are many photos)",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="W",
        help="a .ckpt, .safetensors or .onnx "
        "file; given several times, the mean of the networks (default: the weights in the package)",
    )
    network.add_argument("--tta", choices=("none", "flip"), default="none", help="flip: the mean with the mirror image")
    network.add_argument(
        "--runtime",
        choices=("auto", "torch", "onnx"),
        default="auto",
        help="what runs the network (default: onnx for .onnx files, else torch); onnx needs the extra `onnx`",
    )
    network.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="of torch (default: a GPU where there is one)"
    )
    return parser


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1 on")
    return int(text)


def seconds(text: str) -> float:
    """A time, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected seconds, 0 or more")
    return value


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, recognise, and exit with the status that `--help` explains."""
    options = parser()
    given = options.parse_args(arguments)
    if bool(given.paths) == (given.camera is not None):
        options.error("give one PATH or several" if not given.paths else "give either a PATH or --camera")
    with stop_signals.listen():
        try:
            status = predict(given)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
        except Stopped as stopped:
            print(f"stopped by {stopped} before the first result", file=sys.stderr)
            status = 128 + signal.Signals[str(stopped)]
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()
