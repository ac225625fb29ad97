"""Frontiers: what is left to read against what an edit may cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.integrate import trapezoid
from scipy.stats import foldnorm

from excise.bench.grade import Grade
from excise.bench.leaderboard import READABLE, WITHIN_BUDGET, Draws, mean_accuracy, unerased_accuracy
from excise.erasers import all_erasers, title_of
from excise.stats.bootstrap import N_RESAMPLES, Interval, interval
from excise.types import ExciseError

AREA_BUDGETS = (0.25, 4.0)
"""Budgets that count towards an area; one outside is shown and does not count."""


@dataclass(frozen=True)
class Point:
    """What probes read at one budget: means over concepts.

    Attributes:
        asked: the budget, a multiple of LEACE's mean squared edit; None at the eraser's own size.
        budget: the mean squared edit that was measured on test rows, in LEACE edits.
        worst: folded accuracy of the strongest probe, which is chosen on probe rows.
        accuracy: folded accuracy of each probe.
        overshoots: whether `budget` is over WITHIN_BUDGET times what was asked.
    """

    asked: float | None
    budget: float
    worst: Interval
    accuracy: dict[str, Interval]
    overshoots: bool


@dataclass(frozen=True)
class Frontier:
    """Leakage of one eraser against its budget.

    An eraser is only ever scaled back, so past its own edit the curve is flat: more budget is of no use to it. One that
    has a setting `budget` is trained for each.

    Attributes:
        chance: mean over `concepts`, those that every eraser was graded on at every budget (and that are readable).
        points: smallest budget first; empty for a control, which is a reference at its own size.
        own: the eraser at its own size, or None where that was not graded on these concepts.
        counted: the budgets of the area, those of AREA_BUDGETS that every eraser was graded at.
        guesses: area that guesses would read. Folding lifts a figure at chance, by 0.8 standard errors with two equal
            classes, and a mean over concepts and budgets narrows the interval around that: compare `area` with it too.
        area: excess of the strongest probe over chance, averaged over log2(budget) by the trapezoid rule; 0 is at
            chance everywhere. With one budget it is the excess there, with none NaN. A control's is its excess.
        against_leace: `area` less LEACE's, paired over rows; below zero is better than LEACE. NaN without LEACE.
        rank: 1 plus the number of erasers whose area is clearly lower; 0 for controls and flagged erasers.
        flags: rules that a map broke at some budget on some concept.
    """

    eraser: str
    title: str
    control: bool
    concepts: tuple[str, ...]
    chance: float
    points: tuple[Point, ...]
    own: Point | None
    counted: tuple[float, ...]
    guesses: float
    area: Interval
    against_leace: Interval
    rank: int
    flags: tuple[str, ...]


def at_own_size(grades: Sequence[Grade]) -> list[Grade]:
    """Grades of erasers that were not scaled to a budget: those of a leaderboard."""
    return [g for g in grades if _asked(g) is None]


def frontiers(grades: Sequence[Grade]) -> tuple[Frontier, ...]:
    """Frontiers of the erasers that were graded at stated budgets (`Scaled`), smallest area first, controls among them.

    Concepts are held fixed, as on a leaderboard. Encoders and oracles have none: their edit has no size, or they were
    told the labels.

    Args:
        grades: of one model and site, at own size and at budgets; those of methods without a budget are left out.

    Returns:
        Empty without a grade at a stated budget.

    Raises:
        ExciseError: two settings of one eraser at one budget, or no concept that all were graded on.
    """
    cells: dict[tuple[str, str], list[Grade]] = {}
    names: dict[str, dict[float, str]] = {}  # Of each eraser, the names that its grades bear at each budget.
    for g in grades:
        if g.kind != "eraser":
            continue
        cells.setdefault((g.eraser, g.concept), []).append(g)
        if (asked := _asked(g)) is not None:
            names.setdefault(g.eraser.partition("@")[0], {})[asked] = g.eraser
    if not names:
        return ()
    shared = _shared_concepts(cells, names)
    readable = tuple(c for c in shared if unerased_accuracy(cells, c) >= READABLE) or shared
    counted = _counted(names)
    own = {name for name, _ in cells if all((name, c) in cells for c in readable)}
    controls = [name for name, kind in all_erasers().items() if kind.control and name in own]
    some = next(name for at in names.values() for name in at.values())
    chance = float(np.mean([cells[some, c][0].chance for c in readable]))
    guesses = float(np.mean([_fold_bias(cells[some, c][0]) for c in readable]))
    found, areas = [], {}
    for eraser in (*controls, *names):
        at = names.get(eraser, {})
        # A control is not scaled: its excess is the same at every budget.
        areas[eraser] = _area(cells, {b: at[b] for b in counted} if at else {1.0: eraser}, readable, chance)
        used = [g for name in at.values() for c in readable for g in cells[name, c]]
        found.append(
            Frontier(
                eraser=eraser,
                title=title_of(eraser),
                control=not at,
                concepts=readable,
                chance=chance,
                points=tuple(_point(cells, name, readable, budget) for budget, name in sorted(at.items())),
                own=_point(cells, eraser, readable, None) if eraser in own else None,
                counted=counted,
                guesses=guesses,
                area=interval(*areas[eraser]),
                against_leace=Interval(np.nan, np.nan, np.nan),
                rank=0,
                flags=tuple(sorted({flag for g in used for flag in g.flags})),
            )
        )
    return tuple(_ranked(found, areas))


def budgets_asked(curves: Sequence[Frontier]) -> list[float]:
    """Every budget that some eraser has a point at, smallest first."""
    return sorted({point.asked for curve in curves for point in curve.points if point.asked is not None})


def _asked(g: Grade) -> float | None:
    """Budget that an eraser was scaled to."""
    return float(g.settings["budget"]) if "@" in g.eraser else None


def _shared_concepts(cells: dict[tuple[str, str], list[Grade]], names: dict[str, dict[float, str]]) -> tuple[str, ...]:
    scaled = {name for at in names.values() for name in at.values()}
    for (name, concept), graded in cells.items():
        if name in scaled and len({str(g.settings) for g in graded}) > 1:
            raise ExciseError(f"{name} was graded with several settings on {concept}; a frontier shows one")
    shared = tuple(sorted(set.intersection(*({c for e, c in cells if e == name} for name in scaled))))
    if not shared:
        raise ExciseError(
            "these erasers were graded at these budgets on no common concept; run `excise bench --budgets` over the "
            "same concepts for all"
        )
    return shared


def _counted(names: dict[str, dict[float, str]]) -> tuple[float, ...]:
    low, high = AREA_BUDGETS
    return tuple(b for b in sorted(set.intersection(*(set(at) for at in names.values()))) if low <= b <= high)


def _point(cells: dict[tuple[str, str], list[Grade]], name: str, concepts: Sequence[str], asked: float | None) -> Point:
    graded = [g for c in concepts for g in cells[name, c]]
    budget = float(np.mean([np.mean([g.edit.mean() / g.reference.mean() for g in cells[name, c]]) for c in concepts]))
    return Point(
        asked=asked,
        budget=budget,
        worst=interval(*mean_accuracy(cells, name, concepts, None)),
        accuracy={
            p: interval(*mean_accuracy(cells, name, concepts, p))
            for p in sorted(set.intersection(*(set(g.correct) for g in graded)))
        },
        overshoots=asked is not None and budget > WITHIN_BUDGET * asked,
    )


def _area(
    cells: dict[tuple[str, str], list[Grade]], at: dict[float, str], concepts: Sequence[str], chance: float
) -> tuple[float, Draws]:
    """Mean excess over log2(budget) with paired draws: the sum is linear, so draws of accuracies give draws of it."""
    parts = [mean_accuracy(cells, name, concepts, None) for name in at.values()]
    if not parts:
        return np.nan, np.full(N_RESAMPLES, np.nan)
    curve = np.stack([np.append(draws, value) for value, draws in parts]) - chance
    x = np.log2(list(at))
    mean = curve[0] if len(x) == 1 else trapezoid(curve, x, axis=0) / (x[-1] - x[0])
    return float(mean[-1]), mean[:-1]


def _fold_bias(g: Grade) -> float:
    """Mean of max(a, 1 - a) less chance when rows are guessed at chance; only two classes are folded."""
    if g.n_classes != 2:
        return 0.0
    se, over = np.sqrt(g.chance * (1 - g.chance) / len(g.groups)), g.chance - 0.5
    return float(foldnorm.mean(over / se, scale=se) - over)


def _ranked(found: list[Frontier], areas: dict[str, tuple[float, Draws]]) -> list[Frontier]:
    contenders = [f for f in found if not f.control and not f.flags and not np.isnan(f.area.value)]
    out = []
    for f in sorted(found, key=lambda f: (np.isnan(f.area.value), f.area.value)):
        value, draws = areas[f.eraser]
        better = [c for c in contenders if np.quantile(areas[c.eraser][1] - draws, 0.975) < 0]
        against = f.against_leace
        if "Leace" in areas:
            against = interval(value - areas["Leace"][0], draws - areas["Leace"][1])
        out.append(replace(f, against_leace=against, rank=1 + len(better) if f in contenders else 0))
    return out
