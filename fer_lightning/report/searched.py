"""The hyper-parameter table: what a search tried, what it found, and what the paper found."""

from collections import Counter

import yaml

from fer_lightning.report.blocks import Block, Missing, Picture, Row, Section, Table, Words
from fer_lightning.report.results import percent
from fer_lightning.report.searches import BEST, Search

PAPER = {"optimizer.lr": "0.01", "optimizer.weight_decay": "1e-07", "model.hidden": "[256, 512]"}
"""What the paper's cross-validation found for its deep network."""
COMMAND = (
    "python -m fer_lightning.train --multirun sweeps=lr_reg_hidden model=conv_deep data=fer2013 data.path=fer2013.zip"
)
MOST = 10


def search_section(searches: list[Search]) -> Section:
    """A table and the plots of each search."""
    section = Section("search", "Hyper-parameters by cross-validation")
    for search in searches:
        section.blocks += blocks(search)
    if not searches:
        section.blocks.append(Missing("No search is among these folders. This is the paper's:", COMMAND))
    return section


def blocks(search: Search) -> list[Block]:
    """One search: the best trials beside the paper's setting, how the trials ended, the plots."""
    ended = Counter(trial["state"].lower() for trial in search.trials)
    count = ", ".join(f"{number} {state}" for state, number in ended.most_common())
    made: list[Block] = [Words(f"`{search.folder}`: {len(search.trials)} trials ({count or 'none yet'}).")]
    if search.complete:
        others = [name for name in search.objectives if name != "accuracy"]
        headings = ["trial", *(f"`{key}`" for key in search.dimensions), "accuracy", "sd over folds", *others]
        rows = [
            [
                trial["trial"],
                *(short(trial[key]) for key in search.dimensions),
                percent(float(trial["accuracy"])),
                percent(float(trial["cv/std"] or 0)),
                *(f"{float(trial[name]):,.6g}" for name in others),
            ]
            for trial in search.complete[:MOST]
        ]
        if set(search.dimensions) & PAPER.keys():
            rows.append(
                [
                    "the paper's",
                    *(short(PAPER.get(key, "")) for key in search.dimensions),
                    "",
                    "",
                    *("" for _ in others),
                ]
            )
        made.append(
            Table(
                headings, rows, f"The best {min(MOST, len(search.complete))} of {len(search.complete)} complete trials."
            )
        )
    if search.best:
        made.append(Words(f"Train with the best setting: `python -m fer_lightning.train +best={search.folder / BEST}`"))
    if search.plots:
        pictures = [Picture(f"{search.folder.name}-{path.stem}", path.read_bytes(), path.stem) for path in search.plots]
        made.append(Row(pictures, 30))
    return made


def short(value: str) -> str:
    """A setting as it was written, numbers with four digits."""
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return str(yaml.safe_load(value)) if value.startswith("[") and len(value) < 200 else value[:60]
