"""Accuracy of probes, folded, with intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from excise.stats.bootstrap import Interval, interval, resampled_means


def chance(z: npt.NDArray[np.int64]) -> float:
    """Accuracy of always naming the commonest class, in (0, 1)."""
    return float(np.bincount(z).max() / len(z))


def fold(accuracy: float | npt.NDArray[np.float64], n_classes: int) -> npt.NDArray[np.float64]:
    """max(a, 1 - a) for two classes: a probe that is always wrong knows the concept.

    With more classes a probe under chance cannot simply be inverted, and accuracy stays as it is.
    """
    accuracy = np.asarray(accuracy, dtype=np.float64)
    return np.asarray(np.maximum(accuracy, 1 - accuracy)) if n_classes == 2 else accuracy


def folded_accuracy(
    correct: npt.NDArray[np.bool_], groups: npt.NDArray[np.int64], n_classes: int, seed: int = 0
) -> tuple[Interval, npt.NDArray[np.float64]]:
    """Accuracy over all tested rows with its interval, and the bootstrap draws behind it for paired comparisons.

    Args:
        correct: whether the probe named each row's class, [n].
        groups: rows of a group are resampled together, [n].
    """
    values = correct.astype(np.float64)
    draws = resampled_means(values, groups, seed)
    # Folded once, by the estimate: folding every draw would push the interval of a figure at chance above it.
    if n_classes == 2 and values.mean() < 0.5:
        draws = 1 - draws
    return interval(float(fold(values.mean(), n_classes)), draws), draws


def strongest_probes(cv: dict[str, list[float]], n_classes: int) -> list[str]:
    """The strongest probe of each rotation, by folded cross-validated accuracy on that rotation's probe rows.

    Rotation by rotation: the probe rows of one are test rows of others, so a choice over all would have seen the rows
    that report.

    Args:
        cv: for each probe, its cross-validated accuracy in each rotation.
    """
    turns = range(len(next(iter(cv.values()))))
    return [max(cv, key=lambda probe: float(fold(cv[probe][turn], n_classes))) for turn in turns]
