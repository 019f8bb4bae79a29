"""What a benchmark reports: rows of one table, and a line of JSON, the last that it prints.

A row: name, ours, baseline, unit, ratio (ours / baseline), target, met. A target is of the ratio or of ours.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"
BESIDE_THE_PROJECT = Path(__file__).resolve().parents[2] / "shared" / "data" / "fer2013.zip"
HEADINGS = ("name", "ours", "baseline", "ratio", "target", "met", "machine")


def row(
    name: str,
    ours: float,
    baseline: float | None,
    unit: str,
    at_least: float | None = None,
    at_most: float | None = None,
    of: str = "ratio",
) -> dict[str, Any]:
    """One row. baseline: in the same unit, or None. at_least, at_most: the target, `of` the ratio or of ours."""
    ratio = ours / baseline if baseline else None
    value = ratio if of == "ratio" else ours
    target, met = "", None
    if value is not None and at_least is not None:
        target, met = f"{of} >= {at_least:g}", value >= at_least
    elif value is not None and at_most is not None:
        target, met = f"{of} <= {at_most:g}", value <= at_most
    figures = {"ours": ours, "baseline": baseline, "ratio": ratio}
    rounded = {key: None if figure is None else float(f"{figure:.4g}") for key, figure in figures.items()}
    return {"name": name, **rounded, "unit": unit, "target": target, "met": met}


def report(benchmark: str, rows: Sequence[dict[str, Any]], **details: Any) -> None:
    """Print the rows, and as JSON all that was measured."""
    for cells in table([{"machine": "", **one} for one in rows]):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(cells[:-1], (44, 18, 18, 7, 15, 4), strict=True)))
    print(json.dumps({"benchmark": benchmark, "rows": list(rows), **details}))


def table(rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The cells of a table, headings first."""
    return [
        HEADINGS,
        *(
            (
                one["name"],
                f"{number(one['ours'])} {one['unit']}".strip(),
                "" if one["baseline"] is None else f"{number(one['baseline'])} {one['unit']}".strip(),
                number(one["ratio"]),
                one["target"].replace(">=", "≥").replace("<=", "≤"),
                {True: "yes", False: "no", None: ""}[one["met"]],
                one["machine"],
            )
            for one in rows
        ),
    ]


def number(value: float | None) -> str:
    """Three digits, more of a large number."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table of README."""
    heading, *lines = table(rows)
    marks = ["| " + " | ".join(heading) + " |", "|:--|--:|--:|--:|:--|:--|:--|"]
    return "\n".join([*marks, *("| " + " | ".join(cells) + " |" for cells in lines)])


def fer2013(given: Sequence[str] = ()) -> Path | None:
    """Where FER2013 is: what is given, FER2013=path, or ../shared/data/fer2013.zip; None where nothing is there."""
    path = Path(given[0] if given else os.environ.get("FER2013", BESIDE_THE_PROJECT))
    return path if path.exists() else None


def needed_fer2013(benchmark: str, given: Sequence[str]) -> Path:
    """The same; without it the benchmark ends here, and says so."""
    if (path := fer2013(given)) is None:
        why = "FER2013 is not here; give its path, or set FER2013=path"
        print(f"left out: {why}")
        report(benchmark, [], left_out=why)
        sys.exit()
    return path
