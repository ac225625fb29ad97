"""Bounds against cases that can be computed by hand; copies; the ladder on planted causes."""

from __future__ import annotations

import html
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from excise.diagnose import CAUSES, Diagnosis, diagnose, ladder, learning_curve, slack
from excise.diagnose.copies import class_free_copy, gaussian_copy, in_blocks, mean_free, pooled_copy
from excise.diagnose.labels import shuffled_labels
from excise.erasers import Leace, NoEdit
from excise.probes import Linear
from excise.report import write_diagnosis
from excise.types import ConceptData, ExciseError

_SPEC = importlib.util.spec_from_file_location("planted", Path(__file__).parents[1] / "benchmarks" / "diagnosis.py")
assert _SPEC is not None
assert _SPEC.loader is not None
planting = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(planting)


def data(n: int, d: int, gap: float, spread: float) -> ConceptData:
    """Two spherical Gaussians in d dimensions: means `gap` apart, standard deviations 1 and `spread`."""
    g = torch.Generator().manual_seed(0)
    z = torch.arange(n) % 2
    x = torch.randn(n, d, generator=g, dtype=torch.float64) * torch.where(z == 1, spread, 1.0)[:, None]
    x[:, 0] += gap * z
    return ConceptData.of(x, z.tolist())


def test_equal_covariances_leave_slack() -> None:
    """Transport between equal covariances costs the mean shift alone."""
    found = slack(data(20_000, 4, gap=2.0, spread=1.0))
    assert found.mean_shift == pytest.approx(0.25 * 4, rel=0.05)
    assert found.gaussian == pytest.approx(found.mean_shift, rel=0.05)
    # p0 p1 gap^2 + gap^2 / m^2, m the Mahalanobis distance of the means: here the variance along the gap.
    assert found.leace == pytest.approx(0.25 * 4 + 1, rel=0.05)
    assert found.budgets < 1


def test_unequal_covariances_can_be_out_of_reach() -> None:
    """Bures^2 of spheres is d (s1 - s0)^2."""
    found = slack(data(20_000, 16, gap=0.5, spread=3.0))
    assert found.gaussian == pytest.approx(0.25 * (0.25 + 16 * 4), rel=0.05)
    assert found.leace == pytest.approx(0.25 * 0.25 + (1 + 9) / 2, rel=0.05)
    assert found.budgets > 1


def test_more_than_two_classes() -> None:
    with pytest.raises(ExciseError, match="two classes"):
        slack(ConceptData.of(torch.randn(30, 3), [i % 3 for i in range(30)]))


def test_transport_bias_of_few_rows_is_taken_off() -> None:
    """Alike classes: the raw cost of transport is large, and all of it is bias."""
    found = slack(data(200, 30, gap=0.0, spread=1.0))
    assert found.transport > 5
    assert found.transport == pytest.approx(found.transport_bias, rel=0.05)
    far = slack(data(400, 30, gap=6.0, spread=1.0))
    assert far.transport - far.transport_bias == pytest.approx(0.25 * 36, rel=0.25)


@pytest.fixture(scope="module")
def skewed() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    z = np.arange(300) % 3
    return rng.exponential(size=(300, 4)) * (1 + z[:, None]) + z[:, None], z


def test_gaussian_copy_keeps_two_moments_exactly_and_no_more(skewed: tuple[np.ndarray, np.ndarray]) -> None:
    x, z = skewed
    copy = gaussian_copy(x, z, np.random.default_rng(1))
    for c in range(3):
        assert np.allclose(copy[z == c].mean(axis=0), x[z == c].mean(axis=0))
        assert np.allclose(np.cov(copy[z == c].T), np.cov(x[z == c].T))
    third = [float(np.mean((rows[z == 1] - rows[z == 1].mean(axis=0)) ** 3)) for rows in (x, copy)]
    assert abs(third[1]) < 0.1 * third[0]


def test_pooled_copy_keeps_means_and_pooled_covariance(skewed: tuple[np.ndarray, np.ndarray]) -> None:
    x, z = skewed
    copy = pooled_copy(x, z, np.random.default_rng(1))
    scatter = [np.sum([np.cov(rows[z == c].T) for c in range(3)], axis=0) for rows in (x, copy)]
    assert np.allclose(scatter[0], scatter[1])
    sizes = [np.trace(np.cov(copy[z == c].T)) for c in range(3)]
    assert max(sizes) < 1.4 * min(sizes), "1 to 9 before"
    for c in range(3):
        assert np.allclose(copy[z == c].mean(axis=0), x[z == c].mean(axis=0))
    free = class_free_copy(x, z, np.random.default_rng(1))
    assert np.allclose(free[z == 0].mean(axis=0), free[z == 2].mean(axis=0))


