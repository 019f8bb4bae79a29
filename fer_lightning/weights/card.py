"""The card of the bundled weights, bundled.json, and the page for reading that is made of it: docs/model_card.md."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.templates import environment
from fer_lightning.weights import bundled

WORDS = ("limits", "licences", "regulation")
"""Parts of the card that people write; the next network's card keeps them."""


def read_card(path: Path | None = None) -> dict[str, Any]:
    """The card of the bundled weights, or the one at `path`."""
    return json.loads((path or bundled().with_suffix(".json")).read_text(encoding="utf-8"))


def model_card(card: dict[str, Any]) -> str:
    """The page (Markdown) of a card: what the network is, how accurate, and what it is not for."""
    first = card["evaluations"][0]
    matrix = first["confusion_matrix"]
    mistakes = [
        (count / sum(row), EXPRESSIONS[true], EXPRESSIONS[taken])
        for true, row in enumerate(matrix)
        for taken, count in enumerate(row)
        if true != taken
    ]
    page = _environment().get_template("model_card.md.jinja")
    return page.render(card=card, first=first, mistakes=sorted(mistakes, reverse=True)[:5], expressions=EXPRESSIONS)


@cache
def _environment() -> Environment:
    made = environment("fer_lightning.weights")
    made.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    made.filters["between"] = lambda bounds: f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"
    made.filters["grouped"] = lambda number: f"{number:,}"
    made.filters["minutes"] = lambda seconds: f"{seconds / 60:.0f} min"
    made.filters["megabytes"] = lambda size: f"{size / 1e6:.1f} MB"
    return made
