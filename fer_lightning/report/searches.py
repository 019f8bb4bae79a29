"""A search as a report sees it, read from its folder."""

import csv
from dataclasses import dataclass
from pathlib import Path

import yaml

from fer_lightning.errors import InputError

TRIALS, BEST = "trials.csv", "best.yaml"


@dataclass(frozen=True)
class Search:
    """A search: its trials as rows of `trials.csv`, and the overrides of `best.yaml` where a trial was completed."""

    folder: Path
    trials: list[dict[str, str]]
    best: list[str]

    @property
    def objectives(self) -> list[str]:
        columns = list(self.trials[0]) if self.trials else []
        return [name for name in ("accuracy", "parameters", "latency") if name in columns]

    @property
    def dimensions(self) -> list[str]:
        """The settings that were searched: the columns between the objectives and the standard deviation."""
        columns = list(self.trials[0]) if self.trials else []
        return columns[2 + len(self.objectives) : columns.index("cv/std")] if columns else []

    @property
    def complete(self) -> list[dict[str, str]]:
        """Complete trials, the most accurate first."""
        ended = [trial for trial in self.trials if trial["state"] == "COMPLETE"]
        return sorted(ended, key=lambda trial: -float(trial["accuracy"] or "nan"))

    @property
    def plots(self) -> list[Path]:
        return sorted((self.folder / "plots").glob("*.png"))


def read_search(folder: Path) -> Search:
    """A search by its `trials.csv`, ended or not."""
    try:
        with open(folder / TRIALS, newline="", encoding="utf-8") as file:
            trials = list(csv.DictReader(file))
        if trials and not {"trial", "state", "cv/std", "accuracy"} <= trials[0].keys():
            raise ValueError("the columns trial, state, accuracy and cv/std are needed")
        for trial in trials:
            if trial["state"] == "COMPLETE":
                float(trial["accuracy"])
        best = yaml.safe_load((folder / BEST).read_text(encoding="utf-8")) if (folder / BEST).exists() else {}
        return Search(folder, trials, [str(override) for override in best.get("overrides", [])])
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{folder / TRIALS}: not the trials of a search ({error})") from error
