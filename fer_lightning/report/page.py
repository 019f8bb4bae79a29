"""The report as one HTML page that needs nothing else, and as Markdown with PNG files beside it.

templates/sections.jinja holds the words and tables of both; page.html and page.md the macros that it calls.
"""

import base64
import os
import re
import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from fer_lightning.data.ferplus import NAME, TITLE, title_of
from fer_lightning.errors import InputError
from fer_lightning.evaluation.metrics import mean_and_sd
from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.confusion import accuracy_of, confusion_picture, row_shares
from fer_lightning.figures.mistakes import confused_pairs
from fer_lightning.figures.sheets import png
from fer_lightning.files import temporary_beside
from fer_lightning.report import comparisons, pictures
from fer_lightning.report.charts import curves, svg
from fer_lightning.report.experiments import Experiments, gather
from fer_lightning.templates import environment

PAGE, TEXT, FIGURES = "report.html", "report.md", "figures"
"""The files of a report, and the folder of the PNG files that the Markdown links to."""


def write_report(folders: Sequence[Path], out: Path) -> Path:
    """Write the report of the experiments in some folders into `out`, all or nothing; returns the page.

    `out` may be an earlier report, which is replaced. Raises InputError.
    """
    experiments = gather(folders)
    if out.exists() and not (out.is_dir() and ((out / PAGE).exists() or not any(out.iterdir()))):
        raise InputError(f"--out {out}: it exists and is no earlier report; name a new folder")
    text, figures = markdown(experiments)
    partial = temporary_beside(out)
    try:
        (partial / FIGURES).mkdir(parents=True)
        (partial / PAGE).write_text(_render("page.html", experiments), encoding="utf-8")
        (partial / TEXT).write_text(text, encoding="utf-8")
        for name, content in figures.items():
            (partial / FIGURES / name).write_bytes(content)
        if out.exists():
            shutil.rmtree(out)
        os.replace(partial, out)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"--out {out}: the report cannot be written ({error.strerror or error})") from error
    return out / PAGE


def markdown(experiments: Experiments) -> tuple[str, dict[str, bytes]]:
    """The report as Markdown, and by name the PNG files that it links to in `figures/`."""
    figures: dict[str, bytes] = {}

    def link(name: str, content: bytes | Figure | np.ndarray, title: str = "") -> str:
        """Keep a picture, chart or confusion matrix as a PNG file; returns what the text refers to."""
        file = re.sub(r"[^\w.-]+", "-", name) + ".png"
        if isinstance(content, Figure):
            content.patch.set(visible=True, facecolor="white")
            content = png(content)
        elif isinstance(content, np.ndarray):
            content = png(confusion_picture(content, EXPRESSIONS, title.replace("`", "")))
        figures[file] = content
        return f"{FIGURES}/{file}"

    text = _render("page.md", experiments, link=link)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n", figures


def _render(template: str, experiments: Experiments, **names: Any) -> str:
    """Render a template. HTML escapes what is inserted; an undefined name raises."""
    templates = environment("fer_lightning.report", autoescape=template.endswith(".html"))
    functions = (accuracy_of, confused_pairs, curves, mean_and_sd, row_shares, title_of)
    templates.filters |= {function.__name__: function for function in functions} | {
        "base64": lambda content: base64.b64encode(content).decode(),
        "by_labels": _by_labels,
        "code": _code,
        "duration": lambda seconds: "" if seconds is None else str(timedelta(seconds=round(seconds))),
        "formatted": lambda value, form: "" if value is None else format(value, form),
        "svg": lambda figure, name: Markup(svg(figure, name)),
    }
    modules = {"comparisons": comparisons, "pictures": pictures}
    return templates.get_template(template).render(experiments=experiments, expressions=EXPRESSIONS, **modules, **names)


def _by_labels(records: Sequence[Any]) -> list[tuple[list[Any], str]]:
    """Records by labels, with words for the caption: figures of FER+ stand in no table of FER2013's."""
    ordered = sorted(records, key=lambda record: record.data)
    usual, other = ([one for one in ordered if (one.data == NAME) is plus] for plus in (False, True))
    words = f"{TITLE} labels, another task than FER2013's. "
    return [(held, caption) for held, caption in ((usual, ""), (other, words)) if held]


def _code(text: str) -> Markup:
    """Escaped text, with what stands between backquotes as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))
