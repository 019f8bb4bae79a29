"""What is fuzzed: for each kind of input some valid bytes, how they are mutated, and what is done with the result.

An attempt ends with valid data (True) or a clear message (False); any other exception is a bug. `bounded` also checks
its time and memory. Used by tests/cli/test_fuzz.py and by the longer runs in benchmarks/reliability.
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
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image
from small_sets import csv_text, encoded, files_of, pictures, tar_bytes, write_folder, zip_bytes

from fer_lightning.cli import command, settings_of
from fer_lightning.cli.untrusted import best_overrides, require_settings_only
from fer_lightning.data.datamodule import FaceDataModule
from fer_lightning.data.faces import Faces
from fer_lightning.data.reader import read_faces
from fer_lightning.errors import InputError
from fer_lightning.networks import ExpressionNetwork, build_network
from fer_lightning.networks.weight_files import load_network
from fer_lightning.settings import CONF, VERSION, PlateauSettings, TrainSettings, dump, parse, restore
from fer_lightning.training.optimizers import SCHEDULES, build_optimizer

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
            return len(load_network(path).network.state_dict()) > 0
        except InputError:
            return False


def read_weights(data: bytes) -> bool:
    """Load weights whose card has their checksum, as that of an attacker has."""
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
            return len(load_network(path).network.state_dict()) > 0
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


command.config_keys = functools.cache(command.config_keys)  # of this one process's arguments


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
        require_settings_only(overrides)
        made = composed(overrides)
    except InputError:
        return False
    except Exception as error:  # Hydra raises bare ValueError and KeyError too; the message must be in words
        told = command.explain(error, "config")
        if not told:
            raise
        return False
    try:
        settings = settings_of(made, TrainSettings)
        with torch.device("meta"):  # sizes are checked, and nothing is allocated
            network = build_network(settings.model, settings.data.inputs)
        FaceDataModule(settings.data, network.uses_hog, settings.seed)
        build_optimizer(network, settings.optimizer)
        return isinstance(settings.schedule, PlateauSettings) or SCHEDULES[settings.schedule.name](0.5) >= 0
    except (InputError, OmegaConfBaseException):
        return False


def read_settings(data: bytes) -> bool:
    """Read the settings of a run that a file keeps."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return False
    try:
        settings = restore(TrainSettings, content, VERSION, "file")
    except InputError:
        return False
    return parse(TrainSettings, dump(settings)) == settings


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


def small_network() -> tuple[ExpressionNetwork, TrainSettings]:
    settings = settings_of(of_groups(("model=fc",)), TrainSettings)
    hog = settings.data.hog.model_copy(update={"pixels_per_cell": 16})
    settings = settings.model_copy(
        update={
            "model": settings.model.model_copy(update={"hidden": [4]}),
            "data": settings.data.model_copy(update={"hog": hog}),
        }
    )
    return build_network(settings.model, settings.data.inputs), settings


NETWORK, SETTINGS = small_network()
HYPER_PARAMETERS = {"model": dump(SETTINGS.model), "inputs": dump(SETTINGS.data.inputs), "seed": 0}
OF_RUN = {"hyper_parameters": HYPER_PARAMETERS, "settings_version": VERSION, "config": dump(SETTINGS)}
WEIGHTS = safetensors.torch.save(NETWORK.state_dict())
CARD = {"weights_sha256": hashlib.sha256(WEIGHTS).hexdigest(), **OF_RUN}


def checkpoint() -> bytes:
    out = io.BytesIO()
    weights = {f"network.{name}": value for name, value in NETWORK.state_dict().items()}
    torch.save({"state_dict": weights, **OF_RUN}, out)
    return out.getvalue()


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
    "settings of a file": Target(json.dumps(dump(SETTINGS)).encode(), read_settings),
}


TOKENS = [
    b",", b" ", b"\n", b'"', b"\0", b"-", b"256", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"PK\x01\x02", b"{", b"]", b"=",
    b"null", b"1e99", b"nan", b"-1", b"999999999999", b"${", b"'", b"~", b"true",
]  # fmt: skip

HEADS = [b"", b"emotion,pixels\n", b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b"\xff\xd8\xff", b"\x89PNG"]


@st.composite
def mutated(draw, good: bytes) -> bytes:
    """The good bytes after a few edits: overwritten, put in, taken out or repeated, or all that follows cut off."""
    if not good:
        return draw(st.sampled_from(HEADS)) + draw(st.binary())
    kinds = st.sampled_from(["overwrite", "overwrite", "insert", "remove", "repeat", "cut"])
    edits = st.tuples(kinds, st.integers(0, len(good)), st.binary(min_size=1, max_size=8) | st.sampled_from(TOKENS))
    data = good
    for kind, position, new in draw(st.lists(edits, min_size=1, max_size=4)):
        at = position % (len(data) + 1)
        after = {"overwrite": at + len(new), "insert": at, "remove": at + 4 * len(new), "repeat": max(0, at - 600)}
        if kind == "cut":
            data = data[:at]
        else:
            data = data[:at] + (new if kind in ("overwrite", "insert") else b"") + data[after[kind] :]
    return data


KEYS = [line.partition("=")[0].lstrip("+") for line in OVERRIDES.decode().split("\n")] + [
    "data", "data.images", "data.batch_size", "data.augment", "data.hog", "data.hog.pixels_per_cell", "data.channels",
    "data.path", "model.conv", "model.input", "model.kind", "model.batch_norm", "model.label_smoothing", "optimizer",
    "optimizer.betas", "optimizer.momentum", "schedule.patience", "early_stopping.patience", "draw.every", "draw",
    "cv.folds", "trainer", "experiment", "model.conv[0].filters", "memory_format", "sweeps",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(
        ["null", "true", "nan", "inf", "-inf", "-1", "0", "1e999", "10**9", "99999999999999999999", "[]", "{}", "''",
         "[1,2]", "{a: 1}", "{flip: x}", "[{filters: 0}]", "[{filters: 4, pool: 99}]", "[[1]]", "${seed}", "${model}",
         "${oc.env:NO}", "fc", "adamw", "plateau", "x" * 300, "a,b", "range(3)", "choice(1,2)", "\u0664", "0x10", "1_0"]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=8),
)  # fmt: skip


def settings_of_keys() -> st.SearchStrategy[bytes]:
    """Overrides of known keys with values of every kind."""
    override = st.builds("{}{}={}".format, st.sampled_from(["", "", "", "+", "++", "~"]), st.sampled_from(KEYS), VALUES)
    return st.lists(override, min_size=1, max_size=3).map(lambda lines: "\n".join(lines).encode(errors="replace"))


def inputs(name: str) -> st.SearchStrategy[bytes]:
    return mutated(TARGETS[name].good) | settings_of_keys() if name == "config" else mutated(TARGETS[name].good)
