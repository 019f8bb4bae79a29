"""The claims of Alizadeh & Fazel's poster, each with a verdict and the figures of our own that it follows from."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fer_lightning.expressions import EXPRESSIONS
from fer_lightning.figures.mistakes import confused_pairs
from fer_lightning.results.plan import Plan, Row

HOLDS, PARTLY, FAILS, UNKNOWN = "holds", "holds in part", "does not hold", "not measured yet"

PAIRS = {"the paper's": ("paper_shallow", "paper_deep"), "ours": ("shallow", "deep")}
"""Rows of the shallow and the deep network, by whose settings they were trained with."""

NEAR_BEST = 0.02
"""A network has converged in the first epoch that is this near to its best validation accuracy."""


@dataclass(frozen=True)
class Claim:
    """What the poster says, whether it holds here, how that is judged, and the figures that it is judged by.

    headings, rows: of a table, its first `left` columns of words. found: the figures in words. outcomes: whether each
    thing that can show it (a network, a layer) does. needs: rows without results that would show it too.
    """

    title: str
    report: str
    rule: str
    headings: list[str]
    left: int = 1
    rows: list[list[str]] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    outcomes: list[bool] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """HOLDS, PARTLY, FAILS or UNKNOWN."""
        if not self.outcomes:
            return UNKNOWN
        return HOLDS if all(self.outcomes) else PARTLY if any(self.outcomes) else FAILS

    @property
    def evidence(self) -> str:
        """How many of the outcomes are for it."""
        return f"{sum(self.outcomes)} of {len(self.outcomes)}" if self.outcomes else ""


def claims(plan: Plan) -> list[Claim]:
    """All claims, in the poster's order."""
    return [
        deeper_is_better(plan),
        shallow_converges_faster(plan),
        happy_is_easiest(plan),
        angry_is_confused(plan),
        hog_adds_nothing(plan),
        maps_get_sparser(plan),
        first_filters_are_smooth(plan),
    ]


def deeper_is_better(plan: Plan) -> Claim:
    """The gain of the deep over the shallow network (Newcombe's interval of the difference)."""
    claim = Claim(
        "Deeper is better",
        "deep 65 %, shallow 55 %: a relative gain of 18.46 % (65.15 over 55.00), or 10.15 points.",
        "It holds where the 95 % interval of the difference (Newcombe 1998, method 10) lies above 0.",
        ["settings", "shallow", "deep", "difference, points", "95 % interval", "relative gain"],
    )
    for words, (shallow, deep) in _pairs(plan, claim):
        first, second = (row.mean("accuracy") or 0 for row in (deep, shallow))
        low, high = difference_interval(deep, shallow)
        cells = [words, _percent(second), _percent(first), _points(first - second), _between(low, high)]
        relative = f"{100 * (first / second - 1):+.2f} %"
        claim.rows.append([*cells, relative])
        points = f"{_points(first - second)} points ({_between(low, high)})"
        claim.found.append(f"With {words} settings deep over shallow is {points}, a relative gain of {relative}.")
        claim.outcomes.append(low > 0)
    claim.rows.append(["the report", "55.00 %", "65.15 %", "+10.15", "not stated", "+18.46 %"])
    return claim


