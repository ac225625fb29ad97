"""Reads the answer of a rollout once, scores it on select and on report, and keeps the records."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from inspect_ai.scorer import Score as Shown
from inspect_ai.scorer import Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState
from inspect_ai.util import OutputLimitExceededError, concurrency, sandbox

from excise.arena.agents.outcome import Figures, Outcome
from excise.arena.problem import Part, Private, Public
from excise.arena.records import write_score
from excise.arena.sandbox import find_sandbox
from excise.arena.score import Baselines, Score, score
from excise.arena.submission import Submission
from excise.arena.verdict import Refused, Verdict
from excise.types import Probe


@dataclass(frozen=True, eq=False)
class Case:
    """One problem, with what all rollouts on it share.

    Attributes:
        public: for the agent.
        private: for the grader.
        probes: the panel; None for that of each part.
    """

    public: Public
    private: Private
    probes: Sequence[Probe] | None = None
    _graded: dict[Part, Baselines] = field(default_factory=dict, repr=False)
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def baselines(self, part: Part) -> Baselines:
        """Unerased and after LEACE, graded at the first call."""
        with self._lock:
            if part not in self._graded:
                self._graded[part] = Baselines.of(self.private, part, self.probes)
            return self._graded[part]

    def score(self, submission: Submission, part: Part) -> Score:
        """The submission on one part; a broken file is refused before any probe is trained."""
        try:
            submission.check()
        except Refused:
            return score(submission, self.private, part, sandbox=find_sandbox(), probes=self.probes)
        return score(submission, self.private, part, sandbox=find_sandbox(), baselines=self.baselines(part))


def cores() -> AbstractAsyncContextManager[Any]:
    """Waits for one of as many turns as there are cores: grading is work for the processor."""
    return concurrency("excise grading", os.cpu_count() or 1, visible=False)


def grader(cases: Mapping[str, Case], out: Path, answer: str) -> Scorer:
    """Scorer of the file `answer` in the work folder. Its value is the share of the way from LEACE to chance on the
    report rows: 0 for LEACE, 1 for chance, 0 for what is refused; unscored where the grader failed.

    Args:
        cases: by sample id.
        out: folder for records.
    """

    # Without parameters: Inspect writes those of a scorer into the log.
    @scorer(metrics=[mean(), stderr()], name="erased")
    def erased() -> Scorer:
        async def grade(state: TaskState, target: Target) -> Shown:
            case = cases[str(state.sample_id)]
            seen = Outcome(concept=case.private.data.name, author=f"{state.model} #{state.epoch}")
            try:
                submission = await _answer(answer)
            except Refused as err:
                return _shown(replace(seen, verdict=str(err.verdict), detail=err.detail))
            async with cores():
                return _shown(await anyio.to_thread.run_sync(partial(_scored, seen, submission, case, out)))

        return grade

    return erased()


async def _answer(name: str) -> Submission:
    """The file as it is now; what is scored is this and nothing that changes later.

    Raises:
        Refused: no plain file, or too large.
    """
    try:
        return Submission(await sandbox().read_file(name, text=False))
    except OutputLimitExceededError as err:
        raise Refused(Verdict.TOO_LARGE, str(err)) from None
    except OSError as err:
        raise Refused(Verdict.NO_FILE, str(err)) from None


def _scored(seen: Outcome, submission: Submission, case: Case, out: Path) -> Outcome:
    """Scores and records both parts."""
    found = {}
    parts: tuple[Part, Part] = ("select", "report")
    for part in parts:
        found[part] = case.score(submission, part)
        write_score(out, submission, case.private, found[part], author=seen.author)
    select, report = found["select"], found["report"]
    bad = next((one for one in (select, report) if one.verdict is not Verdict.OK), None)
    return replace(
        seen,
        verdict=str((bad or report).verdict),
        detail=(bad or report).detail,
        sha256=submission.sha256,
        select=Figures.of(select),
        report=Figures.of(report),
        notes=tuple(sorted({*select.notes, *report.notes})),
    )


def _shown(seen: Outcome) -> Shown:
    said = f"{seen.verdict}: {Verdict(seen.verdict).advice}\n{seen.detail}".strip()
    if seen.verdict == Verdict.GRADER_ERROR:
        return Shown.unscored(reason=str(seen.verdict), explanation=said, metadata=seen.to_json())
    return Shown(value=seen.share, answer=seen.sha256, explanation=said, metadata=seen.to_json())
