"""Class means and covariances as far as labels vouch for them, and as far as other texts do."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float64, Int64
from torch import Tensor, linalg

from excise.erasers.budget import row_folds
from excise.stats.shrinkage import shrink_covariance
from excise.types import ExciseError

# Rows that a background counts for, at most, in the covariance within classes: it is of other texts.
_BACKGROUND_ROWS = 1000
# Ranks at which the blocks of the axes begin: what labels can tell fades with the rank of an axis, and a block has one
# shrinkage for all.
_MEAN_BLOCKS = (0, 16, 64, 128, 256)
_BLOCKS = (0, 4, 16, 64, 128)
_PERMUTATIONS = 10
_PARTS = 4


def class_means(rows: Tensor, classes: Tensor) -> Tensor:
    """[k, d]."""
    return torch.stack([rows[classes == c].mean(dim=0) for c in range(int(classes.max()) + 1)])


@dataclass(frozen=True)
class OtherTexts:
    """A background: rows [m, d] of mean 0, their covariance [d, d] and its variances [d] and axes [d, d]."""

    rows: Float64[Tensor, "m d"]
    covariance: Float64[Tensor, "d d"]
    variances: Float64[Tensor, " d"]
    axes: Float64[Tensor, "d d"]

    @staticmethod
    def of(background: Float64[Tensor, "m d"]) -> OtherTexts:
        rows = background - background.mean(dim=0)
        covariance = shrink_covariance(rows.mT @ rows / len(rows), len(rows))
        if not covariance.square().sum().isfinite():
            raise ExciseError("the background's values are too large for its covariance; rescale it as you did x")
        return OtherTexts(rows, covariance, *linalg.eigh(covariance))

    def describe(
        self, x: Float64[Tensor, "n d"], classes: Int64[Tensor, " n"], groups: Int64[Tensor, " n"] | None
    ) -> bool:
        """Whether these texts are near enough in kind to x to learn from: rows of x held out are not clearly less
        likely, as Gaussians within classes, when the texts count fully in the covariance than when they count a tenth.
        """
        # Of a dimension that never varies within classes, the less variance the likelier.
        live = (x - class_means(x, classes)[classes] != 0).any(dim=0)
        if not live.any():
            return True
        found = []
        for fitted, aside in row_folds(classes, groups, _PARTS):
            i, o = (torch.from_numpy(part).to(x.device) for part in (fitted, aside))
            means = class_means(x[i], classes[i])
            tenth, full = (within_covariance(x[i] - means[classes[i]], self, share)[0] for share in (0.1, 1.0))
            rows = (x[o] - means[classes[o]])[:, live]
            tenth, full = (_log_likelihood(rows, within[live][:, live]) for within in (tenth, full))
            found.append(full - tenth)
        gains = torch.cat(found)
        # Where there are few dimensions the two hardly differ, and the sign of a sum is chance.
        return float(gains.sum()) >= -2 * float(gains.std()) * len(gains) ** 0.5


def _log_likelihood(rows: Float64[Tensor, "n d"], covariance: Float64[Tensor, "d d"]) -> Float64[Tensor, " n"]:
    """Of each row under the Gaussian of mean 0, up to a constant."""
    variances, axes = linalg.eigh(covariance)
    variances = variances.clamp(min=1e-9 * variances[-1])
    return -((rows @ axes).square() / variances + variances.log()).sum(dim=1) / 2


def within_covariance(
    centred: Float64[Tensor, "n d"], others: OtherTexts | None, share: float = 1.0
) -> tuple[Tensor, Tensor | None]:
    """Covariance within classes [d, d], and that of other texts at the same scale, if there are any. share: of the rows
    that they count for."""
    n = len(centred)
    own = centred.mT @ centred / n
    if others is None:
        return shrink_covariance(own, n), None
    counts = share * min(len(others.rows), _BACKGROUND_ROWS)
    # Only its shape is of use: how far texts of another kind lie apart says nothing of these.
    ratios = (centred @ others.axes).square().mean(dim=0) / others.variances
    # Dimensions that never vary, such as dead latents, have none to compare.
    scaled = others.covariance * ratios[ratios >= 1e-9 * ratios.max()].median()
    return (n * own + counts * scaled) / (n + counts), scaled


def shrunk_gaps(
    x: Float64[Tensor, "n d"],
    centred: Float64[Tensor, "n d"],
    classes: Int64[Tensor, " n"],
    groups: Int64[Tensor, " n"] | None,
    covariance: Float64[Tensor, "d d"],
) -> Float64[Tensor, "k d"]:
    """Class means less the mean of all, shrunk block by block of the covariance's axes by what permuted labels find."""
    variances, axes = (part.flip(-1) for part in linalg.eigh(covariance))
    weights = 1 / variances.clamp(min=1e-9 * variances[0])
    found = (class_means(x, classes) - x.mean(dim=0)) @ axes
    rows = centred @ axes
    generator, null = torch.Generator().manual_seed(0), torch.zeros_like(found)
    for _ in range(_PERMUTATIONS):
        null += class_means(rows, _permuted(classes, groups, generator)).square() / _PERMUTATIONS
    for block in _blocks(_MEAN_BLOCKS, len(variances)):
        noise, signal = (part[:, block] @ weights[block] for part in (null, found.square()))
        found[:, block] *= _kept(noise, signal)[:, None]
    return found @ axes.mT


def predicted_differences(background: Float64[Tensor, "m r"], gaps: Float64[Tensor, "k r"]) -> Float64[Tensor, "k r r"]:
    """How variances change along each class's gap in other texts: E[(gap'y) y y'] over white rows y of mean 0."""
    scores = background @ gaps.mT
    return torch.stack([(background * score[:, None]).mT @ background for score in scores.mT]) / len(background)


def shrunk_differences(
    rows: Float64[Tensor, "n r"],
    classes: Int64[Tensor, " n"],
    groups: Int64[Tensor, " n"] | None = None,
    predicted: Float64[Tensor, "k r r"] | None = None,
) -> Float64[Tensor, "k r r"]:
    """Covariance of each class less the pooled one. Block by block, a multiple of what was predicted, and of the rest
    what permuted labels do not find too."""
    generator = torch.Generator().manual_seed(0)
    found, null = _deviations(rows, classes), rows.new_zeros(())
    for _ in range(_PERMUTATIONS):
        null = null + _deviations(rows, _permuted(classes, groups, generator)).square() / _PERMUTATIONS
    blocks = _blocks(_BLOCKS, rows.shape[1])
    for i in blocks:
        for j in blocks:
            rest = found[:, i, j]
            guess = torch.zeros_like(rest)
            if predicted is not None:
                guess = predicted[:, i, j]
                size = guess.square().sum(dim=(1, 2)).clamp(min=torch.finfo(guess.dtype).tiny)
                guess = guess * ((guess * rest).sum(dim=(1, 2)) / size)[:, None, None]
                rest = rest - guess
            kept = _kept(null[:, i, j].sum(dim=(1, 2)), rest.square().sum(dim=(1, 2)))
            found[:, i, j] = guess + rest * kept[:, None, None]
    return found


def _blocks(edges: tuple[int, ...], size: int) -> list[slice]:
    """Ranks that share a shrinkage."""
    return [slice(a, b) for a, b in pairwise([*(edge for edge in edges if edge < size), size])]


def _kept(noise: Tensor, found: Tensor) -> Tensor:
    """The share of an estimate to keep, from the squared size of noise and of what was found (James and Stein)."""
    return (1 - noise / found.clamp(min=torch.finfo(found.dtype).tiny)).clamp(min=0)


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
