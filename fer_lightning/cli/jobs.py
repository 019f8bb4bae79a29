"""The jobs of a plain `--multirun`: their folders, states and results, kept in jobs.json, and the tables at the end."""

import json
import re
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fer_lightning.errors import InputError
from fer_lightning.files import write_json
from fer_lightning.settings import MAY_CHANGE

JOBS = "jobs.json"

RESULTS = {"metrics.json": ("cv/mean", "val/accuracy"), "evaluation.json": ("accuracy",), "audit.json": ("redundant",)}
"""The file that a command writes once it is done, and the figures of it for the table: the first that it has."""

LONGEST_NAME = 100
"""Characters in the name of a job's folder."""

STYLES = {"done": "green", "failed": "bold red"}


@dataclass
class Job:
    """overrides: value by key, as on the command line; folder: its name in the sweep folder; value: of the figure."""

    overrides: dict[str, str]
    folder: str
    state: str = "waiting"  # running, stopped, done, failed
    figure: str | None = None
    value: float | None = None
    seconds: float | None = None
    reason: str | None = None

    def result(self, sweep: Path) -> tuple[Path, int] | None:
        """The file that says that the job is done, and when it was written (ns); None where there is none."""
        files = (sweep / self.folder / name for name in RESULTS)
        return next(((file, file.stat().st_mtime_ns) for file in files if file.exists()), None)

    def end(self, sweep: Path, seconds: float | None, reason: str | None = None) -> None:
        """Record that the job failed for a reason, or that it is done, with its figures."""
        self.state, self.seconds, self.reason = "failed" if reason else "done", seconds, reason
        if not reason and (result := self.result(sweep)):
            file, content = result[0], json.loads(result[0].read_text())
            keys = (key for name in RESULTS[file.name] for key in content if key == name or key.endswith(f"-{name}"))
            if figure := next(keys, None):
                self.figure, self.value, self.seconds = figure, content[figure], content.get("seconds", seconds)


