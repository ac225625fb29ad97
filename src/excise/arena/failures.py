"""What went wrong: refused submissions by rule, and what still reads those that are sound."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from excise.arena.rollouts import ProblemResult, Rollout, by_probes, worst_draws
from excise.arena.score import HELD_OUT_PROBES, Score
from excise.arena.totals import ArenaReport
from excise.arena.verdict import Verdict
from excise.bench.grade import Grade
from excise.stats.bootstrap import Interval, interval, resampled_means

_HELD_OUT = HELD_OUT_PROBES.split(",")
# As `check_edit` words it.
_SPENT = re.compile(r"spent (\d+(?:\.\d+)?) times")


@dataclass(frozen=True)
class Failures:
    """Counts over rollouts (a submission on a problem), ranked or not.

    Attributes:
        rollouts: how many there are; verdicts: how many of each, commonest first, the last part counting.
        grader_errors: failures of the grader, which are not among the rollouts.
        over_budget: multiples of the budget that those over it spent, ascending.
        reported: sound and ranked on report rows; the rest is about these.
        still_read: reported ones whose interval lies wholly above chance.
        strongest: how often each probe is the strongest on report rows.
        held_out_reads_more: reported ones of which the held-out families read more than the others, with a paired
            interval above 0; held_out_gap: by how much on average, all reported ones; NaN without any.
        overfit: by how much a rollout's accuracy rises from feedback to report rows beyond LEACE's own rise, the same
            probes: what working on one sample and its feedback flattered; resampled over problems. NaN without any.
        compared: rollouts behind `overfit`.
    """

    rollouts: int
    verdicts: dict[str, int]
    grader_errors: int
    over_budget: tuple[float, ...]
    reported: int
    still_read: int
    strongest: dict[str, int]
    held_out_reads_more: int
    held_out_gap: float
    overfit: Interval
    compared: int


def failures(report: ArenaReport) -> Failures:
    """Counts what went wrong."""
    pairs = [(problem, rollout) for problem in report.problems for rollout in problem.rollouts]
    last = [rollout.last for _, rollout in pairs]
    reported = [grade for _, rollout in pairs if (grade := rollout.sound("report"))]
    gaps = [gap for grade in reported if (gap := _held_out_gap(grade))]
    rises = [(problem, rise) for problem, rollout in pairs if (rise := _overfit(problem, rollout)) is not None]
    return Failures(
        rollouts=len(pairs),
        verdicts=dict(Counter(str(score.verdict) for score in last).most_common()),
        grader_errors=len(report.grader_errors),
        over_budget=tuple(sorted(spent for score in last if (spent := overspent(score)) is not None)),
        reported=len(reported),
        still_read=sum(grade.worst_accuracy.low > grade.chance for grade in reported),
        strongest=dict(Counter(grade.worst for grade in reported).most_common()),
        held_out_reads_more=sum(gap.low > 0 for gap in gaps),
        held_out_gap=float(np.mean([gap.value for gap in gaps])) if gaps else np.nan,
        overfit=_over_problems(rises),
        compared=len(rises),
    )


def overspent(score: Score) -> float | None:
    """The multiple of the budget that an over_budget submission spent; its record has it in words alone."""
    if score.verdict is not Verdict.OVER_BUDGET:
        return None
    found = _SPENT.search(score.detail)
    return None if found is None else float(found[1])


def _held_out_gap(grade: Grade) -> Interval | None:
    """Accuracy of the strongest probe less that of the strongest which is no held-out family, paired over rows."""
    heard = [probe for probe in grade.correct if probe not in _HELD_OUT]
    if len(heard) in (0, len(grade.correct)):
        return None
    (value, draws), (less, less_draws) = worst_draws(grade), worst_draws(by_probes(grade, heard))
    return interval(value - less, draws - less_draws)


def _overfit(problem: ProblemResult, rollout: Rollout) -> float | None:
    before, after = rollout.sound("feedback"), rollout.sound("report")
    if before is None or after is None or problem.leace is None:
        return None
    leace = rollout.scores["feedback"].leace
    if leace is None:
        return None
    rise = worst_draws(by_probes(after, before.correct))[0] - worst_draws(before)[0]
    return rise - (worst_draws(by_probes(problem.leace, leace.correct))[0] - worst_draws(leace)[0])


def _over_problems(rises: Sequence[tuple[ProblemResult, float]]) -> Interval:
    if not rises:
        return Interval(np.nan, np.nan, np.nan)
    values = np.array([rise for _, rise in rises])
    _, groups = np.unique([problem.problem for problem, _ in rises], return_inverse=True)
    return interval(values.mean(), resampled_means(values, groups))
