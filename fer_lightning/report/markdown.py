"""The report as Markdown, its charts, pictures and matrices as PNG files beside it."""

import re
from collections.abc import Iterator, Sequence

from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.report.blocks import Block, Chart, Matrix, Missing, Picture, Row, Section, Table, Words
from fer_lightning.figures.confusion import confusion_picture
from fer_lightning.figures.sheet import png

FIGURES = "figures"


def markdown(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole text; pictures are linked as `figures/<name>.png`."""
    parts = [f"# {title}", lead]
    for section in sections:
        parts += [f"## {section.title}", *(text for block in section.blocks for text in written(block))]
    return "\n\n".join(parts) + "\n"


def written(block: Block) -> Iterator[str]:
    match block:
        case Words(text):
            yield text
        case Table(headings, rows, caption, left):
            sides = [":--", *([":--" if left else "--:"] * (len(headings) - 1))]
            lines = [headings, sides, *rows]
            if caption:
                yield caption
            yield "\n".join(f"| {' | '.join(one_line(cell) for cell in line)} |" for line in lines)
        case Chart(name, _, caption) | Picture(name, _, caption):
            yield f"![{caption or name}]({FIGURES}/{file_name(name)})" + (f"\n\n*{caption}*" if caption else "")
        case Matrix(name, _, title):
            yield f"![{title}]({FIGURES}/{file_name(name)})"
        case Row(blocks):
            for inner in blocks:
                yield from written(inner)
        case Missing(what, command):
            yield f"{what}\n\n```sh\n{command}\n```"


def one_line(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", "<br>")


def pictures(blocks: Sequence[Block]) -> Iterator[tuple[str, bytes]]:
    """File names and PNG files of all charts, pictures and matrices."""
    for block in blocks:
        match block:
            case Chart(name, figure):
                figure.patch.set(visible=True, facecolor="white")
                yield file_name(name), png(figure)
            case Picture(name, content):
                yield file_name(name), content
            case Matrix(name, counts, title):
                yield file_name(name), png(confusion_picture(counts, EXPRESSIONS, title.replace("`", "")))
            case Row(inner):
                yield from pictures(inner)


def file_name(name: str) -> str:
    """A name as a file name anywhere."""
    return re.sub(r"[^\w.-]+", "-", name) + ".png"
