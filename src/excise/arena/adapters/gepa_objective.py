"""GEPA's evaluator: `optimize_anything(seed_candidate=SOURCE, evaluator=Objective(judge), ...)`.

GEPA is "Reflective Prompt Evolution", arXiv:2507.19457.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from excise.arena.adapters.judge import Judge, reward
from excise.arena.score import Feedback


@dataclass(frozen=True, eq=False)
class Objective:
    """Reward of a source, with the rounded feedback that an author hears as side information."""

    judge: Judge

    def __call__(self, candidate: str) -> tuple[float, dict[str, Any]]:
        """`gepa.optimize_anything.Evaluator` without examples: one problem.

        Raises:
            GraderFailed: which ends GEPA's run, unless `raise_on_exception` is off: then it counts as 0.
        """
        found = self.judge.score(candidate.encode())
        return reward(found), {"Feedback": Feedback.of(found, calls_left=0).text}
