"""HOG: images a second in torch and in scikit-image, one thread, the same values.

python benchmarks/hog.py
"""

import json
import statistics
import time

import numpy as np
import torch
from skimage.feature import hog as reference_hog

from fer_lightning.data.synthetic import synthetic_faces
from fer_lightning.hog import hog

ROUNDS = 5


def main() -> None:
    torch.set_num_threads(1)
    images = synthetic_faces(4096).images
    batch = torch.from_numpy(images)
    ours, theirs = [], []
    difference = float(
        np.abs(hog(batch[:200]).numpy() - [reference_hog(i, 9, (8, 8), (2, 2)) for i in images[:200]]).max()
    )
    for _ in range(ROUNDS):  # in turn, so that a slow moment of the machine hits both
        begin = time.perf_counter()
        hog(batch)
        middle = time.perf_counter()
        for image in images[:400]:
            reference_hog(image, 9, (8, 8), (2, 2))
        ours.append(len(images) / (middle - begin))
        theirs.append(400 / (time.perf_counter() - middle))
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(f"torch {statistics.median(ours):,.0f} images/s, scikit-image {statistics.median(theirs):,.0f} images/s")
    print(
        json.dumps(
            {
                "benchmark": "hog",
                "images_per_second": statistics.median(ours),
                "scikit_image": statistics.median(theirs),
                "ratio": statistics.median(ratios),
                "ratio_range": [min(ratios), max(ratios)],
                "largest_difference": difference,
                "target": "ratio 12 or more",
            }
        )
    )


if __name__ == "__main__":
    main()
