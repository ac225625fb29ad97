"""Boards: one row an eraser, means over concepts, paired intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from excise.bench.grade import Grade
from excise.erasers import all_erasers, title_of
from excise.measures.leakage import fold, folded_accuracy
from excise.stats.bootstrap import Interval, interval
from excise.stats.selection import detectable
from excise.types import ExciseError

READABLE = 0.85
"""Unerased accuracy under which a concept is reported apart: there was little to erase."""
WITHIN_BUDGET = 1.05
"""A mean edit of at most this many LEACE edits counts as LEACE's: its own varies by that much between samples."""


@dataclass(frozen=True)
class Row:
    """An eraser's means over concepts.

    Attributes:
        accuracy: for each probe, mean folded accuracy on test rows; chance is `Board.chance`.
        worst: mean over concepts of the strongest probe, which is chosen for each concept on probe rows.
        against_leace: `worst` less LEACE's, paired over rows; below zero is better than LEACE. NaN without LEACE.
        budget: mean squared edit in multiples of LEACE's.
        kind: "eraser", "encoder" (output in a space of its own, no edit size) or "oracle" (told the labels).
        rank: 1 plus the number of erasers that are clearly better, so ties show as ties; 0 for controls, encoders,
            oracles and flagged erasers, which are not ranked.
        flags: rules that the map broke on some concept.
        auc, information: for each probe, mean area under the ROC curve and usable information in bits.
        damage: means over rows and concepts of `Grade.damage`.
    """

    eraser: str
    title: str
    kind: str
    control: bool
    accuracy: dict[str, Interval]
    worst: Interval
    against_leace: Interval
    budget: float
    rank: int
    flags: tuple[str, ...]
    auc: dict[str, float]
    information: dict[str, float]
    damage: dict[str, float]


@dataclass(frozen=True)
class Board:
    """A leaderboard over concepts that all its erasers were graded on.

    Attributes:
        concepts: that count; set_apart: whose unerased accuracy is under READABLE.
        chance: mean over concepts.
        detectable: the difference from LEACE that these rows would show in four samples of five, for the contender
            that is hardest to compare; NaN without one.
    """

    concepts: tuple[str, ...]
    set_apart: tuple[str, ...]
    chance: float
    probes: tuple[str, ...]
    rows: tuple[Row, ...]
    detectable: float


Draws = npt.NDArray[np.float64]


def leaderboard(grades: Sequence[Grade]) -> Board:
    """Ranks erasers by their mean worst-probe accuracy, lowest first; controls stay on the board, unranked.

    Concepts are held fixed: intervals say how the means would vary with other rows of the same concepts.

    Raises:
        ExciseError: no grades, two settings of one eraser, or erasers that were graded on no common concept.
    """
    if not grades:
        raise ExciseError("no grades to rank")
    cells: dict[tuple[str, str], list[Grade]] = {}
    for g in grades:
        cells.setdefault((g.eraser, g.concept), []).append(g)
    erasers = list(dict.fromkeys(eraser for eraser, _ in cells))
    shared = sorted(set.intersection(*({c for e, c in cells if e == eraser} for eraser in erasers)))
    if not shared:
        raise ExciseError(
            "these erasers were graded on no common concept; run `excise bench` over the same concepts for all"
        )
    for eraser in erasers:
        if len({str(g.settings) for g in grades if g.eraser == eraser}) > 1:
            raise ExciseError(f"{eraser} was graded with several settings; a board shows one")
    apart = tuple(c for c in shared if unerased_accuracy(cells, c) < READABLE)
    concepts = [c for c in shared if c not in apart] or shared
    probes = tuple(sorted(set.intersection(*(set(g.correct) for g in grades))))
    worst = {e: mean_accuracy(cells, e, concepts, None) for e in erasers}
    rows = []
    for e in erasers:
        method = all_erasers().get(e)
        graded = [g for c in concepts for g in cells[e, c]]
        against = (
            (worst[e][0] - worst["Leace"][0], worst[e][1] - worst["Leace"][1])
            if "Leace" in worst
            else (np.nan, worst[e][1] * np.nan)
        )
        rows.append(
            Row(
                eraser=e,
                title=title_of(e),
                kind=graded[0].kind,
                control=bool(method and method.control),
                accuracy={p: interval(*mean_accuracy(cells, e, concepts, p)) for p in probes},
                worst=interval(*worst[e]),
                against_leace=interval(*against),
                budget=float(np.mean([g.budget.value for g in graded])),
                rank=0,
                flags=tuple(sorted({flag for g in graded for flag in g.flags})),
                auc={p: float(np.mean([g.auc(p).value for g in graded])) for p in probes},
                information={p: float(np.mean([g.information(p).value for g in graded])) for p in probes},
                damage={name: float(np.mean([g.damage[name].mean() for g in graded])) for name in graded[0].damage},
            )
        )
    chance = float(np.mean([cells[erasers[0], c][0].chance for c in concepts]))
    compared = [row.against_leace for row in rows if row.kind == "eraser" and not row.control and row.eraser != "Leace"]
    shows = max((detectable(found) for found in compared), default=np.nan)
    return Board(tuple(concepts), apart, chance, probes, tuple(_ranked(rows, worst)), shows)


