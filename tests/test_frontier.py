"""The frontier: an exact area, paired intervals, ties as ties, and chance where there is nothing to read."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from excise.bench import Grade, grade
from excise.bench.frontier import Frontier, at_own_size, budgets_asked, frontiers
from excise.bench.leaderboard import WITHIN_BUDGET, leaderboard
from excise.cli.show import frontier_table
from excise.erasers import Leace, NoEdit, Scaled
from excise.probes import Linear
from excise.report.frontier_figure import frontier_figure
from excise.types import ConceptData, ExciseError
from tests.conftest import gaussian_classes

N = 200
BUDGETS = (0.25, 0.5, 1.0, 2.0, 4.0)


@cache
def data() -> ConceptData:
    """N rows in pairs."""
    x, z = gaussian_classes(N, 8)
    return ConceptData.of(x, z.tolist(), [i // 2 for i in range(N)], "a")


@cache
def template() -> Grade:
    """A real grade, whose figures `made` replaces."""
    return grade(NoEdit(), data(), probes=(Linear(),))


def made(eraser: str, accuracy: float, asked: float | None = None, *, seed: int = 0, concept: str = "a") -> Grade:
    """A grade whose one probe is right on exactly this share of rows; which rows they are is drawn with the seed. What
    it spends is what was asked, or one LEACE edit."""
    return replace(
        template(),
        concept=concept,
        eraser=eraser if asked is None else f"{eraser}@{asked:g}",
        settings={} if asked is None else {"budget": asked},
        correct={"Linear": np.random.default_rng(seed).permutation(N) < round(accuracy * N)},
        cv={"Linear": [accuracy] * 5},
        edit=np.full(N, asked or 1.0),
        reference=np.ones(N),
        flags=(),
    )


def curve(eraser: str, accuracies: dict[float, float], *, seed: int = 0, concept: str = "a") -> list[Grade]:
    return [made(eraser, a, b, seed=seed, concept=concept) for b, a in accuracies.items()]


def by_name(grades: list[Grade]) -> dict[str, Frontier]:
    return {f.eraser: f for f in frontiers(grades)}


@pytest.mark.parametrize(
    ("accuracies", "area"),
    [
        (dict.fromkeys(BUDGETS, 0.5), 0.0),
        (dict.fromkeys(BUDGETS, 0.8), 0.3),
        # Octaves are equally far apart: ends count half.
        (dict(zip(BUDGETS, (0.9, 0.8, 0.7, 0.6, 0.5), strict=True)), (0.4 / 2 + 0.3 + 0.2 + 0.1 + 0 / 2) / 4),
        # One octave and three.
        ({0.25: 0.9, 0.5: 0.7, 4.0: 0.6}, ((0.4 + 0.2) / 2 * 1 + (0.2 + 0.1) / 2 * 3) / 4),
        # Under a half is folded; one budget is a point; budgets outside 0.25 to 4 do not count.
        ({1.0: 0.3}, 0.2),
        ({0.125: 1.0, 0.5: 0.9, 2.0: 0.7, 8.0: 0.5}, 0.3),
    ],
)
def test_area_is_exact(accuracies: dict[float, float], area: float) -> None:
    (found,) = frontiers(curve("Leace", accuracies))
    assert found.area.value == pytest.approx(area, abs=1e-12)
    assert found.area.low <= found.area.value <= found.area.high
    assert [p.asked for p in found.points] == sorted(accuracies)
    assert [p.worst.value for p in found.points] == pytest.approx([max(a, 1 - a) for a in accuracies.values()])
    assert found.chance == 0.5


def test_no_area_without_a_common_budget() -> None:
    found = frontiers([*curve("Leace", {0.5: 0.8}), *curve("Inlp", {1.0: 0.6})])
    assert [f.rank for f in found] == [0, 0]
    assert all(np.isnan(f.area.value) and f.counted == () for f in found)
    assert budgets_asked(found) == [0.5, 1.0]


def test_mean_over_the_concepts_common_to_all() -> None:
    grades = [
        *curve("Leace", {1.0: 0.8}),
        *curve("Leace", {1.0: 0.6}, concept="b"),
        *curve("Leace", {1.0: 1.0}, concept="only LEACE's"),
        *curve("Inlp", {1.0: 0.7}),
        *curve("Inlp", {1.0: 0.7}, concept="b"),
        made("Leace", 0.9, concept="a"),
    ]
    found = by_name(grades)
    assert found["Leace"].concepts == found["Inlp"].concepts == ("a", "b")
    assert found["Leace"].area.value == pytest.approx(0.2)
    assert found["Leace"].own is None, "it was not graded at its own size on both"
    unreadable = [made("NoEdit", 0.95, concept="a"), made("NoEdit", 0.7, concept="b")]
    assert by_name([*grades, *unreadable])["Leace"].concepts == ("a",)


def test_differences_are_paired() -> None:
    """The same rows with six changed: the areas' own intervals overlap widely, that of the difference excludes zero."""
    leace = curve("Leace", dict.fromkeys(BUDGETS, 0.75))
    worse = [
        replace(g, eraser=g.eraser.replace("Leace", "Inlp"), correct={"Linear": g.correct["Linear"].copy()})
        for g in leace
    ]
    for g in worse:
        g.correct["Linear"][np.flatnonzero(~g.correct["Linear"])[:6]] = True
    found = by_name([*leace, *worse])
    assert found["Inlp"].against_leace.value == pytest.approx(6 / N)
    assert found["Inlp"].against_leace.low > 0
    assert found["Inlp"].area.low < found["Leace"].area.high
    same = found["Leace"].against_leace
    assert (same.value, same.low, same.high) == (0, 0, 0)
    # Other rows, the same share: not told apart, and unpaired, so wider.
    other = by_name([*leace, *curve("Inlp", dict.fromkeys(BUDGETS, 0.75), seed=1)])["Inlp"].against_leace
    assert other.low < 0 < other.high
    assert np.isnan(by_name(worse)["Inlp"].against_leace.value)


