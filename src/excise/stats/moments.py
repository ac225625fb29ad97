"""First and second moments of activations and labels: float64, one pass, mergeable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float64
from scipy.linalg.blas import dsyrk
from torch import Tensor

from excise.types import ExciseError, Labels, check_activations
from excise.types.labels import read_labels

# Rows that are converted to float64 at a time, so that no second copy of x is made.
_CHUNK = 4096
_SAMPLE = 512
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class LabelMoments:
    """Moments of one set of labels over n rows, centred, not divided by n.

    Attributes:
        values: original value of each class, by which shards are matched; None for columns as given.
        mean: of the columns, [k]; class shares for classes.
        cross: sum of (x - mean)(z - mean)', [d, k].
        square: sum of (z - mean)(z - mean)', [k, k].
    """

    values: Tensor | None
    mean: Float64[Tensor, " k"]
    cross: Float64[Tensor, "d k"]
    square: Float64[Tensor, "k k"]

    def aligned(self, values: Tensor | None) -> LabelMoments:
        """With a column of zeros for every class that these rows have none of."""
        if values is None or self.values is None or len(values) == len(self.values):
            return self
        at = torch.searchsorted(values, self.values)
        mean, cross = self.mean.new_zeros(len(values)), self.cross.new_zeros(len(self.cross), len(values))
        square = self.square.new_zeros(len(values), len(values))
        mean[at], cross[:, at] = self.mean, self.cross
        square[at[:, None], at] = self.square
        return LabelMoments(values, mean, cross, square)


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of n rows; `a + b` are the moments of both sets of rows, to rounding.

    Memory is O(d^2), with `within` O(k d^2), whatever n.

    Attributes:
        mean: of x, [d].
        scatter: sum of (x - mean)(x - mean)', [d, d].
        z: of the concept.
        y: of the task to keep, or None.
        within: scatter of each class around its own mean, [k, d, d], or None when it was not asked for.
    """

    n: int
    mean: Float64[Tensor, " d"]
    scatter: Float64[Tensor, "d d"]
    z: LabelMoments
    y: LabelMoments | None = None
    within: Float64[Tensor, "k d d"] | None = None

    @classmethod
    def of(cls, x: Tensor, z: Labels, y: Labels | None = None, *, within: bool = False) -> Moments:
        """Moments of checked rows x [n, d], any float type; sums are in float64.

        Args:
            within: also the scatter of every class; z that is not classes has none.
        """
        labels = [z] if y is None else [z, y]
        columns = [part.columns - part.columns.mean(dim=0) for part in labels]
        mean, scatter, crosses = _sums(x, columns)
        moments = [_label_moments(part, cross) for part, cross in zip(labels, crosses, strict=True)]
        scatters = None
        if within and z.classes is not None:
            scatters = torch.stack([_sums(x[z.of_rows == c], [])[1] for c in range(z.k)])
        return cls(len(x), mean, scatter, moments[0], None if y is None else moments[1], scatters)

    @classmethod
    def of_batches(cls, batches: Iterable[tuple[Tensor | npt.ArrayLike, ...]], *, within: bool = False) -> Moments:
        """Moments of an iterator of batches (x, z) or (x, z, y), which is read once.

        A batch may lack classes, and may have one class only; labels are integers (classes) in all batches, or floats
        (columns) in all.

        Raises:
            ExciseError: no batches, or a batch with bad input.
        """
        total: Moments | None = None
        for i, (given, *labels) in enumerate(batches):
            x = check_activations(given)
            z, *y = (_columns(values, len(x), f"batch {i}: {name}") for values, name in zip(labels, "zy", strict=False))
            moments = cls.of(x, z, *y, within=within)
            total = moments if total is None else total + moments
        if total is None:
            raise ExciseError("there are no batches to fit on; is the iterator used up?")
        return total

    def __add__(self, other: Moments) -> Moments:
        """Chan, Golub and LeVeque 1979.

        Raises:
            ExciseError: other dimensions, or other kinds of labels.
        """
        if len(self.mean) != len(other.mean):
            raise ExciseError(f"a shard has {len(other.mean)} dimensions, one before it {len(self.mean)}")
        if (self.y is None) != (other.y is None) or (self.within is None) != (other.within is None):
            raise ExciseError("one shard has task labels or class covariances and another has not")
        n, gap = self.n + other.n, other.mean - self.mean
        weight = self.n * other.n / n
        merged = Moments(
            n,
            self.mean + gap * (other.n / n),
            self.scatter + other.scatter + weight * torch.outer(gap, gap),
            _merged(self.z, other.z, self.n, other.n, gap),
            _merged(self.y, other.y, self.n, other.n, gap) if self.y and other.y else None,
        )
        if self.within is None or other.within is None:
            return merged
        within = torch.zeros_like(merged.scatter).repeat(len(merged.z.mean), 1, 1)
        counts, means = [], []
        for part in (self, other):
            z = part.z.aligned(merged.z.values)
            at = torch.searchsorted(merged.z.values, part.z.values)  # type: ignore[arg-type]  # classes have values
            within[at] += part.class_scatters
            counts.append(part.n * z.mean)
            means.append(part.mean[:, None] + z.cross / counts[-1].clamp(min=1))
        gaps = means[1] - means[0]
        weights = counts[0] * counts[1] / (counts[0] + counts[1])
        within += torch.einsum("k,dk,ek->kde", weights, gaps, gaps)
        return replace(merged, within=within)

    def checked(self) -> Moments:
        """These moments, if there is a concept to erase in them.

        Raises:
            ExciseError: one class, or a z that never varies.
        """
        if self.z.values is not None and len(self.z.values) < 2:
            raise ExciseError(f"z has 1 class (every row is {self.z.values[0].item()}); erasure needs at least 2")
        if not self.z.square.diagonal().any():
            raise ExciseError("z is the same in every row; erasure needs at least 2 classes or a varying value")
        return self

    @property
    def sigma_xx(self) -> Float64[Tensor, "d d"]:
        """Covariance of x."""
        return self.scatter / self.n

    @property
    def sigma_xz(self) -> Float64[Tensor, "d k"]:
        """Cross-covariance of x with the concept's columns, each scaled to unit variance."""
        return _unit_columns(self.z, self.n)

    @property
    def sigma_xy(self) -> Float64[Tensor, "d k"]:
        """Cross-covariance of x with the task's columns, each scaled to unit variance.

        Raises:
            TypeError: there is no task.
        """
        if self.y is None:
            raise TypeError("these moments have no task y")
        return _unit_columns(self.y, self.n)

    @property
    def class_means(self) -> Float64[Tensor, "k d"]:
        """For classes."""
        return self.mean + (self.z.cross / self.counts).mT

    @property
    def counts(self) -> Float64[Tensor, " k"]:
        """Rows of each class."""
        return (self.n * self.z.mean).round()

    @property
    def class_scatters(self) -> Float64[Tensor, "k d d"]:
        """For classes, if `within` was asked for.

        Raises:
            TypeError: it was not.
        """
        if self.within is None:
            raise TypeError("moments were taken without class covariances")
        return self.within

    @property
    def class_covariances(self) -> Float64[Tensor, "k d d"]:
        """As `class_scatters`, divided by the rows of each class."""
        return self.class_scatters / self.counts[:, None, None]


