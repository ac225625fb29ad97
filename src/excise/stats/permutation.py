"""Is anything left at all? Kernel tests of rows against their classes, with permutation p-values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from scipy.special import gammaln
from torch import Tensor

from excise.stats.mmd import gaussian_kernel, typical_distance
from excise.types import ExciseError

# With fewer relabellings no p-value could reach .05.
_FEWEST = 20
# Equal statistics computed in another order of sums differ by less; kernels are at most 1.
_TIE = 1e-12


@dataclass(frozen=True)
class Test:
    """A statistic and how often relabelled rows reach it.

    Attributes:
        statistic: larger is further from independence. Only its place among relabellings means anything: rows of a pair
            resemble each other, which alone makes an unbiased MMD negative.
        p: in (0, 1]; uniform or larger when rows and classes are independent given the groups.
    """

    statistic: float
    p: float


def mmd_test(
    x: Float[Tensor, "n d"],
    z: Int64[Tensor, " n"],
    groups: Int64[np.ndarray, " n"],
    seed: int,
    n_permutations: int = 1000,
) -> Test:
    """Whether the classes' distributions differ: unbiased squared MMD, averaged over pairs of classes.

    The rows must be ones that nothing was fitted on: an eraser that matched its own rows would pass on them. Rows are
    compared as they are, so dimensions of large variance weigh most. Costs n^2 memory: a few thousand rows.

    Relabelling respects groups, because rows of a group are not independent:

    * a group with several classes (a pair) has its labels permuted within it; what distinguishes whole groups is the
      same under every relabelling and so proves nothing;
    * groups of one class each (an author, a document) are relabelled whole, among such groups with as many rows;
    * without groups (each row one of its own) that is the ordinary permutation of rows.

    Args:
        z: classes 0 .. k-1, two rows of each at least.
        groups: group of each row.
        seed: of the permutations.

    Raises:
        ExciseError: a class with fewer than two rows, or groups that leave fewer than 20 relabellings.

    Source:
        Gretton et al. 2012, eq. 3, JMLR 13:723-773; p-value with the observed labels counted among the permuted:
        Phipson and Smyth 2010, arXiv:1603.05766.
    """
    labels = _relabelled(z, groups, seed, n_permutations)
    counts = torch.bincount(z)
    if counts.min() < 2:
        raise ExciseError(
            f"class {int(counts.argmin())} has {int(counts.min())} rows; the test needs at least 2 of each"
        )
    kernel = _kernel(x)
    kernel.fill_diagonal_(0.0)
    k = len(counts)
    sums = {
        (a, b): total for a in range(k) for b, total in zip(range(a, k), _class_sums(kernel, labels, a, k), strict=True)
    }
    n = counts.tolist()  # The same under every relabelling.
    within = [sums[c, c] / (n[c] * (n[c] - 1)) for c in range(k)]
    pairs = [within[a] + within[b] - 2 * sums[a, b] / (n[a] * n[b]) for a in range(k) for b in range(a + 1, k)]
    return _test(torch.stack(pairs).mean(dim=0))


def hsic_test(
    x: Float[Tensor, "n d"],
    z: Int64[Tensor, " n"],
    groups: Int64[np.ndarray, " n"],
    seed: int,
    n_permutations: int = 1000,
) -> Test:
    """Whether rows and classes depend on each other: HSIC over its largest possible value, in [0, 1].

    As `mmd_test`, which weighs every pair of classes alike; HSIC weighs classes by their rows, so that a rare class
    neither helps nor disturbs. For two classes of equal size the two are nearly one test.

    Raises:
        ExciseError: groups that leave fewer than 20 relabellings.

    Source:
        Gretton et al. 2007, "A kernel statistical test of independence", NIPS 20; the quotient is that of
        `excise.stats.mmd.alignment`.
    """
    labels = _relabelled(z, groups, seed, n_permutations)
    kernel = _kernel(x)
    means = kernel.mean(dim=0)
    centred = kernel - means[:, None] - means + means.mean()
    k = int(z.max()) + 1
    onehot = (z[:, None] == torch.arange(k).to(z)).to(centred)
    spread = onehot - onehot.mean(dim=0)
    largest = centred.norm() * (spread.mT @ spread).norm()
    total = torch.stack([_class_sums(centred, labels, c, c + 1)[0] for c in range(k)]).sum(dim=0)
    # Rows that all coincide depend on nothing.
    return _test(total / largest if largest > 0 else torch.zeros_like(total))


def _kernel(x: Tensor) -> Float64[Tensor, "n n"]:
    # The width is the same for every relabelling, so taking it from the rows under test costs no validity.
    x = x.double()
    return gaussian_kernel(x, typical_distance(x))


def _class_sums(
    kernel: Float64[Tensor, "n n"], labels: Int64[Tensor, "n m"], a: int, stop: int
) -> list[Float64[Tensor, " m"]]:
    """Sum of the kernel between the rows of class a and those of each class a .. stop-1, for every labelling."""
    product = kernel @ (labels == a).to(kernel)
    return [(product * (labels == b)).sum(dim=0) for b in range(a, stop)]


def _test(statistics: Float64[Tensor, " m"]) -> Test:
    """The first statistic is that of the true labels, and counts as one of the relabellings."""
    reached = int((statistics[1:] >= statistics[0] - _TIE).sum())
    return Test(float(statistics[0]), (1 + reached) / len(statistics))


def _relabelled(z: Tensor, groups: Int64[np.ndarray, " n"], seed: int, n_permutations: int) -> Int64[Tensor, "n m"]:
    """The true labels, then `n_permutations` relabellings that respect groups; class counts never change."""
    truth = z.cpu().numpy()
    _, first, of = np.unique(groups, return_index=True, return_inverse=True)
    mixed_row = truth != truth[first][of]
    mixed: Bool[np.ndarray, " g"] = np.bincount(of, weights=mixed_row) > 0
    within, whole = np.flatnonzero(mixed[of]), np.flatnonzero(~mixed)
    size = np.bincount(of)[whole]
    label = truth[first][whole]
    count = _log_relabellings(truth[within], of[within]) + _log_relabellings(label, size)
    if count < np.log(_FEWEST) - 1e-9:
        raise ExciseError(
            f"these groups leave only {np.exp(count):.0f} ways to relabel the rows (groups of one class are exchanged "
            f"with groups of as many rows); a permutation test needs {_FEWEST}. Give more groups, or finer ones"
        )
    rng = np.random.default_rng(seed)
    out = np.tile(truth, (n_permutations + 1, 1))
    out[1:, within] = _shuffled(truth[within], of[within], n_permutations, rng)
    rows = np.flatnonzero(~mixed[of])
    out[1:, rows] = _shuffled(label, size, n_permutations, rng)[:, np.searchsorted(whole, of[rows])]
    return torch.from_numpy(np.ascontiguousarray(out.T)).to(z.device)


def _shuffled(
    labels: Int64[np.ndarray, " u"], blocks: Int64[np.ndarray, " u"], n: int, rng: np.random.Generator
) -> Int64[np.ndarray, "n u"]:
    """Labels permuted within blocks, n times."""
    home = np.argsort(blocks, kind="stable")
    # Sorting by block and then at random puts a random member of its own block in every place.
    source = np.argsort(blocks + rng.random((n, len(blocks))), axis=1)
    out = np.empty((n, len(labels)), dtype=np.int64)
    out[:, home] = labels[source]
    return out


def _log_relabellings(labels: Int64[np.ndarray, " u"], blocks: Int64[np.ndarray, " u"]) -> float:
    """Logarithm of the number of different outcomes of `_shuffled`."""
    sizes = np.unique(blocks, return_counts=True)[1]
    cells = np.unique(np.stack([blocks, labels]), axis=1, return_counts=True)[1]
    return float(gammaln(sizes + 1).sum() - gammaln(cells + 1).sum())
