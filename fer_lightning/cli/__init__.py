"""Hydra entry points: compose, validate, run, report errors, print help.

The only folder that sees Hydra. Imports nothing heavy (no torch): an error in the settings is reported within a second.
"""

from fer_lightning.cli.command import Invocation, fail, hydra_command, print_config, settings_of

__all__ = ["Invocation", "fail", "hydra_command", "print_config", "settings_of"]
