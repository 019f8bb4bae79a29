"""All benchmarks, each a process of its own, into benchmarks/results.json and the tables of README: `make bench`.

python benchmarks quick|long|NAME ...      # NAME: of a script in benchmarks/
python benchmarks tables                   # only write the tables, from results.json
"""

import datetime
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from record import RESULTS, markdown

from fer_lightning.machine import commit, processor

FOLDER = Path(__file__).parent
QUICK = (
    "hog",
    "usual_loop",
    "epoch",
    "ceiling",
    "memory",
    "folds",
    "gpu",
    "cache",
    "warm_start",
    "between_trials",
    "audit",
    "drawing",
    "deepdream",
    "report",
    "recognition",
    "video",
    "start",
    "synthetic",
)
LONG = ("sprint", "growth", "many_machines", "pruning", "backbones")
BLOCK = "<!-- speed: made by make bench -->\n{}\n<!-- end of speed -->"
PAGES = {FOLDER.parent / "README.md": True, FOLDER / "README.md": False}
"""Pages with a table, and whether it has only the rows with a target."""


def run(name: str) -> dict[str, Any] | None:
    """What a script reports, None where it fails."""
    print(f"== benchmarks/{name}.py", flush=True)
    began, last = time.perf_counter(), ""
    with subprocess.Popen([sys.executable, FOLDER / f"{name}.py"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            last = line.strip() or last
            if not last.startswith("{"):
                print(line, end="", flush=True)
    seconds = time.perf_counter() - began
    if process.returncode or not last.startswith("{"):
        print(f"benchmarks/{name}.py failed: exit status {process.returncode}", file=sys.stderr)
        return None
    print(f"   {seconds:.0f} s", flush=True)
    return {**json.loads(last), "seconds_in_all": round(seconds, 1), **where()}


def where() -> dict[str, Any]:
    """Machine, commit and day of a result."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    threads = torch.get_num_threads()
    machine = f"{processor()}, {threads} thread{'s' * (threads != 1)}" + (f", {gpu}" if gpu else "")
    return {"machine": machine, "torch": torch.__version__, "commit": commit(), "day": f"{datetime.date.today()}"}


def rows_of(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of all benchmarks, in the order in which they run."""
    order = [name for name in (*QUICK, *LONG) if name in results]
    return [{"machine": results[name]["machine"], **one} for name in order for one in results[name]["rows"]]


def block(results: dict[str, Any], targets_alone: bool) -> str:
    """The table of a page, between its marks."""
    return BLOCK.format(markdown([one for one in rows_of(results) if one["target"] or not targets_alone]))


def write_tables(results: dict[str, Any]) -> None:
    """Write the tables of README and benchmarks/README.md between their marks."""
    begin, end = BLOCK.split("\n{}\n")
    pattern = re.compile(f"{begin}.*?{end}", re.DOTALL)
    for page, targets_alone in PAGES.items():
        text, table = page.read_text(), block(results, targets_alone)
        page.write_text(pattern.sub(lambda _, table=table: table, text))


def main() -> None:
    groups = {"quick": QUICK, "long": [name for name in LONG if (FOLDER / f"{name}.py").exists()], "tables": ()}
    names = [name for word in sys.argv[1:] for name in groups.get(word, (word,))]
    unknown = [name for name in names if not (FOLDER / f"{name}.py").exists()]
    if unknown or not sys.argv[1:]:
        known = ", ".join((*QUICK, *LONG))
        sys.exit(f"error: {', '.join(unknown) or 'no name'}: expected quick, long, tables or one of {known}")
    began, failed = time.perf_counter(), []
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names:
        if (found := run(name)) is None:
            failed.append(name)
        else:
            results[name] = found
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    write_tables(results)
    print(markdown(rows_of({name: results[name] for name in (names or results) if name in results})))
    print(f"{len(names)} benchmarks in {(time.perf_counter() - began) / 60:.1f} minutes")
    if failed:
        sys.exit(f"error: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
