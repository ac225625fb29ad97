"""Is full erasure within reach of LEACE's budget at all?"""

from __future__ import annotations

from dataclasses import dataclass

import ot
import torch

from excise.erasers import all_erasers
from excise.measures.edit import squared_edit
from excise.stats.shrinkage import class_covariances
from excise.types import ConceptData, ExciseError


@dataclass(frozen=True)
class Slack:
    """Costs as mean squared edits, estimated from class moments.

    Attributes:
        leace: what LEACE spends on these rows.
        mean_shift: p0 p1 |m1 - m0|^2; no map with equal class means costs less.
        gaussian: p0 p1 (|m1 - m0|^2 + Bures^2(S0, S1)); no map with equal class means and covariances costs less, even
        one
            that is told the labels.
    """

    leace: float
    mean_shift: float
    gaussian: float

    @property
    def budgets(self) -> float:
        """`gaussian` in LEACE budgets: above 1, a map of LEACE's size must leave some covariance."""
        return self.gaussian / self.leace


def slack(data: ConceptData) -> Slack:
    """Lower bounds for two classes: p0 p1 W2^2 is the cost of moving both classes to their barycentre.

    Class covariances are shrunk; with fewer rows than dimensions the estimate of the Bures term is still biased upwards
    by noise that differs between the classes.

    Raises:
        ExciseError: more than two classes.
    """
    if len(data.classes) != 2:
        raise ExciseError(f"the bound is for two classes; {data.name} has {len(data.classes)}")
    x, z = data.x.double(), data.z
    means = torch.stack([x[z == c].mean(dim=0) for c in (0, 1)])
    share = float(z.double().mean())
    spread = share * (1 - share)
    covariances = class_covariances(x - means[z], z)
    distance = float(ot.gaussian.bures_wasserstein_distance(means[0], means[1], covariances[0], covariances[1]))
    leace = all_erasers()["Leace"]().fit(data.x, z)
    return Slack(
        leace=float(squared_edit(data.x, leace(data.x)).mean()),
        mean_shift=spread * float((means[1] - means[0]).square().sum()),
        gaussian=spread * distance**2,
    )
