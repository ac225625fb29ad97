"""What a submission does to rows: figures that do not depend on how it is written."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from excise.arena.problem import Public
from excise.arena.sandbox import Limits, Sandbox
from excise.arena.submission import Submission
from excise.arena.submitted import LIMITS, Program
from excise.erasers import all_erasers

Rows = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]

_PAIRS = 400
# Of the pooled rows: enough to hold what is readable, few enough for class covariances of some dozens of rows.
_COMPONENTS = 8
_LEVELS = (np.arange(16) + 0.5) / 16


@dataclass(frozen=True)
class Behaviour:
    """What a map does to the rows that it was fitted on. Shares are 1 where all is taken out, 0 where nothing is, and
    under 0 where there is more than before.

    Attributes:
        rank: effective number of directions that the edits span: exp of the entropy of their squared singular values.
        affine: 1 for an affine map, lower the more the edit of a midpoint differs from the mean edit of its two ends.
        shift: share of the mean squared edit that is the mean edit of the row's class, in units of LEACE's: what a
            linear readout of the label makes of it. Over 1 where the label is read better than that.
        means: share of the squared gap between class means that is taken out.
        covariances: share of the gap (Frobenius norm) between class covariances, in the leading components.
        marginals: share of the gap between the classes' quantiles, dimension by dimension and each class standardised:
            what lies beyond means and variances.
        spent: mean squared edit as a multiple of the budget told to `fit`.
    """

    rank: float
    affine: float
    shift: float
    means: float
    covariances: float
    marginals: float
    spent: float

    def vector(self) -> Rows:
        """For distances: every figure on a scale of about 1, limited, so that no wild one outweighs the rest."""
        values = np.array([getattr(self, f.name) for f in fields(self)])
        # Ranks differ by factors.
        values[0] = np.log(max(values[0], 1.0)) / np.log(16.0)
        return np.asarray(np.clip(values, -0.5, 1.5))


def mean_behaviour(found: list[Behaviour]) -> Behaviour:
    """Figure by figure; of ranks the geometric mean."""
    means = {f.name: float(np.mean([getattr(one, f.name) for one in found])) for f in fields(Behaviour)}
    return Behaviour(**{**means, "rank": float(np.exp(np.mean([np.log(max(one.rank, 1e-9)) for one in found])))})


def behaviour(submission: Submission, public: Public, sandbox: Sandbox, limits: Limits = LIMITS) -> Behaviour:
    """Fits a submission on the shown rows, in the sandbox, and looks at what it makes of them. No hidden row is read.

    Raises:
        Refused: the submission broke a rule here.
    """
    program = Program(submission, sandbox, limits)
    rows, z = public.x.numpy(), public.z.numpy()
    arrays = program.fit(rows, z, public.budget, public.seed)
    g = np.random.default_rng(public.seed)
    first, second = g.integers(len(rows), size=(2, _PAIRS))
    middle = (rows[first] + rows[second]) / 2
    out = program.transform(arrays, np.concatenate([rows, middle])).astype(np.float64)
    x = rows.astype(np.float64)
    erased, middle_edit = out[: len(x)], out[len(x) :] - middle
    edit = erased - x
    ends = (edit[first], edit[second])
    leace = all_erasers()["Leace"]().fit(public.x, public.z)(public.x).double().numpy() - x
    basis = _leading(x)
    before, after = x @ basis, erased @ basis
    return Behaviour(
        rank=effective_rank(edit),
        affine=midpoint_law(ends, middle_edit),
        shift=_ratio(class_share(edit, z), class_share(leace, z)),
        means=_removed(*(_mean_gap(rows, z) for rows in (x, erased))),
        covariances=_removed(*(_covariance_gap(rows, z) for rows in (before, after))),
        marginals=_removed(*(quantile_gap(rows, z) for rows in (x, erased))),
        spent=float(np.square(edit).sum(axis=1).mean() / public.budget),
    )


def effective_rank(edit: Rows) -> float:
    """exp of the entropy of the squared singular values' shares, of edits [n, d]; 0 without any edit.

    Source:
        Roy and Vetterli 2007, EUSIPCO, with squared singular values.
    """
    values = np.linalg.svd(edit, compute_uv=False) ** 2
    if values.sum() == 0:
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def midpoint_law(ends: tuple[Rows, Rows], middle: Rows) -> float:
    """1 - |e(m) - (e(a) + e(b)) / 2|^2 / (|e(a) - e(b)|^2 / 4), each averaged over pairs, m = (a + b) / 2; at least 0.

    1 for every affine map, and needs no regression, which fewer rows than dimensions would not allow.

    Args:
        ends: edits of a and of b, [m, d] each; middle: edits of their midpoints.
    """
    defect = np.square(middle - (ends[0] + ends[1]) / 2).sum(axis=1).mean()
    spread = np.square(ends[0] - ends[1]).sum(axis=1).mean() / 4
    # float32 gives every edit a rounding error, also one that hardly varies.
    size = np.square(ends[0]).sum(axis=1).mean()
    if defect <= 1e-9 * size:
        return 1.0
    return float(max(1 - defect / spread, 0.0)) if spread > 0 else 0.0


def class_share(edit: Rows, z: Classes) -> float:
    """Share of the mean squared edit [n, d] that is the mean edit of the row's class, in [0, 1]; 0 without any edit."""
    total = np.square(edit).sum(axis=1).mean()
    of_class = sum((z == c).mean() * np.square(edit[z == c].mean(axis=0)).sum() for c in np.unique(z))
    return _ratio(float(of_class), float(total))


def quantile_gap(x: Rows, z: Classes) -> float:
    """Mean absolute difference between quantiles of two standardised classes, over dimensions and pairs of classes."""
    tables = []
    for c in np.unique(z):
        rows = x[z == c]
        spread = rows.std(axis=0)
        tables.append(np.quantile((rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1.0), _LEVELS, axis=0))
    return float(np.mean([np.abs(a - b).mean() for a, b in _pairs(tables)]))


def _mean_gap(x: Rows, z: Classes) -> float:
    return float(np.mean([np.square(a - b).sum() for a, b in _pairs([x[z == c].mean(axis=0) for c in np.unique(z)])]))


def _covariance_gap(x: Rows, z: Classes) -> float:
    covariances = [np.cov(x[z == c].T, bias=True) for c in np.unique(z)]
    return float(np.mean([np.linalg.norm(a - b) for a, b in _pairs(covariances)]))


def _leading(x: Rows) -> Rows:
    """Directions of most variance, [d, r]."""
    _, _, right = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    return np.asarray(right[:_COMPONENTS].T)


def _pairs(values: list[Rows]) -> list[tuple[Rows, Rows]]:
    return [(a, b) for i, a in enumerate(values) for b in values[i + 1 :]]


def _removed(before: float, after: float) -> float:
    return 1 - _ratio(after, before) if before > 0 else 0.0


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else 0.0