def test_ties_share_a_rank() -> None:
    flat = {name: dict.fromkeys(BUDGETS, a) for name, a in (("Leace", 0.9), ("Inlp", 0.7), ("Sal", 0.7))}
    found = frontiers([g for i, (name, a) in enumerate(flat.items()) for g in curve(name, a, seed=i)])
    assert {f.eraser: f.rank for f in found} == {"Inlp": 1, "Sal": 1, "Leace": 3}
    assert found[-1].eraser == "Leace"


def test_a_broken_rule_takes_the_rank_and_an_overshoot_is_marked() -> None:
    leace, cheat = curve("Leace", dict.fromkeys(BUDGETS, 0.8)), curve("Inlp", dict.fromkeys(BUDGETS, 0.6))
    cheat[2] = replace(cheat[2], flags=("row depends on order",))
    cheat[3] = replace(cheat[3], edit=cheat[3].edit * (WITHIN_BUDGET + 0.01))
    cheat[4] = replace(cheat[4], edit=cheat[4].edit * (WITHIN_BUDGET - 0.01))
    found = by_name([*leace, *cheat])
    assert (found["Inlp"].rank, found["Leace"].rank) == (0, 1)
    assert found["Inlp"].flags == ("row depends on order",)
    assert [p.overshoots for p in found["Inlp"].points] == [False, False, False, True, False]
    assert found["Inlp"].points[3].budget == pytest.approx(2 * (WITHIN_BUDGET + 0.01))
    cells = [list(column.cells) for column in frontier_table(tuple(found.values())).columns]
    assert "!" in cells[0][list(found).index("Inlp")]
    assert cells[4][list(found).index("Inlp")].endswith("+")


@pytest.fixture(scope="module")
def toy() -> list[Grade]:
    """LEACE at its own size and at two budgets, and a control."""
    erasers = (Leace(), Scaled(Leace(), 0.25), Scaled(Leace(), 4.0))
    return [template(), *(grade(e, data(), probes=(Linear(),)) for e in erasers)]


