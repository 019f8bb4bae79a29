"""Names of the three splits: of files and folders, and in the column Usage of a csv."""

import re
from functools import lru_cache

from fer_lightning.data.faces import TEST, TRAIN, VAL

_OF_WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "public", "publictest"), VAL),
    **dict.fromkeys(("dev", "development", "eval", "evaluation"), VAL),
    **dict.fromkeys(("test", "testing", "private", "privatetest"), TEST),
}
_FILLERS = {"fer", "fer2013", "2013", "data", "dataset", "set", "split", "images", "image", "faces", "csv"}
_ARCHIVE_SUFFIX = re.compile(r"\.(zip|tar|gz|tgz|bz2|tbz2|xz|txz)\b.*", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SET_OF = re.compile(r"(train|training|val|validation|test)(set|data|images)")


@lru_cache(maxsize=1024)
def split_of_usage(text: str) -> int | None:
    """The split that a value of Usage names (Training, PublicTest, PrivateTest, in any case), or None."""
    words = _words(text)
    return _split_of(words) if len(words) == 1 else None


def split_of_file(name: str) -> int | None:
    """The split that any word of a csv's name tells (fer2013_train.csv, test_with_emotions.csv), or None."""
    return _split_of(_words(name))


def split_of_folder(name: str) -> int | None:
    """The split that the first or the last word of a folder's or archive's name tells (FER2013Valid), or None."""
    words = [word for word in _words(name) if word not in _FILLERS]
    return _split_of([words[0], words[-1]]) if words else None


def split_of_source(name: str) -> int | None:
    """The split that the name of a whole source tells: only where it says nothing else (test.zip, fer2013_test)."""
    words = [word for word in _words(name) if word not in _FILLERS]
    return _split_of(words) if len(words) == 1 else None


def _words(name: str) -> list[str]:
    """The words of a name, in lower case: parted by other characters, digits, or capitals within."""
    words: list[str] = []
    for found in _WORD.findall(_ARCHIVE_SUFFIX.sub("", name)):
        word = _SET_OF.sub(r"\1", found.lower())
        if words and words[-1] in ("public", "private") and word == "test":
            words[-1] += word
        else:
            words.append(word)
    return words


def _split_of(words: list[str]) -> int | None:
    """The one split that the words name; None where they name none, or several."""
    splits = {_OF_WORDS[word] for word in words if word in _OF_WORDS}
    return splits.pop() if len(splits) == 1 else None
