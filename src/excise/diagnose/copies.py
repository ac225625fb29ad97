"""Copies of labelled rows that keep their first moments and lose the rest.

Rows are mixed by a random rotation of the sample, not of the space: a rotation that fixes the class indicators leaves
every class mean where it was, and one that acts within a class leaves that class's covariance as it was, both exactly
and whatever the number of dimensions. Nothing is estimated or inverted. As each new row is a sum of many old ones with
random weights, it is close to Gaussian.

Rows are mixed within blocks only. What is learned on one block and tried on another then shares no row, and rows of the
classes stay exchangeable where the classes differ in nothing, so that a probe reads chance there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import ortho_group

Rows = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
_ROUNDING = 1e-10

Copy = Callable[[Rows, Index, np.random.Generator], Rows]


def gaussian_copy(x: Rows, z: Index, rng: np.random.Generator) -> Rows:
    """Keeps the mean and the covariance of every class; loses higher moments, clusters and shapes.

    Args:
        x: one block, [n, d].
        z: classes [n].
    """
    out = np.empty_like(x)
    for c in np.unique(z):
        out[z == c] = _mixed(x[z == c], np.zeros(int((z == c).sum()), dtype=np.int64), rng)
    return out


def pooled_copy(x: Rows, z: Index, rng: np.random.Generator) -> Rows:
    """Keeps the mean of every class and the pooled covariance; the classes differ in their means alone."""
    return _mixed(x, z, rng)


def class_free_copy(x: Rows, z: Index, rng: np.random.Generator) -> Rows:
    """As `pooled_copy` with one mean for all: a control that must read chance."""
    return pooled_copy(x, z, rng) - class_means(x, z) + x.mean(axis=0)


def mean_free(x: Rows, z: Index, rng: np.random.Generator) -> Rows:
    """The rows themselves with the mean of every class moved to the mean of all; `rng` is not used."""
    return x - class_means(x, z) + x.mean(axis=0)


def class_means(x: Rows, z: Index) -> Rows:
    """Mean of the class of each row, [n, d]."""
    means = np.empty_like(x)
    for c in np.unique(z):
        means[z == c] = x[z == c].mean(axis=0)
    return means


def in_blocks(copy: Copy, x: Rows, z: Index, blocks: Index, rng: np.random.Generator) -> Rows:
    """The copy of every block on its own; `blocks`: number of each row's block, [n]."""
    out = np.empty_like(x)
    for block in np.unique(blocks):
        rows = blocks == block
        out[rows] = copy(x[rows], z[rows], rng)
    return out


def _mixed(x: Rows, z: Index, rng: np.random.Generator) -> Rows:
    """Residuals around class means, turned by a random rotation of the sample that fixes every class indicator."""
    means = class_means(x, z)
    indicators = (z[:, None] == np.unique(z)).astype(np.float64)
    n, k = indicators.shape
    if n - k < 2:  # Nothing to mix with.
        return x.copy()
    complement = np.linalg.qr(indicators, mode="complete")[0][:, k:]
    turn = ortho_group.rvs(n - k, random_state=rng)
    mixed = means + complement @ (turn @ (complement.T @ (x - means)))
    # An eraser may leave a direction empty but for rounding, and that of class means would tell the classes apart to a
    # probe that whitens. Coarser rounding, the same for all, buries it.
    unit = _ROUNDING * float(np.abs(mixed).max())
    return np.asarray(np.round(mixed / unit) * unit) if unit else mixed
