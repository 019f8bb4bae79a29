"""docs/results/plan.yaml: the rows of RESULTS.md, each a training command, and the results that belong to it."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fer_lightning.errors import InputError
from fer_lightning.evaluation.metrics import mean_and_sd, wilson_interval
from fer_lightning.report.runs import Record
from fer_lightning.results.record import Result, Score
from fer_lightning.results.transfer import Transfer, read_transfer
from fer_lightning.settings import MAY_CHANGE, TrainSettings, flatten, path_keys

PLAN = "plan.yaml"
DATA = "data.path=fer2013.zip"

WITHOUT_EFFECT = MAY_CHANGE | {"seed", "memory_format", "trainer.accelerator", "trainer.devices", "trainer.precision"}
"""Settings that two runs of one row may differ in."""


class Planned(Record):
    """A row: `run` holds the overrides of its training command, without data and seed.

    name: of its run folders, before `-seedN`. seeds: how many are wanted. minutes: expected for one, on two cores with
    bf16 instructions. goal: accuracy on PublicTest that is hoped for. against: the row that McNemar's test compares it
    with. readme: whether README's table shows it. members: of an ensemble, names of results; it has no `run`.
    """

    name: str
    run: str = ""
    what: str = ""
    seeds: int = 1
    minutes: float = 0
    goal: str = ""
    against: str | None = None
    readme: bool = False
    members: list[str] = []

    @property
    def overrides(self) -> list[str]:
        """The overrides one by one."""
        return shlex.split(self.run)


class Peer(Record):
    """A figure that others report. split: PublicTest, PrivateTest, or `not stated`."""

    name: str
    split: str
    accuracy: str
    note: str
    readme: bool = False


class Sections(Record):
    """The tables of RESULTS.md."""

    paper: list[Planned]
    own: list[Planned]
    ensembles: list[Planned]
    ablation: list[Planned]
    peers: list[Peer]


@dataclass(frozen=True)
class Row:
    """A planned row with its results by seed. An accuracy is the mean over the seeds."""

    planned: Planned
    results: list[Result] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.planned.name

    def scores(self, split: str = "val", tta: str = "none") -> list[Score]:
        """The evaluation of each seed that has one."""
        return [score for result in self.results if (score := result.score(split, tta))]

    def mean(self, quantity: str, split: str = "val", tta: str = "none") -> float | None:
        """Mean of a quantity of the evaluations over the seeds; None where none has it."""
        values = [value for score in self.scores(split, tta) if (value := getattr(score, quantity)) is not None]
        return mean_and_sd(values)["mean"] if values else None

    def deviation(self, split: str = "val") -> float | None:
        """Standard deviation of the accuracy over the seeds; None for fewer than two."""
        return mean_and_sd([score.accuracy for score in self.scores(split)])["sd"] if self.results else None

    def interval(self, split: str = "val", tta: str = "none") -> tuple[float, float] | None:
        """Wilson's 95 % interval of the mean accuracy, as of one network on these images."""
        scores = self.scores(split, tta)
        n = scores[0].n if scores else 0
        return wilson_interval(round((self.mean("accuracy", split, tta) or 0) * n), n) if n else None

    @property
    def result(self) -> Result:
        """The first seed's result, for what a single network shows."""
        return self.results[0]

    @property
    def absent_seeds(self) -> list[int]:
        """The seeds that are planned and not there, the smallest unused ones."""
        used = {result.metrics.seed for result in self.results if result.metrics}
        unused = [seed for seed in range(self.planned.seeds + len(used)) if seed not in used]
        return unused[: max(self.planned.seeds - len(used), 0)]


@dataclass(frozen=True)
class Plan:
    """All rows by section, with their results, the results that belong to no row, and what pretraining gave."""

    paper: list[Row]
    own: list[Row]
    ensembles: list[Row]
    ablation: list[Row]
    peers: list[Peer]
    others: list[Row]
    transfer: Transfer | None = None

    @property
    def trained(self) -> list[Row]:
        """The rows that are trainings."""
        return [*self.paper, *self.own, *self.ablation]

    def row(self, name: str) -> Row:
        """The row of a name."""
        return next(row for row in [*self.trained, *self.ensembles] if row.name == name)


