"""Erasers in scikit-learn pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from excise.erasers.leace import Leace
from excise.types import Eraser


class EraserTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn publishes no types
    """Fits an eraser on X and the concept y; `transform` erases and needs no labels.

    Args:
        eraser: settings, for instance `Leace()`, the default.
    """

    def __init__(self, eraser: Eraser | None = None) -> None:
        self.eraser = eraser

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> EraserTransformer:
        """X [n, d] activations, y [n] the concept to erase (a protected attribute, not the task's target)."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], multi_output=True)
        z = np.asarray(y)
        z = z[:, 0] if z.ndim == 2 and z.shape[1] == 1 else z
        # Words, or class numbers as floats.
        if z.ndim == 1 and type_of_target(z, raise_unknown=True) in ("binary", "multiclass"):
            z = np.unique(z, return_inverse=True)[1]
        self.map_ = (self.eraser or Leace()).fit(torch.tensor(X), torch.tensor(z))
        return self

    def transform(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Erased X [n, d], in the dtype of X."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        with torch.inference_mode():
            erased: npt.NDArray[Any] = self.map_(torch.tensor(X)).numpy()
        return erased

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
