"""`--help` of a Hydra command: every key with its default and the comment that stands at it in conf/."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fer_lightning.settings import CONF

SHARED = "common"
"""Folder of conf/ with what all choices of a group share; no group itself."""

_ENTRY = re.compile(r"(?P<indent> *)(?P<dash>- )?(?P<key>[\w@/ ]+):(?P<value>[^#]*)(#\s*(?P<comment>.*))?")


class Key(NamedTuple):
    """A setting as a YAML file has it: its default as text, and the comment beside it."""

    value: str
    comment: str


def print_help(config_name: str, arguments: Sequence[str]) -> None:
    """Print what a command does, its groups and its keys, with the choices of groups that `arguments` name."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    file = CONF / f"{config_name}.yaml"
    head, footer = description(file)
    console.print(head, markup=False)
    given = dict(word.split("=", 1) for word in arguments if "=" in word and "." not in word.partition("=")[0])
    groups = default_groups(file)
    console.print(Text("\nGroups (group=choice)", "bold"))
    table = Table.grid(padding=(0, 2))
    for group, (default, comment) in groups.items():
        choices = sorted(choice.stem for choice in folder_of(group).glob("*.yaml"))
        words = Text(", ").join(Text(name, "bold" if name == given.get(group, default) else "") for name in choices)
        table.add_row(Text(f"  {group}", "cyan"), words, Text(comment, "dim"))
    console.print(table)
    console.print(Text("\nKeys (key=value)", "bold"))
    print_keys(console, "", keys_of(file, ()))
    for group, (default, _) in groups.items():
        choice = folder_of(group) / f"{given.get(group, default)}.yaml"
        if choice.is_file() and group not in ("experiment", "sweeps"):
            print_keys(console, group, keys_of(choice, (group,)))
    if "sweeps" in groups:
        print_keys(console, "hydra.sweeper", keys_of(CONF / "hydra/sweeper/study.yaml", ("hydra", "sweeper")))
    console.print(f"\n{footer}", markup=False)


def description(file: Path) -> tuple[str, str]:
    """The comment at the top of a config file, and its `hydra.help.footer`."""
    lines = file.read_text(encoding="utf-8").splitlines()
    top = [line.removeprefix("#").removeprefix(" ") for line in lines[: next(i for i, x in enumerate(lines) if x[:1] != "#")]]
    content: Any = OmegaConf.load(file)
    return "\n".join(top), str(content.hydra.help.footer).rstrip()


def default_groups(file: Path) -> dict[str, tuple[str, str]]:
    """The groups of a config's defaults list: the choice and the comment of each."""
    groups = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        entry = _ENTRY.fullmatch(line)
        if entry and entry["dash"] and not entry["key"].startswith("override"):
            name = entry["key"].removeprefix("optional ").strip()
            groups[name] = (entry["value"].strip(), entry["comment"] or "")
    return groups


def folder_of(group: str) -> Path:
    """The folder with the choices of a group."""
    if group == "sweeps":
        from hydra_plugins.fer_search.spaces import SPACES

        return Path(SPACES)
    return CONF / group


def keys_of(file: Path, prefix: tuple[str, ...]) -> dict[str, Key]:
    """The settings of a YAML file and of those that it inherits, by dotted key, in order."""
    keys: dict[str, Key] = {}
    path: list[tuple[int, str]] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if inherited := re.match(r"defaults: \[(.*)\]", line):
            for parent in re.findall(r"[\w/]+(?=@|,|$)", inherited[1]):
                if parent not in ("_self_", "_here_"):
                    place = CONF / parent.lstrip("/") if "/" in parent else file.parent / parent
                    keys |= keys_of(place.with_suffix(".yaml"), prefix)
            continue
        entry = _ENTRY.fullmatch(line)
        if not entry or entry["dash"]:
            if path and line.strip().startswith("- "):  # an item of the list above
                key = ".".join([*prefix, *(name for _, name in path)])
                keys[key] = keys[key]._replace(value=f"{keys[key].value} {line.strip()[2:]}".strip())
            continue
        indent = len(entry["indent"])
        path = [*(place for place in path if place[0] < indent), (indent, entry["key"].strip())]
        names = [name for _, name in path]
        if names[0] in ("defaults", "hydra") or names[-1] in ("_target_", "_recursive_"):
            continue
        key = ".".join([*prefix, *names])
        keys[key] = Key(entry["value"].strip(), entry["comment"] or (keys[key].comment if key in keys else ""))
    return {key: one for key, one in keys.items() if not any(other.startswith(f"{key}.") for other in keys)}


def print_keys(console: Console, group: str, keys: dict[str, Key]) -> None:
    """A table of settings under the name of their group."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for key, (value, comment) in keys.items():
        if key.rpartition(".")[2] not in ("name", "kind"):
            wide = len(key) + len(value) > 44
            shown = Text(f"  {key}", "cyan") + Text("=" if wide else f"={value}")
            table.add_row(shown, Text(f"{value}  " if wide else "") + Text(comment, "dim"))
    if table.row_count:
        console.print(Text(f"\n{group or 'of the run'}", "bold"))
        console.print(table)
