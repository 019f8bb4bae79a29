"""Seconds to draw the embedded faces on one thread, beside drawing them one by one. The last line is JSON.

python benchmarks/synthetic.py [--images 5000] [--rounds 3]
"""

import argparse
import platform
import statistics
import time

from record import report, row

from fer_lightning.data import synthetic


def seconds(images: int) -> float:
    start = time.perf_counter()
    synthetic.synthetic_faces(images)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000, help="how many faces to draw")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions; the median counts")
    options = parser.parse_args()

    first = seconds(options.images)  # the one that a user waits for: memory and code are still cold
    median = statistics.median(seconds(options.images) for _ in range(options.rounds))
    chunk, synthetic.CHUNK = synthetic.CHUNK, 1
    few = max(options.images // 10, synthetic.SMALLEST)
    one_by_one = statistics.median(seconds(few) for _ in range(options.rounds)) * options.images / few

    print(f"{options.images} faces: {median:.2f} s, {first:.2f} s the first time; one by one {one_by_one:.2f} s")
    result = {
        "images": options.images,
        "seconds": round(median, 3),
        "seconds_first": round(first, 3),
        "images_per_second": round(options.images / median),
        "seconds_one_by_one": round(one_by_one, 3),
        "times_faster": round(one_by_one / median, 2),
        "chunk": chunk,
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    rows = [row(f"{options.images:,} faces drawn; one by one", median, one_by_one, "s")]
    report("synthetic", rows, **result)


if __name__ == "__main__":
    main()
