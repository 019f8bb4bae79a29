"""What is fuzzed: for each kind of input some good bytes, and what is done with bytes made of them.

An attempt ends with right data (True) or a clear message (False); any other exception is a bug. `bounded` also holds it
to its time and memory. Used by tests/test_fuzz.py and by the longer runs in benchmarks/reliability.
"""

import copy
import functools
import hashlib
import io
import json
import resource
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import hydra
import numpy as np
import safetensors.torch
import torch
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image
from small_sets import csv_text, encoded, files_of, pictures, tar_bytes, write_folder, zip_bytes

from fer_lightning import commands
from fer_lightning.checkpoints import load_classifier, trained_data
from fer_lightning.classifiers import ExpressionClassifier
from fer_lightning.commands import CONF, explain, require_kept
from fer_lightning.config import plain
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import Faces
from fer_lightning.data.reader import read_faces
from fer_lightning.errors import InputError
from fer_lightning.foreign import best_overrides
from fer_lightning.optimization import PLATEAU, build_optimizer, lr_schedule
from fer_lightning.run import new_classifier

SECONDS = 5.0
"""CPU time of one input."""

MEGABYTES = 512
"""By how much a process may grow, whatever it is given."""

FEW = pictures(counts=(1, 0, 0))


class Target(NamedTuple):
    good: bytes
    attempt: Callable[[bytes], bool]


def read_set(data: bytes) -> bool:
    """Read a source of faces."""
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), {"set": data})
        try:
            faces = read_faces(Path(folder) / "set")
        except InputError:
            return False
    assert isinstance(faces, Faces)
    assert faces.images.shape == (len(faces.labels), 48, 48)
    assert len(faces.split) == len(faces.copy_groups) == len(faces.labels) > 0
    assert faces.labels.max() <= 6
    assert faces.split.max() <= 2
    return True


def read_image(data: bytes) -> bool:
    """Read an image among others in a zip."""
    return read_set(zip_bytes(files_of(FEW) | {"train/sad/1.jpg": data}, zipfile.ZIP_STORED))


def read_checkpoint(data: bytes) -> bool:
    """Load a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "best.ckpt"
        path.write_bytes(data)
        try:
            return len(load_classifier(path).state_dict()) > 0
        except InputError:
            return False


def read_weights(data: bytes) -> bool:
    """Load weights whose card has their checksum, as a stranger's can have."""
    return read_weights_and_card(data, json.dumps(CARD | {"weights_sha256": hashlib.sha256(data).hexdigest()}).encode())


def read_card(data: bytes) -> bool:
    """Load good weights by a card."""
    return read_weights_and_card(WEIGHTS, data)


def read_weights_and_card(weights: bytes, card: bytes) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        path.write_bytes(weights)
        path.with_suffix(".json").write_bytes(card)
        try:
            trained_data(path)
            return len(load_classifier(path).state_dict()) > 0
        except InputError:
            return False


def read_best(data: bytes) -> bool:
    """Take the settings of a search's best.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "best.yaml"
        path.write_bytes(data)
        try:
            overrides = best_overrides(path)
        except InputError:
            return False
    assert all("=" in override and not override.startswith(("hydra", "-")) for override in overrides)
    return True


commands.config_keys = functools.cache(commands.config_keys)  # of this one process's arguments


@functools.lru_cache(maxsize=500)
def of_groups(groups: tuple[str, ...]) -> DictConfig:
    """The config of these choices of groups, composed once."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", list(groups))


