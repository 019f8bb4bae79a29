"""Near copies: every pair of images whose normalised correlation, plain or mirrored, reaches a threshold.

36,000 images have 640 million pairs, too many to multiply all their 2,304 pixels. So each image, with its mean
subtracted and at unit length, is divided into its low spatial frequencies and a rest. By the Cauchy-Schwarz inequality
the rests of two images add at most the product of their lengths to the correlation. This gives an upper bound from few
numbers; only pairs whose bound reaches the threshold are computed from all pixels. None is missed.

In the cosine transform, mirroring changes the sign of the odd horizontal frequencies. With e and o the even and odd
parts of the product, the plain correlation is e + o and the mirrored one e - o: both are at most e + |o|.
"""

from typing import NamedTuple

import numpy as np
from scipy.fft import dct

FREQUENCIES = 10  # lowest of 48 in each direction; with more, fewer pairs remain to be computed, but bounds cost more
NEAR = 0.95  # least correlation of near copies, where none is given
VERSION = 1  # of the search, for what is kept of it: each has files of its own
TILE = 2048  # images on each side of a block of pairs: 17 MB of float32
ROUNDING = 1e-4  # far more than the error of float32 sums of products of unit vectors


class NearPairs(NamedTuple):
    """Pairs of rows whose images correlate.

    pairs: (P, 2) row numbers, the first smaller, ascending; correlation: (P,), the larger of the plain and the mirrored
    one; mirrored: (P,) bool, whether that is the mirrored one.
    """

    pairs: np.ndarray
    correlation: np.ndarray
    mirrored: np.ndarray


def near_pairs(images: np.ndarray, threshold: float = NEAR) -> NearPairs:
    """Pairs of images whose correlation, plain or with one of them mirrored, is at least `threshold`.

    images: (N, H, W) uint8, or (N, H, W, 3). Correlation is Pearson's, of pixels, in colour of all values less the mean
    of their channel; images of one grey value or colour have none and are in no pair. threshold: above 0, at most 1.
    """
    varies = images.max(axis=(1, 2)) > images.min(axis=(1, 2))
    varied = np.flatnonzero(varies if varies.ndim == 1 else varies.any(axis=1))
    if not len(varied):
        return NearPairs(np.empty((0, 2), np.int64), np.empty(0), np.empty(0, bool))
    even, odd = _low_frequencies(images[varied])
    candidates = []
    for top in range(0, len(varied), TILE):
        for left in range(top, len(varied), TILE):
            bound = odd[top : top + TILE] @ odd[left : left + TILE].T
            np.abs(bound, out=bound)
            bound += even[top : top + TILE] @ even[left : left + TILE].T
            reached = np.flatnonzero(bound >= threshold - ROUNDING)  # many times as fast as `nonzero` of two axes
            first, second = np.divmod(reached, bound.shape[1])
            first, second = first + top, second + left
            candidates.append(np.stack([first, second], axis=1)[first < second])
    pairs = varied[np.concatenate(candidates)]
    correlation, mirrored = _correlations(images, pairs)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    order = order[correlation[order] >= threshold]
    return NearPairs(pairs[order], correlation[order], mirrored[order])


def have_near_copies(groups: np.ndarray, others: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Which images have an exact, mirrored or near copy among others, (n,) bool.

    groups: (n,) copy groups of the images, as `Faces.copy_groups`; others: (m,) those of the others; pairs: (P, 2) copy
    groups that are near copies.
    """
    near = pairs[np.isin(pairs, others)[:, ::-1]]
    return np.isin(groups, np.concatenate([others, near]))


def are_repeated(groups: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Which images have an exact, mirrored or near copy in the same set, (n,) bool. Arguments: `have_near_copies`."""
    _, place, count = np.unique(groups, return_inverse=True, return_counts=True)
    near = pairs[np.isin(pairs, groups).all(axis=1)]
    return (count[place] > 1) | np.isin(groups, near)


def _unit_vectors(images: np.ndarray, dtype: type) -> np.ndarray:
    """Images with the mean of each channel subtracted and at unit length; those in colour as (N, 3, H, W)."""
    faces: np.ndarray = (np.moveaxis(images, -1, 1) if images.ndim == 4 else images).astype(dtype)
    faces -= faces.mean(axis=(-2, -1), keepdims=True)
    faces /= np.sqrt(np.square(faces).sum(axis=tuple(range(1, faces.ndim)), keepdims=True))
    return faces


def _low_frequencies(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low frequencies of images at unit length, even (N, k + 1) and odd (N, k') in the horizontal, float32.

    The last column of the even ones is the length of the rest.
    """
    rows, columns = (
        dct(np.eye(side), axis=0, norm="ortho")[:FREQUENCIES].astype(np.float32) for side in images.shape[1:3]
    )
    even, odd = [], []
    step = _step(images)
    for start in range(0, len(images), step):
        low = rows @ _unit_vectors(images[start : start + step], np.float32) @ columns.T
        rest = np.sqrt(np.maximum(1 - np.square(low).sum(axis=tuple(range(1, low.ndim))), 0))
        even.append(np.column_stack([low[..., ::2].reshape(len(low), -1), rest]))
        odd.append(low[..., 1::2].reshape(len(low), -1))
    return np.concatenate(even), np.concatenate(odd)


def _correlations(images: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The larger of plain and mirrored correlation of each pair, from all pixels in 64 bits, and which it is."""
    correlation, mirrored = np.empty(len(pairs)), np.empty(len(pairs), dtype=bool)
    step = _step(images)
    for start in range(0, len(pairs), step):
        part = slice(start, start + step)
        first, second = (_unit_vectors(images[rows], np.float64) for rows in pairs[part].T)
        flat = (len(first), images[0].size)
        plain = np.einsum("nv,nv->n", first.reshape(flat), second.reshape(flat))
        turned = np.einsum("nv,nv->n", first.reshape(flat), second[..., ::-1].reshape(flat))
        correlation[part], mirrored[part] = np.minimum(np.maximum(plain, turned), 1), turned > plain
    return correlation, mirrored


def _step(images: np.ndarray) -> int:
    """Images worked on at once: TILE of FER2013's size, fewer of larger ones."""
    return max(1, TILE * 48 * 48 // images[0].size)