def test_leace_reads_less_for_more_and_no_more_than_its_own_edit(toy: list[Grade]) -> None:
    found = by_name(toy)
    assert set(found) == {"NoEdit", "Leace"}
    small, large = found["Leace"].points
    assert small.worst.value > large.worst.value + 0.1
    assert small.budget == pytest.approx(0.25)
    assert large.budget == pytest.approx(1.0), "four were offered: an edit is not scaled up"
    assert found["Leace"].own == replace(large, asked=None, budget=found["Leace"].own.budget)  # type: ignore[union-attr]
    assert found["Leace"].area.value < found["NoEdit"].area.value


def test_controls_are_references_and_other_kinds_are_left_out() -> None:
    graded = curve("Leace", {0.25: 0.9, 4.0: 0.7})
    controls = [made("NoEdit", 0.95), made("RandomDirection", 0.94), made("Constant", 0.5)]
    others = [replace(made("KernelSal", 0.6), kind="encoder"), replace(made("OracleLeace", 0.6), kind="oracle")]
    found = by_name([*graded, *controls, *others])
    assert list(found) == ["Constant", "Leace", "RandomDirection", "NoEdit"]
    for name, area in (("NoEdit", 0.45), ("RandomDirection", 0.44), ("Constant", 0.0)):
        assert found[name].control
        assert found[name].rank == 0
        assert found[name].points == ()
        assert found[name].area.value == pytest.approx(area)
    assert found["Leace"].rank == 1


def test_the_board_keeps_its_rows(toy: list[Grade]) -> None:
    board = leaderboard(at_own_size(toy))
    assert {row.eraser for row in board.rows} == {"NoEdit", "Leace"}
    assert len(leaderboard(toy).rows) == 4, "which it would not without the choice"
    assert frontiers(at_own_size(toy)) == ()


def test_guesses_read_chance() -> None:
    """Guessed classes, 80 times: the area's 95% interval excludes zero no more often than it may, and its mean, which
    folding lifts, is what was said of guesses."""
    clear, areas = 0, []
    for seed in range(80):
        guesses = np.random.default_rng(seed).random(N) < 0.5
        (found,) = frontiers([replace(g, correct={"Linear": guesses}) for g in curve("Leace", {0.25: 0.5, 4.0: 0.5})])
        areas.append(found.area.value)
        clear += found.area.low > 0
    assert clear <= 10, "4 are expected; over 10 has a chance under 1 in 200"
    assert found.guesses == pytest.approx(float(np.mean(areas)), abs=0.008), "0.008: three standard errors"
    uneven = replace(template(), eraser="Leace@1", settings={"budget": 1.0}, chance=0.7)
    assert frontiers([uneven])[0].guesses == pytest.approx(0.0, abs=1e-6), "nothing to fold"


def test_refusals() -> None:
    leace = curve("Leace", {1.0: 0.8})
    with pytest.raises(ExciseError, match=r"Leace@1 was graded with several settings on a"):
        frontiers([*leace, replace(leace[0], settings={"budget": 1.0, "shrinkage": False})])
    with pytest.raises(ExciseError, match="no common concept"):
        frontiers([*leace, *curve("Inlp", {1.0: 0.8}, concept="b")])


def test_figure_shows_what_was_measured() -> None:
    flat = curve("Leace", {0.5: 0.8, 4.0: 0.7})
    flat[1] = replace(flat[1], edit=np.ones(N))
    found = frontiers([made("NoEdit", 0.95), *flat, *curve("GaussianTransport", {0.5: 0.75, 4.0: 0.55})])
    traces = frontier_figure(found).data
    named = {t.name: t for t in traces if t.name}
    assert set(named) == {"LEACE", "Gaussian transport"}
    for f in found[:2]:
        assert list(named[f.title].x) == [p.budget for p in f.points]
        assert list(named[f.title].y) == [p.worst.value for p in f.points]
    assert [list(t.x) for t in traces if t.line.dash == "dot"] == [[4.0, 4.0], [1.0, 4.0]], "offered and not used"
    assert [t.y[0] for t in traces if t.line.dash == "dash"] == [0.95]
