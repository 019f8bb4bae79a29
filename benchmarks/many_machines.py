"""Many machines, by calculation: what DDP gives on 8 GPUs and on 8 machines; and what workers give a search.

Measured here: parameters, FLOPs and the step's seconds of each network; trials an hour of a search of short trials by
1, 2 and 4 workers; the statements that a trial of 5 folds sends to its database. Calculated: DDP adds a ring all-reduce
of the gradients, 2 (n - 1) / n times their bytes over the bandwidth of a link and 2 (n - 1) latencies, to a step of 128
images on each device; nothing of it is hidden behind the backward pass, so these are lower bounds. A GPU's step is its
FLOPs at GPU_FLOPS, or LAUNCHES where that is longer.

python benchmarks/many_machines.py [--trials 8] [--workers 1,2,4]
"""

import argparse
import contextlib
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import yaml
from ceiling import network_step, rounds
from growth import settings_for
from hydra_plugins.fer_search.sweeper import read_space
from record import report, row
from sqlalchemy import event

from fer_lightning.search.study import FOLDS, Outcome, Study
from fer_lightning.search.trial import report as report_fold
from fer_lightning.settings import CONF, SearchSettings
from fer_lightning.training.trainer import choose_precision

MODELS = ("fc", "conv_poster", "vgg_pooled", "conv_deep", "conv_shallow")
BATCH, DEVICES = 128, 8
GPU_FLOPS, LAUNCHES = 100e12, 2e-3
"""What one GPU does of a network's work in bf16 (a tenth of an H100's dense peak: small networks), and the seconds in
which the kernels of a step can be launched."""
LINKS = {
    "8 GPUs, NVLink": (300e9, 10e-6),
    "8 machines, 100 Gbit/s": (11e9, 30e-6),
    "8 machines, 10 Gbit/s": (1.1e9, 60e-6),
}
"""Bytes a second that a device sends while it receives, and the latency of one message in seconds."""
PAYS = 0.8
"""Share of perfect scaling from which a second device is called worth it."""
DATABASE = 5_000
"""Statements a second that a PostgreSQL server on one machine answers, stated low; pgbench reaches 10 times that."""


def efficiency(step: float, gradient_bytes: float, bandwidth: float, latency: float, devices: int = DEVICES) -> float:
    """Share of perfect scaling: the step alone over the step with its all-reduce."""
    reduce = 2 * (devices - 1) / devices * gradient_bytes / bandwidth + 2 * (devices - 1) * latency
    return step / (step + reduce)


def scaling() -> dict[str, dict[str, float]]:
    """By network: bytes of gradients, GFLOP an image, step here, and efficiency over each kind of link."""
    autocast = choose_precision("auto", "auto") == "bf16-mixed"
    found = {}
    for model in MODELS:
        network, step, _ = network_step(model, BATCH, autocast)
        gradient_bytes = 4.0 * sum(parameter.numel() for parameter in network.parameters())
        gpu = max(step.flop / GPU_FLOPS, LAUNCHES)
        found[model] = {
            "gradient_mb": gradient_bytes / 1e6,
            "gflop_an_image": step.flop / BATCH / 1e9,
            "step_here_ms": rounds({"step": step})["step"] * 1e3,
            "step_gpu_ms": gpu * 1e3,
            **{link: efficiency(gpu, gradient_bytes, *figures) for link, figures in LINKS.items()},
        }
        print(f"{model}: " + ", ".join(f"{name} {value:.3g}" for name, value in found[model].items()), flush=True)
    return found


def least_work() -> dict[str, float]:
    """By link: FLOPs a step and device for each byte of gradients, from which DDP gives PAYS of perfect scaling."""
    share = PAYS / (1 - PAYS)
    return {
        link: share * (2 * (DEVICES - 1) / DEVICES / bandwidth) * GPU_FLOPS for link, (bandwidth, _) in LINKS.items()
    }


