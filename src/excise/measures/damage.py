"""What an edit cost besides its size: direction, rarity, neighbours, and what probes read of other concepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from excise.measures.edit import checked_apply
from excise.measures.leakage import chance, folded_accuracy
from excise.stats.bootstrap import Interval, interval, resampled_means
from excise.stats.shrinkage import shrink_covariance, solve_covariance
from excise.stats.splits import N_ROTATIONS, rotations
from excise.types import ConceptData, EncodingMap, ErasureMap, ExciseError, Probe


def cosine(x: Tensor, erased: Tensor) -> Float64[Tensor, " n"]:
    """Cosine between each row [d] before and after, in [-1, 1]; 1 keeps the direction, 0 also stands for a zero row.

    Taken from the origin, as a model's own norms are: where activations share a large mean, all edits read near 1.
    """
    return torch.cosine_similarity(x.double(), erased.double(), dim=1)


def mahalanobis(x: Tensor, erased: Tensor) -> Float64[Tensor, " n"]:
    """Squared edit of each row in units of the covariance of x [n, d], shrunk; moving rows to their mean costs about d.

    An edit along directions in which activations hardly vary is small in L2 and large here: it takes rows where the
    model never is. 0 for rows that are all alike.
    """
    x = x.double()
    edit = erased.double() - x
    centred = x - x.mean(dim=0)
    sigma = shrink_covariance(centred.mT @ centred / len(x), len(x))
    return (edit.mT * solve_covariance(sigma, edit.mT)).sum(dim=0)


def neighbour_overlap(x: Tensor, erased: Tensor, k: int = 10) -> Float64[Tensor, " n"]:
    """Share of each row's k nearest neighbours that are still among them after the edit, in [0, 1].

    An edit that has nothing to do with the rows keeps k / (n - 1). The two spaces may have different dimensions.

    Args:
        x: [n, d], the rows among which neighbours are sought.
        erased: [n, d'], the same rows in the same order.

    Raises:
        ExciseError: n is k or less.
    """
    if len(x) <= k:
        raise ExciseError(f"{len(x)} rows cannot have {k} neighbours each; give more rows or a smaller k")
    before, after = (
        NearestNeighbors(n_neighbors=k).fit(rows.double().cpu().numpy()).kneighbors(return_distance=False)
        for rows in (x, erased)
    )
    kept = (before[:, :, None] == after[:, None, :]).any(axis=2).mean(axis=1)
    return torch.from_numpy(kept).to(x.device)


@dataclass(frozen=True)
class Collateral:
    """What a map that erases one concept does to the readability of another. All intervals are over test rows.

    Attributes:
        concept: that was read.
        chance: accuracy of always naming its commonest class.
        before, after: folded accuracy of probes trained and scored on unerased rows, and on erased rows.
        drop: before - after, paired; above zero, information about the concept is gone.
        frozen: accuracy, on erased rows, of the probes that were trained on unerased ones. Not folded: a reader that
            now names the wrong class is damage.
        frozen_drop: their accuracy on unerased rows - `frozen`, paired; above zero while `drop` is not, the concept is
            still there but has moved.
    """

    concept: str
    chance: float
    before: Interval
    after: Interval
    drop: Interval
    frozen: Interval
    frozen_drop: Interval


def other_concepts(erasure: ErasureMap, others: Sequence[ConceptData], probe: Probe, seed: int) -> list[Collateral]:
    """Collateral damage of a fitted map, concept by concept.

    Five rotations by group: probes train on four fifths of a concept's rows and are scored on the rest. For the
    targeted term, hand in rows of the erased concept too. Targeted probe perturbation (TPP) is the targeted frozen
    drop less the mean of the others'. Both terms are kept apart here: their difference does not tell an eraser that
    does little from one that does harm everywhere.

    Args:
        erasure: a map within the activations' space.
        others: concepts at the site that the map was fitted at, on rows that it was not fitted on.
        seed: of splits and probes.

    Raises:
        ExciseError: a map into a space of its own, which no frozen probe can read; other dimensions than the map's;
            too few groups of a class.

    Source:
        Karvonen et al. 2024, arXiv:2411.18895 (TPP, part of SAEBench), there with frozen linear probes.
    """
    if isinstance(erasure, EncodingMap):
        raise ExciseError(
            "this map leads into a space of its own, where probes trained before it cannot read; give the other "
            "concept as `task` and grade the encoder with excise.bench.grade instead"
        )
    return [_collateral(erasure, data, probe, seed) for data in others]


def _collateral(erasure: ErasureMap, data: ConceptData, probe: Probe, seed: int) -> Collateral:
    z, groups, k = data.z.cpu().numpy(), data.groups, len(data.classes)
    plain = data.x.double().cpu().numpy()
    erased = checked_apply(erasure, data.x).double().cpu().numpy()
    before, after, frozen = (np.zeros(len(z), dtype=bool) for _ in range(3))
    for turn, split in enumerate(rotations(z, groups, seed)):
        train, test = np.sort(np.concatenate([split.fit, split.probe])), split.test
        own_seed = seed * N_ROTATIONS + turn
        first = probe.fit(plain[train], z[train], groups[train], own_seed)
        second = probe.fit(erased[train], z[train], groups[train], own_seed)
        before[test] = first.predict(plain[test]) == z[test]
        after[test] = second.predict(erased[test]) == z[test]
        frozen[test] = first.predict(erased[test]) == z[test]
    was, was_draws = folded_accuracy(before, groups, k)
    now, now_draws = folded_accuracy(after, groups, k)
    raw = np.stack([before, frozen]).astype(np.float64)
    draws = resampled_means(raw, groups)
    return Collateral(
        concept=data.name,
        chance=chance(z),
        before=was,
        after=now,
        drop=interval(was.value - now.value, was_draws - now_draws),
        frozen=interval(raw[1].mean(), draws[1]),
        frozen_drop=interval(raw[0].mean() - raw[1].mean(), draws[0] - draws[1]),
    )
