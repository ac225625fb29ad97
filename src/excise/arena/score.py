"""The score of a submission, and what its author hears of it."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from excise.arena.erased import Erased, check_edit, erase
from excise.arena.problem import Part, Private
from excise.arena.sandbox import Limits, Sandbox
from excise.arena.submission import Submission
from excise.arena.submitted import LIMITS, Program, SubmittedEraser, SubmittedMap
from excise.arena.verdict import Refused, Verdict
from excise.bench.grade import Grade, grade
from excise.erasers import all_erasers
from excise.probes import panel
from excise.types import ExciseError, Probe

HELD_OUT_PROBES = "Forest,ExtraTrees"
"""Families that attack in the report alone: nobody hears of them while working, nothing is chosen by them."""

_STEP = 0.05
_LOG = 2_000


@dataclass(frozen=True, eq=False)
class Score:
    """What became of one submission on one part of the hidden rows.

    Attributes:
        sha256: of the source.
        problem: `Private.id`.
        verdict, detail: the detail is for the author where the verdict is about the file, and the traceback of the
            grader for `grader_error`.
        spent: mean squared edit as a multiple of the budget on the same rows, which is LEACE's edit there unless the
            problem says otherwise; None where it did not come to that.
        grade: None unless the verdict is ok: the submission then counts as none.
        leace, unerased: of the same rows, probes and seed; None where it did not come to that.
        sandbox, ranked: where it ran, and whether that place is closed enough for the score to be ranked.
        seconds: wall time, probes included.
        notes: what a human should look at.
    """

    sha256: str
    problem: str
    part: Part
    verdict: Verdict
    detail: str
    spent: float | None
    grade: Grade | None
    leace: Grade | None
    unerased: Grade | None
    sandbox: str
    ranked: bool
    seconds: float
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain Python values; `from_json` gives the score back."""
        grades = {key: getattr(self, key) for key in ("grade", "leace", "unerased")}
        plain = {key: found and found.to_json() for key, found in grades.items()}
        return {**vars(self), "verdict": str(self.verdict), "notes": list(self.notes), **plain}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Score:
        """Reads what `to_json` wrote."""
        grades = {key: record[key] and Grade.from_json(record[key]) for key in ("grade", "leace", "unerased")}
        return cls(**{**record, **grades, "verdict": Verdict(record["verdict"]), "notes": tuple(record["notes"])})


def adversaries(part: Part) -> tuple[Probe, ...]:
    """The preset "fast", and for "report" the held-out families too."""
    return panel() + (panel(HELD_OUT_PROBES) if part == "report" else ())


@dataclass(frozen=True, eq=False)
class Baselines:
    """What every score on a part is set beside: probes on rows as they are, and after LEACE. `probes` is the panel."""

    probes: tuple[Probe, ...]
    unerased: Grade
    leace: Grade

    @classmethod
    def of(cls, private: Private, part: Part, probes: Sequence[Probe] | None = None) -> Baselines:
        """Grades both; default panel: `adversaries`."""
        chosen = adversaries(part) if probes is None else tuple(probes)
        unerased, leace = (
            grade(all_erasers()[name](), private.data, probes=chosen, seed=private.seed, splits=private.splits(part))
            for name in ("NoEdit", "Leace")
        )
        return cls(chosen, unerased, leace)


def score(
    submission: Submission,
    private: Private,
    part: Part,
    *,
    sandbox: Sandbox,
    limits: Limits = LIMITS,
    probes: Sequence[Probe] | None = None,
    baselines: Baselines | None = None,
) -> Score:
    """Fits a submission in the sandbox, erases the part's rows with it, and attacks them. Never raises for what a
    submission does, nor for what goes wrong in the grader: both are verdicts.

    On "feedback" it is fitted on the shown rows; on "select" and "report" anew on the fit rows, which its author never
    saw. Probes are trained on four fifths of the part's rows and tested on the fifth, in turn.

    Args:
        probes: the panel; default: `adversaries`.
        baselines: of the same part, where several submissions are scored on it; its panel is used.
    """
    started = time.monotonic()
    found = Score(
        sha256=submission.sha256,
        problem=private.id,
        part=part,
        verdict=Verdict.OK,
        detail="",
        spent=None,
        grade=None,
        leace=None,
        unerased=None,
        sandbox=sandbox.name,
        ranked=sandbox.ranked,
        seconds=0.0,
    )
    program = Program(submission, sandbox, limits)
    try:
        if baselines is not None:
            found = replace(found, leace=baselines.leace, unerased=baselines.unerased)
        erased = _erased(program, private, part)
        # Only now: to refuse a broken file needs no probe.
        beside = baselines or Baselines.of(private, part, probes)
        found = _attacked(replace(found, leace=beside.leace, unerased=beside.unerased), erased, private, beside)
    except Refused as err:
        found = replace(found, verdict=err.verdict, detail=err.detail)
    except Exception:
        found = replace(found, verdict=Verdict.GRADER_ERROR, detail=traceback.format_exc())
    return replace(found, seconds=time.monotonic() - started, notes=tuple(sorted(program.notes)))


