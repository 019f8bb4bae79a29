"""One page of figures and tables from runs and searches: what the poster of Alizadeh & Fazel shows, from your own runs.

python -m fer_lightning.report RUN... [--out FOLDER]
"""

import argparse
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fer_lightning.commands import fail
from fer_lightning.errors import InputError
from fer_lightning.report.blocks import Section
from fer_lightning.report.book import put_in_order
from fer_lightning.report.found import Found, gather
from fer_lightning.report.markdown import FIGURES, markdown, pictures
from fer_lightning.report.page import page
from fer_lightning.report.sections import sections

PAGE, TEXT = "report.html", "report.md"
TITLE = "Facial expressions: what was trained, and what it sees"


def report(folders: Sequence[Path], out: Path) -> Path:
    """Write the page, the Markdown and the figures of these folders into `out`, all or nothing; returns the page."""
    found = gather(folders)
    if out.exists() and not (out.is_dir() and ((out / PAGE).exists() or not any(out.iterdir()))):
        raise InputError(f"--out {out}: it exists and is no earlier report; name a new folder")
    write(out, lead(found), sections(put_in_order(found)))
    return out / PAGE


def lead(found: Found) -> str:
    """How much this report is made from."""
    held = ((len(found.runs), "run"), (len(found.validations), "cross-validation"), (len(found.searches), "search"))
    counts = [
        f"{count} {name}{'' if count == 1 else 'es' if name == 'search' else 's'}" for count, name in held if count
    ]
    models = ", ".join(f"`{name}`" for name in sorted({run.model for run in found.runs}))
    return f"From {' and '.join(counts)}{f': {models}' if models else ''}."


def write(out: Path, words: str, made: Sequence[Section]) -> None:
    """All files into a folder beside `out`, which then takes its place."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        (partial / FIGURES).mkdir(parents=True)
        (partial / PAGE).write_text(page(TITLE, words, made), encoding="utf-8")
        (partial / TEXT).write_text(markdown(TITLE, words, made), encoding="utf-8")
        for name, content in pictures([block for section in made for block in section.blocks]):
            (partial / FIGURES / name).write_bytes(content)
        if out.exists():
            shutil.rmtree(out)
        os.replace(partial, out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"--out {out}: the report cannot be written ({error.strerror or error})") from error


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m fer_lightning.report",
        description="One self-contained page: results, curves, confusion matrices, filters, activation maps, dreams.",
        epilog="The page is FOLDER/report.html; beside it the same as Markdown (report.md), with PNGs in figures/.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run or search folders, or folders that hold them"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/report"), metavar="FOLDER", help="default: runs/report")
    given = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        made = report(given.runs, given.out)
    except InputError as error:
        fail(str(error))
    console.print(f"{made} ({made.stat().st_size / 1e6:.1f} MB)", soft_wrap=True)


if __name__ == "__main__":
    main()