def trials_an_hour(workers: int, trials: int) -> tuple[float, float]:
    """Of a search of `fc`, two folds of two epochs on 2,000 faces: with the start of its workers, and without."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "fer_lightning.train", "--multirun", "sweeps=lr_reg_hidden", "model=fc", "data.images=2000"]
        words += ["cv.folds=2", "trainer.max_epochs=2", "hydra.sweeper.pruner=none", "draw.every=0"]
        words += [f"hydra.sweep.dir={folder}/s", f"hydra.sweeper.n_trials={trials}", f"hydra.sweeper.workers={workers}"]
        began = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        whole = time.perf_counter() - began
        starts, ends = trial_times(Path(folder) / "s" / "study.db")
    between = max(ends) - min(starts)
    return trials / whole * 3600, trials / between * 3600


def trial_times(database: Path) -> tuple[list[float], list[float]]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("select datetime_start, datetime_complete from trials").fetchall()
    times = [[datetime.fromisoformat(one).timestamp() for one in row_] for row_ in rows]
    starts, ends = zip(*times, strict=True)
    return list(starts), list(ends)


def statements_a_trial(trials: int = 20, folds: int = 5) -> float:
    """SQL statements of a trial that reports each of its folds, in a study of a few: the mean of the last half."""
    space = yaml.safe_load((CONF.parent / "sweeps" / "lr_reg_hidden.yaml").read_text())["hydra"]["sweeper"]["params"]
    usual = yaml.safe_load((CONF / "hydra" / "sweeper" / "study.yaml").read_text())
    values = {key: value for key, value in usual.items() if not key.startswith("_")}
    values |= {"n_trials": trials, "params": space, "storage": "sqlite", "pruner": "none"}
    counted, random = [], np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        train = settings_for("model=conv_deep", f"cv.folds={folds}")
        study = Study(Path(folder), SearchSettings(**values), read_space(space, []), train)
        count = [0]
        engine = study.storage.engine if hasattr(study.storage, "engine") else study.storage._backend.engine
        event.listen(engine, "before_cursor_execute", lambda *_: count.__setitem__(0, count[0] + 1))
        while trial := study.ask():
            metrics = []
            for fold in range(folds):
                metrics.append({"val/accuracy": float(random.random()), "fold": fold})
                trial.set_user_attr(FOLDS, metrics)
                report_fold(trial, metrics[-1]["val/accuracy"], fold + 1)
            study.tell(trial, Outcome("COMPLETE", [metrics[-1]["val/accuracy"]]))
            counted.append(count[0])
            count[0] = 0
        study.close()
    return float(np.mean(counted[trials // 2 :]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--workers", default="1,2,4")
    given = parser.parse_args()
    networks = scaling()
    for link, flop in least_work().items():
        says = ", ".join(
            f"{model} {flop * one['gradient_mb'] / one['gflop_an_image'] / 1e3:,.0f}" for model, one in networks.items()
        )
        print(f"{link}: pays from {flop:,.0f} FLOPs a byte of gradients; images a device and step: {says}")
    statements = statements_a_trial()
    load = {f"trials of {minutes} min": 1000 * statements / (60 * minutes) for minutes in (1, 10, 60)}
    print(f"{statements:.0f} statements a trial; 1,000 workers send " + ", ".join(
        f"{value:,.0f} a second ({name})" for name, value in load.items()))  # fmt: skip
    hours = {int(word): trials_an_hour(int(word), given.trials) for word in given.workers.split(",")}
    for workers, (whole, between) in hours.items():
        print(f"{workers} workers: {whole:,.0f} trials an hour, {between:,.0f} between the first and the last trial")
    one = hours[min(hours)][0]
    rows = [
        row(f"trials an hour, {workers} workers; 1", whole, one, "trials/h") for workers, (whole, _) in hours.items()
    ]
    rows.append(row("statements of a trial of 5 folds", statements, None, ""))
    busy = load["trials of 10 min"]
    rows.append(row("1,000 workers, trials of 10 minutes; one server", busy, DATABASE, "statements/s", at_most=1))
    rows += [
        row(f"{model}, DDP on {link} (calculated); perfect", DEVICES * figures[link], DEVICES, "times")
        for model, figures in networks.items()
        for link in LINKS
    ]
    report("many_machines", rows, networks=networks, load=load, hours=hours)


if __name__ == "__main__":
    main()
