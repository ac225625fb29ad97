"""The grader: what it must report, and what must not fool it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from excise.bench import Grade, grade
from excise.bench.leaderboard import best_within, leaderboard
from excise.erasers import Constant, GaussianTransport, Leace, NoEdit, RandomDirection
from excise.erasers.low_rank import LowRankMap
from excise.probes import Linear, RbfSvm
from excise.stats.splits import Split, rotations
from excise.types import ConceptData, Eraser, ErasureMap, ExciseError, Labels

PANEL = (Linear(), RbfSvm())


@dataclass(frozen=True)
class Custom(Eraser):
    """Wraps a function of x that is fitted on nothing."""

    title = "custom"
    source = "test"

    how: str = ""

    def _fit(self, x: Tensor, z: Labels) -> ErasureMap:
        return CustomMap(x.mean(dim=0), self.how)


class CustomMap(ErasureMap):
    mean: Tensor

    def __init__(self, mean: Tensor, how: str) -> None:
        super().__init__(mean=mean)
        self.how = how
        self.calls = 0

    @property
    def d(self) -> int:
        return len(self.mean)

    def _map(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.how == "batch mean":
            return x - 0.5 * x.mean(dim=0)
        if self.how == "call counter":
            return x + self.calls
        if self.how == "position":
            return x + torch.arange(len(x))[:, None] * 0.01
        if self.how == "rank in batch":
            return x + x.argsort(dim=0).argsort(dim=0) * 0.01
        if self.how == "one row pays":
            return torch.where((x[:, :1] - self.mean[0]).abs() > 6, x + 1000, x + 0.01)
        if self.how == "NaN":
            return x / 0 * 0
        if self.how == "in place":
            return x.mul_(0.9)
        if self.how == "narrower":
            return x[:, :-1]
        raise AssertionError(self.how)


def test_pure(pairs: ConceptData) -> None:
    x = pairs.x.clone()
    first, second = (grade(Leace(), pairs, probes=PANEL, seed=1) for _ in range(2))
    assert json.dumps(first.to_json()) == json.dumps(second.to_json())
    assert torch.equal(x, pairs.x)


def test_record_round_trip(pairs: ConceptData) -> None:
    first = grade(Leace(), pairs, probes=PANEL)
    back = Grade.from_json(json.loads(json.dumps(first.to_json())))
    assert back.to_json() == first.to_json()
    assert back.accuracy("RbfSvm") == first.accuracy("RbfSvm")


def test_explicit_splits_share_a_fit_and_leave_out_rows_that_are_never_tested(pairs: ConceptData) -> None:
    whole = next(rotations(pairs.z.numpy(), pairs.groups, seed=0))
    halves = np.isin(pairs.groups[whole.test], np.unique(pairs.groups[whole.test])[::2])
    splits = [Split(whole.fit, whole.probe, whole.test[part]) for part in (halves, ~halves)]
    found = grade(Leace(), pairs, probes=[Linear()], splits=splits)
    assert sorted(found.groups) == sorted(pairs.groups[whole.test])
    assert set(found.rotation) == {0, 1}
    assert len(found.probability["Linear"]) == len(whole.test)
    # The fitted map is the same as when each rotation stands alone.
    alone = grade(Leace(), pairs, probes=[Linear()], splits=splits[1:])
    np.testing.assert_array_equal(found.edit[found.rotation == 1], alone.edit)
    np.testing.assert_allclose(found.budget.value, 1.0)


def test_leace_and_controls(pairs: ConceptData) -> None:
    none, leace, constant = (grade(e, pairs, probes=PANEL) for e in (NoEdit(), Leace(), Constant()))
    assert none.chance == 0.5
    assert none.accuracy("Linear").value > 0.8
    assert none.budget.value == 0
    assert leace.accuracy("Linear").value < 0.65
    assert leace.accuracy("RbfSvm").value > 0.8, "classes differ in covariance, which LEACE leaves"
    assert leace.budget.value == 1.0
    assert leace.worst == "RbfSvm"
    assert constant.accuracy("RbfSvm").value == 0.5
    assert constant.budget.value > 1
    assert not none.flags + leace.flags


def test_random_direction_spends_about_leaces_budget(pairs: ConceptData) -> None:
    budgets = [grade(RandomDirection(seed), pairs, probes=PANEL[:1]).budget.value for seed in range(3)]
    assert all(0.5 < budget < 2 for budget in budgets)


def test_transport_beats_leace_where_covariance_is_the_cause(pairs: ConceptData) -> None:
    leace, transport = (grade(e, pairs, probes=PANEL) for e in (Leace(), GaussianTransport()))
    assert transport.accuracy("RbfSvm").high < leace.accuracy("RbfSvm").low


@pytest.mark.parametrize(
    ("how", "flag"),
    [
        ("batch mean", "row depends on"),
        ("call counter", "row depends on"),
        ("position", "row depends on order"),
        ("rank in batch", "row depends on single row"),
    ],
)
def test_rows_that_depend_on_the_batch_are_flagged(pairs: ConceptData, how: str, flag: str) -> None:
    graded = grade(Custom(how), pairs, probes=PANEL[:1])
    assert any(flag in f for f in graded.flags)
    honest = grade(Leace(), pairs, probes=PANEL[:1])
    board = leaderboard([graded, honest])
    assert {row.eraser: row.rank for row in board.rows} == {"Custom": 0, "Leace": 1}
    assert best_within([graded], 1e9) is None


def test_one_row_that_pays_for_all_is_flagged() -> None:
    x = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
    x[17, 0] += 50
    data = ConceptData.of(x, [i % 2 for i in range(400)])
    assert any("one row" in flag for flag in grade(Custom("one row pays"), data, probes=PANEL[:1]).flags)


@pytest.mark.parametrize(("how", "words"), [("NaN", "NaN"), ("in place", "in place"), ("narrower", "keep both")])
def test_maps_that_break_their_contract_are_refused(pairs: ConceptData, how: str, words: str) -> None:
    with pytest.raises(ExciseError, match=words):
        grade(Custom(how), pairs, probes=PANEL[:1])


def test_boards_that_would_mix_things_up_are_refused(pairs: ConceptData) -> None:
    leace = grade(Leace(), pairs, probes=PANEL[:1])
    with pytest.raises(ExciseError, match="several settings"):
        leaderboard([leace, dataclasses.replace(leace, settings={"shrinkage": False})])
    with pytest.raises(ExciseError, match="no common concept"):
        leaderboard([leace, dataclasses.replace(leace, eraser="Other", concept="elsewhere")])
    with pytest.raises(ExciseError, match="no grades"):
        leaderboard([])


def test_activations_that_never_vary_have_no_budget() -> None:
    with pytest.raises(ExciseError, match="no budget to measure"):
        grade(NoEdit(), ConceptData.of(torch.ones(100, 4), [i % 2 for i in range(100)]), probes=PANEL[:1])


def test_below_chance_counts_as_leakage() -> None:
    """A probe that is always wrong knows the concept: folding reads it."""
    data = ConceptData.of(torch.randn(100, 3), [i % 2 for i in range(100)])
    graded = grade(NoEdit(), data, probes=PANEL[:1])
    inverted = dataclasses.replace(graded, correct={"Linear": np.arange(100) % 10 == 0})
    assert inverted.accuracy("Linear").value == pytest.approx(0.9)


def test_three_integer_classes() -> None:
    from tests.conftest import gaussian_classes

    x, z = gaussian_classes(450, 16, k=3, gap=8.0)
    data = ConceptData.of(x.float(), z.tolist())
    none, leace = (grade(e, data, probes=PANEL[:1]) for e in (NoEdit(), Leace()))
    assert none.chance == pytest.approx(1 / 3)
    assert none.accuracy("Linear").value > 0.9
    assert leace.accuracy("Linear").value < 0.5


def test_no_row_of_one_group_meets_itself() -> None:
    """Twins with random labels: kept together nothing can be read, split up a probe meets the twin of a test row."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(150, 10, generator=g).repeat_interleave(2, dim=0)
    z = torch.randint(2, (150,), generator=g).repeat_interleave(2).tolist()
    together, apart = (
        grade(NoEdit(), ConceptData.of(x, z, groups), probes=PANEL[1:]).accuracy("RbfSvm")
        for groups in ([i // 2 for i in range(300)], None)
    )
    assert together.low <= 0.52, "0.52 is chance here"
    assert apart.low > 0.52


def test_board_shows_ties_and_sets_unreadable_concepts_apart(pairs: ConceptData) -> None:
    noise = ConceptData.of(
        torch.randn(300, 24, generator=torch.Generator().manual_seed(3)), pairs.z[:300].tolist(), name="noise"
    )
    erasers = (NoEdit(), Leace(), Leace(shrinkage=False), RandomDirection())
    grades = [grade(e, data, probes=PANEL) for data in (pairs, noise) for e in erasers[:2]]
    twin = [dataclasses.replace(g, eraser="LeaceTwin") for g in grades if g.eraser == "Leace"]
    board = leaderboard([*grades, *twin])
    assert board.set_apart == ("noise",)
    assert board.concepts == ("synthetic",)
    smaller = dataclasses.replace(grades[0], concept="fewer rows", damage={"cosine": np.ones(300)})
    mixed = leaderboard([dataclasses.replace(grades[0], damage={"cosine": np.zeros(400)}), smaller])
    assert mixed.rows[0].damage == {"cosine": 0.5}, "concepts count alike, whatever their rows"
    rows = {row.eraser: row for row in board.rows}
    assert rows["Leace"].rank == rows["LeaceTwin"].rank == 1
    assert rows["NoEdit"].rank == 0
    assert rows["LeaceTwin"].against_leace.low == rows["LeaceTwin"].against_leace.high == 0
    assert rows["NoEdit"].against_leace.low > 0


def test_best_is_chosen_on_probe_rows_of_each_rotation() -> None:
    """Test luck must not decide: the one with the lower cross-validated accuracy wins, although it tests worse."""
    data = ConceptData.of(torch.randn(100, 3), [i % 2 for i in range(100)])
    base = grade(Leace(), data, probes=PANEL[:1])
    right, wrong = np.ones(100, dtype=bool), np.arange(100) % 2 == 0
    lucky = dataclasses.replace(base, eraser="Lucky", cv={"Linear": [0.7] * 5}, correct={"Linear": wrong})
    sound = dataclasses.replace(base, eraser="Sound", cv={"Linear": [0.6] * 5}, correct={"Linear": right})
    best = best_within([lucky, sound], 1.05)
    assert best is not None
    assert best.eraser == "Sound"
    assert best.worst_accuracy.value == 1.0
    # An eraser that pushes probes far below chance has not erased.
    inverted = dataclasses.replace(base, eraser="Inverted", cv={"Linear": [0.1] * 5})
    assert best_within([inverted, lucky], 1.05).eraser == "Lucky"  # type: ignore[union-attr]
    # Each rotation chooses for itself.
    mixed = dataclasses.replace(sound, cv={"Linear": [0.6, 0.6, 0.8, 0.8, 0.8]})
    best = best_within([lucky, mixed], 1.05)
    assert best is not None
    assert np.array_equal(best.worst_correct, np.where(base.rotation < 2, right, wrong))


def test_low_rank_map_is_what_its_formula_says() -> None:
    x = torch.randn(5, 4, dtype=torch.float64)
    mean, left, right = torch.randn(4).double(), torch.randn(4, 2).double(), torch.randn(4, 2).double()
    assert torch.allclose(LowRankMap(mean, left, right)(x), x - (x - mean) @ right @ left.T)
