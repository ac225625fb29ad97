"""Small neural networks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler
from torch import Tensor, nn

from excise.probes.components import Principal
from excise.probes.tuning import calibrated
from excise.types import FittedProbe, Probe, TrainingRows
from excise.types.probe import Classes, Rows

_WIDTH = 32
_MEMBERS = 3
_EPOCHS = 100
_PATIENCE = 15
_RATE = 1e-2
_DECAY = 0.1
Layers = list[tuple[Tensor, Tensor]]


class Networks(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn publishes no types
    """Average of a few networks that differ in their random start, trained on all rows at a time by AdamW.

    scikit-learn's own network stops early on rows drawn one by one, which would part pairs.

    Args:
        layers: hidden layers.
        epochs: steps.
        seed: of the start.
    """

    def __init__(self, layers: int, epochs: int = _EPOCHS, seed: int = 0) -> None:
        self.layers = layers
        self.epochs = epochs
        self.seed = seed

    def fit(self, x: Rows, z: Classes) -> Networks:
        """x [n, d], z [n]."""
        self.classes_ = np.unique(z)
        self.scale_ = unit_scale(x)
        weights = torch.ones(1, len(x))
        for _, layers in trained(x * self.scale_, np.searchsorted(self.classes_, z), weights, self):
            self.layers_ = layers
        return self

    def decision_function(self, x: Rows) -> Rows:
        """Logits averaged over networks: [n] for two classes, otherwise [n, k]."""
        with torch.no_grad():
            found = logits(torch.from_numpy(x * self.scale_).float(), self.layers_).mean(dim=0).double().numpy()
        return found[:, 1] - found[:, 0] if found.shape[1] == 2 else found

    def predict(self, x: Rows) -> Classes:
        """x [n, d] -> classes [n]."""
        found = self.decision_function(x)
        return self.classes_[(found > 0).astype(int) if found.ndim == 1 else found.argmax(axis=1)]


def unit_scale(x: Rows) -> float:
    """Factor that makes the mean square of all entries 1."""
    return float(1 / (np.sqrt(np.mean(np.square(x))) or 1.0))


def logits(x: Tensor, layers: Layers) -> Tensor:
    """x [n, d] -> [m, n, k], one slice for each of m networks."""
    hidden = x.expand(len(layers[0][0]), -1, -1)
    for i, (weight, bias) in enumerate(layers):
        hidden = torch.baddbmm(bias, hidden if i == 0 else hidden.relu(), weight)
    return hidden


def started(d: int, k: int, layers: int, members: int, seed: int) -> Layers:
    """Random weights of m networks; every layer keeps the scale of its input (He et al. 2015, arXiv:1502.01852)."""
    random = torch.Generator().manual_seed(seed)
    sizes = [d, *[_WIDTH] * layers, k]
    made = []
    for i, (wide, narrow) in enumerate(itertools.pairwise(sizes)):
        gain = 1.0 if i == 0 else math.sqrt(2)
        weight = torch.randn(members, wide, narrow, generator=random) * (gain / math.sqrt(wide))
        made.append((weight.requires_grad_(), torch.zeros(members, 1, narrow, requires_grad=True)))
    return made


def trained(x: Rows, z: Classes, weights: Tensor, settings: Networks) -> Iterator[tuple[Tensor, Layers]]:
    """Before each step, what the networks say of all rows; afterwards the networks, whose tensors go on being trained.

    Args:
        x: rows [n, d]; z: classes 0 .. k-1, [n].
        weights: [f, n], 0 for a row that is held out of the f-th set of networks.

    Yields:
        logits [f, n, k] averaged over the networks of a set, and the layers.
    """
    sets, k = len(weights), int(z.max()) + 1
    inputs, classes = torch.from_numpy(x).float(), torch.from_numpy(z)
    layers = started(x.shape[1], k, settings.layers, sets * _MEMBERS, settings.seed)
    parameters = [tensor for layer in layers for tensor in layer]
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=_DECAY)
    shares = (weights / weights.sum(dim=1, keepdim=True)).repeat_interleave(_MEMBERS, dim=0)
    for _ in range(settings.epochs):
        said = logits(inputs, layers)
        losses = nn.functional.cross_entropy(said.flatten(0, 1), classes.repeat(len(said)), reduction="none")
        optimiser.zero_grad()
        (losses.reshape(shares.shape) * shares).sum().backward()
        optimiser.step()
        yield said.detach().unflatten(0, (sets, _MEMBERS)).mean(dim=1), layers


@dataclass(frozen=True)
class _Mlp(Probe):
    """Three networks of 32 units a layer, averaged; the number of steps is chosen by the loss on held-out rows, whole
    groups of them."""

    layers: ClassVar[int]

    def fit_on(self, rows: TrainingRows) -> FittedProbe:
        inputs = rows.components * unit_scale(rows.components)
        names, z = np.unique(rows.z, return_inverse=True)
        weights = torch.ones(len(rows.few_folds), len(z))
        fold = np.zeros(len(z), dtype=np.int64)
        for i, (_, held_out) in enumerate(rows.few_folds):
            weights[i, held_out] = 0
            fold[held_out] = i
        unseen, losses = [], []
        for said, _ in trained(inputs, z, weights, Networks(self.layers, _EPOCHS + 1, rows.seed)):
            unseen.append(said[fold, np.arange(len(z))])
            losses.append(float(nn.functional.cross_entropy(unseen[-1], torch.from_numpy(z))))
            # By loss, which is smoother than accuracy. The first entry is from before any step.
            epochs = int(np.argmin([np.inf, *losses[1:]]))
            if len(losses) - 1 - epochs > _PATIENCE:
                break
        best = unseen[epochs].double().numpy()
        final = make_pipeline(RobustScaler(), Principal(svd_solver="full"), Networks(self.layers, epochs, rows.seed))
        found = best[:, 1:] - best[:, :1] if len(names) == 2 else best
        accuracy = float(np.mean(best.argmax(axis=1) == z))
        return calibrated(final.fit(rows.x, rows.z), accuracy, found, rows.z)


@dataclass(frozen=True)
class Mlp1(_Mlp):
    """One hidden layer."""

    title = "MLP 1"
    source = "Rumelhart, Hinton, Williams 1986, doi:10.1038/323533a0"
    layers = 1


@dataclass(frozen=True)
class Mlp3(_Mlp):
    """Three hidden layers."""

    title = "MLP 3"
    source = "Rumelhart, Hinton, Williams 1986, doi:10.1038/323533a0"
    layers = 3