def difference_interval(first: Row, second: Row) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies, taken as independent (Newcombe 1998, method 10)."""
    p1, p2 = (row.mean("accuracy") or 0 for row in (first, second))
    (low1, high1), (low2, high2) = (row.interval() or (0, 1) for row in (first, second))
    below = ((p1 - low1) ** 2 + (high2 - p2) ** 2) ** 0.5
    above = ((high1 - p1) ** 2 + (p2 - low2) ** 2) ** 0.5
    return p1 - p2 - below, p1 - p2 + above


def shallow_converges_faster(plan: Plan) -> Claim:
    """Epochs until near the best validation accuracy, and the gap between train and val in the last epoch."""
    claim = Claim(
        "The shallow network converges faster and overfits more",
        "the shallow network's training accuracy soon peaks; the deep one overfits less (two plots, no figures).",
        f"It holds where the shallow network is within {100 * NEAR_BEST:.0f} points of its best val accuracy in an "
        "earlier epoch than the deep one, and has the larger gap between train and val at the end.",
        ["settings", "network", "epochs to converge", "of", "train, last epoch", "val, last epoch", "gap, points"],
        left=2,
    )
    for words, pair in _pairs(plan, claim):
        measured = []
        for row, name in zip(pair, ("shallow", "deep"), strict=True):
            val, train = (np.array(row.result.history[f"{split}/accuracy"]) for split in ("val", "train"))
            converged, gap = int((val >= val.max() - NEAR_BEST).argmax()) + 1, float(train[-1] - val[-1])
            measured.append((converged, gap))
            cells = [words, name, str(converged), str(len(val)), _percent(train[-1]), _percent(val[-1]), _points(gap)]
            claim.rows.append(cells)
        (soon, wide), (late, narrow) = measured
        claim.found.append(
            f"With {words} settings the shallow network converges in epoch {soon} and ends {_points(wide)} points "
            f"better on train than on val; the deep one in epoch {late}, with {_points(narrow)} points."
        )
        claim.outcomes.extend([measured[0][0] < measured[1][0], measured[0][1] > measured[1][1]])
    return claim


def happy_is_easiest(plan: Plan) -> Claim:
    """Recall of each emotion."""
    claim = Claim(
        "Happy is the easiest emotion",
        "both networks are good at happy (two confusion matrices).",
        "It holds for a network where happy has the highest recall of the seven.",
        ["network", *EXPRESSIONS],
    )
    for row in _main_rows(plan, claim, ("paper_shallow", "paper_deep")):
        matrix = _confusion(row)
        recall = np.diag(matrix) / matrix.sum(axis=1)
        cells = [f"**{100 * value:.0f} %**" if value == recall.max() else f"{100 * value:.0f} %" for value in recall]
        claim.rows.append([f"`{row.name}`", *cells])
        claim.outcomes.append(EXPRESSIONS[int(recall.argmax())] == "happy")
        claim.found.append(f"`{row.name}` recognises {_named(recall, -1)} best and {_named(recall, 0)} worst.")
    return claim


def angry_is_confused(plan: Plan) -> Claim:
    """What angry faces are taken for."""
    claim = Claim(
        "Angry is confused with fear and sad",
        "angry is confused with fear and with sad (two confusion matrices).",
        "Of each network it is asked whether fear, and whether sad, is among its two most frequent wrong answers for "
        "angry faces.",
        ["network", "angry recognised", "most taken for", "then for", "then for"],
    )
    angry = EXPRESSIONS.index("angry")
    for row in _main_rows(plan, claim, ("paper_shallow", "paper_deep")):
        matrix = _confusion(row)
        pairs = [pair for pair in confused_pairs(matrix, most=42) if pair.true == angry][:3]
        cells = [f"{EXPRESSIONS[pair.predicted]} {100 * pair.share:.0f} %" for pair in pairs]
        claim.rows.append([f"`{row.name}`", f"{100 * matrix[angry, angry] / matrix[angry].sum():.0f} %", *cells])
        claim.found.append(f"`{row.name}` takes angry most often for {', then for '.join(cells)}.")
        wrong = {EXPRESSIONS[pair.predicted] for pair in pairs[:2]}
        claim.outcomes.extend([name in wrong for name in ("fear", "sad")])
    return claim


def hog_adds_nothing(plan: Plan) -> Claim:
    """McNemar's test of each hybrid network against the one on raw pixels."""
    claim = Claim(
        "HOG beside the pixels adds nothing",
        "hybrid networks are about equal to those on raw pixels (curves, no figures).",
        "It holds where McNemar's exact test on the same images does not find the hybrid better (p of 0.05 or more, or "
        "a negative difference).",
        ["hybrid", "raw", "difference, points", "95 % interval", "only hybrid right", "only raw right", "p"],
        left=2,
    )
    for row in plan.paper:
        if not row.planned.against:
            continue
        tests = [(score.mcnemar, score.accuracy) for score in row.scores() if score.mcnemar]
        if not tests:
            claim.needs.append(row.name)
        for test, accuracy in tests:
            low, high = test.difference_ci95
            names = [f"`{row.name}` {_percent(accuracy)}", f"`{test.other.partition('/')[0]}`"]
            counts = [f"{test.only_first_right:,}", f"{test.only_second_right:,}"]
            cells = [*names, _points(test.difference), _between(low, high), *counts, f"{test.p_value:.2g}"]
            claim.rows.append(cells)
            points = f"{_points(test.difference)} points ({_between(low, high)}), p = {test.p_value:.2g}"
            claim.found.append(f"`{row.name}` differs from the network on raw pixels by {points}.")
            claim.outcomes.append(test.p_value >= 0.05 or test.difference < 0)
    return claim


