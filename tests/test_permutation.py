"""Kernel tests: true under the null, sharp on planted differences, honest about groups."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from excise.stats import permutation
from excise.stats.mmd import alignment, gaussian_kernel, mmd2, typical_distance
from excise.stats.permutation import hsic_test, mmd_test
from excise.types import ExciseError

Groups = npt.NDArray[np.int64]
TESTS = [mmd_test, hsic_test]


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)))


def rejected(test: Callable[..., permutation.Test], draw: Callable[[int], tuple[Tensor, Tensor, Groups]]) -> float:
    """Share of 200 data sets with p <= .05."""
    return float(np.mean([test(*draw(seed), seed=seed, n_permutations=99).p <= 0.05 for seed in range(200)]))


def independent(seed: int) -> tuple[Tensor, Tensor, Groups]:
    return normal(60, 3, seed), torch.arange(60) % 3, np.arange(60)


def pairs_without_effect(seed: int) -> tuple[Tensor, Tensor, Groups]:
    """30 pairs, one row of each class, that share most of their position."""
    shared = normal(30, 3, seed).repeat_interleave(2, dim=0)
    return shared + 0.3 * normal(60, 3, seed + 1000), torch.arange(60) % 2, np.arange(60) // 2


def whole_groups(seed: int) -> tuple[Tensor, Tensor, Groups]:
    """20 groups of one class and of two sizes, whose rows resemble each other."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(20), np.tile([2, 2, 5, 5], 5))
    z = torch.from_numpy(rng.permutation(20) % 2)[groups]
    return normal(20, 3, seed)[groups] + 0.3 * normal(len(z), 3, seed + 1000), z, groups


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("draw", [independent, pairs_without_effect, whole_groups])
def test_one_in_twenty_under_the_null(test: Callable[..., permutation.Test], draw: Callable[..., object]) -> None:
    """Binomial(200, .05): 3 to 19 rejections in 99.7% of cases; too few would be a blunt test."""
    assert 3 / 200 <= rejected(test, draw) <= 19 / 200  # type: ignore[arg-type]


def test_relabelling_row_by_row_would_be_wrong() -> None:
    """Negative control: whole groups permuted as rows reject far too often, pairs nearly never."""
    rows = {
        draw: rejected(mmd_test, lambda seed, draw=draw: (*draw(seed)[:2], np.arange(len(draw(seed)[1]))))
        for draw in (whole_groups, pairs_without_effect)
    }
    assert rows[whole_groups] > 0.3
    assert rows[pairs_without_effect] < 1 / 200


def test_pairs_show_what_rows_alone_hide() -> None:
    """A shift of a third of the pair's own spread: found within pairs, drowned between them."""
    x, z, groups = pairs_without_effect(0)
    x = x + 0.25 * z[:, None]
    assert mmd_test(x, z, groups, seed=0).p <= 0.01
    assert mmd_test(x, z, np.arange(60), seed=0).p > 0.2


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("moment", [1, 2, 3])
def test_finds_differences_of_every_order(test: Callable[..., permutation.Test], moment: int) -> None:
    rng = np.random.default_rng(moment)
    z = np.arange(300) % 2
    x = rng.normal(size=(300, 2))
    if moment == 1:
        x[:, 0] += 0.8 * z
    elif moment == 2:
        x[:, 0] *= np.where(z == 1, 2.0, 1.0)
    else:  # Mean 0 and variance 1 on both sides, skewed to either.
        x[:, 0] = (rng.exponential(size=300) - 1) * np.where(z == 1, 1.0, -1.0)
    assert test(torch.from_numpy(x), torch.from_numpy(z), np.arange(300), seed=0).p <= 0.005


def test_statistics_are_those_of_the_kernel_measures() -> None:
    x, z = normal(50, 4, 0), torch.tensor([0] * 10 + [1] * 15 + [2] * 25)
    kernel = gaussian_kernel(x, typical_distance(x))
    assert mmd_test(x, z, np.arange(50), 0, 20).statistic == pytest.approx(float(mmd2(kernel, z, unbiased=True)))
    assert hsic_test(x, z, np.arange(50), 0, 20).statistic == pytest.approx(float(alignment(kernel, z)))


@pytest.mark.parametrize("draw", [independent, pairs_without_effect, whole_groups])
def test_relabellings_respect_groups(draw: Callable[..., tuple[Tensor, Tensor, Groups]]) -> None:
    _, z, groups = draw(0)
    labels = permutation._relabelled(z, groups, 0, 50)
    assert torch.equal(labels[:, 0], z)
    assert len(labels.unique(dim=1).T) > 45
    for made in labels.T:
        assert torch.equal(torch.bincount(made), torch.bincount(z))
        for g in np.unique(groups):
            rows = torch.from_numpy(groups == g)
            if draw is pairs_without_effect:
                assert sorted(made[rows].tolist()) == [0, 1]
            else:
                assert len(made[rows].unique()) == 1


def test_mixed_and_whole_groups_together() -> None:
    """Rows 0-9 in pairs of both classes, 10-29 alone."""
    z, groups = torch.arange(30) % 2, np.concatenate([np.arange(10) // 2, np.arange(5, 25)])
    labels = permutation._relabelled(z, groups, 0, 200)
    assert (labels[0:10:2] + labels[1:10:2] == 1).all()
    assert (labels[10:].sum(dim=0) == 10).all()
    assert 0.3 < labels[10:].double().mean(dim=1).min() < labels[10:].double().mean(dim=1).max() < 0.7


def test_seed_decides_the_p_value() -> None:
    x, z, groups = independent(4)
    assert mmd_test(x, z, groups, seed=1) == mmd_test(x, z, groups, seed=1)
    assert len({mmd_test(x, z, groups, seed=s, n_permutations=200).p for s in range(5)}) > 1


def test_rows_that_coincide_prove_nothing() -> None:
    for test in TESTS:
        found = test(torch.ones(40, 3), torch.arange(40) % 2, np.arange(40), seed=0, n_permutations=50)
        assert found.p == 1
        assert found.statistic == pytest.approx(0, abs=1e-12)


def test_too_few_relabellings() -> None:
    x, z = normal(40, 2, 0), torch.arange(40) // 20
    with pytest.raises(ExciseError, match="only 2 ways to relabel"):
        mmd_test(x, z, z.numpy(), seed=0)
    with pytest.raises(ExciseError, match="class 1 has 1 rows"):
        mmd_test(x, (torch.arange(40) == 0).long(), np.arange(40), seed=0)
