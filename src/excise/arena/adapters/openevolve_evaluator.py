"""OpenEvolve's evaluation: `openevolve-run SOURCE EVALUATION --config CONFIG`, EVALUATION being a file of three lines.

    from excise.arena.adapters.judge import Problems
    from excise.arena.adapters.openevolve_evaluator import evaluation

    evaluate = evaluation(Problems(Path("results/openevolve"), "openevolve").judge("humor"))

OpenEvolve is an open implementation of "AlphaEvolve", arXiv:2506.13131.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from openevolve.evaluation_result import EvaluationResult

from excise.arena.adapters.judge import Judge, reward
from excise.arena.score import Feedback


def evaluation(judge: Judge) -> Callable[[str], EvaluationResult]:
    """A function from the path of a program to its reward, `combined_score`, with the feedback as an artifact.

    Where the grader fails it raises `GraderFailed`: OpenEvolve tries again and at last keeps the program with the
    metric `error` and no `combined_score`.
    """

    def evaluate(program_path: str) -> EvaluationResult:
        found = judge.score(Path(program_path).read_bytes())
        heard = Feedback.of(found, calls_left=0)
        return EvaluationResult({"combined_score": reward(found)}, {"feedback": heard.text})

    return evaluate
