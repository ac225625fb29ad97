"""Damage of edits whose damage is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from excise.erasers import Leace
from excise.measures.damage import Collateral, cosine, mahalanobis, neighbour_overlap, other_concepts
from excise.probes import Linear
from excise.types import ConceptData, EncodingMap, ErasureMap, ExciseError


def rows(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)))


def test_cosine() -> None:
    x = torch.tensor([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0], [2.0, 0.0]])
    erased = torch.tensor([[0.0, 2.0], [6.0, 8.0], [-1.0, -1.0], [0.0, 0.0]])
    assert cosine(x, erased).tolist() == pytest.approx([0, 1, -1, 0])


def test_mahalanobis_is_in_units_of_the_covariance() -> None:
    """The same L2 edit costs 100 times more where the standard deviation is a tenth; whole rows cost d on average."""
    x = rows(50_000, 4) * torch.tensor([1.0, 1.0, 1.0, 0.1])
    step = torch.zeros(4, dtype=torch.float64)
    step[0] = 0.5
    thin = step.flip(0)
    assert mahalanobis(x, x + step).mean() == pytest.approx(0.25, rel=0.05)
    assert mahalanobis(x, x + thin).mean() == pytest.approx(25.0, rel=0.05)
    assert mahalanobis(x, x.mean(dim=0).expand_as(x)).mean() == pytest.approx(4.0, rel=0.01)
    assert not mahalanobis(x, x).any()


def test_mahalanobis_with_fewer_rows_than_dimensions_and_without_variance() -> None:
    x = rows(20, 60)
    found = mahalanobis(x.float(), x.float() + 0.1)
    assert found.dtype == torch.float64
    # 60 dimensions of variance about 1: 60 * .01 = .6.
    assert found.min() > 0.3
    assert found.max() < 1.5
    assert not mahalanobis(torch.ones(20, 3), torch.zeros(20, 3)).any()


def test_neighbours_of_a_random_edit_of_the_same_size() -> None:
    """A shift keeps every neighbour, an unrelated edit of its size few, rows drawn anew k / (n - 1)."""
    x = rows(400, 10)
    shifted = x + 3.0
    random = x + rows(400, 10, seed=1) * 3.0
    anew = rows(400, 10, seed=2)
    assert (neighbour_overlap(x, shifted) == 1).all()
    assert neighbour_overlap(x, random).mean() < 0.25
    assert neighbour_overlap(x, anew).mean() == pytest.approx(10 / 399, abs=0.01)
    assert neighbour_overlap(x, x[:, :9]).mean() > 0.5  # A space of another dimension.
    with pytest.raises(ExciseError, match="cannot have 10 neighbours"):
        neighbour_overlap(x[:10], x[:10])


def planted(direction: list[float], seed: int, name: str) -> ConceptData:
    """150 pairs in 6 dimensions whose classes lie three standard deviations apart along a direction."""
    z = torch.arange(300) % 2
    x = rows(300, 6, seed) + 3.0 * (z[:, None] - 0.5) * torch.nn.functional.normalize(torch.tensor(direction), dim=0)
    return ConceptData.of(x.float(), z.tolist(), (np.arange(300) // 2).tolist(), name)


def collateral(direction: list[float], seed: int) -> Collateral:
    """Of LEACE on the first dimension, for a concept on other rows along a direction; what holds for every concept."""
    fitted = planted([1, 0, 0, 0, 0, 0.0], 0, "target")
    other = planted(direction, seed, "other")
    (found,) = other_concepts(Leace().fit(fitted.x, fitted.z), [other], Linear(), seed=0)
    assert found.concept == "other"
    assert found.chance == 0.5
    assert found.before.value > 0.88
    assert found.drop.value == pytest.approx(found.before.value - found.after.value)
    assert found.drop.low <= found.drop.value <= found.drop.high
    return found


def test_an_orthogonal_concept_stays() -> None:
    found = collateral([0, 1, 0, 0, 0, 0.0], 1)
    assert found.drop.low <= 0 <= found.drop.high
    assert abs(found.frozen_drop.value) < 0.02


def test_an_overlapping_concept_suffers() -> None:
    found = collateral([1, 1, 0, 0, 0, 0.0], 2)
    assert found.drop.low > 0
    assert found.after.low > 0.7  # Half of it lies elsewhere.


def test_the_targeted_concept_goes() -> None:
    found = collateral([1, 0, 0, 0, 0, 0.0], 3)
    assert found.after.value < 0.6
    assert found.frozen_drop.low > 0.25


class Mirrored(ErasureMap):
    """Loses nothing and moves everything: x -> -x."""

    d = 6  # type: ignore[assignment]

    def _map(self, x: Tensor) -> Tensor:
        return -x


class Encoded(EncodingMap):
    d, d_out = 6, 2  # type: ignore[assignment]

    def _map(self, x: Tensor) -> Tensor:
        return x[..., :2]


def test_a_frozen_reader_is_misled_where_a_new_one_is_not() -> None:
    (found,) = other_concepts(Mirrored(), [planted([1, 0, 0, 0, 0, 0.0], 0, "a")], Linear(), seed=0)
    assert found.drop.value == pytest.approx(0, abs=0.01)
    assert found.frozen.high < 0.2  # Not folded.
    assert found.frozen_drop.value == pytest.approx(found.before.value - found.frozen.value)


def test_labels_without_a_signal_show_no_drop() -> None:
    data = planted([1, 0, 0, 0, 0, 0.0], 0, "a")
    noise = ConceptData.of(rows(300, 6, 9).float(), data.z.tolist(), data.groups.tolist(), "noise")
    (found,) = other_concepts(Leace().fit(data.x, data.z), [noise], Linear(), seed=0)
    assert found.before.low <= 0.5 + 0.02
    assert found.drop.low <= 0 <= found.drop.high


def test_an_encoder_is_refused() -> None:
    with pytest.raises(ExciseError, match="space of its own"):
        other_concepts(Encoded(), [planted([1, 0, 0, 0, 0, 0.0], 0, "a")], Linear(), seed=0)
