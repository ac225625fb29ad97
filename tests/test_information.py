"""AUC and usable information against cases that can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from excise.measures.information import area_under_roc, usable_information

RNG = np.random.default_rng(0)
Z = np.arange(400) % 2
GROUPS = np.arange(400) // 2
ROTATION = np.arange(400) // 80


def given(p1: np.ndarray) -> np.ndarray:
    return np.stack([1 - p1, p1], axis=1).astype(np.float32)


def test_shares_alone_are_no_information() -> None:
    assert usable_information(given(np.full(400, 0.5)), Z, GROUPS).value == pytest.approx(0)


def test_certainty_is_one_bit_and_certain_error_costs_many() -> None:
    assert usable_information(given(Z.astype(float)), Z, GROUPS).value == pytest.approx(1)
    assert usable_information(given(1.0 - Z), Z, GROUPS).value < -10


def test_known_channel() -> None:
    """Right with probability 0.9, and says so: 1 - H(0.9) bits."""
    right = RNG.random(400) < 0.9
    p1 = np.where(right, 0.1 + 0.8 * Z, 0.9 - 0.8 * Z)
    bits = 1 + 0.9 * np.log2(0.9) + 0.1 * np.log2(0.1)
    found = usable_information(given(p1), Z, GROUPS)
    assert found.low < bits < found.high


def test_area_is_that_of_scikit_learn_within_rotations() -> None:
    p1 = np.clip(RNG.normal(0.5 + 0.1 * Z, 0.2), 0, 1).astype(np.float32)
    by_turn = [roc_auc_score(Z[t == ROTATION], p1[t == ROTATION]) for t in range(5)]
    found = area_under_roc(given(p1), Z, ROTATION, GROUPS)
    assert found.value == pytest.approx(np.mean(by_turn), abs=1e-6)
    assert found.low < found.value < found.high


def test_area_does_not_compare_rotations() -> None:
    """Scores of one rotation are all higher: pooled they would hide a perfect order."""
    p1 = (0.1 * Z + 0.15 * ROTATION).astype(np.float32)
    assert area_under_roc(given(p1), Z, ROTATION, GROUPS).value == 1
    assert roc_auc_score(Z, p1) < 0.8


def test_area_is_folded_for_two_classes() -> None:
    assert area_under_roc(given(1.0 - Z), Z, ROTATION, GROUPS).value == 1
    assert area_under_roc(given(np.full(400, 0.3)), Z, ROTATION, GROUPS).value == 0.5


def test_area_of_three_classes() -> None:
    z = np.arange(300) % 3
    perfect = np.eye(3, dtype=np.float32)[z]
    rotation, groups = np.arange(300) // 60, np.arange(300)
    assert area_under_roc(perfect, z, rotation, groups).value == 1
    assert area_under_roc(np.full_like(perfect, 1 / 3), z, rotation, groups).value == 0.5