def read_plan(folder: Path, results: Sequence[Result] = ()) -> Plan:
    """The plan in a folder, with the results that belong to each row. Raises InputError."""
    path = folder / PLAN
    try:
        sections = Sections.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise InputError(f"{path}: not a plan of results ({error})") from error
    placed: set[str] = set()

    def rows(planned: list[Planned]) -> list[Row]:
        made = [Row(one, [result for result in results if belongs(result, one)]) for one in planned]
        placed.update(result.name for row in made for result in row.results)
        return [replace(row, results=sorted(row.results, key=_seed)) for row in made]

    tables = {name: rows(getattr(sections, name)) for name in ("paper", "own", "ensembles", "ablation")}
    others: dict[str, Row] = {}
    for result in results:
        if result.name not in placed:
            planned = Planned(name=result.name.partition("-seed")[0], run=shlex.join(result.overrides))
            others.setdefault(planned.run or planned.name, Row(planned)).results.append(result)
    return Plan(**tables, peers=sections.peers, others=list(others.values()), transfer=read_transfer(folder))


def belongs(result: Result, planned: Planned) -> bool:
    """Whether a result is of a row: a run by its overrides, an ensemble by its name."""
    if planned.members:
        return result.name == planned.name
    return bool(result.overrides) and sorted(result.overrides) == sorted(planned.overrides)


def matching_row(plan: Plan, settings: TrainSettings, compose: Callable[..., TrainSettings]) -> Row | None:
    """The row whose command composes to these settings, but for those without effect on what is trained."""
    wanted = effective(settings)
    return next((row for row in plan.trained if effective(compose(*row.planned.overrides)) == wanted), None)


def effective(settings: TrainSettings) -> dict[str, Any]:
    """The settings by dotted key that decide what is trained; of paths the last two parts."""
    paths = path_keys(TrainSettings)
    return {
        key: "/".join(Path(value).parts[-2:]) if key in paths and value else value
        for key, value in flatten(settings.model_dump()).items()
        if not any(key == free or key.startswith(f"{free}.") for free in WITHOUT_EFFECT)
    }


def train_command(overrides: Sequence[str], seed: int, name: str) -> str:
    """The command that trains a row's network."""
    words = [*overrides, DATA, f"seed={seed}", f"hydra.run.dir=runs/{name}", "resume=true"]
    return f"python -m fer_lightning.train {shlex.join(words)}"


def evaluate_command(name: str, split: str, tta: str, members: Sequence[str] = (), against: str | None = None) -> str:
    """The command that evaluates a run, or an ensemble of several."""
    paths = [f"runs/{member}/checkpoints/best.ckpt" for member in members or [name]]
    words = [f"checkpoint={paths[0] if len(paths) == 1 else '[' + ','.join(paths) + ']'}", DATA, f"split={split}"]
    words += [f"tta={tta}"] if tta != "none" else []
    folder = f"evaluation-{split}" + (f"-{tta}" if tta != "none" else "")
    words += [f"compare=runs/{against}/{folder}"] if against else []
    words += [f"hydra.run.dir=runs/{name}/{folder}"] if members else []
    return f"python -m fer_lightning.evaluate {shlex.join(words)}"


def commands(row: Row) -> list[str]:
    """What makes the results of a row that are not there, in order."""
    planned, lines = row.planned, []
    if planned.members:
        lines = [evaluate_command(row.name, "val", tta, planned.members) for tta in ("none", "flip")]
        return [] if row.results else [*lines, f"python -m fer_lightning.results add runs/{row.name}"]
    for seed in row.absent_seeds:
        name = f"{row.name}-seed{seed}"
        against = f"{planned.against}-seed{seed}" if planned.against else None
        lines.append(train_command(planned.overrides, seed, name))
        lines += [evaluate_command(name, "val", tta, (), against) for tta in ("none", "flip")]
        lines.append(f"python -m fer_lightning.results add runs/{name}")
    return lines


def _seed(result: Result) -> int:
    return result.metrics.seed if result.metrics else 0