def _sums(x: Tensor, columns: Sequence[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Mean [d], sum of (x - mean)(x - mean)' and, for each set of centred columns, of (x - mean) z', in one pass.

    Products are taken around the mean of the first rows, which is near enough to the mean that no digit is lost.
    """
    if x.device.type != "cpu":
        mean, scatter, crosses = _sums_elsewhere(x, columns)
    else:
        # Rows, labels and a column of ones side by side: one symmetric product holds every sum, and BLAS's syrk, which
        # torch does not offer, does half the work of a full one. No other BLAS call in the loop: numpy and torch have
        # pools of their own, whose threads go on spinning and take half of the cores.
        array = (x.float() if x.dtype == torch.bfloat16 else x).numpy()
        n, d = array.shape
        origin = array[:_SAMPLE].mean(axis=0, dtype=np.float64)
        labels = np.concatenate([*(z.numpy() for z in columns), np.ones((n, 1))], axis=1)
        width = d + labels.shape[1]
        sums, buffer = np.zeros((width, width), order="F"), np.empty((min(n, _CHUNK), width))
        for start in range(0, n, _CHUNK):
            rows = array[start : start + _CHUNK]
            side = buffer[: len(rows)]
            np.subtract(rows, origin, out=side[:, :d])  # float64, whatever the rows are
            side[:, d:] = labels[start : start + _CHUNK]
            sums = dsyrk(1.0, side.T, beta=1.0, c=sums, overwrite_c=True, lower=True)
        # In F order the lower triangle is the upper one of the same memory read row by row.
        upper = torch.from_numpy(sums.T)
        scatter, off = upper[:d, :d], upper[:d, -1] / n
        crosses = list(upper[:d, d:-1].split([z.shape[1] for z in columns], dim=1))
        _mirror(scatter)
        scatter.addr_(off, off, alpha=-n)
        mean = torch.from_numpy(origin) + off
    return mean, scatter, crosses


def _mirror(upper: Tensor) -> None:
    """Copies the upper triangle of a square matrix onto the lower one, in blocks that fit into cache."""
    for i in range(0, len(upper), _BLOCK):
        own, rest = slice(i, i + _BLOCK), slice(i + _BLOCK, None)
        upper[rest, own] = upper[own, rest].mT
        upper[own, own] = upper[own, own].triu() + upper[own, own].triu(1).mT


def _sums_elsewhere(x: Tensor, columns: Sequence[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """As `_sums`, with torch, for other devices than the CPU."""
    mean = x.sum(dim=0, dtype=torch.float64) / len(x)
    totals = [mean.new_zeros(len(mean), k) for k in (len(mean), *(z.shape[1] for z in columns))]
    for rows, *parts in zip(x.split(_CHUNK), *(z.split(_CHUNK) for z in columns), strict=True):
        centred = rows.double() - mean
        for total, part in zip(totals, (centred, *parts), strict=True):
            total.addmm_(centred.mT, part)
    return mean, totals[0], totals[1:]


def _label_moments(labels: Labels, cross: Tensor) -> LabelMoments:
    """Moments of the labels, with the sum of (x - mean)(z - mean)'."""
    centre = labels.columns.mean(dim=0)
    centred = labels.columns - centre
    # Values that were matched to one-hot columns by number are not class names.
    values = labels.values if labels.values is not None and len(labels.values) == centred.shape[1] else None
    return LabelMoments(values, centre, cross, centred.mT @ centred)


def _columns(values: Tensor | npt.ArrayLike, n: int, name: str) -> Labels:
    """Labels of one batch, which need not show every class: integers are classes, floats are columns."""
    tensor = read_labels(values, n, name)
    if tensor.ndim == 1 and not tensor.is_floating_point():
        return Labels.classed(tensor)
    return Labels(tensor.double().reshape(n, -1), None, None)


def _merged(a: LabelMoments, b: LabelMoments, n_a: int, n_b: int, gap: Tensor) -> LabelMoments:
    """Of two sets of rows; gap: mean of x in b less that in a."""
    if (a.values is None) != (b.values is None) or (a.values is None and len(a.mean) != len(b.mean)):
        raise ExciseError("labels are integers (classes) in one shard and floats (columns) in another; use one form")
    values = None if a.values is None or b.values is None else torch.cat([a.values, b.values]).unique()
    a, b = a.aligned(values), b.aligned(values)
    n, z_gap = n_a + n_b, b.mean - a.mean
    weight = n_a * n_b / n
    return LabelMoments(
        values,
        a.mean + z_gap * (n_b / n),
        a.cross + b.cross + weight * torch.outer(gap, z_gap),
        a.square + b.square + weight * torch.outer(z_gap, z_gap),
    )


def _unit_columns(labels: LabelMoments, n: int) -> Float64[Tensor, "d k"]:
    """Columns that never vary are left out: they say nothing about x. Unit variance, so that a rare class weighs as
    much as a common one when singular values are cut."""
    sd = (labels.square.diagonal() / n).sqrt()
    varies = sd > 1e-12 * sd.max()
    return labels.cross[:, varies] / (n * sd[varies])