def composed(overrides: list[str]) -> DictConfig:
    """`hydra.compose`, but faster: Hydra's own function puts the overrides of keys on a config composed before."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    groups = [override for override in parsed if (CONF / str(override.key_or_group)).is_dir()]
    config = copy.deepcopy(of_groups(tuple(str(override.input_line) for override in groups)))
    OmegaConf.set_struct(config, True)
    ConfigLoaderImpl._apply_overrides_to_config([override for override in parsed if override not in groups], config)
    return config


def set_up(data: bytes) -> bool:
    """Compose and check a config by overrides, one a line, up to the network and the data module."""
    overrides = [line for line in data.decode(errors="replace").split("\n") if line]
    try:
        require_kept(overrides)
        made = composed(overrides)
    except InputError:
        return False
    except Exception as error:  # Hydra raises this and that over a command line; it must be told in words
        told = explain(error, "config")
        if not told:
            raise
        return False
    try:
        config = plain(made)
        FaceDataModule(config["data"], seed=config["seed"])
        with torch.device("meta"):  # sizes are checked, and nothing is allocated
            build_optimizer(new_classifier(config).network, config["optimizer"])
        schedule = config["schedule"]["name"]
        return schedule == PLATEAU or lr_schedule(schedule)(0.5) >= 0
    except (InputError, OmegaConfBaseException):
        return False


def bounded(target: Target, data: bytes) -> bool:
    """One attempt, held to SECONDS and MEGABYTES."""
    begin, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of hydra, about overrides that it takes all the same
        read = target.attempt(data)
    assert time.process_time() - begin < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES << 10
    return read


def jpeg_with_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(np.random.default_rng(1).integers(0, 256, (60, 50, 3), dtype=np.uint8), "JPEG", exif=exif)


def small_classifier() -> ExpressionClassifier:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = plain(hydra.compose("config", ["model=fc", "model.hidden=[4]", "data.hog.pixels_per_cell=16"]))
    return new_classifier(config)


def checkpoint() -> bytes:
    classifier, out = small_classifier(), io.BytesIO()
    torch.save({"state_dict": classifier.state_dict(), "hyper_parameters": dict(classifier.hparams)}, out)
    return out.getvalue()


WEIGHTS = safetensors.torch.save(small_classifier().state_dict())
CARD = {
    "weights_sha256": hashlib.sha256(WEIGHTS).hexdigest(),
    "hyper_parameters": dict(small_classifier().hparams),
    "config": {"data": {"name": "synthetic", "path": None, "images": 70, "seed": 0}},
}


OVERRIDES = (
    b"model=hybrid_poster\noptimizer.lr=0.1\nmodel.hidden=[16,8]\nmodel.conv=[{filters: 4, kernel: 5, pool: 2}]\n"
    b"data.augment={flip: 0.5, shift: 2}\ndata.hog.orientations=9\ntrainer.max_epochs=3\nschedule=one_cycle\nseed=1\n"
    b"data.size=48\nmodel.dropout=0.2\nema.decay=0.9\n+trainer.limit_train_batches=10"
)
BEST = (
    b"# the best setting of a search\noverrides:\n- model=conv_deep\n- optimizer.lr=0.01\n- 'model.hidden=[256,512]'\n"
)

RANDOM = np.random.default_rng(2)
TARGETS = {
    "csv": Target(csv_text(FEW).encode(), read_set),
    "tar.gz of a csv": Target(tar_bytes({"a.csv": csv_text(FEW).encode()}, "gz"), read_set),
    "zip": Target(zip_bytes(files_of(FEW)), read_set),
    "stored zip": Target(zip_bytes(files_of(FEW), zipfile.ZIP_STORED), read_set),
    "zip of zip": Target(
        zip_bytes({"a.zip": zip_bytes(files_of(FEW), zipfile.ZIP_STORED)}, zipfile.ZIP_STORED), read_set
    ),
    "tar": Target(tar_bytes(files_of(FEW)), read_set),
    "tar.xz": Target(tar_bytes(files_of(FEW), "xz"), read_set),
    "tar.bz2": Target(tar_bytes(files_of(FEW), "bz2"), read_set),
    "any bytes": Target(b"", read_set),
    "JPEG": Target(FEW[0].jpeg, read_image),
    "JPEG with EXIF": Target(jpeg_with_exif(), read_image),
    "PNG": Target(encoded(RANDOM.integers(0, 256, (48, 48, 4), dtype=np.uint8), "PNG"), read_image),
    "16-bit PNG": Target(encoded(RANDOM.integers(0, 65536, (9, 70), dtype=np.uint16), "PNG"), read_image),
    "checkpoint": Target(checkpoint(), read_checkpoint),
    "safetensors": Target(WEIGHTS, read_weights),
    "card of weights": Target(json.dumps(CARD).encode(), read_card),
    "best.yaml": Target(BEST, read_best),
    "config": Target(OVERRIDES, set_up),
}