def test_mean_free_rows_differ_in_their_means_no_more(skewed: tuple[np.ndarray, np.ndarray]) -> None:
    x, z = skewed
    free = mean_free(x, z, np.random.default_rng(1))
    assert np.allclose([free[z == c].mean(axis=0) for c in range(3)], x.mean(axis=0))
    for c in range(3):
        assert np.allclose(np.cov(free[z == c].T), np.cov(x[z == c].T))


def test_blocks_share_no_row(skewed: tuple[np.ndarray, np.ndarray]) -> None:
    """Changing the rows of one block changes no row of another."""
    x, z = skewed
    blocks = np.arange(300) // 100
    other = x.copy()
    other[blocks == 0] += 100
    a, b = (in_blocks(gaussian_copy, rows, z, blocks, np.random.default_rng(2)) for rows in (x, other))
    assert np.array_equal(a[blocks > 0], b[blocks > 0])
    assert not np.allclose(a[blocks == 0], b[blocks == 0])


def test_shuffled_labels_keep_the_grouping() -> None:
    rng = np.random.default_rng(0)
    z, pairs = np.arange(200) % 2, np.arange(200) // 2
    swapped = shuffled_labels(z, pairs, rng)
    assert (np.bincount(pairs, weights=swapped) == 1).all(), "pairs stay contrast pairs"
    assert 0.3 < np.mean(swapped == z) < 0.7
    topics = np.repeat(np.arange(40), 5)
    moved = shuffled_labels(topics % 2, topics, rng)
    assert all(len(np.unique(moved[topics == t])) == 1 for t in range(40)), "topics stay of one class"


@pytest.mark.parametrize(
    "cause",
    [pytest.param(c, marks=() if c == "written in" else pytest.mark.slow) for c in CAUSES],
)
def test_the_ladder_names_the_planted_cause(cause: str) -> None:
    """`python benchmarks/diagnosis.py` does this many times a cause; covariances are in `covariances` below."""
    eraser, planted = planting.planted(cause, seed=1000)
    found = ladder(eraser, planted)
    assert found.unerased.low > 0.55, "there was something to erase"
    assert found.readable
    assert found.main_cause == cause
    assert found.class_free.low < 0.5 + 0.02, "the control reads chance"
    if cause == "means":
        assert found.mean_free.low < 0.5 + 0.02
    elif cause != "written in":
        assert found.mean_free.low > 0.5, "means are not what is left"
    total = sum(part.value for part in found.excess.values())
    assert total == pytest.approx(found.erased.value - found.chance)


def test_labels_help_where_means_are_the_cause() -> None:
    eraser, planted = planting.planted("means", seed=1001)
    curve = learning_curve(eraser, planted)
    assert curve.n_fit == (44, 90, 180)
    assert curve.rate.low > 0
    assert curve.at(1000) < curve.accuracy[-1].value
    unhelped = learning_curve(*planting.planted("covariances", seed=1001))
    assert unhelped.rate.value < curve.rate.value / 2


@pytest.fixture(scope="module")
def covariances() -> Diagnosis:
    return diagnose(*planting.planted("covariances", seed=1002))


def test_verdict_names_the_cause(covariances: Diagnosis) -> None:
    assert covariances.ladder.main_cause == "covariances"
    assert "class covariances" in covariances.verdict
    assert "more labels would help more" not in covariances.verdict


def test_page(covariances: Diagnosis, tmp_path: Path) -> None:
    page = write_diagnosis([covariances], tmp_path / "page.html").read_text()
    assert covariances.verdict in html.unescape(page)
    assert all(f"<td>{cause}</td>" in page for cause in CAUSES)
    assert page.count("plotly-graph-div") >= 2


def test_nothing_to_explain() -> None:
    noise = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    found = diagnose(Leace(), ConceptData.of(noise, [i % 2 for i in range(200)]), probes=[Linear()])
    assert "nothing that it could be sure of" in found.verdict
    assert np.isnan(found.ladder.share("means"))


def test_three_classes_have_a_ladder_and_no_slack() -> None:
    from tests.conftest import gaussian_classes

    x, z = gaussian_classes(300, 8, k=3, gap=6.0)
    found = diagnose(NoEdit(), ConceptData.of(x, z.tolist()), probes=[Linear()])
    assert found.slack is None
    assert found.ladder.erased == found.ladder.unerased
    assert found.ladder.main_cause == "means"
