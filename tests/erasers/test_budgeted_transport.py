"""What budgeted transport is built for, against cases where the answer is known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from excise.bench import Grade, grade
from excise.erasers import BudgetedTransport, Leace, Scaled
from excise.erasers.budgeted_transport import _smallest
from excise.erasers.shrunk_moments import class_means, shrunk_differences, shrunk_gaps
from excise.measures.edit import row_dependence
from excise.probes import Linear, Quadratic
from excise.types import ConceptData, ExciseError


def spread(n: int, d: int, wide: float) -> ConceptData:
    """Means 4 apart along one axis; class 1 is `wide` times as wide along three others."""
    rng = np.random.default_rng(0)
    z = np.arange(n) % 2
    x = rng.normal(size=(n, d))
    x[:, 0] += 4.0 * z
    x[:, 1:4] *= np.where(z == 1, wide, 1.0)[:, None]
    return ConceptData.of(torch.from_numpy(x), z.tolist())


def test_covariances_go_within_leaces_budget() -> None:
    data = spread(600, 12, wide=3.0)
    probes = [Linear(), Quadratic()]
    ours, leace = (grade(eraser, data, probes=probes) for eraser in (BudgetedTransport(), Leace()))
    assert leace.accuracy("Quadratic").value > 0.75
    assert ours.accuracy("Quadratic").high < leace.accuracy("Quadratic").low - 0.05
    assert ours.budget.value < 1.05
    assert ours.accuracy("Linear").value < 0.65


def test_equal_covariances_leave_a_shift_of_means() -> None:
    """Nothing that permuted labels do not find too, and nothing to save: every edit is along the gap."""
    data = spread(2000, 6, wide=1.0)
    edit = BudgetedTransport(budget=1.5).fit(data.x, data.z)(data.x) - data.x
    gap = data.x[data.z == 1].mean(dim=0) - data.x[data.z == 0].mean(dim=0)
    along = (edit @ gap)[:, None] * gap / gap.square().sum()
    assert (edit - along).square().sum() < 0.02 * edit.square().sum()
    assert (edit @ gap)[data.z == 1].mean() < -0.45 * gap.square().sum()


def test_differences_of_nothing_are_nothing() -> None:
    rows, classes = torch.randn(200, 40, dtype=torch.float64), torch.arange(200) % 2
    rows = rows - torch.stack([rows[classes == c].mean(dim=0) for c in (0, 1)])[classes]
    raw = sum((rows[classes == c].mT @ rows[classes == c] / 100 - rows.mT @ rows / 200).square().sum() for c in (0, 1))
    assert shrunk_differences(rows, classes).square().sum() < 0.05 * raw
    rows[classes == 1, :4] *= 3
    kept = shrunk_differences(rows, classes)[1, :4, :4].diagonal()
    assert kept.min() > 2.0  # 9 - 5, less noise.


@pytest.mark.parametrize("budget", [0.25, 0.5])
def test_less_budget_is_kept_to(budget: float) -> None:
    data = spread(600, 12, wide=3.0)
    graded = grade(BudgetedTransport(budget=budget), data, probes=[Linear()])
    assert graded.budget.value == pytest.approx(budget, rel=0.1)


def test_the_smallest_multiplier_that_keeps_to_the_budget() -> None:
    assert _smallest(lambda mu: 3 / (1 + mu), 1.0) == pytest.approx(2.0)
    assert _smallest(lambda mu: 0.5, 1.0) == 0.0


def test_rows_that_are_all_alike_within_a_class_keep_to_the_budget() -> None:
    z = torch.arange(80) % 2
    x = torch.tensor([[0.0, 1.0, 2.0], [4.0, 1.0, 0.0]], dtype=torch.float64)[z]
    ours, leace = (eraser.fit(x, z)(x) for eraser in (BudgetedTransport(budget=0.25), Leace()))
    ratio = (ours - x).square().sum() / (leace - x).square().sum()
    assert 0 < ratio <= 0.25 * 1.01


def pairs(n_pairs: int, wide: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs that share most of what they say; in class 1 three axes are `wide` times as wide. Rows, classes, groups."""
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(n_pairs, 20, generator=generator, dtype=torch.float64).repeat_interleave(2, dim=0)
    rows = context + 0.2 * torch.randn(2 * n_pairs, 20, generator=generator, dtype=torch.float64)
    classes, groups = torch.arange(2 * n_pairs) % 2, torch.arange(n_pairs).repeat_interleave(2)
    rows[classes == 1, :3] *= wide
    return rows, classes, groups


