"""Deliberate mistakes in the critical parts, one at a time, and whether the tests notice.

python benchmarks/reliability/mutants.py [--only TEXT ...] [--list]

Each mutant of mutants.toml is one replacement in one file of a copy of the project; the tests that it names are run on
it. Prints JSON; exits with 1 when a mutant survives, or when the tests fail without any.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]
COPIED = ("fer_lightning", "conf", "sweeps", "tests", "benchmarks", "pyproject.toml")
SECONDS = 600
"""After so long a mutant counts as noticed: the tests would hang."""


class Mutant(NamedTuple):
    file: str
    right: str
    wrong: str
    tests: list[str]


with Path(__file__).with_suffix(".toml").open("rb") as file:
    TABLE = tomllib.load(file)
TESTS = TABLE["tests"]
MUTANTS = [Mutant(**entry) for entry in TABLE["mutant"]]


def noticed(tree: Path, tests: list[str]) -> int:
    """Run some tests on the copy in a forked process; pytest's exit status (1: a test failed), or -9 out of time."""
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        os.setsid()
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(silence, stream)
        os.chdir(tree)
        sys.path[:0] = [str(tree), str(tree / "tests"), str(tree / "sweeps")]
        os.environ["PYTHONPATH"] = os.pathsep.join([str(tree), str(tree / "sweeps")])
        import pytest

        os._exit(int(pytest.main(selection(tests))))
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def selection(tests: list[str]) -> list[str]:
    """pytest's arguments for some of the choices `FILES -k WORDS` of the table, put together."""
    files, words = [], []
    for name in tests:
        chosen, _, expression = TESTS[name].partition(" -k ")
        files += chosen.split()
        words.append(f"({expression or ' or '.join(Path(file).stem for file in chosen.split())})")
    limit = ["-k", " or ".join(words)] if any(" -k " in TESTS[name] for name in tests) else []
    return ["-q", "-x", "-p", "no:cacheprovider", *limit, *dict.fromkeys(files)]


def tried(mutant: Mutant, tree: Path) -> dict[str, object]:
    file = tree / "fer_lightning" / mutant.file
    text = file.read_text()
    assert text.count(mutant.right) == 1, f"{mutant.file} holds {text.count(mutant.right)} times: {mutant.right}"
    wrong = text.replace(mutant.right, mutant.wrong)
    for module in ("shutil", "torch"):
        if f"{module}." in mutant.wrong and f"import {module}\n" not in wrong:
            wrong = wrong.replace("\nimport ", f"\nimport {module}\nimport ", 1)
    begin = time.perf_counter()
    file.write_text(wrong)
    try:
        status = noticed(tree, mutant.tests)
    finally:
        file.write_text(text)
    return {**mutant._asdict(), "status": status, "seconds": round(time.perf_counter() - begin, 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", default=[""], help="mutants whose file, tests or wrong text hold one of these"
    )
    parser.add_argument("--list", action="store_true", help="name the mutants, and run nothing")
    given = parser.parse_args()
    chosen = [
        mutant
        for mutant in MUTANTS
        if any(word in text for word in given.only for text in (mutant.file, mutant.wrong, *mutant.tests))
    ]
    if given.list:
        print("\n".join(f"{mutant.file}: {mutant.right}  ->  {mutant.wrong}" for mutant in chosen))
        sys.exit()
    import lightning  # noqa: F401 (once, for all the forked processes)
    import pytest  # noqa: F401
    import skimage.feature  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch
    import torchmetrics  # noqa: F401

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "project"
        tree.mkdir()
        for item in COPIED:
            source = PROJECT / item
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, tree / item)
        healthy = {name: noticed(tree, [name]) for name in sorted({name for mutant in chosen for name in mutant.tests})}
        for tests, status in healthy.items():
            if status:
                print(f"without any mutant, {tests} ends with {status}", file=sys.stderr)
        outcomes = []
        for mutant in chosen:
            outcomes.append(tried(mutant, tree))
            print(
                f"{outcomes[-1]['status']:>3} {outcomes[-1]['seconds']:>6} s  {mutant.file}: {mutant.wrong}",
                file=sys.stderr,
            )
    survivors = [outcome for outcome in outcomes if outcome["status"] not in (1, -signal.SIGKILL)]
    summary = {"mutants": len(outcomes), "noticed": len(outcomes) - len(survivors), "survivors": survivors}
    print(json.dumps(summary, indent=1))
    sys.exit(bool(survivors) or any(healthy.values()))
