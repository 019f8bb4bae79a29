"""Find the faces in photos and name their emotions.

python -m fer_lightning.predict PATH... [--weights W] [--json F] [--csv F] [--annotate FOLDER]
"""

import argparse
import csv
import io
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fer_lightning.errors import InputError
from fer_lightning.recognition.photo_paths import STDIN, copies_of, pictures_of
from fer_lightning.signals import Stopped, stop_signals

if TYPE_CHECKING:
    from fer_lightning.recognition.recognizer import Face, Recognizer

DETECTORS = ("cascade", "centerface")

MANY = 5
"""Pictures from which a progress bar is shown."""

NO_FACE = "no face found; --no-detect takes each picture as a face, and --detector {other} may find more"


@dataclass
class Result:
    """What became of one picture: its faces, or why it could not be read."""

    path: str
    faces: "list[Face]"
    size: tuple[int, int] | None = None
    error: str | None = None
    note: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """As in the JSON file."""
        size = {} if self.size is None else {"width": self.size[0], "height": self.size[1]}
        said = {key: value for key, value in (("note", self.note), ("error", self.error)) if value is not None}
        return {"path": self.path, **size, "faces": [face.as_dict() for face in self.faces], **said}


def recognize(recognizer: "Recognizer", sources: dict[str, Any], jobs: int, other: str) -> Iterator[Result]:
    """The result of each picture, in order. sources: its name and where to read it; other: the detector not used."""
    for name, found in zip(sources, recognizer.finder.find_all(sources.values(), jobs), strict=True):
        if isinstance(found, InputError):
            yield Result(name, [], error=str(found).removeprefix(f"{name}: "))
        else:
            faces = recognizer.faces(found, recognizer.classify(found.crops))
            yield Result(name, faces, found.size, note=None if faces else NO_FACE.format(other=other))


def table(result: Result) -> str:
    """A picture's faces for the screen: face, box, emotion, probability."""
    if not result.faces:
        return f"{result.path}: {result.note}"
    lines = [f"{result.path}", f"  {'face':>4}  {'box: x, y, width x height':27}  {'emotion':8}  probability"]
    for number, face in enumerate(result.faces, 1):
        x, y, width, height = (round(value) for value in face.box)
        box = f"{x}, {y}, {width} x {height}"
        lines.append(f"  {number:>4}  {box:27}  {face.emotion:8}  {100 * face.confidence:9.1f} %")
    return "\n".join(lines)


def write_copy(source: Any, faces: "Sequence[Face]", copy: Path) -> None:
    """Write the annotated copy of a picture, atomically. Raises InputError where it cannot be written."""
    from fer_lightning.files import write_atomic
    from fer_lightning.recognition.drawing import annotate

    if hasattr(source, "seek"):
        source.seek(0)
    content = io.BytesIO()
    options: dict[str, Any] = {"format": "PNG"} if copy.suffix == ".png" else {"format": "JPEG", "quality": 92}
    annotate(source, faces).save(content, **options)
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{copy.parent}: {error.strerror}") from error
    write_atomic(copy, content.getvalue())


def write_tables(results: Sequence[Result], json_file: Path | None, csv_file: Path | None) -> None:
    """Write the JSON and csv files, each atomically."""
    from fer_lightning.files import write_atomic, write_json
    from fer_lightning.recognition.face_table import COLUMNS, rows

    if json_file is not None:
        write_json(json_file, [result.as_dict() for result in results])
    if csv_file is not None:
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows((result.path, result.faces) for result in results))
        write_atomic(csv_file, text.getvalue())


@contextmanager
def progress_bar(pictures: int) -> Iterator[tuple[Any, Any]]:
    """Functions that print a text and that count a picture; a bar on a terminal where there are many."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=not sys.stdout.isatty(), highlight=False)
    if pictures < MANY or not console.is_terminal:
        yield print, lambda: None
        return
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=pictures)
        show = partial(console.print, markup=False, soft_wrap=True) if sys.stdout.isatty() else print
        yield show, lambda: bar.advance(task)


def predict(given: argparse.Namespace) -> int:
    """Do what the command line says; returns the exit status. Raises InputError for what cannot be used."""
    pictures = pictures_of(given.paths, given.annotate)
    copies = copies_of(pictures, given.annotate) if given.annotate else {}
    check_outputs(given.json, given.csv, given.annotate)
    for weights in given.weights:
        if weights != "bundled" and not Path(weights).expanduser().is_file():
            raise InputError(f"--weights {weights}: no such file")
    from fer_lightning.recognition.face_finder import ignore_warnings_of_pillow, usual_jobs
    from fer_lightning.recognition.recognizer import Recognizer

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
    sources = {name: io.BytesIO(sys.stdin.buffer.read()) if name == STDIN else name for name in pictures}
    jobs = min(given.jobs, len(pictures)) if given.jobs else usual_jobs(len(pictures))
    other = next(name for name in DETECTORS if name != given.detector)
    results: list[Result] = []
    try:
        with progress_bar(len(pictures)) as (show, count):
            for result in recognize(recognizer, sources, jobs, other):
                if result.path in copies and result.error is None:
                    write_copy(sources[result.path], result.faces, copies[result.path])
                results.append(result)
                if result.error is None:
                    show(table(result))
                else:
                    print(f"error: {result.path}: {result.error}", file=sys.stderr)
                count()
    except Stopped as stopped:
        print(f"stopped by {stopped} after {len(results)} of {len(pictures)} pictures", file=sys.stderr)
        return 128 + signal.Signals[str(stopped)]
    finally:
        write_tables(results, given.json, given.csv)
    failed = sum(result.error is not None for result in results)
    if len(pictures) > 1:
        print(f"pictures: {len(pictures)}, faces: {sum(len(result.faces) for result in results)}, unreadable: {failed}")
    for name, place in (("JSON", given.json), ("csv", given.csv), ("annotated copies", given.annotate)):
        if place is not None:
            print(f"{name}: {place}")
    return 1 if failed else 0


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
        description="Find the faces in photos and name the emotion of each.",
        epilog="Exit status: 0 where every picture was read, 1 where some could not be, 2 for options that cannot be "
        "used. A picture without a face is no error.",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="a photo (JPEG, PNG, WebP, BMP, TIFF, GIF), a folder with all below "
        "it, a pattern such as 'holiday/*.jpg', or - for standard input")  # fmt: skip
    results = parser.add_argument_group("results, besides the table on the screen")
    results.add_argument("--json", type=Path, metavar="F", help="all faces with all probabilities, as JSON")
    results.add_argument("--csv", type=Path, metavar="F", help="the same as a table, one row a face")
    results.add_argument("--annotate", type=Path, metavar="FOLDER", help="copies of the photos with boxes and emotions")
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, recognise, and exit with the status that `--help` explains."""
    given = parser().parse_args(arguments)
    with stop_signals.listen():
        try:
            status = predict(given)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
        except Stopped as stopped:
            print(f"stopped by {stopped} before the first picture", file=sys.stderr)
            status = 128 + signal.Signals[str(stopped)]
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()
