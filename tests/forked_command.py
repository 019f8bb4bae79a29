"""What a forked process does: `python -m fer_lightning.train OVERRIDES`, and then it ends as that command would."""

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

import torch

from fer_lightning.train import main


def train_and_exit(overrides: list[str], prepare: Callable[[], None]) -> NoReturn:
    """Call prepare, train with one thread, and exit with the command's status; a bug is printed."""
    status = 1
    try:
        torch.set_num_threads(1)
        prepare()
        sys.argv = ["train", *overrides]
        main()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
