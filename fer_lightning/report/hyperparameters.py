"""Searches: their trials, best settings and plots, read from their folders."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from fer_lightning.errors import InputError

TRIALS, BEST = "trials.csv", "best.yaml"


@dataclass(frozen=True)
class Search:
    """A search, ended or not: the rows of `trials.csv`, and whether there is a best setting in `best.yaml`."""

    folder: Path
    trials: list[dict[str, str]]
    best: bool

    @property
    def complete(self) -> list[dict[str, str]]:
        """Complete trials, the most accurate first."""
        ended = [trial for trial in self.trials if trial["state"] == "COMPLETE"]
        return sorted(ended, key=lambda trial: -float(trial["accuracy"]))

    @property
    def plots(self) -> list[Path]:
        """The pictures that the search drew."""
        return sorted((self.folder / "plots").glob("*.png"))

    @property
    def columns(self) -> dict[str, str]:
        """Heading by column of `trials.csv`: the settings that were searched, then the objectives."""
        names = list(self.trials[0]) if self.trials else ["cv/std"]
        others = [name for name in ("parameters", "latency") if name in names]
        settings = names[3 + len(others) : names.index("cv/std")]
        headings = {**{name: f"`{name}`" for name in settings}, "accuracy": "accuracy", "cv/std": "sd over folds"}
        return headings | {name: name for name in others}

    def cells(self, trial: Mapping[str, str]) -> list[str]:
        """A trial's values in the order of `columns`, empty where it has none: four digits, accuracies in percent."""
        return [_short(trial.get(name, ""), share=name in ("accuracy", "cv/std")) for name in self.columns]


def read_search(folder: Path) -> Search:
    """The search in a folder. Raises InputError."""
    try:
        with open(folder / TRIALS, newline="", encoding="utf-8") as file:
            trials = list(csv.DictReader(file))
        if trials and not {"trial", "state", "cv/std", "accuracy"} <= trials[0].keys():
            raise ValueError("the columns trial, state, accuracy and cv/std are needed")
        for trial in trials:
            if trial["state"] == "COMPLETE":
                float(trial["accuracy"])
        best = yaml.safe_load((folder / BEST).read_text(encoding="utf-8")) if (folder / BEST).exists() else {}
        return Search(folder, trials, bool(best.get("overrides")))
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{folder / TRIALS}: not the trials of a search ({error})") from error


def _short(value: str, share: bool) -> str:
    try:
        number = float(value)
        return f"{number:.2%}" if share else f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"
    except ValueError:
        return str(yaml.safe_load(value)) if value.startswith("[") and len(value) < 200 else value[:60]
