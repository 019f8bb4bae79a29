"""One page of figures and tables from runs and searches: what the poster of Alizadeh & Fazel shows, from your own runs.

python -m fer_lightning.report RUN... [--out FOLDER]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from fer_lightning.errors import InputError


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Exits with 2 where the folders or `--out` cannot be used."""
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

    from fer_lightning.report.page import write_report

    try:
        page = write_report(given.runs, given.out)
    except InputError as error:
        parser.exit(2, f"error: {error}\n")
    print(f"{page} ({page.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
