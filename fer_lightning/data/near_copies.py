"""Near copies: every pair of pictures whose normalised correlation, plain or mirrored, reaches a threshold.

All pairs of 36,000 pictures are 640 million, at 2,304 pixels each too many to multiply out. So pictures, with their
mean taken off and unit length, are split into their low spatial frequencies and the rest. By Cauchy and Schwarz the
rests of two pictures add at most the product of their lengths to the correlation: a bound from few numbers, which no
pair exceeds. The few pairs whose bound reaches the threshold are then computed from all pixels. None is missed.

In the cosine transform a mirrored picture has the odd horizontal frequencies with the other sign. With e and o the even
and odd parts of the product, the plain correlation is e + o and the mirrored one e - o: both are at most e + |o|.
"""

from typing import NamedTuple

import numpy as np
from scipy.fft import dct

FREQUENCIES = 16
"""Lowest frequencies kept in each direction, of a 48-pixel picture's 48: they hold nearly all of a face's variance."""

TILE = 2048
"""Pictures on each side of a block of pairs: 17 MB in 32 bits."""

ROUNDING = 1e-4
"""Far more than 32-bit sums of products of unit vectors can be off by."""


class NearPairs(NamedTuple):
    """pairs: (P, 2) row numbers, the first smaller, ascending; correlation: (P,), the larger of the plain and the
    mirrored one; mirrored: (P,) bool, whether that is the mirrored one."""

    pairs: np.ndarray
    correlation: np.ndarray
    mirrored: np.ndarray


def near_pairs(images: np.ndarray, threshold: float = 0.95) -> NearPairs:
    """Pairs of pictures whose correlation, plain or with one of them mirrored, is at least `threshold`.

    images: (N, H, W) uint8. Correlation is Pearson's, of pixels; pictures of one grey value have none and are in no
    pair. threshold: above 0, at most 1.
    """
    varied = np.flatnonzero(images.max(axis=(1, 2)) > images.min(axis=(1, 2)))
    even, odd = _low_frequencies(images[varied])
    candidates = [np.empty((0, 2), dtype=np.int64)]
    for top in range(0, len(varied), TILE):
        for left in range(top, len(varied), TILE):
            bound = np.abs(odd[top : top + TILE] @ odd[left : left + TILE].T)
            bound += even[top : top + TILE] @ even[left : left + TILE].T
            first, second = np.nonzero(bound >= threshold - ROUNDING)
            first, second = first + top, second + left
            candidates.append(np.stack([first, second], axis=1)[first < second])
    pairs = varied[np.concatenate(candidates)]
    correlation, mirrored = _correlations(images, pairs)
    near = correlation >= threshold
    pairs, correlation, mirrored = pairs[near], correlation[near], mirrored[near]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return NearPairs(pairs[order], correlation[order], mirrored[order])


def _low_frequencies(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low frequencies of the pictures at unit length, even and odd in the horizontal; the length of the rest is put to
    the even ones. (N, k + 1) and (N, k'), float32."""
    height, width = images.shape[1:]
    rows = dct(np.eye(height), axis=0, norm="ortho")[:FREQUENCIES].astype(np.float32)
    columns = dct(np.eye(width), axis=0, norm="ortho")[:FREQUENCIES].astype(np.float32)
    evens, odds = [np.empty((0, _kept(height) * _kept(width, 0) + 1), np.float32)], []
    odds.append(np.empty((0, _kept(height) * _kept(width, 1)), np.float32))
    for start in range(0, len(images), TILE):
        faces = images[start : start + TILE].astype(np.float32)
        faces -= faces.mean(axis=(1, 2), keepdims=True)
        faces /= np.sqrt(np.square(faces).sum(axis=(1, 2), keepdims=True))
        low = rows @ faces @ columns.T
        rest = np.sqrt(np.maximum(1 - np.square(low).sum(axis=(1, 2)), 0))
        evens.append(np.concatenate([low[:, :, ::2].reshape(len(low), -1), rest[:, None]], axis=1))
        odds.append(low[:, :, 1::2].reshape(len(low), -1))
    return np.concatenate(evens), np.concatenate(odds)


def _kept(side: int, parity: int | None = None) -> int:
    kept = min(side, FREQUENCIES)
    return kept if parity is None else len(range(parity, kept, 2))


def _correlations(images: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The larger of plain and mirrored correlation of each pair, from all pixels in 64 bits, and which it is."""
    correlation, mirrored = np.empty(len(pairs)), np.empty(len(pairs), dtype=bool)
    for start in range(0, len(pairs), TILE):
        chosen = pairs[start : start + TILE]
        first, second = (images[rows].astype(np.float64) for rows in (chosen[:, 0], chosen[:, 1]))
        for faces in (first, second):
            faces -= faces.mean(axis=(1, 2), keepdims=True)
            faces /= np.sqrt(np.square(faces).sum(axis=(1, 2), keepdims=True))
        plain = np.einsum("nhw,nhw->n", first, second)
        turned = np.einsum("nhw,nhw->n", first, second[:, :, ::-1])
        correlation[start : start + TILE] = np.minimum(np.maximum(plain, turned), 1)
        mirrored[start : start + TILE] = turned > plain
    return correlation, mirrored
