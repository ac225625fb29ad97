"""Means and class covariances moved together, as far as the labels vouch for them and the budget reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Tensor, linalg

from excise.erasers.budget import BudgetedEraser, folds, leace_map, mean_squared_edit
from excise.erasers.gaussian_transport import transports
from excise.erasers.router import FOLDS, ROUTER_WAIVER, Router, calibrated_router
from excise.erasers.scaled import ScaledMap
from excise.erasers.shrunk_moments import (
    OtherTexts,
    class_means,
    predicted_differences,
    shrunk_differences,
    shrunk_gaps,
    within_covariance,
)
from excise.types import ErasureMap, Labels

_PARTS = 4
_AXES = 256  # Of largest variance; class covariances are matched in them.
_RANK = 30  # Of a row's move within them; with two classes' shifts 32, which products like.
# Least variance of a class, in the pooled one: a difference that is only estimated could take it below zero.
_FLOOR = 0.1
_BISECTIONS = 24
# Of one to three rows, `addmm` adds term by term to x and loses the last digits of a small edit of large activations.
_FEW = 16
_MOST = 1e6


class RoutedSubspaceMap(ErasureMap):
    """x -> x + sum_c p(c | x) (outputs' moves_c inputs' x + shift_c), with p(c | x) = softmax(x weight + bias).

    Attributes:
        weight, bias: of the router, [d, k] and [k].
        inputs: [d, q].
        moves: [k, q, q], applied from the right.
        outputs: [q, d].
        shifts: [k, d].
    """

    weight: Float64[Tensor, "d k"]
    bias: Float64[Tensor, " k"]
    inputs: Float64[Tensor, "d q"]
    moves: Float64[Tensor, "k q q"]
    outputs: Float64[Tensor, "q d"]
    shifts: Float64[Tensor, "k d"]

    def __init__(
        self, weight: Tensor, bias: Tensor, inputs: Tensor, moves: Tensor, outputs: Tensor, shifts: Tensor
    ) -> None:
        super().__init__(weight=weight, bias=bias, inputs=inputs, moves=moves, outputs=outputs, shifts=shifts)

    @property
    def d(self) -> int:
        return len(self.weight)

    def _map(self, x: Tensor) -> Tensor:
        weight, bias, inputs, moves, outputs, shifts = (
            t.to(x.dtype) for t in (self.weight, self.bias, self.inputs, self.moves, self.outputs, self.shifts)
        )
        # Two products with all d dimensions, as few as there can be, and one pass over the memory of the output: they
        # are what a row costs.
        k, flat = len(moves), x.reshape(-1, self.d)
        read = flat @ torch.cat([weight, inputs], dim=1)
        posterior = torch.softmax(read[:, :k] + bias, dim=-1)
        moved = torch.zeros_like(read[:, k:])
        for c, move in enumerate(moves):
            moved += posterior[:, c : c + 1] * (read[:, k:] @ move)
        edit, directions = torch.cat([posterior, moved], dim=1), torch.cat([shifts, outputs])
        if len(flat) < _FEW:
            return (flat + edit @ directions).reshape(x.shape)
        return torch.addmm(flat, edit, directions).reshape(x.shape)


@dataclass(frozen=True)
class BudgetedTransport(BudgetedEraser):
    """Gaussian transport of what the labels vouch for, cheap directions first.

    x' = x + sum_c p(c | x) (A_c (x - m_c) + b_c), with a calibrated posterior p and class means m_c.

    What probes read after LEACE is, beside its own estimation error, that class covariances differ. To estimate that
    takes more labels than there are, and what an estimate gets wrong is written into new rows. So nothing moves by more
    than can be known of it:

    - the difference S_c - S of a class's covariance is first predicted without labels, where there is a `background`,
      rows of other texts: variances change along the concept's direction w there as they do in the concept. The
      prediction is a multiple of E[(w'y) y y'], block by block of the entries;
    - what the prediction leaves is multiplied, block by block in the principal axes within classes, by
      1 - E|null|^2 / |found|^2, the null being the same with permuted labels: what permuted labels find too is left
      alone (a James-Stein estimate with an empirical null). So are class means. Rows of a group, such as the two
      phrasings of one text, swap labels among themselves: what they share is no noise; and rows are held out by group;
    - the optimal transports T_c of these covariances to their barycentre give A_c = (T_c - 1) o 1 / (1 + mu h_ij), and
      the shift b_c of the mean to the mean of all is multiplied by 1 / (1 + mu s_i): s_i is the variance along axis i
      in units of the mean variance, h_ij = s_i s_j / (s_i + s_j). To second order this is the edit of least mean square
      at which the J-divergence between the classes falls to a given size: moves in directions of small variance are
      cheap, and tell as much. Of A_c the 30 leading directions are kept;
    - both are divided by how far the posteriors of the classes lie apart;
    - mu is the smallest at which the edit keeps to the budget. Fits on three quarters of the rows first tell by how
      much the edit of new rows differs from that of fitted rows.

    Give it 250 labelled rows or more, and a background of thousands: texts at the same site, the more and the nearer in
    kind the better. One that describes the rows' covariance badly is left out, with a warning.

    Derivation and figures: docs/champion.md.
    """

    title = "budgeted transport"
    idea = "Gaussian transport of what can be known from labels and a background, directions of small variance first"
    source = "here (docs/champion.md); transport: arXiv:2502.02820; shrinkage: James and Stein 1961"

    accepts = "classes"
    waivers = ROUTER_WAIVER
    min_class_rows = 2 * FOLDS

    def _fit(self, x: Tensor, z: Labels) -> ErasureMap:
        return self._fit_with(x, z, None)

    def _fit_beside(self, x: Tensor, z: Labels, background: Tensor) -> ErasureMap | None:
        others = OtherTexts.of(background)
        return self._fit_with(x, z, others) if others.describe(x, z.of_rows, z.groups) else None

    def _fit_with(self, x: Tensor, z: Labels, others: OtherTexts | None) -> ErasureMap:
        classes = z.of_rows
        spent = allowed = 0.0
        for part in folds(x, classes, _PARTS, z.groups):
            fitted = _fitted(part.x, part.classes, part.groups, others, self.budget)
            spent += mean_squared_edit(fitted, part.x_out)
            allowed += self.budget * part.leace
        budget = self.budget * allowed / spent if spent > 0 else self.budget
        return _fitted(x, classes, z.groups, others, budget)


def _fitted(
    x: Float64[Tensor, "n d"],
    classes: Int64[Tensor, " n"],
    groups: Int64[Tensor, " n"] | None,
    others: OtherTexts | None,
    budget: float,
) -> ErasureMap:
    """The map whose edit of the fitted rows is at most `budget` times LEACE's."""
    n = len(x)
    priors = torch.bincount(classes).to(x) / n
    means = class_means(x, classes)
    centred = x - means[classes]
    leace = leace_map(x, classes)
    unit = mean_squared_edit(leace, x)
    if not centred.any() or not unit > 0:  # Rows that vary between classes alone, or not: nothing but the shift.
        return ScaledMap(leace, x.new_tensor(min(budget, 1.0) ** 0.5))
    within, of_others = within_covariance(centred, others)
    gaps = shrunk_gaps(x, centred, classes, groups, within if of_others is None else of_others)

    variances, axes = (part.flip(-1) for part in linalg.eigh(within))
    variances = variances.clamp(min=1e-9 * variances[0])
    r = min(_AXES, int((variances > 1e-6 * variances[0]).sum()))
    if others is None:
        r = min(r, n - len(means))  # More axes than the rows span are no axes of theirs.
    sd = variances[:r].sqrt()
    inner = axes[:, :r]
    rows = centred @ inner / sd
    predicted = None if others is None else predicted_differences(others.rows @ inner / sd, gaps @ inner / sd)
    differences = shrunk_differences(rows, classes, groups, predicted)
    covariances = torch.stack([_at_least(torch.eye(r).to(x) + found, _FLOOR) for found in differences])
    router = calibrated_router(x, classes, groups)
    sureness = _sureness(router, classes)
    maps = transports(covariances * sd[:, None] * sd, priors)
    moves = (maps - torch.eye(r).to(x)) / sureness[:, None, None]
    shifts = -(gaps @ axes) / sureness[:, None]

    relative = variances / variances.mean()
    pairs = relative[:r, None] * relative[:r] / (relative[:r, None] + relative[:r])
    from_means = torch.stack([(x - mean) @ inner for mean in means])
    posterior = router.held_out

    def damped(mu: float, keep: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Moves [k, r, r] in the axes, applied from the right, and shifts [k, d] in the axes."""
        of_moves = moves / (1 + mu * pairs)
        if keep is not None:
            of_moves = keep[0] @ of_moves @ keep[1]
        return of_moves, shifts / (1 + mu * relative)

    def cost(mu: float, keep: tuple[Tensor, Tensor] | None = None) -> float:
        of_moves, of_shifts = damped(mu, keep)
        edit = posterior @ of_shifts
        edit[:, :r] += torch.einsum("nk,knr->nr", posterior, from_means @ of_moves)
        return float(edit.square().sum(dim=1).mean())

    # The leading directions at the multiplier that all of them need; the few cost less, and may spend it.
    reads, writes = _leading(damped(_smallest(cost, budget * unit))[0], sd)
    keep = (reads[0] @ reads[1], writes[0] @ writes[1])
    of_moves, of_shifts = damped(_smallest(lambda mu: cost(mu, keep), budget * unit), keep)
    inputs = inner @ reads[0]
    small = reads[1] @ of_moves @ writes[0]
    centres = torch.einsum("kr,krs->ks", means @ inner, of_moves) @ inner.mT
    return RoutedSubspaceMap(
        router.weight, router.bias, inputs, small, writes[1] @ inner.mT, of_shifts @ axes.mT - centres
    )


def _leading(
    moves: Float64[Tensor, "k r r"], sd: Float64[Tensor, " r"]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What moves read, and what they write, in the few directions that carry most of them where rows are white: [r, q]
    into the few and [q, r] back, for each."""
    white = moves * sd[:, None] / sd
    reads = linalg.svd(torch.cat(list(white), dim=1), full_matrices=False).U[:, :_RANK]
    writes = linalg.svd(torch.cat(list(reads.mT @ white)), full_matrices=False).Vh[:_RANK].mT
    of_reads, of_writes = ((basis / sd[:, None], (basis * sd[:, None]).mT) for basis in (reads, writes))
    return of_reads, of_writes


def _at_least(covariance: Tensor, least: float) -> Tensor:
    """With eigenvalues raised to `least`."""
    values, vectors = linalg.eigh((covariance + covariance.mT) / 2)
    return (vectors * values.clamp(min=least)) @ vectors.mT


def _sureness(router: Router, classes: Tensor) -> Tensor:
    """How far the posterior of a class lies apart between its own rows and the others, [k]: a move that is weighted by
    posteriors falls short by this factor. At least 1/2: what hardly routes must not be blown up."""
    own = [router.held_out[classes == c, c].mean() for c in range(router.held_out.shape[1])]
    other = [router.held_out[classes != c, c].mean() for c in range(router.held_out.shape[1])]
    return (torch.stack(own) - torch.stack(other)).clamp(min=0.5)


def _smallest(cost: Callable[[float], float], budget: float) -> float:
    """The smallest mu whose cost keeps to the budget; cost falls with mu."""
    if cost(0.0) <= budget:
        return 0.0
    low, high = 0.0, 1.0
    while cost(high) > budget and high < _MOST:
        low, high = high, 10 * high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if cost(middle) > budget else (low, middle)
    return high
