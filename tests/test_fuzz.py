"""Whatever they are given, readers and config end with right data or one clear message, in bounded time and memory.

FUZZ_EXAMPLES sets the number of inputs of each kind; benchmarks/reliability/fuzz.py runs 20,000.
"""

import os

import pytest
from fuzz_targets import OVERRIDES, TARGETS, bounded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))

fuzzed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)

TOKENS = [
    b",", b" ", b"\n", b'"', b"\0", b"-", b"256", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"PK\x01\x02", b"{", b"]", b"=",
    b"null", b"1e99", b"nan", b"-1", b"999999999999", b"${", b"'", b"~", b"true",
]  # fmt: skip

HEADS = [b"", b"emotion,pixels\n", b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b"\xff\xd8\xff", b"\x89PNG"]


@st.composite
def mutated(draw, good: bytes) -> bytes:
    """The good bytes after a few edits: overwritten, put in, taken out or repeated, or all that follows cut off."""
    if not good:
        return draw(st.sampled_from(HEADS)) + draw(st.binary())
    kinds = st.sampled_from(["overwrite", "overwrite", "insert", "remove", "repeat", "cut"])
    edits = st.tuples(kinds, st.integers(0, len(good)), st.binary(min_size=1, max_size=8) | st.sampled_from(TOKENS))
    data = good
    for kind, position, new in draw(st.lists(edits, min_size=1, max_size=4)):
        at = position % (len(data) + 1)
        after = {"overwrite": at + len(new), "insert": at, "remove": at + 4 * len(new), "repeat": max(0, at - 600)}
        if kind == "cut":
            data = data[:at]
        else:
            data = data[:at] + (new if kind in ("overwrite", "insert") else b"") + data[after[kind] :]
    return data


KEYS = [line.partition("=")[0].lstrip("+") for line in OVERRIDES.decode().split("\n")] + [
    "data", "data.images", "data.batch_size", "data.augment", "data.hog", "data.hog.pixels_per_cell", "data.channels",
    "data.path", "model.conv", "model.input", "model.kind", "model.batch_norm", "model.label_smoothing", "optimizer",
    "optimizer.betas", "optimizer.momentum", "schedule.patience", "early_stopping.patience", "draw.every", "draw",
    "cv.folds", "trainer", "experiment", "model.conv[0].filters", "memory_format", "sweeps",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(
        ["null", "true", "nan", "inf", "-inf", "-1", "0", "1e999", "10**9", "99999999999999999999", "[]", "{}", "''",
         "[1,2]", "{a: 1}", "{flip: x}", "[{filters: 0}]", "[{filters: 4, pool: 99}]", "[[1]]", "${seed}", "${model}",
         "${oc.env:NO}", "fc", "adamw", "plateau", "x" * 300, "a,b", "range(3)", "choice(1,2)", "\u0664", "0x10", "1_0"]
    ),
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=8),
)  # fmt: skip


def settings_of_keys() -> st.SearchStrategy[bytes]:
    """Overrides of known keys with values of every kind."""
    override = st.builds("{}{}={}".format, st.sampled_from(["", "", "", "+", "++", "~"]), st.sampled_from(KEYS), VALUES)
    return st.lists(override, min_size=1, max_size=3).map(lambda lines: "\n".join(lines).encode(errors="replace"))


def inputs(name: str) -> st.SearchStrategy[bytes]:
    return mutated(TARGETS[name].good) | settings_of_keys() if name == "config" else mutated(TARGETS[name].good)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.timeout(7200)
def test_a_mutated_input_gives_data_or_a_message(name):
    @fuzzed
    @given(inputs(name))
    def attempt(data):
        bounded(TARGETS[name], data)

    attempt()


@pytest.mark.parametrize("name", [name for name in TARGETS if TARGETS[name].good])
def test_the_good_bytes_that_are_mutated_are_good(name):
    assert bounded(TARGETS[name], TARGETS[name].good)
