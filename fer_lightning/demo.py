"""A page in a browser on this machine: photos, a camera and videos, their faces and emotions.

python -m fer_lightning.demo [--port N] [--weights W]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fer_lightning.errors import InputError
from fer_lightning.predict import DETECTORS, Parser
from fer_lightning.signals import Stopped, stop_signals

PORT = 7860


def demo(given: argparse.Namespace) -> None:
    """Serve the page until the process is stopped. Raises InputError for options that cannot be used."""
    from fer_lightning.demo_page.server import bind, load_gradio, private_folder, refuse_connections, serve

    for weights in given.weights:
        if weights != "bundled" and not Path(weights).expanduser().is_file():
            raise InputError(f"--weights {weights}: no such file")
    with bind(given.port) as bound, private_folder() as folder:
        load_gradio(folder)
        refuse_connections()
        import torch

        from fer_lightning.demo_page.cards import style
        from fer_lightning.demo_page.examples import write_examples
        from fer_lightning.demo_page.layout import build_page
        from fer_lightning.demo_page.model_cards import cards_of
        from fer_lightning.demo_page.readings import Reader
        from fer_lightning.recognition.face_finder import ignore_warnings_of_pillow

        ignore_warnings_of_pillow()
        torch.set_num_threads(1)  # a photo has few faces: threads would wait for each other
        reader = Reader(given.weights, given.tta, given.device)
        page = build_page(reader, given.detector, cards_of(given.weights), write_examples(Path(folder)))
        serve(page, bound, style(), ready=announce, stop=reader.stop)


def announce(address: str) -> None:
    """Print where the page is."""
    print(f"{address}  (Ctrl-C stops the page)", flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(
        prog="python -m fer_lightning.demo",
        description="A page in a browser on this machine: drop a photo or a video, or open the camera, and see the "
        "faces, the probability of each emotion, and what in a face speaks for it.",
        epilog="The page is on 127.0.0.1, for this machine alone, and sends nothing anywhere. Uploads are kept in a "
        "private temporary folder, which is deleted when the page stops (Ctrl-C). Needs the extra `demo`.",
    )
    add = parser.add_argument
    add("--port", type=port, default=PORT, metavar="N", help=f"of the page; 0 takes any free one (default: {PORT})")
    add("--weights", action="append", default=[], metavar="W", help="a .ckpt, .safetensors or .onnx file; given "
        "several times, the mean of the networks (default: the weights in the package)")  # fmt: skip
    add("--detector", choices=DETECTORS, default="cascade", help="that the page begins with (default: cascade)")
    add("--tta", choices=("none", "flip"), default="none", help="flip: the mean with the mirror image")
    add(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="of torch (default: a GPU where there is one)"
    )
    return parser


def port(text: str) -> int:
    """A port, or 0."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text}: expected a number from 0 to 65535")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and serve the page; Ctrl-C and SIGTERM are its usual end."""
    given = parser().parse_args(arguments)
    with stop_signals.listen():
        try:
            demo(given)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        except Stopped as stopped:
            print(f"stopped by {stopped}; the page's folder is deleted", file=sys.stderr)


if __name__ == "__main__":
    main()