class Jobs:
    """All jobs of one command in one sweep folder."""

    def __init__(self, folder: Path, wanted: Sequence[dict[str, str]], resume: bool, how: str):
        """Find the jobs that the folder holds already. wanted: the overrides of each job, all with the same keys.

        A job is found by its overrides; those that may change on resume may differ, unless they vary between jobs.
        how: what to add to the command to resume. Raises InputError where two jobs are the same, and where the folder
        holds jobs that are not to be resumed.
        """
        self.folder = folder
        self.keys = [key for key in wanted[0] if len({overrides[key] for overrides in wanted}) > 1]
        for number, overrides in enumerate(wanted):
            if overrides in wanted[:number]:
                raise InputError(
                    f"{words(overrides, self.keys) or words(overrides)} is given twice; give each job once"
                )
        self.earlier = read_jobs(folder)
        """Jobs in the folder that this command does not name."""
        if self.earlier and not resume:
            raise InputError(f"{folder} already holds jobs. Add {how} to go on with them, or name another folder")

        found: dict[int, Job] = {}
        for identity in (dict, partial(identifying, varied=self.keys)):  # those with the very same overrides first
            for number, overrides in enumerate(wanted):
                same = (job for job in self.earlier if identity(job.overrides) == identity(overrides))
                if number not in found and (job := next(same, None)):
                    self.earlier.remove(job)
                    state = job.state if job.overrides == overrides else "waiting"
                    found[number] = replace(job, overrides=overrides, state=state)
        self.left_alone = [job for job in found.values() if job.state == "done"]
        taken = {job.folder for job in (*found.values(), *self.earlier)}
        self.all = [found.get(number) or self._begin(overrides, taken) for number, overrides in enumerate(wanted)]

    def _begin(self, overrides: dict[str, str], taken: set[str]) -> Job:
        """A job in a new folder. `model=fc__seed=0`: without a comma, which separates paths on a command line."""
        values = [re.sub(r"[^\w.+-]+", "_", value_of(overrides, key)).strip("_") for key in self.keys]
        name = "__".join(map("=".join, zip(short_names(self.keys), values, strict=True)))[:LONGEST_NAME] or "job"
        names = (name if number == 1 else f"{name}-{number}" for number in count(1))
        folder = next(free for free in names if free not in taken and not (self.folder / free).exists())
        taken.add(folder)
        return Job(overrides, folder)

    def title(self, job: Job) -> str:
        """`job 2 of 6 (model=fc seed=1)`"""
        text = words(job.overrides, self.keys)
        return f"job {self.all.index(job) + 1} of {len(self.all)}" + f" ({text})" * bool(text)

    def write(self) -> None:
        """Write jobs.json."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be made ({error.strerror or error})") from error
        jobs = [asdict(job) for job in (*self.all, *self.earlier)]
        write_json(self.folder / JOBS, {"jobs": jobs, "over_seeds": list(self.over_seeds())})

    def over_seeds(self) -> Iterator[dict[str, Any]]:
        """Mean, standard deviation (n - 1) and number of the values of jobs that differ in their seed alone."""
        others = [key for key in self.keys if key != "seed"]
        groups: dict[tuple[str, ...], list[Job]] = {}
        for job in self.all if "seed" in self.keys else []:
            if job.state == "done" and job.value is not None:
                groups.setdefault(tuple(job.overrides[key] for key in others), []).append(job)
        for group, jobs in groups.items():
            values = [job.value for job in jobs if job.value is not None]
            mean, sd = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
            overrides = dict(zip(others, group, strict=True))
            yield {"overrides": overrides, "figure": jobs[0].figure, "mean": mean, "sd": sd, "n": len(values)}

    def print(self, console: Console) -> None:
        """The table of all jobs and that over seeds, why jobs failed, and where the figures are."""
        figures = list(dict.fromkeys(job.figure for job in self.all if job.figure))
        figure = figures[:1] if len(figures) < 2 else ["result"]
        table = table_of(["job", *short_names(self.keys)], [*figure, "seconds"], "state")
        for number, job in enumerate(self.all, start=1):
            settings = [str(number), *(value_of(job.overrides, key) for key in self.keys)]
            numbers = [shown(job.figure, job.value)] * len(figure) + [shown("seconds", job.seconds)]
            state = "left alone" if job in self.left_alone else job.state
            table.add_row(*settings, *numbers, Text(state, STYLES.get(state, "dim")))
        console.print("", table)
        others = [key for key in self.keys if key != "seed"]
        table = table_of(short_names(others), ["mean", "sd", "seeds"], title=f"{' '.join(figure)} over seeds")
        for row in self.over_seeds():
            numbers = [shown(row["figure"], row["mean"]), shown(row["figure"], row["sd"]), str(row["n"])]
            table.add_row(*(value_of(row["overrides"], key) for key in others), *numbers)
        if table.row_count:
            console.print(table)
        for job in self.all:
            if job.reason:
                console.print(f"{self.title(job)} failed: {job.reason}", soft_wrap=True)
        console.print(f"{self.folder / JOBS}", soft_wrap=True)


def read_jobs(folder: Path) -> list[Job]:
    """The jobs in a sweep folder; none where it holds none. Raises InputError where jobs.json is damaged."""
    try:
        return [Job(**job) for job in json.loads((folder / JOBS).read_text())["jobs"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / JOBS}: damaged ({error}). Remove it, or name another hydra.sweep.dir") from error


def identifying(overrides: Mapping[str, str], varied: Collection[str]) -> dict[str, str]:
    """The overrides by which a job is found again: all that vary, and all that may not change on resume."""
    free = tuple(f"{key}." for key in (*MAY_CHANGE, "trainer.max_epochs", "trainer.devices"))  # of one device each
    return {key: overrides[key] for key in overrides if key in varied or not f"{key.lstrip('+')}.".startswith(free)}


def short_names(keys: Sequence[str]) -> list[str]:
    """The last part of each key, or all of it where others end so too."""
    last = [key.lstrip("+").rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key.lstrip("+") for key, name in zip(keys, last, strict=True)]


def value_of(overrides: Mapping[str, str], key: str) -> str:
    """A value as a person writes it, without the quotes of Hydra's grammar around all of it."""
    text = overrides[key]
    return text[1:-1] if re.fullmatch(r"'[^']*'", text) else text


def words(overrides: Mapping[str, str], keys: Collection[str] | None = None) -> str:
    """Overrides as on the command line, those of some keys or all."""
    return " ".join(f"{key}={value_of(overrides, key)}" for key in (overrides if keys is None else keys))


def shown(figure: str | None, value: float | None) -> str:
    """A number of the tables: shares in percent."""
    if value is None:
        return ""
    return f"{value:,.1f}" if figure == "seconds" else f"{value:,}" if figure == "redundant" else f"{value:.2%}"


def table_of(texts: Sequence[str], numbers: Sequence[str], *more: str, title: str | None = None) -> Table:
    """An empty table with columns of texts, of numbers, and of further texts."""
    table = Table(title=title, title_justify="left")
    for heading in (*texts, *numbers, *more):
        table.add_column(heading, justify="right" if heading in numbers else "left", overflow="fold")
    return table