def test_what_a_pair_shares_is_no_noise() -> None:
    """A small difference of covariances drowns among permuted labels, and stands out among labels swapped in pairs."""
    rows, classes, groups = pairs(80, wide=1.2)
    truth = 0.44 / 2  # (1.2^2 - 1) of unit variance, half of it above the pooled one.
    blind, seen = (shrunk_differences(rows, classes, known)[1, :3, :3].diagonal().mean() for known in (None, groups))
    assert blind < 0.5 * truth
    assert 0.8 * truth < seen < 1.2 * truth
    found = shrunk_differences(rows, classes, groups).square().sum()
    assert shrunk_differences(*pairs(80, wide=1.0)).square().sum() < 0.1 * found


def test_groups_of_one_class_are_dealt_whole() -> None:
    """Ten copies of every row are no more evidence than the row itself."""
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    classes = torch.arange(40) % 2
    rows = rows - torch.stack([rows[classes == c].mean(dim=0) for c in (0, 1)])[classes]
    copies, of = rows.repeat_interleave(10, dim=0), classes.repeat_interleave(10)
    alone = shrunk_differences(rows, classes).square().sum()
    known = shrunk_differences(copies, of, torch.arange(40).repeat_interleave(10)).square().sum()
    taken_for_evidence = shrunk_differences(copies, of).square().sum()
    assert known < 2 * alone + 0.1
    assert taken_for_evidence > 5 * known


def test_rows_alone_in_their_groups_change_nothing() -> None:
    data = spread(200, 6, wide=2.0)
    plain = BudgetedTransport().fit(data.x, data.z)
    assert torch.equal(BudgetedTransport().fit(data.x, data.z, groups=torch.arange(200))(data.x), plain(data.x))


