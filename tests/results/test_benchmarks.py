"""The tables of speed in README and benchmarks/README.md are those of benchmarks/results.json."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    """benchmarks/__main__.py as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("bench", BENCHMARKS / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(BENCHMARKS))
    return module


@pytest.fixture(scope="module")
def results():
    return json.loads((BENCHMARKS / "results.json").read_text())


def test_the_pages_quote_the_results(bench, results):
    for page, targets_alone in bench.PAGES.items():
        assert bench.block(results, targets_alone) in page.read_text(), (
            f"{page.name}: python benchmarks tables writes it"
        )


def test_each_row_says_what_it_was_measured_on(bench, results):
    for one in bench.rows_of(results):
        assert set(one) >= {"name", "ours", "baseline", "ratio", "unit", "target", "met", "machine"}
        assert (one["met"] is None) == (not one["target"])


def test_each_benchmark_is_a_script(bench, results):
    for name in {*bench.QUICK, *results}:
        assert (BENCHMARKS / f"{name}.py").exists(), name


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"ours": 30.0, "baseline": 10.0, "at_least": 2.5}, (3.0, "ratio >= 2.5", True)),
        ({"ours": 20.0, "baseline": 10.0, "at_least": 2.5}, (2.0, "ratio >= 2.5", False)),
        ({"ours": 1600.0, "baseline": 3200.0, "at_most": 1500, "of": "ours"}, (0.5, "ours <= 1500", False)),
        ({"ours": 1.0, "baseline": None}, (None, "", None)),
    ],
)
def test_a_row_meets_its_target_or_not(bench, arguments, expected):
    one = sys.modules["record"].row("name", unit="images/s", **arguments)
    assert (one["ratio"], one["target"], one["met"]) == expected


def test_an_unknown_benchmark_is_named():
    ended = subprocess.run([sys.executable, BENCHMARKS, "hgo"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: hgo: expected quick, long, tables or one of hog,")
