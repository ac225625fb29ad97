"""Inventing erasers against a hidden grader."""

from excise.arena.problem import Private, Public, dev_concepts, held_out_concepts, prepare, prepare_rows
from excise.arena.score import Evaluator, Feedback, Score, score
from excise.arena.submission import Submission
from excise.arena.verdict import Refused, Verdict

__all__ = [
    "Evaluator",
    "Feedback",
    "Private",
    "Public",
    "Refused",
    "Score",
    "Submission",
    "Verdict",
    "dev_concepts",
    "held_out_concepts",
    "prepare",
    "prepare_rows",
    "score",
]