def best_within(grades: Sequence[Grade], budget: float) -> Grade | None:
    """The best eraser of one concept among those of at most this edit, assembled rotation by rotation.

    In each rotation the eraser is taken whose strongest probe reads least in cross-validation on that rotation's probe
    rows; its test rows then report: no winner's luck. (Which erasers are within budget is
    seen on test rows, where only the size of the edit is looked at, no label.)

    Returns:
        A grade with the one probe "strongest"; `eraser` names the one taken most often. None without a candidate.
    """
    kinds = all_erasers()
    candidates = [
        g
        for g in grades
        if not g.flags
        and g.kind == "eraser"
        and not (g.eraser in kinds and kinds[g.eraser].control)
        and g.edit.mean() <= budget * g.reference.mean()
    ]
    if not candidates:
        return None
    read = np.array([[fold(g.cv[p][t], g.n_classes) for t, p in enumerate(g.strongest)] for g in candidates])
    chosen = read.argmin(axis=0)
    rotation = candidates[0].rotation
    most = candidates[Counter(chosen.tolist()).most_common(1)[0][0]]
    return replace(
        most,
        correct={"strongest": np.choose(chosen[rotation], [g.worst_correct for g in candidates])},
        cv={"strongest": read.min(axis=0).tolist()},
        edit=np.choose(chosen[rotation], [g.edit for g in candidates]),
    )


def unerased_accuracy(cells: dict[tuple[str, str], list[Grade]], concept: str) -> float:
    """Accuracy of the strongest probe on unedited activations; 1 where that was not graded."""
    return float(np.mean([g.worst_accuracy.value for g in cells.get(("NoEdit", concept), [])] or [1.0]))


def mean_accuracy(
    cells: dict[tuple[str, str], list[Grade]], eraser: str, concepts: Sequence[str], probe: str | None
) -> tuple[float, Draws]:
    """Mean over concepts (and seeds within a concept) of one probe's accuracy, or of the worst's, with paired draws."""
    values, draws = [], []
    for concept in concepts:
        parts = [
            folded_accuracy(g.correct[probe] if probe else g.worst_correct, g.groups, g.n_classes)
            for g in cells[eraser, concept]
        ]
        values.append(np.mean([part[0].value for part in parts]))
        draws.append(np.mean([part[1] for part in parts], axis=0))
    return float(np.mean(values)), np.mean(draws, axis=0)


def _ranked(rows: list[Row], worst: dict[str, tuple[float, Draws]]) -> list[Row]:
    """Rows by leakage, controls among them, encoders and oracles after them; the rank counts contenders that are
    clearly better."""
    contenders = [row for row in rows if row.kind == "eraser" and not row.control and not row.flags]

    def rank(row: Row) -> int:
        if row not in contenders:
            return 0
        better = [r for r in contenders if np.quantile(worst[r.eraser][1] - worst[row.eraser][1], 0.975) < 0]
        return 1 + len(better)

    order = ("eraser", "encoder", "oracle")
    ordered = sorted(rows, key=lambda row: (order.index(row.kind), row.worst.value))
    return [Row(**{**vars(row), "rank": rank(row)}) for row in ordered]
