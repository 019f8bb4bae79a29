"""Keep the figures of runs in docs/results, and make RESULTS.md of them.

python -m fer_lightning.results add RUN...      # a small file each, from trained and evaluated runs
python -m fer_lightning.results write           # RESULTS.md, and the table in README.md
python -m fer_lightning.results commands        # what makes the results that are missing
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from fer_lightning.errors import InputError


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Exits with 2 where a folder or file cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m fer_lightning.results",
        description="Keep the figures of runs in docs/results, and make RESULTS.md of them.",
    )
    jobs = parser.add_subparsers(dest="job", required=True, metavar="add | write | commands")
    add = jobs.add_parser(
        "add",
        help="keep the figures of runs: a few KB each",
        description="Keep the figures of finished runs that were evaluated on val, or of an ensemble's evaluations.",
    )
    add.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folder, or folder of an ensemble")
    add.add_argument("--name", help="name of the file; default: the row of plan.yaml with these settings, and the seed")
    add.add_argument(
        "--precision", help="of a run of an earlier version, made on this machine: bf16-mixed, 32-true, ..."
    )
    add.add_argument("--commit", help="of a run of an earlier version: the commit of this project that made it")
    write = jobs.add_parser(
        "write",
        help="write RESULTS.md and the table in README.md",
        description="Write RESULTS.md, and the table between the marks in README.md, into the folder above docs/.",
    )
    commands = jobs.add_parser(
        "commands",
        help="print the commands that make what is missing, in order",
        description="Print the commands that train, evaluate and keep what plan.yaml asks for and is not there.",
    )
    commands.add_argument("rows", nargs="*", metavar="ROW", help="rows of plan.yaml; default: all")
    for job in (add, write, commands):
        where = "of plan.yaml and the results; default: docs/results"
        job.add_argument("--folder", type=Path, default=Path("docs/results"), help=where)
    given = parser.parse_args(arguments)
    try:
        run_job(given)
    except InputError as error:
        parser.exit(2, f"error: {error}\n")


def run_job(given: argparse.Namespace) -> None:
    """Do what the command line asks for. Raises InputError."""
    if given.job == "add":
        from fer_lightning.cli.composition import train_settings
        from fer_lightning.results.adding import add

        if given.name and len(given.runs) > 1:
            raise InputError(f"--name {given.name}: a name is for one run, and {len(given.runs)} are given")
        for run in given.runs:
            path = add(run, given.folder, train_settings, given.name, given.precision, given.commit)
            print(f"{path} ({path.stat().st_size / 1000:.1f} kB)")
    elif given.job == "write":
        from fer_lightning.results.pages import write_pages

        for path in write_pages(given.folder):
            print(path)
    else:
        from fer_lightning.results.pages import missing_commands

        print("\n".join(missing_commands(given.folder, given.rows)))


if __name__ == "__main__":
    main()
