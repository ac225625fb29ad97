"""What became of one rollout, as it stands in Inspect's log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inspect_ai.log import EvalLog, read_eval_log

from excise.arena.score import Score
from excise.arena.verdict import Verdict
from excise.bench.grade import Grade
from excise.stats.bootstrap import Interval

_NO_ROOM = 0.01
"""Where LEACE leaves less above chance than this, there is no way to go a share of."""


@dataclass(frozen=True)
class Figures:
    """Folded accuracy of the strongest probe on one part, with 95% intervals.

    Attributes:
        submission, leace, unerased: None where it did not come to that.
        chance: None alike.
        spent: mean squared edit as a multiple of LEACE's.
    """

    submission: Interval | None
    leace: Interval | None
    unerased: Interval | None
    chance: float | None
    spent: float | None

    @classmethod
    def of(cls, found: Score) -> Figures:
        """Those of a score."""
        chance = None if found.leace is None else found.leace.chance
        return cls(_worst(found.grade), _worst(found.leace), _worst(found.unerased), chance, found.spent)

    @property
    def share(self) -> float:
        """Of the way from LEACE to chance: 1 at chance, 0 at LEACE or without a grade, below 0 if worse than LEACE."""
        if self.submission is None or self.leace is None or self.chance is None:
            return 0.0
        way = self.leace.value - self.chance
        return 0.0 if way < _NO_ROOM else (self.leace.value - self.submission.value) / way


NOTHING = Figures(None, None, None, None, None)


@dataclass(frozen=True)
class Outcome:
    """One rollout on one concept.

    Attributes:
        author: model and number of the rollout.
        verdict: of `Verdict`; the first that is not ok, of select and report.
        detail: of that verdict.
        sha256: of the submission; "" where there was none.
        notes: what a human should look at.
    """

    concept: str
    author: str
    verdict: str = str(Verdict.NO_FILE)
    detail: str = ""
    sha256: str = ""
    select: Figures = NOTHING
    report: Figures = NOTHING
    notes: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """On the report rows; 0 unless the verdict is ok."""
        return self.report.share if self.verdict == Verdict.OK else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain Python values; `from_json` gives the outcome back."""
        return {**asdict(self), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Outcome:
        """Reads what `to_json` wrote."""
        parts = {part: _figures(record[part]) for part in ("select", "report")}
        return cls(**{**record, **parts, "notes": tuple(record["notes"])})


def read_outcomes(logs: Sequence[EvalLog]) -> list[Outcome]:
    """All scored rollouts of logs, by concept in the order of the task, then by number. Reads the files anew: a log as
    `eval_set` returns it has no samples."""
    found = [
        (order, sample.epoch, Outcome.from_json(score.metadata))
        for log in logs
        for order, sample in enumerate(read_eval_log(log.location).samples or ())
        for score in (sample.scores or {}).values()
        if score.metadata
    ]
    first: dict[str, int] = {}
    for order, _, rollout in found:
        first.setdefault(rollout.concept, order)
    return [rollout for _, _, rollout in sorted(found, key=lambda f: (first[f[2].concept], f[1]))]


def _worst(found: Grade | None) -> Interval | None:
    return None if found is None else found.worst_accuracy


def _figures(record: dict[str, Any]) -> Figures:
    intervals = {key: record[key] and Interval(**record[key]) for key in ("submission", "leace", "unerased")}
    return Figures(**{**record, **intervals})
