"""Each probe solves a problem of its own kind, and none finds what is not there."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from excise.probes import PRESETS, Ccs, ExtraTrees, Knn, LaplaceSvm, Linear, RbfSvm, all_probes, panel
from excise.probes.ccs import ContrastConsistent
from excise.types import ExciseError, FittedProbe, Probe, TrainingRows

Rows = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]
N = 300
PROBES = [kind() for kind in all_probes().values()]
TRAINED = [probe for probe in PROBES if not isinstance(probe, Ccs)]  # Ccs needs pairs and has tests of its own.


def planted(kind: str, n: int, seed: int) -> tuple[Rows, Classes, Classes]:
    """Two classes in 8 dimensions that differ in one respect, alternating, in groups of two.

    means; checkerboard: the sign of a product; radius; spread: variances of single dimensions, their total alike; skew:
    third moments, means and variances alike; grid: parity of a 4 x 4 grid of clusters in 2 dimensions; pairs: means,
    behind a far larger trace of the pair; nothing.
    """
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
    elif kind == "spread":
        x[:, :4] *= np.where(z == 1, 2.0, 0.6)[:, None]
        x[:, 4:] *= np.where(z == 1, 0.6, 2.0)[:, None]
    elif kind == "skew":
        x = (rng.exponential(size=(n, 8)) - 1) * np.where(z == 1, 1, -1)[:, None]
    elif kind == "grid":
        cell = rng.integers(0, 4, size=(n, 2))
        cell[:, 0] += (cell.sum(axis=1) % 2 != z) * np.where(cell[:, 0] < 3, 1, -1)
        x = cell - 1.5 + 0.12 * x[:, :2]
    elif kind == "pairs":
        x[:, 0] = np.where(z == 1, 1.0, -1.0) + 0.3 * x[:, 0]
        x[:, 1:] = 3 * np.repeat(rng.normal(size=(n // 2, 7)), 2, axis=0) + 0.3 * x[:, 1:]
    return x, z, np.arange(n) // 2


# What each probe is in the panel for, and the least that it reads of it.
OWN = {
    "Boosting": ("checkerboard", 0.93),
    "ExtraTrees": ("skew", 0.90),
    "Forest": ("spread", 0.93),
    "Knn": ("grid", 0.95),
    "LaplaceSvm": ("skew", 0.90),
    "Linear": ("means", 0.82),
    "Mlp1": ("checkerboard", 0.93),
    "Mlp3": ("checkerboard", 0.95),
    "PcaSvm": ("radius", 0.83),
    "PolynomialSvm": ("skew", 0.82),
    "Quadratic": ("spread", 0.95),
    "RbfSvm": ("radius", 0.83),
}


@cache
def fitted(probe: Probe, kind: str) -> FittedProbe:
    return probe.fit(*planted(kind, N, 0), seed=0)


@cache
def fitted_to_nothing(probe: Probe) -> FittedProbe:
    """Labels swapped at random within each pair, so that pairs stay pairs; rows that hold no concept either."""
    x, z, groups = planted("nothing", N, 0)
    swap = np.repeat(np.random.default_rng(5).integers(0, 2, N // 2), 2)
    return probe.fit(x, z ^ swap, groups, seed=0)


def score(probe: Probe, kind: str) -> float:
    x, z, _ = planted(kind, 1000, 1)
    return float(np.mean(fitted(probe, kind).predict(x) == z))


def bits(found: FittedProbe, x: Rows, z: Classes) -> float:
    """Usable information: bits gained over the class shares, which are even here."""
    return 1 + float(np.log2(found.probabilities(x)[np.arange(len(z)), z]).mean())


each = pytest.mark.parametrize("probe", PROBES, ids=lambda p: type(p).__name__)
each_trained = pytest.mark.parametrize("probe", TRAINED, ids=lambda p: type(p).__name__)


def test_every_probe_has_a_problem_of_its_own() -> None:
    assert set(OWN) == {type(probe).__name__ for probe in TRAINED}


@each_trained
def test_solves_its_own_problem(probe: Probe) -> None:
    kind, least = OWN[type(probe).__name__]
    assert score(probe, kind) >= least


@pytest.mark.parametrize("kind", ["checkerboard", "radius", "spread", "skew", "grid"])
def test_a_linear_probe_reads_none_of_them(kind: str) -> None:
    assert 0.4 < score(Linear(), kind) < 0.6


@each
def test_reads_chance_where_there_is_nothing(probe: Probe) -> None:
    assert 0.4 < fitted_to_nothing(probe).cv_accuracy < 0.6
    x, z, _ = planted("nothing", 1000, 1)
    assert 0.4 < np.mean(fitted_to_nothing(probe).predict(x) == z) < 0.6


@pytest.mark.parametrize("probe", [Knn(), ExtraTrees(), LaplaceSvm()], ids=lambda p: type(p).__name__)
def test_parted_groups_would_show_what_is_not_there(probe: Probe) -> None:
    """Every row twice, classes at random: only the twin in another fold tells the class."""
    rng = np.random.default_rng(0)
    x, z = np.repeat(rng.normal(size=(100, 8)), 2, axis=0), np.repeat(rng.integers(0, 2, 100), 2)
    assert probe.fit(x, z, np.arange(200) // 2, seed=0).cv_accuracy < 0.65
    assert probe.fit(x, z, np.arange(200), seed=0).cv_accuracy > 0.75


@each_trained
def test_cross_validated_accuracy_is_honest(probe: Probe) -> None:
    """Near the accuracy on new rows; the accuracy on its own rows would be far above."""
    kind, _ = OWN[type(probe).__name__]
    assert fitted(probe, kind).cv_accuracy == pytest.approx(score(probe, kind), abs=0.06)


@each_trained
def test_probabilities_tell_what_is_known_and_no_more(probe: Probe) -> None:
    kind, _ = OWN[type(probe).__name__]
    x, z, _ = planted(kind, 1000, 1)
    found = fitted(probe, kind)
    assert np.allclose(found.probabilities(x).sum(axis=1), 1)
    assert bits(found, x, z) > 0.2
    said = found.probabilities(x)[:, 1]
    assert said.mean() == pytest.approx(0.5, abs=0.08)
    sure = np.maximum(said, 1 - said)
    assert sure.mean() == pytest.approx(np.mean((said > 0.5) == z), abs=0.08)


def test_probabilities_of_nothing_cost_little() -> None:
    x, z, _ = planted("nothing", 1000, 1)
    lost = [-bits(fitted_to_nothing(probe), x, z) for probe in PROBES]
    assert np.mean(lost) < 0.05
    assert max(lost) < 0.12


@each_trained
def test_same_seed_same_predictions_and_k_classes(probe: Probe) -> None:
    rng = np.random.default_rng(0)
    z = np.arange(150) % 3
    x = rng.normal(size=(150, 6)) + 3 * np.eye(6)[z]
    runs = [probe.fit(x, z, np.arange(150), seed=4) for _ in range(2)]
    assert np.array_equal(runs[0].predict(x), runs[1].predict(x))
    said = runs[0].probabilities(x)
    assert np.array_equal(said, runs[1].probabilities(x))
    assert said.shape == (150, 3)
    assert np.allclose(said.sum(axis=1), 1)
    assert np.mean(said.argmax(axis=1) == z) > 0.9
    assert np.mean(runs[0].predict(x) == z) > 0.9


@each
def test_constant_activations(probe: Probe) -> None:
    """What the constant-output control hands to every probe."""
    z = np.arange(100) % 2
    found = probe.fit(np.ones((100, 5)), z, np.arange(100) // 2, seed=0)
    assert np.mean(found.predict(np.ones((100, 5))) == z) == 0.5
    assert np.allclose(found.probabilities(np.ones((3, 5))), 0.5, atol=0.01)


def test_ccs_needs_no_labels() -> None:
    """The trace of the pair is three times the concept. Wrong labels in two pairs of five change nothing."""
    x, z, groups = planted("pairs", N, 0)
    x_new, z_new, _ = planted("pairs", 1000, 1)
    assert np.mean(Ccs().fit(x, z, groups, seed=0).predict(x_new) == z_new) > 0.95
    swap = np.repeat(np.random.default_rng(3).random(N // 2) < 0.4, 2)
    swapped = Ccs().fit(x, z ^ swap, groups, seed=0)
    assert np.mean(swapped.predict(x_new) == z_new) > 0.95


def test_ccs_with_pairs_of_any_classes_finds_nothing() -> None:
    x, z, groups = planted("pairs", N, 0)
    x_new, z_new, _ = planted("pairs", 1000, 1)
    model = ContrastConsistent(0)
    assert np.mean(model.fit(x, z, groups).predict(x_new) == z_new) > 0.95
    assert np.mean(model.fit(x, z, np.random.default_rng(0).permutation(groups)).predict(x_new) == z_new) < 0.7


def test_ccs_applies_to_contrast_pairs_only() -> None:
    x, z, groups = planted("pairs", 60, 0)
    assert Ccs().applies(TrainingRows(x, z, groups, 0))
    for labels, parts in (
        (z, np.arange(60)),
        (z, groups // 2),
        (np.arange(60) // 2 % 2, groups),
        (np.arange(60) % 3, groups),
    ):
        rows = TrainingRows(x, labels, parts, 0)
        assert not Ccs().applies(rows)
        with pytest.raises(ExciseError, match="contrast pairs"):
            Ccs().fit_on(rows)
    assert all(probe.applies(TrainingRows(x, z, np.arange(60), 0)) for probe in TRAINED)


def test_folds_keep_groups_together_and_are_made_once() -> None:
    rows = TrainingRows(*planted("means", 120, 0), 0)
    for folds in (rows.folds, rows.few_folds):
        assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(120))
        for train, held_out in folds:
            assert not set(rows.groups[train]) & set(rows.groups[held_out])
    assert len(rows.folds) == 5
    assert len(rows.few_folds) == 3
    assert rows.folds is rows.folds
    other = TrainingRows(rows.x, rows.z, rows.groups, 1)
    assert not np.array_equal(other.folds[0][1], rows.folds[0][1])


def test_shared_work_is_right() -> None:
    rows = TrainingRows(*planted("radius", 40, 0), 0)
    difference = rows.scaled[3] - rows.scaled[7]
    assert rows.squared_distances[3, 7] == pytest.approx(difference @ difference)
    assert rows.manhattan_distances[3, 7] == pytest.approx(np.abs(difference).sum())
    assert rows.products[3, 7] == pytest.approx(rows.scaled[3] @ rows.scaled[7])
    turned = rows.components[3] - rows.components[7]
    assert turned @ turned == pytest.approx(difference @ difference)


def test_too_few_groups_of_a_class() -> None:
    x, z, _ = planted("means", 40, 0)
    with pytest.raises(ExciseError, match="class 0 stands in 2 groups"):
        Linear().fit(x, z, np.arange(40) % 4, seed=0)


def test_presets() -> None:
    assert [type(probe).__name__ for probe in panel("study")] == ["RbfSvm", "Forest"]
    assert panel() == panel("fast")
    assert PRESETS["full"] == tuple(all_probes())
    assert panel("Linear, RbfSvm") == (Linear(), RbfSvm())
    with pytest.raises(ExciseError, match=r"no probe 'Liner'.*study, fast, full.*Linear"):
        panel("Liner")
    with pytest.raises(ExciseError, match="named twice"):
        panel("Linear,RbfSvm,Linear")


@each
def test_titles_fit_their_column(probe: Probe) -> None:
    assert 0 < len(probe.title) <= 9
    assert probe.source
