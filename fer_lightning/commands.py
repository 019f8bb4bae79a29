"""How a command begins and how it ends badly: Hydra composes its config, and mistakes become one message."""

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_lightning.errors import InputError, disk_trouble, near_misses
from fer_lightning.foreign import best_overrides, require_settings_only
from fer_lightning.stopping import Stopped, signals

_PACKAGE = Path(__file__).resolve().parent
CONF = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir())
"""The config tree: inside an installed package, beside it in a checkout."""

BAD_INPUT = 2
"""Exit status when the user's input was refused."""


def hydra_command(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Make a function of a config a command that takes overrides: `@hydra_command("config")`."""

    def decorate(task: Callable[[DictConfig], Any]) -> Callable[[], None]:
        begun = False

        @functools.wraps(task)
        def job(config: DictConfig) -> Any:
            nonlocal begun
            begun = True
            try:
                return task(config)
            except (InputError, OSError) as error:  # here, since Hydra would print a line of its own first
                folder = Path(HydraConfig.get().runtime.output_dir)
                if folder != Path.cwd():
                    with contextlib.suppress(OSError):
                        folder.rmdir()  # which Hydra made; nothing happens where it holds something
                fail(str(error) if isinstance(error, InputError) else disk_trouble(error, folder))

        run = hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(job)

        def main() -> None:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come to us, not to Hydra's own printer
            try:
                with signals.listening(), quiet_threads():
                    sys.argv[1:] = with_best(sys.argv[1:])
                    require_settings_only(sys.argv[1:])
                    require_kept(sys.argv[1:])
                    run()
            except Stopped as stopped:
                end_stopped(stopped, "the same command does it anew" if begun else "nothing was begun")
            except InputError as error:
                fail(str(error))
            except (HydraException, OmegaConfBaseException) as error:
                fail(explain(error, config_name))
            except OSError as error:
                fail(disk_trouble(error, Path.cwd()))
            except Exception as error:
                if begun:
                    raise
                fail(explain(error, config_name))  # Hydra raises this and that over a command line it cannot use

        return main

    return decorate


def require_kept(arguments: Iterable[str]) -> None:
    """Raise InputError for `~key`, by which Hydra removes a setting: nothing here works without."""
    if removed := [word for word in arguments if word.startswith("~")]:
        raise InputError(f"{removed[0]}: settings are not removed; null, 0 or false switches one off, where it says so")


def with_best(arguments: list[str]) -> list[str]:
    """The command line with `+best=PATH` replaced by the overrides in that file, save those given beside it."""
    given = {word.partition("=")[0].lstrip("+") for word in arguments if "=" in word}
    words: list[str] = []
    for word in arguments:
        name, _, path = word.partition("=")
        if name.lstrip("+") != "best":
            words.append(word)
            continue
        overrides = best_overrides(Path(path))
        words += [override for override in overrides if override.partition("=")[0].lstrip("+") not in given]
    return words


@contextlib.contextmanager
def quiet_threads() -> Iterator[None]:
    """TensorBoard writes in a thread; what goes wrong with the disk there is raised by its next call, and told once."""
    tell = threading.excepthook
    threading.excepthook = lambda args: None if isinstance(args.exc_value, OSError) else tell(args)
    try:
        yield
    finally:
        threading.excepthook = tell


def fail(message: str) -> NoReturn:
    """Print one message to stderr and exit with BAD_INPUT."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(BAD_INPUT)


def end_stopped(stopped: Stopped, state: str) -> NoReturn:
    """Say which signal ended the command and in what state, and exit as a shell expects: with 128 and its number."""
    print(f"stopped by {stopped}; {state}", file=sys.stderr)
    sys.exit(128 + signal.Signals[str(stopped)])


def explain(error: Exception, config_name: str) -> str:
    """What was wrong with an override, with the names that would have been right."""
    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        known = sorted(option for option in error.options)
        return f"{group}={choice}: no such {group}.{near_misses(choice, known)} Choices: {', '.join(known)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} cannot be read as key=value: {str(error).splitlines()[0]}"
    if isinstance(error, ConfigCompositionException) and isinstance(cause, OmegaConfBaseException):
        key = str(cause.full_key or cause.key)
        if "is not in struct" in str(cause):
            valid = config_keys(config_name)
            return f"{key}: no such setting.{near_misses(key, valid)} All settings: add --help"
        return f"{key}: {str(cause).splitlines()[0]}"
    if "BasicSweeper does not support sweep type" in str(error):
        return (
            "an interval is searched by a study: add sweeps=lr_reg_hidden or another of its files, or, for a space "
            "that is on the command line alone, hydra/sweeper=study cv.folds=5"
        )
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(line.strip() for line in lines[:3]) or "Hydra cannot use this; is every word key=value?"


def config_keys(config_name: str) -> list[str]:
    """All groups and all dotted keys of the config with the groups that the command line chose, or the default ones."""
    chosen = [word for word in sys.argv[1:] if "=" in word and (CONF / word.partition("=")[0]).is_dir()]
    for overrides in (chosen, []):
        GlobalHydra.instance().clear()
        try:
            with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
                config = hydra.compose(config_name, overrides)
        except HydraException:
            continue
        return [*map(str, config), *_dotted(OmegaConf.to_container(config), "")]
    return []


def _dotted(node: Any, prefix: str) -> list[str]:
    if not isinstance(node, dict) or not node:
        return [prefix]
    return [key for name, value in node.items() for key in _dotted(value, f"{prefix}.{name}" if prefix else str(name))]
