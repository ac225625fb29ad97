"""What became of a submission, and what its author can do about it."""

from __future__ import annotations

from enum import StrEnum

from excise.measures.edit import ROW_CAP, TOTAL_DAMAGE
from excise.types import ExciseError

OVER_BUDGET = 1.02
"""A mean squared edit on new rows of over this many times LEACE's there is too much: a submission that is LEACE itself
spends 1, whatever the sample."""


class Verdict(StrEnum):
    """One code a submission. Only `OK` counts; `GRADER_ERROR` never counts against a submission."""

    OK = "ok"
    NO_FILE = "no_file"
    TWO_FILES = "two_files"
    TOO_LARGE = "too_large"
    NOT_TEXT = "not_text"
    SYNTAX_ERROR = "syntax_error"
    MISSING_FUNCTION = "missing_function"
    FIT_RAISED = "fit_raised"
    TRANSFORM_RAISED = "transform_raised"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"
    BAD_STATE = "bad_state"
    BAD_SHAPE = "bad_shape"
    BAD_DTYPE = "bad_dtype"
    NOT_FINITE = "not_finite"
    NOT_DETERMINISTIC = "not_deterministic"
    ROW_DEPENDENT = "row_dependent"
    TOTAL_DAMAGE = "total_damage"
    ROW_CAP = "row_cap"
    OVER_BUDGET = "over_budget"
    OUTPUT_TOO_LARGE = "output_too_large"
    GRADER_ERROR = "grader_error"

    @property
    def advice(self) -> str:
        """One line for the author."""
        return _ADVICE[self]


_ADVICE = {
    Verdict.OK: "Sound: it was attacked, and its figures count.",
    Verdict.NO_FILE: "Write one Python file that defines fit and transform.",
    Verdict.TWO_FILES: "Leave exactly one .py file; put what others hold into it.",
    Verdict.TOO_LARGE: "Keep the file under 1 MB: it should hold a method, not data.",
    Verdict.NOT_TEXT: "Save the file as UTF-8 text without NUL bytes.",
    Verdict.SYNTAX_ERROR: "Make the file parse as Python 3.11; the line is named above.",
    Verdict.MISSING_FUNCTION: "Define fit(x, z, budget, seed) and transform(arrays, x) at the top level of the file.",
    Verdict.FIT_RAISED: "Make fit return for any labelled sample of this shape; the traceback is above.",
    Verdict.TRANSFORM_RAISED: "Make transform work on any number of rows, also on one, and on rows never seen.",
    Verdict.TIMEOUT: "Do less work: fewer steps, smaller arrays, no loops over rows; there is one processor.",
    Verdict.OUT_OF_MEMORY: "Use less memory: work in batches and avoid arrays of n x n x d.",
    Verdict.KILLED: "The process was killed, mostly for memory, processor time or processes; use less of each.",
    Verdict.BAD_STATE: "Return from fit a dict of names to numeric numpy arrays, under 64 MB together.",
    Verdict.BAD_SHAPE: "Return from transform one array of the very shape of x: the same rows in the same order.",
    Verdict.BAD_DTYPE: "Return floating point numbers from transform, best float32.",
    Verdict.NOT_FINITE: "Keep NaN and infinity out of the output; guard divisions, roots and logarithms.",
    Verdict.NOT_DETERMINISTIC: "Draw all random numbers from the seed given to fit and none in transform; no clocks.",
    Verdict.ROW_DEPENDENT: "Treat every row alone: no statistic of the batch, no order, no counter in transform.",
    Verdict.TOTAL_DAMAGE: f"Keep the activations: under {TOTAL_DAMAGE:.1%} of their variance was left.",
    Verdict.ROW_CAP: f"Spread the edit: no row may take over {ROW_CAP:.0f} times the mean squared edit.",
    Verdict.OVER_BUDGET: (
        f"Edit less: the mean squared edit of new rows may be {OVER_BUDGET} times the reference's there, and is "
        "mostly larger on new rows than on those fitted."
    ),
    Verdict.OUTPUT_TOO_LARGE: "Write less: what fit and transform return, and nothing else.",
    Verdict.GRADER_ERROR: "The grader failed, not your file; submit it again, and tell whoever runs the arena.",
}


class Refused(ExciseError):
    """A submission broke a rule.

    Attributes:
        verdict: which one.
        detail: what was seen, for its author; never anything of hidden rows.
    """

    def __init__(self, verdict: Verdict, detail: str) -> None:
        super().__init__(f"{verdict}: {detail.rstrip()}\n{verdict.advice}")
        self.verdict = verdict
        self.detail = detail
