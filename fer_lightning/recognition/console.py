"""What `predict` shows on the screen: tables of faces and progress bars."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fer_lightning.recognition.face_table import Result
from fer_lightning.recognition.timeline import Timeline

if TYPE_CHECKING:
    from rich.progress import Progress

ROWS = 20
"""Faces of a video that its table shows, those seen most often."""


def table(result: Result) -> str:
    """The faces of a photo: face, box, emotion, probability. Of a video: when each face was seen, and its emotion."""
    if isinstance(result.faces, Timeline):
        return _video_table(result, result.faces)
    if not result.faces:
        return f"{result.path}: {result.note}"
    lines = [f"{result.path}", f"  {'face':>4}  {'box: x, y, width x height':27}  {'emotion':8}  probability"]
    for number, face in enumerate(result.faces, 1):
        x, y, width, height = (round(value) for value in face.box)
        box = f"{x}, {y}, {width} x {height}"
        lines.append(f"  {number:>4}  {box:27}  {face.emotion:8}  {100 * face.confidence:9.1f} %")
    return "\n".join(lines)


def _video_table(result: Result, timeline: Timeline) -> str:
    length = f"{result.path}: {timeline.seconds:.1f} s, {timeline.frames} frames"
    if not timeline:
        return f"{length}: {result.note}"
    seen = timeline.summary()
    shown = sorted(sorted(seen, key=lambda face: -face.frames)[:ROWS], key=lambda face: face.id)
    lines = [
        f"{length}, {len(seen)} face{'s' if len(seen) > 1 else ''}",
        f"  {'face':>4}  {'from':>7}  {'to':>7}  {'seen':>7}  {'mostly':8}  of the time  mean probability",
    ]
    for face in shown:
        times = "  ".join(f"{seconds:5.1f} s" for seconds in (face.first, face.last, face.seconds))
        shares = f"{100 * face.share:9.0f} %  {100 * face.probability:14.1f} %"
        lines.append(f"  {face.id:>4}  {times}  {face.emotion:8}  {shares}")
    if len(seen) > len(shown):
        lines.append(f"  {len(seen) - len(shown)} faces that were seen less often are left out")
    return "\n".join(lines)


class Screen:
    """Where results and progress are shown."""

    def __init__(self, show: Callable[[str], None], bars: "Progress | None"):
        self._show, self._bars = show, bars

    def result(self, result: Result) -> None:
        """Show a result: its table, or on standard error why there is none."""
        if result.error is None or result.faces:
            self._show(table(result))
        if result.error is not None:
            print(f"error: {result.path}: {result.error}", file=sys.stderr)

    @contextmanager
    def bar(self, name: str, unit: str = "") -> Iterator[Callable[[float, float | None], None]]:
        """A function that is told how much is done, of how much, if that is known; shown as a bar on a terminal."""
        if self._bars is None:
            yield _ignore
            return
        bars = self._bars
        task = bars.add_task(name if len(name) <= 40 else f"...{name[-37:]}", total=None, text="")

        def tell(done: float, total: float | None) -> None:
            digits = 1 if unit else 0
            text = f"{done:.{digits}f}" if total is None else f"{done:.{digits}f} of {total:.{digits}f}"
            bars.update(task, completed=done, total=total, text=text + unit)

        yield tell
        bars.remove_task(task)


def _ignore(done: float, total: float | None) -> None:
    pass


@contextmanager
def open_screen(bars: bool) -> Iterator[Screen]:
    """The screen; with bars where they are wanted and it is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=not sys.stdout.isatty(), highlight=False)
    if not bars or not console.is_terminal:
        yield Screen(print, None)
        return
    columns: list[Any] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
    ]
    columns += [TimeRemainingColumn(), TextColumn("left")]
    with Progress(*columns, console=console, transient=True) as shown:
        show = partial(console.print, markup=False, soft_wrap=True) if sys.stdout.isatty() else print
        yield Screen(show, shown)
