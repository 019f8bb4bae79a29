"""`fer` (or `python -m fer_lightning`) lists the commands; `fer COMMAND ...` runs one."""

import sys
from importlib import import_module

from rich.console import Console
from rich.table import Table

from fer_lightning.errors import near_misses

COMMANDS = {
    "train": ("fer_lightning.train", "train a network, cross-validate or search its settings"),
    "evaluate": ("fer_lightning.evaluate", "score a checkpoint or an ensemble on one split"),
    "predict": ("fer_lightning.predict", "find the faces in photos and videos and name their emotions"),
    "demo": ("fer_lightning.demo", "a page in the browser: photos, camera, videos"),
    "visualize": ("fer_lightning.visualize", "draw filters, activation maps, DeepDream, saliency"),
    "audit": ("fer_lightning.audit", "find copies, leaks and conflicting labels in a data set"),
    "report": ("fer_lightning.report.__main__", "one page of figures and tables from many runs"),
    "results": ("fer_lightning.results.__main__", "keep the figures of runs, and make RESULTS.md of them"),
    "export": ("fer_lightning.export", "weights for others, with a card"),
    "config": ("", "print the settings of a training run, checked"),
}
"""Module (with a function `main`) and description of each command."""


def main() -> None:
    """List the commands, or run the one that the command line names. Exits with 2 for an unknown one."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        console, table = Console(highlight=False), Table.grid(padding=(0, 3))
        console.print("Train, compare and use networks that read facial expressions.\n")
        for command, (_, description) in COMMANDS.items():
            table.add_row(f"  [bold cyan]fer {command}[/]", description)
        console.print(table)
        console.print("\nfer COMMAND --help explains one; python -m fer_lightning.COMMAND is the same.")
    elif name not in COMMANDS:
        hint = f"{near_misses(name, COMMANDS)} Commands: {', '.join(COMMANDS)}"
        print(f"error: {name}: no such command.{hint}", file=sys.stderr)
        sys.exit(2)
    elif name == "config":
        from fer_lightning.cli import print_config

        sys.argv[1:] = arguments
        print_config()
    else:
        module = COMMANDS[name][0]
        sys.argv = [f"{module.removesuffix('.__main__')}", *arguments]
        import_module(module).main()


if __name__ == "__main__":
    main()
