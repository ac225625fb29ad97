"""Every rollout of a problem, the best of them, and what choosing it did to its figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from excise.arena.problem import Part, held_out_concepts
from excise.arena.records import ScoreRecord
from excise.arena.score import Score
from excise.arena.verdict import Verdict
from excise.bench.grade import Grade
from excise.bench.leaderboard import READABLE
from excise.measures.leakage import folded_accuracy
from excise.stats.bootstrap import Interval, interval
from excise.stats.selection import best_of_n

Draws = npt.NDArray[np.float64]
_LATEST: tuple[Part, ...] = ("report", "select", "feedback")


@dataclass(frozen=True, eq=False)
class Rollout:
    """One submission on one problem, with its score on each part that it was scored on."""

    sha256: str
    author: str
    scores: dict[Part, Score]

    @property
    def last(self) -> Score:
        """On the part that counts most of those it was scored on: report, select, feedback."""
        return next(self.scores[part] for part in _LATEST if part in self.scores)

    def sound(self, part: Part) -> Grade | None:
        """The grade on a part; None where it was not scored there, broke a rule, or ran unranked."""
        found = self.scores.get(part)
        return found.grade if found is not None and found.verdict is Verdict.OK and found.ranked else None


@dataclass(frozen=True)
class OwnRows:
    """The best of N chosen and reported on the same rows (select), and what it would read on new ones.

    All figures are of the probes that attack select rows; report rows are attacked by more, and each probe is trained
    on twice as many there, which LEACE's two figures show.

    Attributes:
        n: sound, ranked rollouts that were chosen from.
        best: the lowest accuracy on select rows.
        if_equal, if_varying: that figure corrected for the choice; see `excise.stats.selection.BestOfN`.
        honest: the same rollout on report rows; None where it has no figure there.
        leace, leace_honest: LEACE on select rows and on report rows.
    """

    n: int
    best: float
    if_equal: float
    if_varying: float
    honest: float | None
    leace: float
    leace_honest: float | None


@dataclass(frozen=True, eq=False)
class ProblemResult:
    """All rollouts on one problem.

    Attributes:
        problem: `Private.id`; origin: where its rows come from, and its terms.
        held_out: a concept that nothing may be trained or searched on.
        rollouts: those chosen from first, by their accuracy on select rows.
        unerased, leace: grades on report rows; None where nothing was attacked there.
        best: chosen on select rows by the strongest probe's accuracy there; None where no rollout is sound.
        share: of the way from LEACE to chance that the best went on report rows; None without its figure, NaN where
            LEACE itself is not clearly above chance.
        own_rows: None with fewer than two rollouts to choose from.
    """

    problem: str
    concept: str
    origin: dict[str, str]
    seed: int
    held_out: bool
    rollouts: tuple[Rollout, ...]
    unerased: Grade | None
    leace: Grade | None
    best: Rollout | None
    share: Interval | None
    own_rows: OwnRows | None

    @property
    def place(self) -> str:
        """ "model, site", with the terms where they are not the usual ones; averages stay within a place."""
        terms = [f"{name} {self.origin[name]}" for name in ("budget", "labels") if name in self.origin]
        where = [self.origin.get("model", "") or "a model not named", self.origin.get("site", "")]
        return ", ".join(filter(None, [*where, *terms]))

    @property
    def reported(self) -> Grade | None:
        """The best on report rows; None unless it is sound there."""
        return None if self.best is None else self.best.sound("report")

    @property
    def outcome(self) -> str:
        """Of the choice: "ok", "nothing sound", "not reported", or the rule that the best broke on report rows."""
        if self.best is None:
            return "nothing sound"
        found = self.best.scores.get("report")
        return "not reported" if found is None or not found.ranked else str(found.verdict)

    @property
    def counted(self) -> Grade | None:
        """What totals count: the best; no edit at all where it broke a rule on report rows or nothing was sound,
        because leaving such concepts out would flatter; None where the figure is still to come."""
        return self.reported if self.outcome in ("ok", "not reported") else self.unerased

    @property
    def readable(self) -> bool:
        """Whether there was something to erase."""
        return self.unerased is None or self.unerased.worst_accuracy.value >= READABLE


def by_probes(grade: Grade, probes: Iterable[str]) -> Grade:
    """A grade as if only these of its probes had attacked."""
    names = list(probes)
    return replace(grade, correct={p: grade.correct[p] for p in names}, cv={p: grade.cv[p] for p in names})


def worst_draws(grade: Grade) -> tuple[float, Draws]:
    """Folded accuracy of the strongest probe with its bootstrap draws; two grades of the same rows are paired."""
    found, draws = folded_accuracy(grade.worst_correct, grade.groups, grade.n_classes)
    return found.value, draws


def problem_result(records: Sequence[ScoreRecord]) -> ProblemResult:
    """From all records of one problem."""
    by_source: dict[str, list[ScoreRecord]] = {}
    for record in records:
        by_source.setdefault(record.score.sha256, []).append(record)
    rollouts = [
        Rollout(sha, next((r.author for r in own if r.author), ""), {r.score.part: r.score for r in own})
        for sha, own in by_source.items()
    ]
    chosen_from = sorted((r for r in rollouts if r.sound("select")), key=lambda r: _worst(r.sound("select")) or 0.0)
    others = [r for r in rollouts if not r.sound("select")]
    beside = _first(r.score for r in records if r.score.part == "report" and r.score.leace)
    leace, unerased = (None, None) if beside is None else (beside.leace, beside.unerased)
    best = chosen_from[0] if chosen_from else None
    reported = None if best is None else best.sound("report")
    share = None if reported is None or leace is None else share_of_way([(leace, reported)])
    first = records[0]
    return ProblemResult(
        problem=first.score.problem,
        concept=first.concept,
        origin=first.origin,
        seed=first.seed,
        held_out=first.concept in held_out_concepts(),
        rollouts=(*chosen_from, *others),
        unerased=unerased,
        leace=leace,
        best=best,
        share=share,
        own_rows=_own_rows(chosen_from, reported, leace),
    )


def _own_rows(chosen_from: Sequence[Rollout], reported: Grade | None, leace: Grade | None) -> OwnRows | None:
    grades = [grade for r in chosen_from if (grade := r.sound("select"))]
    beside = chosen_from[0].scores["select"].leace if chosen_from else None
    if len(grades) < 2 or beside is None:
        return None
    values, draws = zip(*(worst_draws(grade) for grade in grades), strict=True)
    # Tries on the same rows share luck that no choice can pick. A try without any variance shares none.
    with np.errstate(invalid="ignore", divide="ignore"):
        between = np.nan_to_num(np.corrcoef(np.stack(draws)))[np.triu_indices(len(draws), 1)]
    correlation = float(np.clip(between.mean(), 0, 0.99))
    corrected = best_of_n(np.array(values), len(grades[0].z), correlation)
    return OwnRows(
        n=len(grades),
        best=corrected.reported,
        if_equal=corrected.if_equal,
        if_varying=corrected.if_varying,
        honest=None if reported is None else _worst(by_probes(reported, grades[0].correct)),
        leace=beside.worst_accuracy.value,
        leace_honest=None if leace is None else _worst(by_probes(leace, grades[0].correct)),
    )


def share_of_way(pairs: Sequence[tuple[Grade, Grade]]) -> Interval:
    """(LEACE - best) / (LEACE - chance) of the means over problems, paired over rows; NaN where LEACE is not clearly
    above chance, because next to nothing would be divided by.

    Args:
        pairs: LEACE's grade and the best's, of each problem.
    """
    chance = float(np.mean([leace.chance for leace, _ in pairs]))
    (leace, leace_draws), (best, best_draws) = (mean_worst([pair[i] for pair in pairs]) for i in (0, 1))
    if np.quantile(leace_draws, 0.025) <= chance:
        return Interval(np.nan, np.nan, np.nan)
    return interval((leace - best) / (leace - chance), (leace_draws - best_draws) / (leace_draws - chance))


def mean_worst(grades: Sequence[Grade]) -> tuple[float, Draws]:
    """`worst_draws`, averaged over problems."""
    values, draws = zip(*(worst_draws(grade) for grade in grades), strict=True)
    return float(np.mean(values)), np.mean(draws, axis=0)


def _worst(grade: Grade | None) -> float | None:
    return None if grade is None else grade.worst_accuracy.value


def _first(scores: Iterable[Score]) -> Score | None:
    return next(iter(scores), None)
