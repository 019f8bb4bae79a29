"""`hydra_command`: compose the config, check it, run the job, report errors."""

import contextlib
import functools
import os
import re
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_lightning.cli.paths import literal_paths
from fer_lightning.cli.untrusted import require_settings_only, with_best
from fer_lightning.errors import InputError, disk_message, near_misses
from fer_lightning.files import write_atomic
from fer_lightning.settings import CONF, S, SearchSettings, TrainSettings, flatten, parse, path_keys
from fer_lightning.signals import Stopped, stop_signals

FAILURE = "failure.txt"

BAD_INPUT = 2
"""Exit status when the user's input was refused."""


MULTIRUN = {"-m", "--multirun"}

CHECK = "check"
"""Attribute of the function that Hydra calls: `checked`, for the settings of its command."""


@dataclass(frozen=True)
class Invocation:
    """How a command was called.

    folder: Hydra's folder of the run, or of the job of --multirun; chosen: whether results belong there, and not at a
    place of the command's own choice; multirun: whether it is one job of several, whose table comes at the end.
    """

    folder: Path
    chosen: bool
    multirun: bool
    command: str
    composed: DictConfig

    def write_settings(self) -> None:
        """Write the composed config to `.hydra` in the run folder, as Hydra would, but not before the run begins.

        So a command that is refused leaves no trace, and not its settings in the folder of another run.
        """
        config: Any = HydraConfig.instance().cfg
        folder = self.folder / ".hydra"
        folder.mkdir(parents=True, exist_ok=True)
        files = {"config": self.composed, "hydra": config, "overrides": config.hydra.overrides.task}
        for name, content in files.items():
            OmegaConf.save(content, folder / f"{name}.yaml")


def hydra_command(config_name: str, model: type[S]) -> Callable[[Callable[[S, Invocation], Any]], Callable[[], None]]:
    """Make a function of settings a command: `@hydra_command("evaluate", EvaluateSettings)`.

    The function imports torch itself: it is called once the settings are right.
    """

    def decorate(task: Callable[[S, Invocation], Any]) -> Callable[[], None]:
        begun, typed = False, list[str]()

        @functools.wraps(task)
        def job(config: DictConfig) -> Any:
            nonlocal begun
            begun = True
            folder = Path(HydraConfig.get().runtime.output_dir)
            try:
                settings = checked(model, config, HydraConfig.get())
                return task(settings, _invocation(config, task.__module__, typed))
            except Exception as error:  # here, since Hydra would print a line of its own first
                _end(error, folder)

        setattr(job, CHECK, functools.partial(checked, model))
        run = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)

        def main() -> None:
            nonlocal begun
            begun, typed[:] = False, sys.argv[1:]
            os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach this function, not Hydra's printer
            try:
                if {"-h", "--help"} & set(sys.argv[1:]):
                    from fer_lightning.cli.help import print_help

                    return print_help(config_name, sys.argv[1:], model.DATA_KEYS)
                with stop_signals.listen(), _quiet_threads():
                    words = sorted(
                        with_best(sys.argv[1:]), key=lambda word: word not in MULTIRUN
                    )  # argparse wants it so
                    multirun = bool(MULTIRUN & set(words))
                    sys.argv[1:] = literal_paths(words, path_keys(model), multirun)
                    require_settings_only(sys.argv[1:])
                    try:
                        run()
                    except OmegaConfBaseException as error:
                        if stop_signals.pending:  # Stopped was raised within OmegaConf, whose clean-up then failed
                            raise Stopped(stop_signals.pending) from error
                        raise
            except Stopped as stopped:
                state = stopped.advice or ("the same command starts again" if begun else "nothing was begun")
                print(f"stopped by {stopped}; {state}", file=sys.stderr)
                sys.exit(128 + signal.Signals[str(stopped)])
            except InputError as error:
                fail(str(error))
            except (HydraException, OmegaConfBaseException) as error:
                fail(explain(error, config_name))
            except OSError as error:
                fail(disk_message(error, Path.cwd()))
            except Exception as error:
                if begun:
                    raise
                fail(explain(error, config_name))  # Hydra raises bare ValueError and KeyError here
            return None

        return main

    return decorate


def fail(message: str) -> NoReturn:
    """Print one message to stderr and exit with BAD_INPUT."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(BAD_INPUT)


def _end(error: Exception, folder: Path) -> NoReturn:
    """End a run after an error: one line for the user's input or the disk; a bug is raised.

    In a job of --multirun an InputError is raised for both, so that the other jobs go on; the traceback of a bug is
    written to failure.txt.
    """
    multirun = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        if not isinstance(error, InputError | OSError):
            raise error
        message = disk_message(error, folder) if isinstance(error, OSError) else str(error)
    except Exception:
        if not multirun:
            raise
        write_atomic(folder / FAILURE, "".join(traceback.format_exception(error)))
        raise InputError(f"{one_line(error)} (see {folder / FAILURE})") from error
    _remove_if_empty(folder)
    if multirun:
        raise InputError(message) from error
    fail(message)


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder that Hydra made, and those above it within the working folder, unless they hold something."""
    with contextlib.suppress(OSError):
        if folder != Path.cwd():
            folder.rmdir()
            if folder.parent.is_relative_to(Path.cwd()):
                _remove_if_empty(folder.parent)


