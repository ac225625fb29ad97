"""Erasers in scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from excise.erasers import GaussianTransport, Leace
from excise.sklearn import EraserTransformer
from tests.conftest import gaussian_classes


def test_passes_scikit_learns_own_checks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)  # Checks for array libraries that are not installed.
        check_estimator(EraserTransformer())


@pytest.mark.parametrize("eraser", [Leace(), GaussianTransport()])
def test_in_a_pipeline(eraser: Leace) -> None:
    x, z = (a.numpy() for a in gaussian_classes(300, 10))
    words = np.array(["no", "yes"])[z]
    pipeline = make_pipeline(EraserTransformer(eraser), LogisticRegression(max_iter=2000))
    assert cross_val_score(LogisticRegression(max_iter=2000), x, words).mean() > 0.8
    assert cross_val_score(clone(pipeline), x, words).mean() < 0.65


def test_class_numbers_as_floats_are_classes() -> None:
    """A data frame turns class numbers into floats; read as one continuous column they would be half erased."""
    x, z = (a.numpy() for a in gaussian_classes(300, 10, k=3))
    expected = EraserTransformer().fit_transform(x, z)
    assert np.allclose(EraserTransformer().fit_transform(x, z.astype(float)), expected)
    assert np.allclose(EraserTransformer().fit_transform(x, z[:, None].astype(float)), expected)
