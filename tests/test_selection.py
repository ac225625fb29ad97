"""Corrections for choosing, against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from excise.stats.bootstrap import Interval
from excise.stats.selection import (
    best_of_n,
    chance_interval,
    detectable,
    expected_best,
    standard_error,
    unflattered,
)
from excise.types import ExciseError

ROWS, TRIES, STUDIES = 80, 11, 4000


def test_expected_best_of_normals() -> None:
    assert expected_best(1) == pytest.approx(0, abs=1e-9)
    assert expected_best(2) == pytest.approx(1 / np.sqrt(np.pi))
    assert expected_best(11) == pytest.approx(1.5864, abs=1e-4)
    drawn = np.random.default_rng(0).normal(size=(200_000, 11)).max(axis=1)
    assert expected_best(11) == pytest.approx(drawn.mean(), abs=0.005)
    with pytest.raises(ExciseError, match="best of 0"):
        expected_best(0)


def studies(tau: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True and measured accuracies of STUDIES studies of TRIES erasers."""
    rng = np.random.default_rng(seed)
    true = np.clip(rng.normal(0.78, tau, size=(STUDIES, TRIES)), 0, 1)
    return true, rng.binomial(ROWS, true) / ROWS


@pytest.mark.parametrize("tau", [0.0, 0.05, 0.1])
def test_the_published_best_alone_is_corrected(tau: float) -> None:
    true, measured = studies(tau)
    won = measured.argmin(axis=1)
    reported = measured.min(axis=1).mean()
    truth = true[np.arange(STUDIES), won].mean()
    # Rounded to whole rows and a little skewed: the normal formula is within half a point.
    assert unflattered(reported, ROWS, TRIES, tau=tau) == pytest.approx(truth, abs=0.006)
    assert truth - reported > 0.015  # There was something to correct.


@pytest.mark.parametrize("tau", [0.0, 0.05, 0.1])
def test_all_tries_known(tau: float) -> None:
    true, measured = studies(tau, seed=1)
    true, measured = true[:600], measured[:600]
    found = [best_of_n(m, ROWS) for m in measured]
    truth = true[np.arange(len(true)), measured.argmin(axis=1)].mean()
    assert np.mean([f.reported for f in found]) == pytest.approx(measured.min(axis=1).mean())
    varying, equal = np.mean([f.if_varying for f in found]), np.mean([f.if_equal for f in found])
    assert varying == pytest.approx(truth, abs=0.02)
    # The full correction holds when tries are equal, and only then.
    assert (abs(equal - truth) < 0.005) == (tau == 0)
    assert np.sqrt(np.mean(np.square([f.tau for f in found]))) == pytest.approx(tau, abs=0.025)


def test_shared_luck_is_not_chosen() -> None:
    """Tries scored on the same rows: a try copies the common outcome of a row with probability sqrt(correlation)."""
    rng = np.random.default_rng(0)
    common = rng.random((STUDIES, 1, ROWS)) < 0.78
    own = rng.random((STUDIES, TRIES, ROWS)) < 0.78
    measured = np.where(rng.random(own.shape) < np.sqrt(0.5), common, own).mean(axis=2)
    reported = measured.min(axis=1).mean()
    assert unflattered(reported, ROWS, TRIES, correlation=0.5) == pytest.approx(0.78, abs=0.005)
    assert unflattered(reported, ROWS, TRIES) > 0.79
    assert np.mean([best_of_n(m, ROWS, 0.5).tau for m in measured[:500]]) < np.mean(
        [best_of_n(m, ROWS, 0.0).noise for m in measured[:500]]
    )


def test_another_adversary_is_flattered_by_its_share() -> None:
    """A second probe agrees with the first's luck on a row with probability .6, the correlation of their errors."""
    rng = np.random.default_rng(0)
    first = rng.random((STUDIES, TRIES, ROWS)) < 0.78
    second = np.where(rng.random(first.shape) < 0.6, first, rng.random(first.shape) < 0.78).mean(axis=2)
    reported = second[np.arange(STUDIES), first.mean(axis=2).argmin(axis=1)].mean()
    assert unflattered(reported, ROWS, TRIES, carried=0.6) == pytest.approx(0.78, abs=0.005)
    assert 0.78 - reported == pytest.approx(0.6 * expected_best(11) * standard_error(0.78, ROWS), abs=0.005)


def test_nothing_to_correct() -> None:
    assert unflattered(0.7, ROWS, 1) == pytest.approx(0.7)
    assert unflattered(0.7, 10**8, TRIES) == pytest.approx(0.7, abs=1e-3)
    assert unflattered(1.0, ROWS, TRIES) == 1.0
    with pytest.raises(ExciseError, match="one try"):
        best_of_n(np.array([0.7]), ROWS)
    with pytest.raises(ExciseError, match="between 0 and 1"):
        unflattered(70.0, ROWS, TRIES)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_detectable_excess_is_detected_at_its_power(power: float) -> None:
    n = 600
    excess = detectable(chance_interval(0.5, n), power)
    accuracy = np.random.default_rng(0).binomial(n, 0.5 + excess, size=20_000) / n
    seen = np.mean(accuracy - 1.96 * np.sqrt(accuracy * (1 - accuracy) / n) > 0.5)
    assert seen == pytest.approx(power, abs=0.03)


def test_the_detectable_difference_of_a_pair_is_detected() -> None:
    """Two accuracies on the same rows: the interval of the difference, not of either, says what shows."""
    rng = np.random.default_rng(0)
    n, discordant = 500, 0.2
    half = 1.96 * np.sqrt(discordant / n)
    gap = detectable(Interval(0.0, -half, half))
    wins = rng.multinomial(n, [(discordant + gap) / 2, (discordant - gap) / 2, 1 - discordant], size=20_000)
    difference = (wins[:, 0] - wins[:, 1]) / n
    spread = np.sqrt((wins[:, 0] + wins[:, 1]) / n - difference**2) / np.sqrt(n)
    assert np.mean(difference > 1.96 * spread) == pytest.approx(0.8, abs=0.03)
    assert detectable(Interval(0.0, -half, half)) == pytest.approx(half * (1.96 + 0.8416) / 1.96, rel=1e-4)