def settings_of(config: DictConfig, model: type[S]) -> S:
    """The checked settings of a composed config. Raises InputError."""
    without_hydra = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    values: Any = OmegaConf.to_container(without_hydra, resolve=True, throw_on_missing=True)
    return parse(model, values)


def checked(model: type[S], config: DictConfig, hydra: Any) -> S:
    """The checked settings of a command. hydra: Hydra's own config. Raises InputError also for what has no effect."""
    keys = model.DATA_KEYS
    for override in hydra.overrides.task:
        group, dot, key = override.partition("=")[0].lstrip("+~").partition(".")
        if keys is not None and group == "data" and dot and key not in keys:
            valid = ", ".join(f"data.{key}" for key in sorted(keys))
            raise InputError(f"data.{key}: without effect in this command. Valid: {valid}")
    return settings_of(config, model)


def print_config() -> None:
    """`fer config OVERRIDES`: print the composed settings of a training run, checked."""

    def show(_: TrainSettings, invocation: Invocation) -> None:
        print(OmegaConf.to_yaml(invocation.composed, resolve=True), end="")

    if option := MULTIRUN & set(sys.argv[1:]):
        fail(f"{option.pop()}: the settings of one run are shown; leave it out, and give one value for each key")
    sys.argv.append("hydra.run.dir=.")
    hydra_command("config", TrainSettings)(show)()


def _invocation(config: DictConfig, module: str, typed: list[str]) -> Invocation:
    given = HydraConfig.get()
    multirun = given.mode == RunMode.MULTIRUN
    name = module if module != "__main__" else f"fer_lightning.{Path(sys.argv[0]).stem}"
    return Invocation(
        folder=Path(given.runtime.output_dir),
        chosen=multirun or any(override.startswith("hydra.run.dir=") for override in given.overrides.hydra),
        multirun=multirun,
        command=f"python -m {name} {shlex.join(given.overrides.task if multirun else typed or sys.argv[1:])}",
        composed=config,
    )


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """TensorBoard writes in a thread; its disk errors are raised by its next call, and reported once."""
    report = threading.excepthook
    threading.excepthook = lambda args: None if isinstance(args.exc_value, OSError) else report(args)
    try:
        yield
    finally:
        threading.excepthook = report


def explain(error: Exception, config_name: str, arguments: Sequence[str] | None = None) -> str:
    """What was wrong with an override, with the names that would have been right. arguments: default, all given."""
    words = tuple(sys.argv[1:] if arguments is None else arguments)
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        known = sorted(map(str, error.options))
        return f"{group}={choice}: no such {group}.{near_misses(choice, known)} Choices: {', '.join(known)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read as key=value: {grammar_reason(str(error))}"
    if isinstance(error, ConfigCompositionException) and isinstance(cause, OmegaConfBaseException):
        key = str(cause.full_key or cause.key)
        if key.removeprefix("hydra.sweeper.") in SearchSettings.model_fields:
            return f"{key}: a setting of searches, which are chosen by sweeps=lr_reg_hidden or another of its files"
        if "is not in struct" in str(cause):
            return (
                f"{key}: no such setting.{near_misses(key, config_keys(config_name, words))} All settings: add --help"
            )
        return f"{key}: {str(cause).splitlines()[0]}"
    if sweep := re.match(r"(?:Ambiguous value for argument|Sweep parameters) '(([^=]*)=(.*))'", str(error)):
        return f"{sweep[1]}: several values: add --multirun to run each, or give a list as {sweep[2]}=[0,1]"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3]) or "Hydra cannot use this; is every word key=value?"


def grammar_reason(message: str) -> str:
    """Why Hydra's grammar refuses an override, in its own words but for those on characters and on null."""
    lines = [line for line in message.split("\n") if not line.startswith(("Error parsing override", "See http"))]
    caret = lines[1].find("^") if len(lines) > 1 else -1
    if lines[0].startswith("LexerNoViableAltException") and 0 <= caret < len(lines[0]):
        return f"{lines[0][caret]!r} has no meaning there; a text that holds it stands in quotes"
    hint = "; where null is one of several values, give them as KEY=null,1" * ("NoneType is incomp" in message)
    return " ".join(" ".join(lines).split()) + hint


def one_line(error: Exception, config_name: str = "config", arguments: Sequence[str] | None = None) -> str:
    """Any error in one line: those of Hydra explained, others with their type."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        return explain(error, config_name, arguments)
    reason = next(iter(str(error).strip().splitlines()), "")[:500]
    return reason if isinstance(error, InputError) else f"{type(error).__name__}: {reason}"


def config_keys(config_name: str, arguments: Sequence[str]) -> list[str]:
    """All groups and dotted keys of the config, with the groups that are chosen, or else the default ones."""
    chosen = [word for word in arguments if "=" in word and (CONF / word.partition("=")[0]).is_dir()]
    for overrides in (chosen, []):
        GlobalHydra.instance().clear()
        try:
            with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
                config = hydra.compose(config_name, overrides)
        except HydraException:
            continue
        values: Any = OmegaConf.to_container(config)
        return [*map(str, config), *flatten(values)]
    return []