def _erased(program: Program, private: Private, part: Part) -> Erased:
    """The part's rows, erased by the submission as it is fitted for that part.

    Raises:
        Refused: the submission broke a rule.
    """
    program.submission.check()
    own, hidden = (torch.from_numpy(rows) for rows in (private.splits(part)[0].fit, private.parts[part]))
    x, z = private.data.x, private.data.z
    eraser = SubmittedEraser(program, private.seed, private.budget)
    erasure = eraser.fit(x[own], z[own])
    assert isinstance(erasure, SubmittedMap)
    return Erased(eraser, x[hidden], erase(erasure, x[own], x[hidden], private.seed))


def _attacked(found: Score, erased: Erased, private: Private, beside: Baselines) -> Score:
    """The score with its grade.

    Raises:
        Refused: the edit is too large, or leaves nothing.
    """
    allowed = private.budget * torch.from_numpy(beside.leace.reference)
    spent = check_edit(erased.rows, erased.erased, allowed)
    graded = grade(erased, private.data, probes=beside.probes, seed=private.seed, splits=private.splits(found.part))
    return replace(found, spent=spent, grade=graded)


@dataclass(frozen=True)
class Feedback:
    """What an author hears of one submission: rounded, so that it says how good an idea is and little of the rows.

    Attributes:
        verdict, advice: code and one line.
        log: end of what was seen or raised; nothing of hidden rows, nothing of the grader.
        leakage: accuracy of the strongest probe, folded, to the nearest .05; None unless the verdict is ok.
        chance, reference, unerased: beside it, rounded alike; None where the grader failed.
        spent: mean squared edit over the budget, to the nearest .05.
        calls_left: before the next is refused.
    """

    verdict: Verdict
    advice: str
    log: str
    leakage: float | None
    chance: float | None
    reference: float | None
    unerased: float | None
    spent: float | None
    calls_left: int

    @classmethod
    def of(cls, found: Score, calls_left: int) -> Feedback:
        """Leaves out what is not the author's to know."""
        return cls(
            verdict=found.verdict,
            advice=found.verdict.advice,
            log="" if found.verdict is Verdict.GRADER_ERROR else found.detail[-_LOG:],
            leakage=_leakage(found.grade),
            chance=None if found.leace is None else round(found.leace.chance, 2),
            reference=_leakage(found.leace),
            unerased=_leakage(found.unerased),
            spent=None if found.spent is None else _rounded(found.spent),
            calls_left=calls_left,
        )

    @property
    def text(self) -> str:
        """As lines to read, without the calls that are left."""
        lines = [self.log] if self.log else []
        lines.append(f"{self.verdict}: {self.advice}")
        if self.leakage is not None:
            lines.append(
                f"Accuracy of the strongest classifier: {self.leakage:.2f} (chance {self.chance:.2f}, reference edit "
                f"{self.reference:.2f}, no edit {self.unerased:.2f}), with {self.spent:.2f} of the budget."
            )
        return "\n".join(lines)

    def __str__(self) -> str:
        return f"{self.text}\n{self.calls_left} calls left."


class Evaluator:
    """Feedback on the feedback rows, a limited number of times.

    Attributes:
        history: every score so far, oldest first; for the grader, not for the author.
    """

    def __init__(
        self,
        private: Private,
        sandbox: Sandbox,
        calls: int = 20,
        *,
        limits: Limits = LIMITS,
        probes: Sequence[Probe] | None = None,
        baselines: Baselines | None = None,
    ) -> None:
        self._private, self._sandbox, self._limits = private, sandbox, limits
        self._baselines = baselines or Baselines.of(private, "feedback", probes)
        self.calls_left = calls
        self.history: list[Score] = []
        # An agent may call its tools in parallel.
        self._lock = threading.Lock()

    def evaluate(self, source: bytes) -> Feedback:
        """Scores a source. A failure of the grader costs no call.

        Raises:
            ExciseError: no calls left.
        """
        with self._lock:
            if self.calls_left < 1:
                raise ExciseError("no evaluations are left; hand in the best file you have")
            found = score(
                Submission(source),
                self._private,
                "feedback",
                sandbox=self._sandbox,
                limits=self._limits,
                baselines=self._baselines,
            )
            self.history.append(found)
            self.calls_left -= found.verdict is not Verdict.GRADER_ERROR
            return Feedback.of(found, self.calls_left)


def _leakage(found: Grade | None) -> float | None:
    return None if found is None else _rounded(found.worst_accuracy.value)


def _rounded(value: float) -> float:
    return round(round(value / _STEP) * _STEP, 2)
