"""Whatever they are given, readers and config end with valid data or one clear message, in bounded time and memory.

FUZZ_EXAMPLES sets the number of inputs of each kind; benchmarks/reliability/fuzz.py runs 20,000.
"""

import os

import pytest
from fuzz_targets import TARGETS, bounded, inputs
from hypothesis import HealthCheck, given, settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))

fuzzed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.timeout(7200)
def test_a_mutated_input_gives_data_or_a_message(name):
    @fuzzed
    @given(inputs(name))
    def attempt(data):
        bounded(TARGETS[name], data)

    attempt()


@pytest.mark.parametrize("name", [name for name in TARGETS if TARGETS[name].good])
def test_the_bytes_that_are_mutated_are_valid(name):
    assert bounded(TARGETS[name], TARGETS[name].good)
