"""Means and class covariances moved together, as far as the labels vouch for them and the budget reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float64, Int64
from torch import Tensor, linalg

from excise.erasers.budget import BudgetedEraser, folds, leace_map, mean_squared_edit
from excise.erasers.gaussian_transport import transports
from excise.erasers.router import FOLDS, ROUTER_WAIVER, Router, calibrated_router
from excise.erasers.scaled import ScaledMap
from excise.stats.shrinkage import shrink_covariance
from excise.types import ErasureMap, Labels

_PARTS = 4
_AXES = 128
# Ranks at which the blocks of the axes begin: differences of class covariances fade with the rank of an axis, and a
# block has one shrinkage for all.
_BLOCKS = (0, 4, 8, 16, 32, 64)
_PERMUTATIONS = 10
# Least eigenvalue of a class covariance, in the least of the pooled one: a difference that is only estimated could
# take a class's variance below zero.
_FLOOR = 0.05
_BISECTIONS = 24
_MOST = 1e6


class RoutedSubspaceMap(ErasureMap):
    """x -> x + sum_c p(c | x) (axes moves_c (axes' x - centre_c) + shift_c), with p(c | x) = softmax(x weight + bias).

    Attributes:
        weight, bias: of the router, [d, k] and [k].
        axes: orthonormal, [d, r].
        centres: class means in the axes, [k, r].
        moves: symmetric, [k, r, r].
        shifts: [k, d].
    """

    weight: Float64[Tensor, "d k"]
    bias: Float64[Tensor, " k"]
    axes: Float64[Tensor, "d r"]
    centres: Float64[Tensor, "k r"]
    moves: Float64[Tensor, "k r r"]
    shifts: Float64[Tensor, "k d"]

    def __init__(
        self, weight: Tensor, bias: Tensor, axes: Tensor, centres: Tensor, moves: Tensor, shifts: Tensor
    ) -> None:
        super().__init__(weight=weight, bias=bias, axes=axes, centres=centres, moves=moves, shifts=shifts)

    @property
    def d(self) -> int:
        return len(self.weight)

    def _map(self, x: Tensor) -> Tensor:
        weight, bias, axes, centres, moves, shifts = (
            t.to(x.dtype) for t in (self.weight, self.bias, self.axes, self.centres, self.moves, self.shifts)
        )
        # Two products with all d dimensions, as few as there can be: they and the memory are what a row costs.
        k, r = centres.shape
        read = x @ torch.cat([weight, axes], dim=1)
        posterior = torch.softmax(read[..., :k] + bias, dim=-1)
        # Of every class, (axes' x - centre_c) moves_c: [..., k, r].
        moved = read[..., k:] @ moves.movedim(1, 0).flatten(1) - torch.einsum("kr,krs->ks", centres, moves).flatten()
        inside = (posterior.unsqueeze(-2) @ moved.unflatten(-1, (k, r))).squeeze(-2)
        return x + torch.cat([posterior, inside], dim=-1) @ torch.cat([shifts, axes.mT])


@dataclass(frozen=True)
class BudgetedTransport(BudgetedEraser):
    """Gaussian transport of what the labels vouch for, cheap directions first.

    x' = x + sum_c p(c | x) (A_c (x - m_c) + b_c), with a calibrated posterior p and class means m_c.

    What probes read after LEACE is, beside its own estimation error, that class covariances differ. To move them costs
    more than what LEACE's budget leaves, and to estimate them takes more labels than there are. So

    - of the difference S_c - S of a class's covariance, each block of entries (i, j), in the principal axes within
      classes, is multiplied by 1 - E|null|^2 / |found|^2, the null being the same with permuted labels: what permuted
      labels find too is left alone (a James-Stein estimate with an empirical null). Rows of a group, such as the two
      phrasings of one text, swap labels among themselves: what they share is no noise, and rows are held out by group;
    - the optimal transports T_c of these covariances to their barycentre give A_c = (T_c - 1) o 1 / (1 + mu h_ij), and
      the shift b_c of the mean to the mean of all is multiplied by 1 / (1 + mu s_i): s_i is the variance along axis i
      in units of the mean variance, h_ij = s_i s_j / (s_i + s_j). To second order this is the edit of least mean square
      at which the J-divergence between the classes falls to a given size: moves in directions of small variance are
      cheap, and tell as much;
    - both are divided by how far the posteriors of the classes lie apart;
    - mu is the smallest at which the edit keeps to the budget. Fits on three quarters of the rows first tell by how
      much the edit of new rows differs from that of fitted rows.

    Give it 250 rows or more: with 100, of 576 dimensions, fresh probes read more than after LEACE; with 400 the
    strongest read a quarter of the way from LEACE to chance less. Derivation and figures: docs/champion.md.
    """

    title = "budgeted transport"
    idea = "Gaussian transport of what permuted labels do not find too, directions of small variance first"
    source = "here (docs/champion.md); transport: arXiv:2502.02820; shrinkage: James and Stein 1961"

    accepts = "classes"
    waivers = ROUTER_WAIVER
    min_class_rows = 2 * FOLDS

    def _fit(self, x: Tensor, z: Labels) -> ErasureMap:
        classes = z.of_rows
        spent = allowed = 0.0
        for part in folds(x, classes, _PARTS, z.groups):
            spent += mean_squared_edit(_fitted(part.x, part.classes, part.groups, self.budget), part.x_out)
            allowed += self.budget * part.leace
        return _fitted(x, classes, z.groups, self.budget * allowed / spent if spent > 0 else self.budget)


def _fitted(
    x: Float64[Tensor, "n d"], classes: Int64[Tensor, " n"], groups: Int64[Tensor, " n"] | None, budget: float
) -> ErasureMap:
    """The map whose edit of the fitted rows is at most `budget` times LEACE's."""
    n, d = x.shape
    counts = torch.bincount(classes)
    means = torch.stack([x[classes == c].mean(dim=0) for c in range(len(counts))])
    centred = x - means[classes]
    _, sd, axes = linalg.svd(centred, full_matrices=False)
    leace = leace_map(x, classes)
    unit = mean_squared_edit(leace, x)
    if not sd[0] > 0 or not unit > 0:  # Rows that vary between classes alone, or not: there is nothing but the shift.
        return ScaledMap(leace, x.new_tensor(min(budget, 1.0) ** 0.5))
    axes = axes[: min(_AXES, int((sd > 1e-6 * sd[0]).sum()))].mT
    rows = centred @ axes
    # Eigenvalues of the shrunk covariance; axes that the rows do not span have the least of them.
    spectrum = torch.cat([sd.square() / n, sd.new_zeros(max(d - len(sd), 0))])
    variances = shrink_covariance(torch.diag(spectrum), n).diagonal()
    floor, scale = variances.min(), variances.mean()
    variances = variances[: rows.shape[1]]

    pooled = torch.diag(variances)
    differences = _differences(rows, classes, groups)
    covariances = torch.stack([_at_least(pooled + found, _FLOOR * floor) for found in differences])
    priors = counts.to(x) / n
    router = calibrated_router(x, classes, groups)
    sureness = _sureness(router, classes)
    moves = (transports(covariances, priors) - torch.eye(len(variances)).to(x)) / sureness[:, None, None]
    shifts = (priors @ means - means) / sureness[:, None]
    along = shifts @ axes
    across = shifts - along @ axes.mT

    relative = variances / scale
    pairs = relative[:, None] * relative / (relative[:, None] + relative)

    def damped(mu: float) -> tuple[Tensor, Tensor]:
        """Moves [k, r, r] within the axes, and shifts [k, d]."""
        return moves / (1 + mu * pairs), along / (1 + mu * relative) @ axes.mT + across / (1 + mu * floor / scale)

    def cost(mu: float) -> float:
        of_moves, of_shifts = damped(mu)
        edit = router.held_out @ of_shifts
        for c, move in enumerate(of_moves):
            edit = edit + router.held_out[:, c : c + 1] * ((x - means[c]) @ axes @ move) @ axes.mT
        return float(edit.square().sum(dim=1).mean())

    of_moves, of_shifts = damped(_smallest(cost, budget * unit))
    return RoutedSubspaceMap(router.weight, router.bias, axes, means @ axes, of_moves, of_shifts)


def _differences(
    rows: Float64[Tensor, "n r"], classes: Int64[Tensor, " n"], groups: Int64[Tensor, " n"] | None = None
) -> Float64[Tensor, "k r r"]:
    """Covariance of each class less the pooled one, shrunk block by block by what permuted labels find."""
    generator = torch.Generator().manual_seed(0)
    found, null = _deviations(rows, classes), rows.new_zeros(())
    for _ in range(_PERMUTATIONS):
        null = null + _deviations(rows, _permuted(classes, groups, generator)).square() / _PERMUTATIONS
    edges = [*(edge for edge in _BLOCKS if edge < rows.shape[1]), rows.shape[1]]
    blocks = [slice(a, b) for a, b in pairwise(edges)]
    for i in blocks:
        for j in blocks:
            block = found[:, i, j]
            signal = block.square().sum(dim=(1, 2))
            kept = 1 - null[:, i, j].sum(dim=(1, 2)) / signal.clamp(min=torch.finfo(signal.dtype).tiny)
            found[:, i, j] = block * kept.clamp(min=0)[:, None, None]
    return found


def _permuted(
    classes: Int64[Tensor, " n"], groups: Int64[Tensor, " n"] | None, generator: torch.Generator
) -> Int64[Tensor, " n"]:
    """Classes as chance would deal them: among the rows of a group, or, where all its rows are of one class, among the
    groups of its size."""
    if groups is None:
        return classes[torch.randperm(len(classes), generator=generator).to(classes.device)]
    dealt = classes.clone()
    of_one_class: dict[int, list[Tensor]] = {}
    sizes = groups.unique(return_counts=True)[1]
    for rows in torch.split(groups.argsort(stable=True), sizes.tolist()):
        if bool((classes[rows] == classes[rows[0]]).all()):
            of_one_class.setdefault(len(rows), []).append(rows)
        else:
            order = torch.randperm(len(rows), generator=generator)
            dealt[rows] = classes[rows[order.to(rows.device)]]
    for same_size in map(torch.stack, of_one_class.values()):
        order = torch.randperm(len(same_size), generator=generator)
        dealt[same_size] = classes[same_size[order.to(classes.device)]]
    return dealt


def _deviations(rows: Tensor, classes: Tensor) -> Tensor:
    """Second moment of each class less that of all rows, [k, r, r]. rows: centred by class."""
    pooled = rows.mT @ rows / len(rows)
    members = (rows[classes == c] for c in range(int(classes.max()) + 1))
    return torch.stack([part.mT @ part / len(part) for part in members]) - pooled


def _at_least(covariance: Tensor, least: Tensor) -> Tensor:
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
