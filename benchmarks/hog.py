"""HOG: images a second in torch and in scikit-image, the same values; one thread, and two.

python benchmarks/hog.py
"""

import statistics
import time

import numpy as np
import torch
from record import report, row
from skimage.feature import hog as reference_hog

from fer_lightning.data.synthetic import synthetic_faces
from fer_lightning.hog import hog

ROUNDS = 7


def main() -> None:
    images = synthetic_faces(4096).images
    batch = torch.from_numpy(images)
    expected = np.array([reference_hog(image, 9, (8, 8), (2, 2)) for image in images[:400]])
    difference = float(np.abs(hog(batch[:400]).numpy() - expected).max())
    ours: dict[int, list[float]] = {threads: [] for threads in (1, 2) if threads <= torch.get_num_threads()}
    theirs = []
    for number in range(ROUNDS + 1):  # in turn, so that a slow moment of the machine hits all
        rates = {}
        for threads in ours:
            torch.set_num_threads(threads)
            began = time.perf_counter()
            hog(batch)
            rates[threads] = len(images) / (time.perf_counter() - began)
        began = time.perf_counter()
        for image in images[:400]:
            reference_hog(image, 9, (8, 8), (2, 2))
        if number:  # the first round warms up
            theirs.append(400 / (time.perf_counter() - began))
            for threads, rate in rates.items():
                ours[threads].append(rate)
    median = {threads: statistics.median(rates) for threads, rates in ours.items()}
    baseline = statistics.median(theirs)
    rows = [
        row(f"HOG, threads: {threads}; scikit-image, 1", median[threads], baseline, "images/s", at_least=least)
        for threads, least in zip(ours, (15, 25), strict=False)
    ]
    rows.append(row("HOG, largest difference to scikit-image", difference, None, "", at_most=1e-6, of="ours"))
    report("hog", rows, ratios_1_thread=[round(a / b, 1) for a, b in zip(ours[1], theirs, strict=True)])


if __name__ == "__main__":
    main()
