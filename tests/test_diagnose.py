"""Bounds against cases that can be computed by hand."""

from __future__ import annotations

import pytest
import torch

from excise.diagnose import slack
from excise.types import ConceptData, ExciseError


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
