"""What a folder of records says: problems, and means over those of one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from excise.arena.records import ScoreRecord, read_scores
from excise.arena.rollouts import ProblemResult, mean_worst, problem_result, share_of_way
from excise.stats.bootstrap import Interval, interval


@dataclass(frozen=True)
class Totals:
    """Means over the problems of one place, held-out concepts apart.

    Problems are held fixed: intervals say how the means would vary with other rows of the same concepts.

    Attributes:
        problems: that count: with report figures, unerased at least READABLE.
        set_apart: concepts with less to erase; waiting: without a report figure of their best; failed: whose best broke
            a rule on report rows, or that have nothing sound: they count as unerased.
        share: of the way from LEACE to chance, of the means; NaN where LEACE is not clearly above chance.
        own_rows, own_rows_honest: means of `OwnRows.best` and `.honest` over the problems that have both; NaN where
            none has.
    """

    place: str
    held_out: bool
    problems: int
    chance: float
    unerased: Interval
    leace: Interval
    best: Interval
    share: Interval
    own_rows: float
    own_rows_honest: float
    set_apart: tuple[str, ...]
    waiting: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ArenaReport:
    """Everything that a folder's records say.

    Attributes:
        grader_errors: failures of the grader, which count against nobody.
    """

    problems: tuple[ProblemResult, ...]
    totals: tuple[Totals, ...]
    grader_errors: tuple[ScoreRecord, ...]


def read_rollouts(folder: Path) -> ArenaReport:
    """Reads the records of a folder.

    Raises:
        ExciseError: no records there, or a file that is not one.
    """
    errors = folder / "grader_errors"
    failed = read_scores(errors) if any(errors.glob("*.json")) else []
    return summarise(read_scores(folder), failed)


def summarise(records: Sequence[ScoreRecord], grader_errors: Sequence[ScoreRecord] = ()) -> ArenaReport:
    """The report of records."""
    by_problem: dict[str, list[ScoreRecord]] = {}
    for record in records:
        by_problem.setdefault(record.score.problem, []).append(record)
    problems = sorted((problem_result(own) for own in by_problem.values()), key=lambda p: (p.place, p.concept, p.seed))
    places = sorted({(p.place, p.held_out) for p in problems})
    totals = (_totals([p for p in problems if (p.place, p.held_out) == place]) for place in places)
    return ArenaReport(tuple(problems), tuple(found for found in totals if found), tuple(grader_errors))


def _totals(problems: Sequence[ProblemResult]) -> Totals | None:
    """None where no problem has report figures."""
    read = [p for p in problems if p.unerased is not None and p.leace is not None]
    apart = [p for p in read if not p.readable]
    count = [p for p in read if p.readable and p.counted is not None]
    if not count:
        return None
    cells = [(p.unerased, p.leace, p.counted) for p in count]
    unerased, leace, best = ([grade for grade in column if grade] for column in zip(*cells, strict=True))
    own = [(p.own_rows.best, p.own_rows.honest) for p in count if p.own_rows and p.own_rows.honest is not None]
    return Totals(
        place=count[0].place,
        held_out=count[0].held_out,
        problems=len(count),
        chance=float(np.mean([grade.chance for grade in leace])),
        unerased=interval(*mean_worst(unerased)),
        leace=interval(*mean_worst(leace)),
        best=interval(*mean_worst(best)),
        share=share_of_way(list(zip(leace, best, strict=True))),
        own_rows=float(np.mean([pair[0] for pair in own])) if own else np.nan,
        own_rows_honest=float(np.mean([pair[1] for pair in own])) if own else np.nan,
        set_apart=tuple(p.concept for p in apart),
        waiting=tuple(p.concept for p in problems if p not in apart and p not in count),
        failed=tuple(p.concept for p in count if p.outcome != "ok"),
    )
