"""Is full erasure within reach of LEACE's budget at all?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import ot
import torch
from torch import Tensor

from excise.diagnose.labels import shuffled_labels
from excise.erasers import all_erasers
from excise.measures.edit import squared_edit
from excise.stats.mmd import evenly_thinned
from excise.stats.shrinkage import class_covariances
from excise.types import ConceptData, ExciseError

_SHUFFLES = 5
# Rows of a class in the exact transport, whose cost is cubic; its bias is taken at the same number of rows.
_TRANSPORT_ROWS = 400


@dataclass(frozen=True)
class Slack:
    """Costs as mean squared edits.

    Both transport costs are far too high on few rows: two samples of one and the same class are far apart too. What
    shuffled labels cost is that bias, `*_bias`, and the lower bounds of `budgets` have it taken off; what is left of
    the bias after that is unknown, so they are estimates, not bounds.

    Attributes:
        leace: what LEACE spends on these rows.
        mean_shift: p0 p1 |m1 - m0|^2; no map with equal class means costs less. Its bias is `mean_shift_bias`.
        gaussian: p0 p1 (|m1 - m0|^2 + Bures^2(S0, S1)); no map with equal class means and covariances costs less, even
            one that is told the labels.
        transport: p0 p1 W2^2 between the rows of the classes, by exact optimal transport; no map after which the
            classes are alike costs less.
    """

    leace: float
    mean_shift: float
    gaussian: float
    transport: float
    mean_shift_bias: float
    gaussian_bias: float
    transport_bias: float

    @property
    def gaussian_budgets(self) -> float:
        """Cost of matching means and covariances in LEACE budgets, bias taken off: above 1, a map of LEACE's size must
        leave some covariance."""
        return max(self.gaussian - self.gaussian_bias, 0.0) / self.leace

    @property
    def budgets(self) -> float:
        """Cost of full erasure in LEACE budgets, bias taken off."""
        return max(self.transport - self.transport_bias, self.gaussian - self.gaussian_bias, 0.0) / self.leace


def slack(data: ConceptData, seed: int = 0) -> Slack:
    """Lower bounds for two classes: p0 p1 W2^2 is the cost of moving both classes to their barycentre.

    Class covariances are shrunk.

    Raises:
        ExciseError: more than two classes, or activations that never vary.
    """
    if len(data.classes) != 2:
        raise ExciseError(f"the bound is for two classes; {data.name} has {len(data.classes)}")
    x, z = data.x.double(), data.z
    leace = float(squared_edit(data.x, all_erasers()["Leace"]().fit(data.x, z)(data.x)).mean())
    if not leace:
        raise ExciseError(f"{data.name}: LEACE changes no row, so there is no budget; are all activations equal?")
    found = _costs(x, z)
    rng = np.random.default_rng(seed)
    null = []
    for _ in range(_SHUFFLES):
        shuffled = torch.from_numpy(shuffled_labels(z.cpu().numpy(), data.groups, rng)).to(z.device)
        null.append(_costs(x, shuffled))
    return Slack(leace, *found, *np.mean(null, axis=0).tolist())


def _costs(x: Tensor, z: Tensor) -> tuple[float, float, float]:
    """Mean shift, Gaussian and full transport, each times p0 p1."""
    means = torch.stack([x[z == c].mean(dim=0) for c in (0, 1)])
    share = float(z.double().mean())
    spread = share * (1 - share)
    covariances = class_covariances(x - means[z], z)
    distance = float(ot.gaussian.bures_wasserstein_distance(means[0], means[1], covariances[0], covariances[1]))
    thin = evenly_thinned(z, _TRANSPORT_ROWS)
    zero, one = (x[thin][z[thin] == c].cpu().numpy() for c in (0, 1))
    between = float(ot.emd2([], [], ot.dist(zero, one), numItermax=1_000_000))
    return spread * float((means[1] - means[0]).square().sum()), spread * distance**2, spread * between
