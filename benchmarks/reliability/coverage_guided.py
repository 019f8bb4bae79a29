"""Coverage-guided fuzzing of a reader or the config with atheris (pip install -e '.[fuzz]'), in libFuzzer's way.

python benchmarks/reliability/coverage_guided.py KIND [SECONDS]

KIND is one of tests/fuzz_targets.py ("csv", "zip", "tar", "JPEG", "PNG", "checkpoint", "best.yaml", "config", ...). The
bytes that libFuzzer makes are led by which lines of this project they reach. An exception other than a clear message, a
slow input or a process beyond 2 GB ends the run and leaves the input in crash-*, timeout-* or oom-*.
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

with atheris.instrument_imports(include=["fer_lightning"], enable_loader_override=False):
    from fuzz_targets import TARGETS, bounded


def main(kind: str, seconds: int = 60) -> None:
    target = TARGETS[kind]
    with tempfile.TemporaryDirectory() as corpus:
        (Path(corpus) / "good").write_bytes(target.good)
        options = [
            f"-max_total_time={seconds}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-max_len=65536",
            "-len_control=0",
        ]
        atheris.Setup([sys.argv[0], corpus, *options, "-print_final_stats=1"], lambda data: bounded(target, data))
        atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"{__doc__}\nkinds: {', '.join(TARGETS)}")
    main(sys.argv[1], *map(int, sys.argv[2:3]))
