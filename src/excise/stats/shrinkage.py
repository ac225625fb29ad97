"""Covariance estimates that stay invertible with fewer rows than dimensions."""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int64
from torch import Tensor, diagonal, linalg

# Dimensions from which a factor in float32 pays for the refinement that it needs.
_LARGE = 1024
_REFINEMENTS = 30


def shrink_covariance(sigma: Float64[Tensor, "d d"], n: int) -> Float64[Tensor, "d d"]:
    """Optimal linear shrinkage towards the isotropic matrix of the same trace.

    With s = tr(sigma)/d and b2 = tr(sigma)^2 / (n d), the weight of the target is b2 / (|sigma|_F^2 / d - s^2), at most
    1: distribution-free and asymptotically optimal in Frobenius norm among linear estimators.

    Args:
        sigma: sample covariance, divided by n.
        n: rows it was computed from.

    Source:
        Bodnar, Gupta, Parolya 2014, arXiv:1308.2608, with an isotropic target.
    """
    d = len(sigma)
    s = sigma.trace() / d
    spread = linalg.norm(sigma).square() / d - s * s  # dispersion of the eigenvalues
    noise = sigma.trace().square() / (n * d)
    # Equal eigenvalues (a sphere, or no variance at all) are already the target.
    weight = (noise / spread).clamp(max=1.0) if spread > 0 else sigma.new_tensor(1.0)
    shrunk = (1 - weight) * sigma
    diagonal(shrunk).add_(weight * s)
    return shrunk


def class_covariances(centred: Float64[Tensor, "n d"], classes: Int64[Tensor, " n"]) -> Float64[Tensor, "k d d"]:
    """As `shrink_classes`, from rows.

    Args:
        centred: rows less the mean of their class.
        classes: 0 .. k-1.
    """
    scatters = [centred[classes == c].mT @ centred[classes == c] for c in range(int(classes.max()) + 1)]
    return shrink_classes(torch.stack(scatters), torch.bincount(classes).to(centred))


def shrink_classes(scatters: Float64[Tensor, "k d d"], counts: Float64[Tensor, " k"]) -> Float64[Tensor, "k d d"]:
    """Covariance of each class from its scatter and number of rows, shrunk in the coordinates that whiten the pooled
    covariance, hence towards the pooled one."""
    n = int(counts.sum())
    pooled = shrink_covariance(scatters.sum(dim=0) / n, n)
    values, vectors = linalg.eigh(pooled)
    # All dimensions constant within classes: any positive scale will do.
    values = values.clamp(min=max(1e-12 * float(values.max()), torch.finfo(values.dtype).tiny))
    whiten, unwhiten = vectors * values.rsqrt(), vectors * values.sqrt()
    covariances = []
    for scatter, count in zip(scatters, counts, strict=True):
        white = whiten.mT @ scatter @ whiten / count
        covariances.append(unwhiten @ shrink_covariance(white, int(count)) @ unwhiten.mT)
    return torch.stack(covariances)


def solve_covariance(sigma: Float64[Tensor, "d d"], b: Float64[Tensor, "d k"]) -> Float64[Tensor, "d k"]:
    """sigma^+ b for b in the range of sigma."""
    if len(sigma) >= _LARGE and (refined := _refined_solve(sigma, b)) is not None:
        return refined
    chol, info = linalg.cholesky_ex(sigma)
    pivots = chol.diagonal()
    if info == 0 and pivots.min() > 1e-6 * pivots.max():  # Condition under 1e12: the solve keeps 4 digits or more.
        return torch.cholesky_solve(b, chol)
    # Rank-deficient (shrinkage off and n <= d, or a constant dimension): the pseudo-inverse ignores the empty
    # directions.
    return linalg.pinv(sigma, rtol=1e-12, hermitian=True) @ b


def _refined_solve(sigma: Tensor, b: Tensor) -> Tensor | None:
    """The float64 solution from a float32 factor, which takes half the time, by iterative refinement; None if that does
    not converge (condition over about 1e6)."""
    scale = sigma.diagonal().mean()
    chol, info = linalg.cholesky_ex(sigma.float().div_(scale))
    if info != 0:
        return None
    found = torch.zeros_like(b)
    last = torch.inf
    for _ in range(_REFINEMENTS):
        residual = b - sigma @ found
        size = float(residual.norm())
        if size <= 1e-13 * float(b.norm()):
            return found
        if not size < 0.5 * last:
            return None
        found = found + torch.cholesky_solve((residual / size).float(), chol).double() * (size / scale)
        last = size
    return None
