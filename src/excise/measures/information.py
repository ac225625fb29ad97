"""What probes' probabilities say, beside their accuracy: ranking (AUC) and usable information."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from excise.stats.bootstrap import Interval, interval, resampled_means, resampled_weights

Classes = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float32]

# A probability of exactly 0 would make one row worth infinitely many bits.
_LEAST = 1e-4


def usable_information(given: Probabilities, z: Classes, groups: Classes) -> Interval:
    """V-information in bits: H(z) - E[-log2 p(z | x)], p being what the probe says on rows it was not trained on.

    At most the entropy of z. Below 0: the probe is worse than knowing the class shares alone.

    Args:
        given: probability of each class, [n, k].

    Source:
        Xu et al. 2020, arXiv:2002.10689; held-out estimate: Ethayarajh et al. 2022, arXiv:2110.08420.
    """
    shares = np.bincount(z, minlength=given.shape[1]) / len(z)
    said = np.clip(given[np.arange(len(z)), z].astype(np.float64), _LEAST, 1.0)
    values = np.log2(said) - np.log2(shares[z])
    return interval(values.mean(), resampled_means(values, groups))


def area_under_roc(given: Probabilities, z: Classes, rotation: Classes, groups: Classes) -> Interval:
    """Probability that a row of a class is given more of that class than a row of another; ties count half.

    Rows are compared within their rotation: other rotations had other probes. Two classes: folded, max(a, 1 - a), like
    accuracy. More: mean over classes of one against the others.

    Args:
        given: probability of each class, [n, k].
        rotation: number of the rotation in which each row was tested, [n].
    """
    k = given.shape[1]
    weights = np.concatenate([np.ones((1, len(z))), resampled_weights(groups)])
    areas = np.mean([_area(given[:, c], z == c, rotation, weights) for c in ([1] if k == 2 else range(k))], axis=0)
    # Folded once, by the estimate; see `folded_accuracy`.
    if k == 2 and areas[0] < 0.5:
        areas = 1 - areas
    return interval(areas[0], areas[1:])


def _area(
    score: Probabilities, positive: npt.NDArray[np.bool_], rotation: Classes, weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Weighted share of pairs in order, for each row of weights [b, n], in one number over all rotations."""
    ordered, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for turn in np.unique(rotation):
        up, down = np.flatnonzero((rotation == turn) & positive), np.flatnonzero((rotation == turn) & ~positive)
        above = (score[up, None] > score[None, down]) + 0.5 * (score[up, None] == score[None, down])
        ordered += np.einsum("bi,bi->b", weights[:, up] @ above, weights[:, down])
        pairs += weights[:, up].sum(axis=1) * weights[:, down].sum(axis=1)
    return ordered / np.maximum(pairs, 1e-12)
