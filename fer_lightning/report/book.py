"""The runs of a report put in order: which data set is compared, which run stands for which network."""

from collections import Counter
from dataclasses import dataclass

from fer_lightning.report.blocks import Missing
from fer_lightning.report.found import Found
from fer_lightning.report.runs import Run

RECIPES = {"conv_shallow": "paper_shallow", "conv_deep": "paper_deep", "conv_poster": "poster"}
RECIPES |= {model.replace("conv", "hybrid"): recipe for model, recipe in RECIPES.items()}

SOURCES = {"fer2013": " data.path=fer2013.zip", "ferplus": " data.path=fer2013.csv data.votes=fer2013new.csv"}
"""What a command needs beside `data=...` for each data set."""


@dataclass(frozen=True)
class Book:
    """All runs, and for each network the one that stands for it in comparisons: the most accurate on `data`."""

    found: Found
    data: str
    chosen: dict[str, Run]

    @property
    def drawn(self) -> list[Run]:
        """The chosen runs of networks with conv layers that were drawn, the most accurate first."""
        with_pictures = [run for run in self.chosen.values() if run.layers]
        return sorted(with_pictures, key=lambda run: -run.accuracy)

    def missing(self, what: str, *models: str) -> Missing | None:
        """A note with the commands that train what is missing of these networks; None when all are there."""
        absent = [model for model in models if model not in self.chosen]
        if not absent:
            return None
        names = " and ".join(f"`{model}`" for model in absent)
        return Missing(
            f"{what}: no run of {names} on {self.data} among these. This makes it:",
            "\n".join(map(self.command, absent)),
        )

    def command(self, model: str) -> str:
        """The command that trains a network on the data of this report."""
        words = ["python -m fer_lightning.train"]
        if recipe := RECIPES.get(model):
            words.append(f"experiment={recipe}")
        words.append(f"model={model}")
        words.append(f"data={self.data}{SOURCES.get(self.data, '')}")
        return " ".join(words)


def put_in_order(found: Found) -> Book:
    """FER2013 is compared where a run is on it, else the data set of most runs; never figures of two sets."""
    held = Counter(run.data for run in found.runs)
    data = "fer2013" if "fer2013" in held or not held else held.most_common(1)[0][0]
    chosen: dict[str, Run] = {}
    for run in sorted((run for run in found.runs if run.data == data), key=lambda run: -run.accuracy):
        chosen.setdefault(run.model, run)
    return Book(found, data, dict(sorted(chosen.items())))
