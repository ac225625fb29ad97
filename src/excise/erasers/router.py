"""The class of a row that has no label: a calibrated posterior."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float64, Int64
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from excise.erasers.budget import row_folds

FOLDS = 5
ROUTER_WAIVER = MappingProxyType(
    {"rotates_with_the_space": "the router standardises every dimension, since a few have most of the variance"}
)


@dataclass(frozen=True, eq=False)
class Router:
    """p(c | x) = softmax(x weight + bias).

    Attributes:
        weight, bias: [d, k] and [k].
        held_out: posterior of each fitted row by models that had not seen it, [n, k].
    """

    weight: Float64[Tensor, "d k"]
    bias: Float64[Tensor, " k"]
    held_out: Float64[Tensor, "n k"]


def calibrated_router(
    x: Float64[Tensor, "n d"], classes: Int64[Tensor, " n"], groups: Int64[Tensor, " n"] | None = None
) -> Router:
    """Logistic posterior, calibrated on out-of-fold scores (Platt, one linear layer over the scores).

    A router calibrated on rows that it has fitted would be far too sure of new ones; calibrated on rows whose twin of
    the other class it has fitted, not sure enough. Needs `FOLDS` rows, and groups, of each class.
    """
    rows, labels = x.cpu().numpy(), classes.cpu().numpy()
    # C = 0.01 on standardised rows: strong enough to rank held-out rows well with fewer rows than dimensions.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    parts = FOLDS if groups is None else row_folds(classes, groups, FOLDS)
    scores = cross_val_predict(model, rows, labels, cv=parts, method="decision_function").reshape(len(rows), -1)
    calibration = LogisticRegression(C=1e3, max_iter=1000).fit(scores, labels)
    scaler, logistic = model.fit(rows, labels).named_steps.values()
    first = logistic.coef_ / scaler.scale_
    weight = calibration.coef_ @ first
    bias = calibration.coef_ @ (logistic.intercept_ - first @ scaler.mean_) + calibration.intercept_
    if len(weight) == 1:  # Binary: one logit, as the difference of two.
        weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    return Router(
        torch.from_numpy(weight.T.copy()).to(x.device),
        torch.from_numpy(bias.copy()).to(x.device),
        torch.from_numpy(calibration.predict_proba(scores)).to(x.device),
    )
