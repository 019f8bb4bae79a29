"""The audit of FER2013: seconds and peak memory of the command, and of its search for near copies beside brute force.

Brute force multiplies all pixels of all pairs, plain and mirrored, on PART images; both must find the same pairs.

python benchmarks/audit.py [fer2013.zip | fer2013.csv]      # default: FER2013=path, or ../shared/data/fer2013.zip
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import needed_fer2013, report, row

from fer_lightning.data.near_copies import near_pairs
from fer_lightning.data.sources import open_fer2013

PART = 8_000
THRESHOLD = 0.95


def brute_force(images: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of varied images, plain or mirrored, from all pixels; the usual way, in blocks that fit in memory."""
    faces = images.astype(np.float32) - images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    faces /= np.linalg.norm(faces, axis=(1, 2), keepdims=True)
    plain, mirrored = (one.reshape(len(faces), -1) for one in (faces, faces[:, :, ::-1]))
    found = []
    for top in range(0, len(faces), 1000):
        block = np.maximum(plain[top : top + 1000] @ plain.T, plain[top : top + 1000] @ mirrored.T)
        first, second = np.nonzero(block >= THRESHOLD)
        found += [(one + top, other) for one, other in zip(first.tolist(), second.tolist(), strict=True)]
    return [(one, other) for one, other in found if one < other]


def main() -> None:
    path = needed_fer2013("audit", sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "fer_lightning.audit", "data=fer2013", f"data.path={path}"]
        began = time.perf_counter()
        subprocess.run([*command, f"data.cache_dir={folder}/cache", f"hydra.run.dir={folder}/audit"], check=True)
        seconds = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        audit = json.loads((Path(folder) / "audit" / "audit.json").read_text())
        images = np.array(open_fer2013(path, f"{folder}/cache", check_counts=False).images[:PART])
    images = images[images.max(axis=(1, 2)) > images.min(axis=(1, 2))]
    began = time.perf_counter()
    ours = [(first, second) for first, second in near_pairs(images, THRESHOLD).pairs.tolist()]
    between = time.perf_counter()
    theirs = brute_force(images)
    ended = time.perf_counter()
    assert ours == sorted(theirs)
    result = {
        "images": audit["images"],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / 1024),
        "unique": audit["unique"],
        "near_pairs": audit["near"]["pairs"],
        "near_images": len(images),
        "near_seconds": round(between - began, 2),
        "brute_force_seconds": round(ended - between, 2),
        "times_brute_force": round((ended - between) / (between - began), 1),
    }
    rows = [
        row(f"audit of FER2013, {audit['images']:,} images", result["seconds"], None, "s"),
        row("near copies; all pairs", result["near_seconds"], result["brute_force_seconds"], "s"),
        row("peak memory of the audit", result["peak_mb"], None, "MB"),
    ]
    report("audit", rows, **result)


if __name__ == "__main__":
    main()
