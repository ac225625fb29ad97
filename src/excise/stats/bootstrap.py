"""Intervals by resampling groups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

N_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% percentile interval."""

    value: float
    low: float
    high: float


def resampled_means(
    values: npt.NDArray[np.float64], groups: npt.NDArray[np.int64], seed: int = 0
) -> npt.NDArray[np.float64]:
    """Means of `values` over bootstrap draws of whole groups.

    Rows of a group (a pair) are not independent; drawing rows one by one would make intervals too narrow.
    The same groups and seed give the same draws, so differences of two calls are paired.

    Args:
        values: one figure a row, [..., n].
        groups: group of each row, [n].

    Returns:
        [..., N_RESAMPLES].
    """
    _, inverse = np.unique(groups, return_inverse=True)
    n_groups = int(inverse.max()) + 1
    draws = _draws(n_groups, seed)
    sizes = np.bincount(inverse)
    flat = values.reshape(-1, values.shape[-1])
    sums = np.stack([np.bincount(inverse, weights=row, minlength=n_groups) for row in flat])
    return ((sums @ draws.T) / (draws @ sizes)).reshape(*values.shape[:-1], N_RESAMPLES)


def resampled_weights(groups: npt.NDArray[np.int64], seed: int = 0) -> npt.NDArray[np.float64]:
    """How often each row is drawn, [N_RESAMPLES, n], for figures that are not means; the draws of `resampled_means`."""
    _, inverse = np.unique(groups, return_inverse=True)
    return _draws(int(inverse.max()) + 1, seed)[:, inverse]


@lru_cache(maxsize=64)
def _draws(n_groups: int, seed: int) -> npt.NDArray[np.float64]:
    """How often each group is drawn, [N_RESAMPLES, n_groups]; kept, because a report asks hundreds of times."""
    shares = np.full(n_groups, 1 / n_groups)
    return np.random.default_rng(seed).multinomial(n_groups, shares, size=N_RESAMPLES).astype(np.float64)


def interval(value: float, draws: npt.NDArray[np.float64]) -> Interval:
    """95% percentile interval of bootstrap draws [N_RESAMPLES] around the plain estimate."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))
