"""RESULTS.md and the table in README.md, made of docs/results alone. templates/results.md.jinja holds the words."""

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from fer_lightning.errors import InputError, near_misses
from fer_lightning.files import write_atomic
from fer_lightning.results.claims import claims, difference_interval
from fer_lightning.results.plan import DATA, Plan, commands, read_plan
from fer_lightning.results.record import read_results
from fer_lightning.templates import environment

PAGE = "RESULTS.md"
SPLITS = {"val": "PublicTest", "test": "PrivateTest"}
MARKS = ("<!-- results: made by python -m fer_lightning.results write -->\n", "<!-- end of results -->")
"""README's table stands between them."""


def write_pages(folder: Path) -> list[Path]:
    """Write RESULTS.md and README's table into the project whose docs/results `folder` is. Raises InputError."""
    plan, project = read_plan(folder, read_results(folder)), folder.resolve().parents[1]
    readme = project / "README.md"
    if not readme.exists():
        raise InputError(f"{readme}: no such file; --folder is docs/results of this project")
    text = readme_with_table(readme.read_text(encoding="utf-8"), plan)
    write_atomic(project / PAGE, results_page(plan))
    write_atomic(readme, text)
    return [project / PAGE, readme]


def results_page(plan: Plan) -> str:
    """RESULTS.md."""
    return _render("results.md.jinja", plan)


def readme_with_table(text: str, plan: Plan) -> str:
    """README.md with the table of results between its marks. Raises InputError where the marks are missing."""
    begin, end = MARKS
    if begin not in text or end not in text:
        raise InputError(f"README.md: the marks of the table are missing: {begin.strip()} and {end}")
    before, after = text.partition(begin)[0], text.partition(end)[2]
    return f"{before}{begin}{_render('readme.md.jinja', plan)}{end}{after}"


def missing_commands(folder: Path, names: Sequence[str]) -> list[str]:
    """The commands that make what the plan asks for and `folder` lacks, in order. names: of rows; none: all."""
    plan = read_plan(folder, read_results(folder))
    rows = {row.name: row for row in [*plan.trained, *plan.ensembles]}
    for name in names:
        if name not in rows:
            raise InputError(f"{name}: no such row.{near_misses(name, rows)} Rows: {', '.join(rows)}")
    return [line for name in names or rows for line in commands(rows[name])]


def percent(share: float | None, places: int = 2) -> str:
    """A share in percent; empty for None."""
    return "" if share is None else f"{100 * share:.{places}f} %"


def between(ends: tuple[float, float] | None) -> str:
    """An interval of shares in percent; empty for None."""
    return "" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f} %"


def number(value: float | None, form: str = ",") -> str:
    """A number in a form; empty for None."""
    return "" if value is None else format(value, form)


def duration(minutes: float) -> str:
    """Hours and minutes, as in `1:25 h`."""
    return str(timedelta(minutes=round(minutes)))[:-3] + " h"


def _render(template: str, plan: Plan) -> str:
    templates = environment("fer_lightning.results")
    templates.filters |= {function.__name__: function for function in (percent, between, number, duration)}
    names: dict[str, Any] = {"splits": SPLITS, "data": DATA, "commands": commands, "gap": difference_interval}
    text = templates.get_template(template).render(plan=plan, claims=claims(plan), **names)
    return re.sub(r"\n{3,}", "\n\n", text)
