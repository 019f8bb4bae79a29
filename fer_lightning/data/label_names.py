"""Names and numbers by which sources label faces: FER2013's own, synonyms, and those that `data.labels` gives."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

from fer_lightning.errors import InputError, near_misses
from fer_lightning.expressions import EXPRESSIONS

_SYNONYMS = {
    "angry": ("anger",), "disgust": ("disgusted", "disgusting"), "fear": ("fearful", "afraid", "scared"),
    "happy": ("happiness", "joy", "joyful"), "sad": ("sadness",), "surprise": ("surprised", "surprising"),
    "neutral": ("neutrality", "neutralness"),
}  # fmt: skip
NAMES = {name: label for label, own in enumerate(EXPRESSIONS) for name in (own, *_SYNONYMS[own])}
"""Names of an expression, in lower case: its own, and common synonyms."""

NUMBERS = {str(label): label for label in range(len(EXPRESSIONS))}
OF_NUMBERS = ", ".join(f"{label} {name}" for label, name in enumerate(EXPRESSIONS))
EXAMPLE = "'data.labels={1: surprise, 2: fear, 3: null}'"

_NUMBER = re.compile(r"\+?0*([0-9]+)(?:[.,]0*)?")
_NUMBERING = re.compile(r"\d+[ _.-]+(?=\D)")


class LabelNames:
    """The labels of one part of a source (a csv, or all its images) by name; counts what was read how.

    given: `data.labels`, which comes before the names that are known without it. Where it has numbers, no others are
    known. Names are compared in lower case, numbers by their value ("3", "03", "3.0").
    """

    def __init__(self, given: Mapping[str, str | None] | None = None):
        self._given = {key_of(name): expression for name, expression in (given or {}).items()}
        self._known = NAMES if any(map(str.isdigit, self._given)) else NAMES | NUMBERS
        self.counts: Counter[str] = Counter()
        """Images by the key of their label, those included that `data.labels` leaves out."""

    def knows(self, key: str) -> bool:
        """Whether `label` takes this key, as `key_of` returns it."""
        return key in self._given or key in self._known

    def merge(self, others: "Iterable[LabelNames]") -> "LabelNames":
        """The same names with the counts of others added."""
        merged = LabelNames(self._given)
        for names in (self, *others):
            merged.counts += names.counts
        return merged

    def label(self, key: str) -> int | None:
        """The index into EXPRESSIONS, or None where `data.labels` leaves the image out. Raises KeyError."""
        expression = self._given.get(key, "")
        label = self._known[key] if expression == "" else None if expression is None else EXPRESSIONS.index(expression)
        self.counts[key] += 1
        return label

    def count_unknown(self, key: str) -> None:
        """Count an image whose label is an unknown number, for `require_fer2013_numbers`."""
        self.counts[key] += 1

    def require_fer2013_numbers(self, where: str) -> None:
        """Raise InputError where the numbers that were read cannot be FER2013's, or are not among those given."""
        numbers = sorted((key for key in self.counts if key.isdigit() and key not in self._given), key=int)
        unknown = [key for key in numbers if not self.knows(key)]
        known = sorted((key for key in self._given if key.isdigit()), key=int)
        if unknown and known:
            raise InputError(f"{where}: data.labels says what {_listed(known)} mean, but not {_listed(unknown)}")
        if unknown or numbers == list(NUMBERS)[1:]:
            raise InputError(
                f"{where}: faces are labelled by the numbers {_listed(numbers)}; FER2013's are 0 to 6 ({OF_NUMBERS}), "
                f"so what these mean is not known. data.labels says it, as in {EXAMPLE}"
            )

    def notes(self) -> list[str]:
        """How numbers and given names were read, and what was left out, one sentence each."""
        found = sorted(self.counts, key=lambda key: (not key.isdigit(), key.zfill(9)))
        own = [(key, EXPRESSIONS[NUMBERS[key]]) for key in found if key in NUMBERS and key not in self._given]
        given = [(key, expression) for key in found if (expression := self._given.get(key))]
        notes = [
            f"{how}: " + ", ".join(f"{key} = {name} ({self.counts[key]:,})" for key, name in pairs) + "."
            for how, pairs in (("Labels are numbers, read as FER2013's", own), ("Read by data.labels", given))
            if pairs
        ]
        if out := [key for key in found if key in self._given and self._given[key] is None]:
            notes.append("Left out by data.labels: " + ", ".join(f"{key} ({self.counts[key]:,})" for key in out) + ".")
        return notes


@lru_cache(maxsize=1024)
def key_of(text: str) -> str:
    """The form in which names and numbers are compared: lower case, without blanks; "3" for 03 and 3.0."""
    text = text.strip().lower()
    number = _NUMBER.fullmatch(text)
    return number[1] if number else text


def folder_key(name: str) -> str:
    """The key of a folder's name: without a number in front ("3_happy") and without a suffix ("happy.zip")."""
    name = name.strip().lower()
    return name if name.isdigit() else _NUMBERING.sub("", name, count=1).split(".")[0].strip()


def like(name: str) -> str:
    """`": did you mean surprise?"` for a name close to one of an expression's, or an empty string."""
    key = folder_key(name)
    return (near_misses(key, EXPRESSIONS) or near_misses(key, NAMES)).replace(" Did", ": did")


def _listed(numbers: list[str]) -> str:
    """`0 to 7` for numbers without a gap, `1, 3, 9` for others. numbers: ascending."""
    whole = len(numbers) > 2 and int(numbers[-1]) - int(numbers[0]) == len(numbers) - 1
    return f"{numbers[0]} to {numbers[-1]}" if whole else ", ".join(numbers[:12])


def unmatched(given: Mapping[str, str | None], found: Iterable[str]) -> list[str]:
    """A note on the keys of `data.labels` that label nothing in the source, or none. found: keys."""
    found = set(found)
    names = [name for name in given if key_of(name) not in found]
    return [f"data.labels: nothing in the source is labelled {', '.join(names)}."] if names else []
