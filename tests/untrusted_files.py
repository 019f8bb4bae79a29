"""What untrusted files may hold: pickles that run a command, and settings that name no network of ours."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "this-ran"


class Malicious:
    """Runs a command when it is unpickled: makes the file MARK in `folder`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.folder / MARK}",)


HARMFUL_SETTINGS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a class to build": lambda settings: settings["model"].update(_target_="os.system"),
    "an unknown argument": lambda settings: settings["model"].update(command="touch x"),
    "a network of a terabyte": lambda settings: settings["model"].update(hidden=[10**9, 10**9]),
    "a conv layer of a terabyte": lambda settings: settings["model"].update(conv=[{"filters": 10**9, "kernel": 31}]),
    "an image of a terabyte": lambda settings: settings["inputs"].update(size=10**6),
    "no layer": lambda settings: settings["model"].update(conv=[]),
    "layers that are numbers": lambda settings: settings["model"].update(conv=7),
    "an unknown kind": lambda settings: settings["model"].update(kind="os.system"),
    "no kind": lambda settings: settings.update(model={"name": "mine", "hidden": [8]}),
    "a file as name": lambda settings: settings["model"].update(name="../../x", kind="../../x"),
    "a list as name": lambda settings: settings["model"].update(name=[1]),
    "HOG of no orientation": lambda settings: settings["inputs"].update(hog={"orientations": 0}),
    "an unknown HOG": lambda settings: settings["inputs"].update(hog={"__class__": 0}),
    "a model that is text": lambda settings: settings.update(model="conv"),
    "a seed that is text": lambda settings: settings.update(seed="; touch x"),
}
"""By name: what is done to the hyper-parameters (`model`, `inputs`, `seed`) of an honest checkpoint or card."""
