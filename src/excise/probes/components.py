"""Principal components of rows that may all be alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from excise.types.probe import Rows


class Principal(PCA):  # type: ignore[misc]  # scikit-learn publishes no types
    """scikit-learn's PCA, without its warning about the shares of a variance of zero: a constant output is something
    that probes are asked to read."""

    def fit(self, X: Rows, y: Any = None) -> Principal:
        """X: [n, d]."""
        with np.errstate(invalid="ignore"):
            super().fit(X)
        return self

    def fit_transform(self, X: Rows, y: Any = None) -> Rows:
        """X [n, d] -> [n, p]."""
        with np.errstate(invalid="ignore"):
            return super().fit_transform(X)
