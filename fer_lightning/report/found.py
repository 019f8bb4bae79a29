"""What a report is made from: the runs, cross-validations and searches in some folders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_lightning.errors import InputError
from fer_lightning.report.runs import HISTORY, METRICS, CrossValidation, Run, read_json, read_run
from fer_lightning.report.searches import TRIALS, Search, read_search

SETTINGS = "cross_validation.json"


@dataclass(frozen=True)
class Found:
    """What a report is made from."""

    runs: list[Run]
    validations: list[CrossValidation]
    searches: list[Search]


def gather(paths: Sequence[Path]) -> Found:
    """Runs, cross-validations and searches at these folders or below them; what lies within one is none of its own.

    Raises InputError for a folder that holds none of them.
    """
    found: dict[Path, Run | CrossValidation | Search] = {}
    for path in paths:
        if not path.is_dir():
            raise InputError(f"{path}: no such folder")
        below = {folder.resolve(): folder for folder in folders(path)}
        if not below:
            what = f"a run ({METRICS}, {HISTORY}) nor a search ({TRIALS})"
            raise InputError(f"{path}: neither {what} is in this folder or below it")
        found |= {place: read_folder(folder) for place, folder in below.items() if place not in found}
    return Found(
        [one for one in found.values() if isinstance(one, Run)],
        [one for one in found.values() if isinstance(one, CrossValidation)],
        [one for one in found.values() if isinstance(one, Search)],
    )


def folders(path: Path) -> Iterator[Path]:
    """Of this folder and those below it, the runs, cross-validations and searches."""
    if any((path / name).exists() for name in (TRIALS, SETTINGS, METRICS, HISTORY)):
        yield path
        return
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and not folder.name.startswith(".") and not folder.is_symlink():
            yield from folders(folder)


def read_folder(folder: Path) -> Run | CrossValidation | Search:
    if (folder / TRIALS).exists():
        return read_search(folder)
    if (folder / SETTINGS).exists():
        needed = ("model", "data", "cv/mean", "cv/std", "cv/scores")
        return CrossValidation(folder, read_json(folder / METRICS, needed))
    return read_run(folder)
