"""How long a command takes to start: --help and errors in the settings, beside `python -c "import torch, lightning"`.

python benchmarks/start.py [--repeats 5]

Whole processes, in turn, after one of each to fill the disk cache; medians of wall-clock and of CPU time. Targets: 1 s
or less, and a quarter of the import or less. Prints one JSON line last.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

from record import report, row

IMPORT = "import torch, lightning"
COMMANDS = {
    "help": ["-m", "fer_lightning.train", "--help"],
    "config_error": ["-m", "fer_lightning.train", "model=hybrid_deep", "optimizer.lr=-1"],
    "unknown_choice": ["-m", "fer_lightning.train", "model=hybrid_dep"],
    "list_of_commands": ["-m", "fer_lightning"],
    "import": ["-c", IMPORT],
}
SECONDS, SHARE = 1.0, 0.25


def seconds(arguments: list[str]) -> tuple[float, float]:
    """Wall-clock and CPU time of one process."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - begin, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for number in range(repeats + 1):
        for name, arguments in COMMANDS.items():
            spent = seconds(arguments)
            if number:
                runs[name].append(spent)
    wall, cpu = (
        {name: round(statistics.median(spent[kind] for spent in each), 3) for name, each in runs.items()}
        for kind in (0, 1)
    )
    shares = {name: round(spent / wall["import"], 3) for name, spent in wall.items() if name != "import"}
    for name in COMMANDS:
        share = f"  {shares[name]:.0%} of `{IMPORT}`" if name in shares else ""
        print(f"{name:<18} {wall[name]:6.2f} s, {cpu[name]:6.2f} s of CPU{share}")
    rows = [
        row(f"{name.replace('_', ' ')}; {IMPORT}", wall[name], wall["import"], "s", at_most=SHARE) for name in shares
    ]
    rows.append(row("the slowest of these", max(wall[name] for name in shares), None, "s", at_most=SECONDS, of="ours"))
    report("start", rows, cpu_seconds=cpu, repeats=repeats)
