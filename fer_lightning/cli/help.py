"""`--help` of a Hydra command: every key with its default and the comment that stands at it in conf/."""

import re
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fer_lightning.settings import CONF, flatten

WIDEST = 44
"""Characters of key and value in one column; longer values stand above their comments."""


def print_help(config_name: str, arguments: Sequence[str], data_keys: Collection[str] | None) -> None:
    """Print what a command does, its groups and their choices, and its keys with their defaults.

    arguments: the command line, whose choices of groups are shown. data_keys: those of `data` that have an effect, None
    for all of them. Raises Hydra's exceptions for a choice that does not exist.
    """
    searches, file = config_name == "config", CONF / f"{config_name}.yaml"
    choices = [word for word in arguments if re.fullmatch(r"\+?\w+=\w+", word)] + ["hydra/sweeper=study"] * searches
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose(config_name, choices, return_hydra_config=True)
        loader = GlobalHydra.instance().config_loader()
    groups = {group: choice for group, choice in config.hydra.runtime.choices.items() if not group.startswith("hydra")}
    chosen = {group: choice for group, choice in groups.items() if choice and group in config}
    comments = dict(comments_of(file))

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(description_of(file), markup=False)
    table = _heading(console, "Groups", "group=choice")
    for group in reversed(groups):  # Hydra gives them in the reverse order of the defaults list
        comment = comments.get(f"defaults.{group}") or comments.get(f"defaults.optional {group}", "")
        names = loader.get_group_options(group, ObjectType.CONFIG)
        listed = Text(", ").join(Text(name, "bold" if name == groups[group] else "") for name in names)
        table.add_row(Text(f"  {group}={groups[group] or ''}", "cyan"), Text.assemble((comment, "dim"), "\n", listed))
    console.print(table)

    keys = {key: value for key, value in _values(config).items() if key.split(".")[0] not in {*chosen, "hydra"}}
    keys |= {"hydra.run.dir": _values(config.hydra.run)["dir"]}
    keys |= {"hydra.sweep.dir": _values(config.hydra.sweep)["dir"]}
    _print_keys(console, "Keys", "key=value", keys, comments)
    sections = {group: CONF / group / f"{choice}.yaml" for group, choice in reversed(chosen.items())}
    sections |= {"hydra.sweeper": CONF / "hydra/sweeper/study.yaml"} if searches else {}
    for group, file in sections.items():
        keys = _values(OmegaConf.select(config, group))
        if group == "data" and data_keys is not None:
            keys = {key: value for key, value in keys.items() if key.split(".")[0] in data_keys}
        title = f"{group}={file.stem}" if group in chosen else group
        _print_keys(console, title, description_of(file), keys, comments_of_group(file), f"{group}.")
    console.print(f"\n{config.hydra.help.footer.rstrip()}", markup=False)


def description_of(file: Path) -> str:
    """The comment at the top of a config file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:end])


def comments_of(file: Path) -> Iterator[tuple[str, str]]:
    """Dotted key and comment, for every key of a config file that has one; `defaults.GROUP` for its defaults list."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()

    def walk(node: yaml.Node, prefix: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from walk(item, prefix)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                end = value.end_mark if value.end_mark.line == key.end_mark.line else key.end_mark
                if comment := lines[end.line][end.column :].partition("# ")[2]:
                    yield prefix + key.value, comment
                yield from walk(value, f"{prefix}{key.value}.")

    return walk(yaml.compose(text, Loader=yaml.SafeLoader), "")


def comments_of_group(file: Path) -> dict[str, str]:
    """Comments of the keys of one choice of a group: its own, or else those of the choices that it inherits from."""
    files = [CONF / "common" / f"{file.parent.name}.yaml", *sorted(file.parent.glob("*.yaml")), file]
    return {key: comment for other in files if other.exists() for key, comment in comments_of(other)}


def _values(node: Any) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(node)
    return flatten(content)


def _heading(console: Console, name: str, explanation: str) -> Table:
    console.print(Text.assemble((f"\n{name}  ", "bold"), (explanation, "dim")))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    return table


def _print_keys(
    console: Console, name: str, explanation: str, keys: dict[str, Any], comments: dict[str, str], prefix: str = ""
) -> None:
    """A table of settings: key, value as the command line takes it, comment."""
    table = _heading(console, name, explanation)
    for key, value in keys.items():
        comment = comments.get(key, "")
        if key[0] != "_" and (comment or key != "name"):
            text = yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("...\n").strip()
            wide = len(prefix + key + text) > WIDEST
            given = Text.assemble((f"  {prefix}{key}", "cyan"), "=" if wide else f"={text}")
            table.add_row(given, Text.assemble(text * wide, "\n" * bool(wide and comment), (comment, "dim")))
    console.print(table)
