"""The report as one HTML page that needs nothing else: light and dark by the reader's choice, and printable."""

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files

import matplotlib
from matplotlib.figure import Figure

from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.report.blocks import Block, Chart, Matrix, Missing, Picture, Row, Section, Table, Words
from fer_lightning.report.charts import INK
from fer_lightning.figures.confusion import accuracy_of, row_shares


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole page. lead: one line under the title."""
    style = files("fer_lightning.report").joinpath("page.css").read_text(encoding="utf-8")
    contents = "".join(f'<li><a href="#{part.anchor}">{escape(part.title)}</a></li>' for part in sections)
    body = "\n".join(
        f'<section id="{part.anchor}">\n<h2>{escape(part.title)}</h2>\n'
        + "\n".join(html(block) for block in part.blocks)
        + "\n</section>"
        for part in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<header>\n<h1>{escape(title)}</h1>\n"
        f"<p>{inline(lead)}</p>\n<nav><ol>{contents}</ol></nav>\n</header>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def html(block: Block) -> str:
    """One block."""
    match block:
        case Words(text):
            return f"<p>{inline(text)}</p>"
        case Table():
            return table(block)
        case Chart(name, figure, caption):
            return figured(svg(figure, name), caption, "chart")
        case Picture(name, png, caption):
            data = base64.b64encode(png).decode()
            return figured(
                f'<img alt="{escape(caption or name)}" src="data:image/png;base64,{data}">', caption, "picture"
            )
        case Matrix():
            return matrix(block)
        case Row(blocks, width):
            inner = "\n".join(html(inner) for inner in blocks)
            return f'<div class="row" style="--least: {width}rem">{inner}</div>'
        case Missing(what, command):
            return f'<div class="missing"><p>{inline(what)}</p><pre>{escape(command)}</pre></div>'


def inline(text: str) -> str:
    """Words with what stands between backquotes as code."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text, quote=False))


def figured(content: str, caption: str, kind: str) -> str:
    below = f"<figcaption>{inline(caption)}</figcaption>" if caption else ""
    return f'<figure class="{kind}">{content}{below}</figure>'


def table(block: Table) -> str:
    head = "".join(f'<th scope="col">{inline(name)}</th>' for name in block.headings)
    rows = "\n".join("<tr>" + "".join(f"<td>{cell_words(cell)}</td>" for cell in row) + "</tr>" for row in block.rows)
    caption = f"<caption>{inline(block.caption)}</caption>" if block.caption else ""
    kind = ' class="left"' if block.left else ""
    return (
        f'<div class="wide"><table{kind}>{caption}<thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></div>'
    )


def cell_words(cell: str) -> str:
    first, _, second = cell.partition("\n")
    return inline(first) + (f"<small>{inline(second)}</small>" if second else "")


def matrix(block: Matrix) -> str:
    """A table whose cells are the darker the larger their share of the row; it follows the page's colours."""
    shares = row_shares(block.counts)
    head = "".join(f'<th scope="col">{name}</th>' for name in EXPRESSIONS)
    rows = []
    for row, name in enumerate(EXPRESSIONS):
        cells = "".join(
            f'<td class="{dark(share)}{" own" if row == column else ""}" style="--share: {share:.3f}">'
            f"{share:.0%}<small>{int(count):,}</small></td>"
            for column, (share, count) in enumerate(zip(shares[row], block.counts[row], strict=True))
        )
        total = int(block.counts[row].sum())
        rows.append(f'<tr><th scope="row">{name}<small>{total:,}</small></th>{cells}</tr>')
    words = f"{block.title}: {accuracy_of(block.counts):.2%} of {int(block.counts.sum()):,}"
    return (
        f'<div class="wide"><table class="matrix"><caption>{inline(words)}</caption>'
        f"<thead><tr><th>true \\ predicted</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def dark(share: float) -> str:
    return "dark" if share > 0.45 else "light"


def svg(figure: Figure, name: str) -> str:
    """A figure as inline SVG whose words and axes take the page's colour; its ids are its own."""
    content = io.StringIO()
    salt = hashlib.sha256(name.encode()).hexdigest()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(
            content, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    drawn = content.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace(INK, "currentColor")
    drawn = re.sub(r"<metadata>.*?</metadata>\s*", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'<g id="[^"]*">', "<g>", drawn)  # what is referred to has salted names, these would stand twice
    return re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>',
        rf'<svg role="img" aria-label="{escape(name)}" viewBox="\1">',
        drawn,
        count=1,
    )
