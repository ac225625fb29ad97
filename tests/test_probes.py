"""Each probe solves a problem of its own kind, and none finds what is not there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from excise.probes import Forest, Linear, RbfSvm, all_probes
from excise.types import Probe

Rows = npt.NDArray[np.float64]


def planted(kind: str, n: int, seed: int) -> tuple[Rows, npt.NDArray[np.int64]]:
    """Two classes in 8 dimensions that differ in their means, in a product of two dimensions, or in their radius."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(n, 8)), np.arange(n) % 2
    if kind == "means":
        x[:, :2] += 1.5 * z[:, None]
    elif kind == "checkerboard":
        x[:, :2] = rng.choice([-1, 1], size=(n, 2)) * rng.uniform(0.4, 2, size=(n, 2))
        x[:, 0] = np.abs(x[:, 0]) * np.sign(x[:, 1]) * np.where(z == 1, 1, -1)
        x[:, 2:] *= 0.3
    elif kind == "radius":
        x *= np.where(z == 1, 2.0, 1.0)[:, None]
    return x, z


def score(probe: Probe, kind: str, shuffle: bool = False) -> float:
    x, z = planted(kind, 400, 0)
    if shuffle:
        z = np.random.default_rng(5).permutation(z)
    x_new, z_new = planted(kind, 1000, 1)
    fitted = probe.fit(x, z, np.arange(400), seed=0)
    return float(np.mean(fitted.predict(x_new) == z_new))


@pytest.mark.parametrize(
    ("probe", "kind", "least"),
    [
        (Linear(), "means", 0.85),
        (RbfSvm(), "checkerboard", 0.85),
        (RbfSvm(), "radius", 0.85),
        (Forest(), "radius", 0.85),
    ],
)
def test_solves_its_own_problem(probe: Probe, kind: str, least: float) -> None:
    assert score(probe, kind) >= least


def test_a_linear_probe_reads_no_radius() -> None:
    assert score(Linear(), "radius") < 0.6


@pytest.mark.parametrize("probe", [kind() for kind in all_probes().values()], ids=lambda p: type(p).__name__)
def test_learns_nothing_from_shuffled_labels(probe: Probe) -> None:
    assert 0.4 < score(probe, "means", shuffle=True) < 0.6


@pytest.mark.parametrize("probe", [kind() for kind in all_probes().values()], ids=lambda p: type(p).__name__)
def test_cross_validated_accuracy_is_honest(probe: Probe) -> None:
    """Near the accuracy on new rows; the accuracy on its own rows would be far above."""
    x, z = planted("radius" if not isinstance(probe, Linear) else "means", 400, 0)
    fitted = probe.fit(x, z, np.arange(400), seed=0)
    assert fitted.cv_accuracy == pytest.approx(
        score(probe, "radius" if not isinstance(probe, Linear) else "means"), abs=0.06
    )


@pytest.mark.parametrize("probe", [kind() for kind in all_probes().values()], ids=lambda p: type(p).__name__)
def test_same_seed_same_predictions_and_k_classes(probe: Probe) -> None:
    rng = np.random.default_rng(0)
    z = np.arange(300) % 3
    x = rng.normal(size=(300, 6)) + 2 * np.eye(6)[z]
    runs = [probe.fit(x, z, np.arange(300), seed=4).predict(x) for _ in range(2)]
    assert np.array_equal(*runs)
    assert set(runs[0]) == {0, 1, 2}


@pytest.mark.parametrize("probe", [kind() for kind in all_probes().values()], ids=lambda p: type(p).__name__)
def test_constant_activations(probe: Probe) -> None:
    """What the constant-output control hands to every probe."""
    z = np.arange(100) % 2
    fitted = probe.fit(np.ones((100, 5)), z, np.arange(100) // 2, seed=0)
    assert np.mean(fitted.predict(np.ones((100, 5))) == z) == 0.5
