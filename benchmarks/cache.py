"""The cache: FER2013 from its file to verified arrays, and a warm start, beside a naive reading of the same file.

Each is measured in a fresh process, cold into an empty temporary cache. The warm start opens the faces and 258 MB of
HOG features (as many as all of FER2013 has, both orientations), and verifies every byte.

python benchmarks/cache.py [fer2013.zip | fer2013.csv]      # default: FER2013=path, or ../shared/data/fer2013.zip
"""

import csv
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from record import needed_fer2013, report, row

from fer_lightning.data.cache import cached_arrays
from fer_lightning.data.sources import open_fer2013

HOG_SHAPE = (2, 35_887, 900)
ROUNDS = 5


def naive(path: Path) -> int:
    """Images one by one into a list, as most scripts do; nothing is checked, kept or grouped."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith((".jpg", ".png"))]
            return len(np.stack([np.array(Image.open(io.BytesIO(archive.read(name))).convert("L")) for name in names]))
    with path.open(newline="") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        return len(np.stack([np.array(row["pixels"].split(), dtype=np.uint8).reshape(48, 48) for row in rows]))


def cold(path: Path, cache_dir: Path) -> int:
    return len(open_fer2013(path, cache_dir, check_counts=False))


def warm(path: Path, cache_dir: Path) -> int:
    faces = open_fer2013(path, cache_dir, check_counts=False)
    cached_arrays(faces.folder / "hog", faces.fingerprint, build_hog)
    return len(faces)


def build_hog() -> dict[str, np.ndarray]:
    return {"hog": np.random.default_rng(0).random(HOG_SHAPE, dtype=np.float32)}


def in_fresh_process(task: str, *arguments: Path) -> dict[str, float]:
    """Seconds after imports, peak memory in MB with them and of them, and images of a function of this file."""
    command = [sys.executable, __file__, "--only", task, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def only(task: str, *arguments: str) -> None:
    imports, begin = peak_mb(), time.perf_counter()
    images = globals()[task](*map(Path, arguments))
    seconds = time.perf_counter() - begin
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(), "imports_mb": imports, "images": images}))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    path = needed_fer2013("cache", sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        cache_dir = Path(folder)
        measured = {
            "naive reading": in_fresh_process("naive", path),
            "cold: read, checked, grouped, kept": in_fresh_process("cold", path, cache_dir),
        }
        in_fresh_process("warm", path, cache_dir)  # makes the HOG features
        rounds = [in_fresh_process("warm", path, cache_dir) for _ in range(ROUNDS)]
        measured["warm: faces and 258 MB of HOG"] = sorted(rounds, key=lambda run: run["seconds"])[ROUNDS // 2]
    print(f"{path.name}, {measured['naive reading']['images']:,} images")
    for name, run in measured.items():
        print(f"{name:36} {run['seconds']:8.2f} s {run['peak_mb']:8.0f} MB, imports {run['imports_mb']:.0f} MB")
    before, first, again = measured.values()
    result = {
        "source": path.name,
        "images": first["images"],
        "naive_seconds": round(before["seconds"], 2),
        "naive_peak_mb": round(before["peak_mb"]),
        "cold_seconds": round(first["seconds"], 2),
        "cold_peak_mb": round(first["peak_mb"]),
        "warm_seconds": round(again["seconds"], 3),
        "warm_peak_mb": round(again["peak_mb"]),
        "imports_mb": round(again["imports_mb"]),
        "warm_speedup_over_naive": round(before["seconds"] / again["seconds"], 1),
    }
    rows = [
        row("FER2013 into the cache; one by one into a list", first["seconds"], before["seconds"], "s"),
        row("from the cache, with HOG; one by one into a list", again["seconds"], before["seconds"], "s"),
    ]
    report("cache", rows, **result)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--only"]:
        only(*sys.argv[2:])
    else:
        main()