def test_groups_that_cannot_be_used_are_refused() -> None:
    data = spread(200, 6, wide=2.0)
    for groups in (torch.arange(199), torch.rand(200), torch.arange(200)[:, None]):
        with pytest.raises(ExciseError, match="one whole number for each of the 200 rows"):
            BudgetedTransport().fit(data.x, data.z, groups=groups)
    with pytest.raises(ExciseError, match="stands in 2 groups only"):
        BudgetedTransport().fit(data.x, data.z, groups=torch.arange(200) // 100)


def tilted(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [n, 60] whose spread along thirty axes grows with where they stand on the first, a concept or not."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.randn(n, generator=generator, dtype=torch.float64)
    rows = torch.randn(n, 60, generator=generator, dtype=torch.float64)
    rows[:, 1:31] *= torch.exp(0.2 * place)[:, None]
    rows[:, 0] = place
    return rows, place


def concept_of(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes of such rows, those that stand far up and far down."""
    rows, place = tilted(6 * n, seed)
    far = place.abs() > 0.8
    return rows[far][:n], (place[far][:n] > 0).long()


def spreads_apart(x: torch.Tensor, z: torch.Tensor) -> float:
    """Squared log-ratio of the classes' standard deviations along the axes, mean."""
    return float((x[z == 1].std(dim=0) / x[z == 0].std(dim=0)).log()[1:31].square().mean())


def test_a_background_tells_what_few_labels_cannot() -> None:
    x, z = concept_of(100, 1)
    fresh, of_fresh = concept_of(4000, 2)
    alone = BudgetedTransport(budget=4.0).fit(x, z)
    beside = BudgetedTransport(budget=4.0).fit(x, z, background=tilted(5000, 3)[0])
    before, without, with_it = (spreads_apart(m(fresh), of_fresh) for m in (lambda x: x, alone, beside))
    assert with_it < 0.5 * without
    assert with_it < 0.2 * before


def test_a_background_of_noise_does_no_harm() -> None:
    x, z = concept_of(300, 1)
    fresh, of_fresh = concept_of(4000, 2)
    noise = torch.randn(3000, 60, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    alone, beside = (BudgetedTransport().fit(x, z, background=rows) for rows in (None, noise))
    assert spreads_apart(beside(fresh), of_fresh) < spreads_apart(alone(fresh), of_fresh) + 0.02


def test_a_background_that_varies_in_other_directions_is_left_out_and_said_to_be() -> None:
    """Covariances of class would come out negative in its axes, and what they ask for eat the budget of the means."""
    x, z = concept_of(100, 1)
    turned = torch.linalg.qr(torch.randn(60, 60, generator=torch.Generator().manual_seed(5), dtype=torch.float64)).Q
    x = x * torch.linspace(0.1, 3, 60)
    foreign = tilted(3000, 3)[0] * torch.linspace(0.1, 3, 60) @ turned
    for eraser in (BudgetedTransport(), Scaled(BudgetedTransport(), 1.0)):
        with pytest.warns(UserWarning, match="background was not used") as caught:
            beside = eraser.fit(x, z, background=foreign)
        assert [warning.filename for warning in caught] == [__file__]
        assert torch.equal(beside(x), BudgetedTransport().fit(x, z)(x))
        assert beside.provenance["background"] == 0
    with pytest.warns(UserWarning, match="background was not used"):
        left_out = grade(BudgetedTransport(), ConceptData.of(x, z.tolist(), background=foreign), probes=[Linear()])
    assert left_out.n_background == 0


def test_the_background_reaches_the_eraser_through_a_grade() -> None:
    x, z = concept_of(400, 1)
    plain, beside = (ConceptData.of(x, z.tolist(), background=rows) for rows in (None, tilted(3000, 3)[0]))
    budgeted = BudgetedTransport()
    with_it, without = (grade(budgeted, data, probes=[Linear()]) for data in (beside, plain))
    assert (with_it.edit != without.edit).any()
    assert (with_it.n_background, without.n_background) == (3000, 0)
    assert Grade.from_json(with_it.to_json()).n_background == 3000
    scaled = grade(Scaled(budgeted, 0.5), beside, probes=[Linear()])
    assert scaled.budget.value == pytest.approx(0.5, rel=0.15)
    leace, plain_leace = (grade(Leace(), data, probes=[Linear()]) for data in (beside, plain))
    assert (leace.edit == plain_leace.edit).all()
    assert leace.n_background == 0


def test_backgrounds_that_cannot_be_used_are_refused() -> None:
    x, z = concept_of(100, 1)
    rows = tilted(50, 3)[0]
    with pytest.raises(ExciseError, match=r"Leace cannot learn from a background; these can: .*BudgetedTransport"):
        Leace().fit(x, z, background=rows)
    for bad, why in (
        (rows[:, 1:], "background has 59 dimensions and x has 60"),
        (rows[:0], "background is empty"),
        (rows * torch.nan, "background has NaN"),
        (rows[:1].repeat(9, 1), "same in every row"),
        (rows * 1e160, "too large"),
    ):
        with pytest.raises(ExciseError, match=why):
            BudgetedTransport().fit(x, z, background=bad)
    with pytest.raises(ExciseError, match="cannot keep a task"):
        BudgetedTransport().fit(x, z, z, background=rows)
    with pytest.raises(ExciseError, match="2 rows of the background are rows of x"):
        ConceptData.of(x, z.tolist(), background=torch.cat([rows, x[:2]]))
    x[0, 0] = 0.0
    again = torch.where(x == 0, -0.0, x)[:2]
    for saved in (again, again.half(), again.bfloat16()):
        with pytest.raises(ExciseError, match="2 rows of the background are rows of x"):
            ConceptData.of(x, z.tolist(), background=torch.cat([rows.to(saved.dtype), saved]))
        with pytest.raises(ExciseError, match="2 rows of the background are rows of x"):
            ConceptData.of(x.to(saved.dtype), z.tolist(), background=torch.cat([rows, again]))


def test_half_precision_and_few_rows_of_background() -> None:
    x, z = concept_of(100, 1)
    for rows in (tilted(500, 3)[0].half(), tilted(2, 3)[0].bfloat16(), tilted(20, 3)[0].float()):
        assert torch.isfinite(BudgetedTransport().fit(x, z, background=rows)(x)).all()


def test_a_small_edit_of_large_activations_does_not_depend_on_the_batch() -> None:
    """Language models have a few dimensions that are hundreds of times the others."""
    x, z = concept_of(200, 1)
    x[:, 59] += 300
    erasure = BudgetedTransport(budget=0.1).fit(x, z)
    rows = x.float()
    assert row_dependence(erasure, rows, rows[:50]) == []


def test_where_a_background_lies_and_dimensions_that_never_vary_change_nothing() -> None:
    x, z = concept_of(120, 1)
    others, fresh = tilted(800, 3)[0], concept_of(50, 2)[0]
    erasure = BudgetedTransport().fit(x, z, background=others)
    moved = BudgetedTransport().fit(x, z, background=others + 5)
    assert torch.allclose(moved(fresh), erasure(fresh), atol=1e-9)
    dead = torch.zeros(120, 70).double()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        beside_dead = BudgetedTransport().fit(
            torch.cat([x, dead], dim=1), z, background=torch.cat([others, torch.zeros(800, 70).double()], dim=1)
        )
    assert beside_dead(torch.cat([fresh, dead[:50]], dim=1)).isfinite().all()


def test_a_background_of_the_same_rows_is_used_in_few_dimensions() -> None:
    for d in (1, 2, 5):
        both = torch.randn(2100, d, generator=torch.Generator().manual_seed(d), dtype=torch.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            BudgetedTransport().fit(both[:100], torch.arange(100) % 2, background=both[100:])


def test_scaled_hands_a_background_on() -> None:
    x, z = concept_of(120, 1)
    others = tilted(800, 3)[0]
    scaled = Scaled(BudgetedTransport(), 0.5).fit(x, z, background=others)
    assert scaled.provenance["background"] == 800
    assert torch.equal(scaled(x), BudgetedTransport(0.5).fit(x, z, background=others)(x))


def test_rows_that_do_not_vary_within_classes_beside_a_background() -> None:
    z = torch.arange(60) % 2
    others = torch.randn(300, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for x in (torch.ones(60, 12).double(), z[:, None].double().repeat(1, 12)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            beside = BudgetedTransport().fit(x, z, background=others)
        assert torch.equal(beside(x), BudgetedTransport().fit(x, z)(x))


def test_gaps_are_kept_where_labels_vouch_for_them() -> None:
    """Chance finds gaps too, smaller ones where the rows of a pair, which share much, swap labels."""
    generator = torch.Generator().manual_seed(0)
    classes, groups = torch.arange(100) % 2, torch.arange(100) // 2
    apart = torch.zeros(2, 30, dtype=torch.float64)
    apart[1, 0] = 1.0
    shared = 3 * torch.randn(50, 30, generator=generator, dtype=torch.float64).repeat_interleave(2, dim=0)
    rows = shared + torch.randn(100, 30, generator=generator, dtype=torch.float64)

    def kept(x: torch.Tensor, groups: torch.Tensor | None) -> float:
        centred = x - class_means(x, classes)[classes]
        gaps = shrunk_gaps(x, centred, classes, groups, torch.eye(30).double())
        return float(gaps.norm() / (class_means(x, classes) - x.mean(dim=0)).norm())

    assert kept(rows, None) < 0.1
    assert kept(rows + 3 * apart[classes], groups) > 0.8 > kept(rows + 3 * apart[classes], None)
    assert kept(rows, groups) < 0.8
