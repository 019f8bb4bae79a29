"""How copies of FER2013 name their splits and expressions, in folders, file names and csv columns."""

import re
from functools import lru_cache

from fer_lightning.data.faces import TEST, TRAIN, VAL
from fer_lightning.expressions import EXPRESSIONS

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "publictest", "public_test"), VAL),
    **dict.fromkeys(("test", "testing", "privatetest", "private_test"), TEST),
}
"""Names of a split, in lower case; `Usage` says Training, PublicTest or PrivateTest."""

_SYNONYMS = {
    "angry": ("anger",),
    "disgust": ("disgusted",),
    "fear": ("fearful", "afraid", "scared"),
    "happy": ("happiness", "joy"),
    "sad": ("sadness",),
    "surprise": ("surprised",),
    "neutral": ("neutrality",),
}

LABEL_NAMES = {
    name: label
    for label, expression in enumerate(EXPRESSIONS)
    for name in (expression, str(label), *_SYNONYMS[expression])
}
"""Names of an expression, in lower case: its own, its number in FER2013, and common synonyms."""

_USAGE_PREFIX = re.compile(r"(training|publictest|privatetest)[_-]", re.IGNORECASE)
_NUMBERING = re.compile(r"\d+[ _.-]+(?=\D)")


def label_and_split(name: str) -> tuple[int | None, int | None]:
    """Label and split of an image from its path, None where the path does not tell.

    The folder nearest to the image decides (`train/happy/1.jpg`, `happy/train/1.jpg`, `train.zip/3_happy/1.jpg`), but a
    file name that begins with its Usage (`test/sad/PublicTest_12.jpg`) decides the split over any folder.
    """
    folder, _, file = name.rpartition("/")
    label, split = _folder_meaning(folder)
    if usage := _USAGE_PREFIX.match(file):
        split = SPLIT_NAMES[usage[1].lower()]
    return label, split


@lru_cache(maxsize=1024)
def _folder_meaning(folder: str) -> tuple[int | None, int | None]:
    """Label and split that a folder's path tells, the innermost name first."""
    names = [_NUMBERING.sub("", part.lower(), count=1).split(".")[0].strip() for part in reversed(folder.split("/"))]
    label = next((LABEL_NAMES[name] for name in names if name in LABEL_NAMES), None)
    return label, next((SPLIT_NAMES[name] for name in names if name in SPLIT_NAMES), None)


def image_id(name: str) -> str:
    """What orders the images of one split: the file name without folder, Usage and suffix ("10118481")."""
    return _USAGE_PREFIX.sub("", name.rpartition("/")[2].rpartition(".")[0], count=1)
