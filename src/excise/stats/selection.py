"""What choosing does to a figure, and how small a difference so many rows can show.

The best of many tries, chosen and reported on the same rows, looks better than it is: the choice favours lucky errors.
The clean way is to choose on other rows than those that report, as `excise.bench.leaderboard.best_within` does. This
is for figures where that was not done.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm

from excise.stats.bootstrap import Interval
from excise.types import ExciseError

_TWO_SIDED = float(norm.ppf(0.975))


@dataclass(frozen=True)
class BestOfN:
    """The lowest of several accuracies, and what its eraser would probably read on new rows.

    Attributes:
        reported: the lowest figure.
        if_equal: its expected true value if all tries are equally good: their mean.
        if_varying: if their true values vary with standard deviation `tau`: the reported figure drawn towards the mean.
        tau: estimated from the spread that the rows' noise does not explain; 0 if noise explains all of it.
        noise: standard error of one try, without the part that all tries share.
    """

    reported: float
    if_equal: float
    if_varying: float
    tau: float
    noise: float


def expected_best(n: int) -> float:
    """Expected largest of n independent standard normal values (0 for n = 1, 1.586 for n = 11).

    Raises:
        ExciseError: n under 1.

    Source:
        The density n x phi(x) Phi(x)^(n-1) of the largest order statistic; David and Nagaraja 2003, section 2.1.
    """
    if n < 1:
        raise ExciseError(f"the best of {n} tries does not exist; give the number of tries, 1 or more")
    scale = n / math.sqrt(2 * math.pi)
    return float(quad(lambda v: scale * v * math.exp(-v * v / 2) * ndtr(v) ** (n - 1), -12, 12, epsabs=1e-12)[0])


def standard_error(accuracy: float, n_rows: int) -> float:
    """sqrt(p (1 - p) / n) of an accuracy in [0, 1] on independent rows; rows that come in groups have a larger one."""
    return float(np.sqrt(accuracy * (1 - accuracy) / n_rows))


def best_of_n(accuracies: Float64[np.ndarray, " N"], n_rows: int, correlation: float = 0.0) -> BestOfN:
    """Corrects the lowest of N accuracies when all of them are known.

    Under "varying", true values are normal with mean m and variance tau^2, so the winner's expected true value is
    m + tau^2 / (tau^2 + se^2) (lowest - m).

    Args:
        accuracies: of all tries on one concept, in [0, 1], each on `n_rows` independent rows.
        correlation: between the errors of two tries, in [0, 1). Tries that are scored on the same rows share luck that
            no choice between them can pick; 0 corrects the most.

    Raises:
        ExciseError: fewer than two tries: nothing was chosen.

    Source:
        parametric empirical Bayes: Morris 1983, JASA 78:47-55.
    """
    if len(accuracies) < 2:
        raise ExciseError("one try was not chosen from anything, so its figure needs no correction; give all tries")
    mean, lowest = float(accuracies.mean()), float(accuracies.min())
    noise = standard_error(mean, n_rows) * float(np.sqrt(1 - correlation))
    variance = float(accuracies.var(ddof=1))
    tau2 = max(variance - noise**2, 0.0)
    kept = tau2 / (tau2 + noise**2) if tau2 > 0 else 0.0
    return BestOfN(lowest, mean, mean + kept * (lowest - mean), float(np.sqrt(tau2)), noise)


def unflattered(
    reported: float,
    n_rows: int,
    n_tries: int,
    *,
    tau: float = 0.0,
    correlation: float = 0.0,
    carried: float = 1.0,
) -> float:
    """Expected true accuracy of the best of N tries when only its figure was published.

    With s^2 the variance of one try's own error at the true accuracy, the winner's error is on average
    E_N s^2 / sqrt(s^2 + tau^2), E_N as `expected_best`: all of E_N s if the tries are equal, little if they truly
    differ by more than their noise. Solved for the true accuracy, because s depends on it.

    Args:
        reported: accuracy of the winner (the lowest of the tries), in (0, 1].
        n_rows: independent rows that it was measured and chosen on.
        n_tries: that were chosen from.
        tau: standard deviation of the tries' true accuracies, 0 if all are equal.
        correlation: between the errors of two tries, as for `best_of_n`.
        carried: 1 for the figure that was chosen by. For another adversary's figure of the same winner, the correlation
            of that figure's errors with those of the one that chose.

    Raises:
        ExciseError: an accuracy outside (0, 1].
    """
    if not 0 < reported <= 1:
        raise ExciseError(f"the reported accuracy is {reported}; give a share of rows between 0 and 1")
    best = expected_best(n_tries)

    def excess(true: float) -> float:
        own = (1 - correlation) * standard_error(true, n_rows) ** 2
        luck = carried * best * own / np.sqrt(own + tau**2) if own > 0 else 0.0
        return true - reported - luck

    return float(brentq(excess, reported, 1.0))


def detectable(found: Interval, power: float = 0.8) -> float:
    """Smallest true difference that data of this precision would show, in the units of the interval.

    For two erasers or adversaries, give the paired interval of their difference; for one accuracy over chance, give
    the accuracy's own interval. "Show" means: a 95% interval that leaves out zero, in a share `power` of samples.

    Args:
        found: 95% interval from `excise.stats.bootstrap`; only its width is used.
        power: in (0, 1).
    """
    return (found.high - found.low) / 2 * (_TWO_SIDED + float(norm.ppf(power))) / _TWO_SIDED


def chance_interval(chance: float, n_rows: int) -> Interval:
    """95% normal interval of an accuracy at chance on independent rows: what `n_rows` can show at best.

    For `detectable` before anything was measured, and as a floor where predictions that never vary make the bootstrap
    interval empty.
    """
    half = _TWO_SIDED * standard_error(chance, n_rows)
    return Interval(chance, chance - half, chance + half)