def maps_get_sparser(plan: Plan) -> Claim:
    """Sparsity and locality of each layer's activation maps in the first and in the last epoch."""
    claim = Claim(
        "Activation maps get sparser and more local in training",
        "maps of every layer become sparser and more localised as training goes on (pictures, no figures).",
        "Sparsity is the share of zero activations, locality Hoyer's sparseness of a map over space, both of the same "
        "seven faces. It holds for a layer where both rise from the first to the last epoch.",
        ["network", "layer", "sparsity, first epoch", "last", "locality, first epoch", "last"],
        left=2,
    )
    for row in _main_rows(plan, claim, ("paper_deep", "poster")):
        if (maps := row.result.activations) is None:
            continue
        rising = []
        for layer in maps.sparsity:
            ends = [curve[k] for curve in (maps.sparsity[layer], maps.locality[layer]) for k in (0, -1)]
            claim.rows.append([f"`{row.name}`", layer, *(f"{value:.3f}" for value in ends)])
            rising.append(ends[1] > ends[0] and ends[3] > ends[2])
        claim.found.append(f"`{row.name}`: both rise in {sum(rising)} of {len(rising)} layers.")
        claim.outcomes.extend(rising)
    return claim


def first_filters_are_smooth(plan: Plan) -> Claim:
    """How alike neighbouring weights of the first layer's filters are."""
    claim = Claim(
        "The first layer's filters are smooth",
        "thirty 7x7 filters of the trained network are shown, smooth and without noise.",
        "Measured by Moran's I of a filter's weights (1: neighbours alike; noise: about 0). A filter counts as smooth "
        "where I is above what 95 % of filters of white noise have; it holds for a network with more than half of them "
        "smooth. Filters of 3x3 have too few neighbours to decide.",
        ["network", "filters", "mean I", "95 % of noise below", "smooth filters"],
        left=2,
    )
    for row in _main_rows(plan, claim, ("poster", "paper_poster")):
        if (found := row.result.filters) is None:
            continue
        smooth = f"{found.smooth} of {found.filters}, {100 * found.smooth / found.filters:.0f} %"
        size = f"{found.filters} of {found.side}x{found.side}"
        claim.rows.append([f"`{row.name}`", size, f"{found.autocorrelation:.2f}", f"{found.of_noise:.2f}", smooth])
        if found.side > 3:
            claim.found.append(f"`{row.name}`: {smooth} are smooth.")
            claim.outcomes.append(found.smooth > found.filters / 2)
    return claim


def _pairs(plan: Plan, claim: Claim) -> list[tuple[str, tuple[Row, Row]]]:
    """The pairs of PAIRS whose results are both there; what is missing goes into the claim's needs."""
    found = []
    for words, names in PAIRS.items():
        pair = (plan.row(names[0]), plan.row(names[1]))
        claim.needs.extend(row.name for row in pair if not row.results)
        found += [(words, pair)] if all(row.results for row in pair) else []
    return found


def _main_rows(plan: Plan, claim: Claim, wanted: Sequence[str]) -> list[Row]:
    """All rows of the paper's and of our own networks with results; of `wanted` those without are the claim's needs."""
    claim.needs.extend(name for name in wanted if not plan.row(name).results)
    return [row for row in [*plan.paper, *plan.own] if row.results]


def _confusion(row: Row) -> np.ndarray:
    """Confusion matrix on PublicTest, counts summed over the seeds."""
    return np.sum([score.confusion_matrix for score in row.scores()], axis=0)


def _named(recall: np.ndarray, place: int) -> str:
    """The emotion at a place in the order of rising recall, with its recall."""
    number = int(recall.argsort()[place])
    return f"{EXPRESSIONS[number]} ({100 * recall[number]:.0f} %)"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


def _between(low: float, high: float) -> str:
    return f"{100 * low:+.1f} to {100 * high:+.1f}"
