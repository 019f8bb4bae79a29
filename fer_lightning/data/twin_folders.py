"""Twin folders: the same image files a second time, inside or beside their folder, as some downloads have them.

A folder repeats another one where each of its own images stands in the other under the same name, in upper or lower
case, with the same content, expression and split. Then it adds no sample: of two that are equal, the one of the shorter
path is kept.
"""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

SHOWN = 3  # folders in a note


def find_twins(names: Sequence[str], contents: Sequence[Hashable]) -> tuple[np.ndarray, list[str]]:
    """Which images stand in folders that repeat others, (N,) bool, and a note on them, if any.

    names: paths within the source; contents: what else must be equal, as split, label and checksum of the pixels.
    """
    own: dict[str, list[tuple[str, Hashable]]] = {}  # file name and content of the images, by their folder
    for name, content in zip(names, contents, strict=True):
        folder, _, file = name.rpartition("/")
        own.setdefault(folder, []).append((file.lower(), content))
    holders: dict[tuple[str, Hashable], set[str]] = {}
    for folder, images in own.items():
        for image in images:
            holders.setdefault(image, set()).add(folder)
    repeats: dict[str, str] = {}
    for folder in sorted(own, key=lambda folder: (folder.count("/"), len(folder), folder), reverse=True):
        others = set.intersection(*(holders[image] for image in own[folder])) - {folder} - repeats.keys()
        if others:
            repeats[folder] = min(others, key=lambda other: (other.count("/"), len(other), other))
    repeated = np.array([name.rpartition("/")[0] in repeats for name in names], dtype=bool)
    return repeated, _notes(repeats, Counter(name.rpartition("/")[0] for name in names))


def _notes(repeats: dict[str, str], images: Counter[str]) -> list[str]:
    """The note on folders and what each repeats; images: their number by folder. Whole trees are named by their top."""
    if not repeats:
        return []
    below: Counter[str] = Counter()  # images in and below each folder, and those that are left out
    left_out: Counter[str] = Counter()
    for folder, count in images.items():
        parts = folder.split("/")
        for top in {"/".join(parts[:length]) for length in range(len(parts) + 1)}:
            below[top] += count
            left_out[top] += count * (folder in repeats)
    tops: dict[str, str] = {}
    for folder, other in sorted(repeats.items()):
        top, original = folder, other
        while (parent := top.rpartition("/")[0]) and left_out[parent] == below[parent]:
            top, original = parent, original.rpartition("/")[0]
        tops.setdefault(top, original)
    told = [f"{top} repeats {other or 'its parent folder'} ({left_out[top]:,})" for top, other in tops.items()]
    more = f"; and {len(told) - SHOWN:,} other folders" if len(told) > SHOWN else ""
    total = sum(images[folder] for folder in repeats)
    many = f"{total:,} images stand" if total > 1 else "1 image stands"
    return [f"{many} in the source twice, by folder, name and content: read once ({'; '.join(told[:SHOWN])}{more})."]
