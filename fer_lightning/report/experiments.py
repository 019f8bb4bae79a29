"""The runs, cross-validations and searches of a report, and which run stands for each network."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from fer_lightning.errors import InputError
from fer_lightning.report.hyperparameters import TRIALS, Search, read_search
from fer_lightning.report.runs import HISTORY, METRICS, CrossValidation, Run, read_run

FOLDS = "cross_validation.json"


class Repeated(NamedTuple):
    """A network that was trained with several seeds, and the validation accuracy of each."""

    model: str
    data: str
    accuracies: list[float]


@dataclass(frozen=True)
class Experiments:
    """Runs, cross-validations and searches, and which of the runs are compared."""

    runs: list[Run]
    cross_validations: list[CrossValidation]
    searches: list[Search]

    @cached_property
    def data(self) -> str:
        """The data set on which networks are compared: FER2013 if a run is on it, else the one of most runs."""
        counts = Counter(run.data for run in self.runs)
        return "fer2013" if "fer2013" in counts or not counts else counts.most_common(1)[0][0]

    @cached_property
    def chosen(self) -> dict[str, Run]:
        """The run that stands for each network: the most accurate one on `data`. The best network comes first."""
        chosen: dict[str, Run] = {}
        for run in sorted(self.runs, key=lambda run: (-run.accuracy, run.model)):
            if run.data == self.data:
                chosen.setdefault(run.model, run)
        return chosen

    @property
    def hybrid_pairs(self) -> dict[str, tuple[Run, Run]]:
        """By size the chosen run with HOG and the one on raw pixels, where both are there."""
        both = [size for size in ("shallow", "deep", "poster") if {f"hybrid_{size}", f"conv_{size}"} <= {*self.chosen}]
        return {size: (self.chosen[f"hybrid_{size}"], self.chosen[f"conv_{size}"]) for size in both}

    @property
    def repeated(self) -> list[Repeated]:
        """Networks that were trained with several seeds; of several runs with one seed the most accurate counts."""
        accuracies: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        for run in sorted(self.runs, key=lambda run: run.accuracy):
            accuracies[run.model, run.data][run.seed] = run.accuracy
        return [Repeated(*key, list(seeds.values())) for key, seeds in accuracies.items() if len(seeds) > 1]


def gather(paths: Sequence[Path]) -> Experiments:
    """The experiments at or below some folders; the folds and trials of one are not listed as runs.

    Raises InputError for a folder that holds none.
    """
    folders: dict[Path, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise InputError(f"{path}: no such folder")
        found = list(_experiment_folders(path))
        if not found:
            raise InputError(f"{path}: neither a run ({METRICS}, {HISTORY}) nor a search ({TRIALS}) in or below it")
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
    experiments = Experiments([], [], [])
    for folder in folders.values():
        if (folder / TRIALS).exists():
            experiments.searches.append(read_search(folder))
        elif (folder / FOLDS).exists():
            experiments.cross_validations.append(CrossValidation.read(folder / METRICS, {"folder": folder}))
        else:
            experiments.runs.append(read_run(folder))
    return experiments


def _experiment_folders(path: Path) -> Iterator[Path]:
    if any((path / name).exists() for name in (TRIALS, FOLDS, METRICS, HISTORY)):
        yield path
        return
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and not folder.name.startswith(".") and not folder.is_symlink():
            yield from _experiment_folders(folder)
