"""Known kinds of erasers: the figures are what theory says, and like lands with like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from excise.arena import Submission, prepare_rows
from excise.arena.behaviour import Behaviour, behaviour, class_share, effective_rank, midpoint_law, quantile_gap
from excise.arena.families import (
    Described,
    constructions,
    described,
    families,
    name_of,
    read_families,
    write_families,
)
from excise.arena.sandbox import Sandbox, SandboxError, find_sandbox
from excise.types import ConceptData, ExciseError
from tests.arena import family_sources as kinds
from tests.arena.sources import IDENTITY, SOUND
from tests.conftest import gaussian_classes

RUN = {
    "leace": (SOUND, kinds.LEACE_WHITENED),
    "shift": (kinds.CLASS_SHIFT_BY_CENTROID, kinds.CLASS_SHIFT_BY_CENTROID.replace("1e-6", "0.1")),
    "gaussian": (kinds.SOURCES["gaussian"], kinds.SOURCES["gaussian shrunk"]),
    "quantiles": (kinds.SOURCES["quantiles"], kinds.SOURCES["quantiles coarse"]),
}
Found = dict[tuple[str, int], list[Behaviour]]


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    try:
        return find_sandbox()
    except SandboxError as err:
        pytest.skip(str(err))


def concept(seed: int) -> ConceptData:
    x, z = gaussian_classes(400, 12, seed=seed)
    return ConceptData.of(x.float(), z.tolist(), [i // 2 for i in range(400)], "synthetic")


@pytest.fixture(scope="module")
def found(sandbox: Sandbox) -> Found:
    """What each kind, in each hand, does on two concepts."""
    inputs = [prepare_rows(concept(seed), ["a text"] * 400, {}, seed)[0] for seed in (0, 1)]
    return {
        (kind, hand): [behaviour(Submission(source.encode()), public, sandbox) for public in inputs]
        for kind, hands in RUN.items()
        for hand, source in enumerate(hands)
    }


def test_leace_moves_one_direction_affinely(found: Found) -> None:
    for one in (*found["leace", 0], *found["leace", 1]):
        assert one.rank == pytest.approx(1, abs=1e-4)
        assert one.affine == pytest.approx(1, abs=1e-4)
        assert one.means == pytest.approx(1, abs=1e-6)
        assert one.spent == pytest.approx(1, abs=0.15)
        assert abs(one.covariances) < 0.5
        assert name_of(one) == "affine, one direction"
    assert found["leace", 0][0].shift == pytest.approx(1, abs=1e-3)


def test_the_others_do_what_they_are_named_after(found: Found) -> None:
    for hand in (0, 1):
        for i in (0, 1):
            shift, gaussian, quantiles = (found[kind, hand][i] for kind in ("shift", "gaussian", "quantiles"))
            assert shift.rank == pytest.approx(1, abs=1e-3)
            assert shift.affine < 0.5
            assert gaussian.covariances > max(shift.covariances, quantiles.covariances) + 0.2
            assert gaussian.rank > 1.5
            assert quantiles.marginals > max(shift.marginals, gaussian.marginals) + 0.15


def test_like_lands_with_like(found: Found) -> None:
    every = [
        described(Submission(RUN[kind][hand].encode()), f"{kind} {i}", [one])
        for (kind, hand), seen in found.items()
        for i, one in enumerate(seen)
    ]
    clusters = families(every)
    for family in clusters.families:
        assert len({member.author.split()[0] for member in family.members}) == 1, "two kinds in one family"
    averaged = families([described(Submission(RUN[k][h].encode()), k, seen) for (k, h), seen in found.items()])
    assert sorted(sorted(m.author for m in f.members) for f in averaged.families) == [[k] * 2 for k in sorted(RUN)]


def test_no_structure_is_one_family() -> None:
    g = np.random.default_rng(0)
    base = Behaviour(rank=2, affine=0.5, shift=0.5, means=0.5, covariances=0.5, marginals=0.5, spent=0.5)
    names = ("affine", "shift", "means", "covariances", "marginals", "spent")
    cloud = [replace(base, **dict(zip(names, 0.5 + 0.1 * g.standard_normal(6), strict=True))) for _ in range(40)]
    (family,) = families([Described(str(i), "", one, ("arithmetic",)) for i, one in enumerate(cloud)]).families
    assert len(family.members) == 40
    apart = [replace(one, covariances=one.covariances + (i % 2)) for i, one in enumerate(cloud)]
    assert len(families([Described(str(i), "", one, ()) for i, one in enumerate(apart)]).families) == 2


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_or_equal_ones_are_one_family(n: int) -> None:
    one = Behaviour(rank=1, affine=1, shift=1, means=1, covariances=0, marginals=0, spent=1)
    (family,) = families([Described(str(i), "", one, ("kernel",)) for i in range(n)]).families
    assert family.centre == one
    assert family.by_code == "kernel"


def test_no_edit_has_a_name(sandbox: Sandbox) -> None:
    public = prepare_rows(concept(0), ["a text"] * 400, {}, 0)[0]
    one = behaviour(Submission(IDENTITY.encode()), public, sandbox)
    assert name_of(one) == "hardly any edit"
    assert one.means == one.covariances == one.marginals == one.rank == 0


# The figures.


def test_effective_rank_counts_directions() -> None:
    g = np.random.default_rng(0)
    even = np.linalg.qr(g.standard_normal((50, 7)))[0] @ np.linalg.qr(g.standard_normal((9, 7)))[0].T
    assert effective_rank(even) == pytest.approx(7)
    assert effective_rank(np.outer(g.standard_normal(50), g.standard_normal(9))) == pytest.approx(1)


def test_midpoints_tell_affine_maps_from_others() -> None:
    g = np.random.default_rng(0)
    x, matrix = g.standard_normal((400, 6)), g.standard_normal((6, 6))
    a, b = x[:200], x[200:]
    law = {
        name: midpoint_law((edit(a), edit(b)), edit((a + b) / 2))
        for name, edit in {
            "affine": lambda rows: rows @ matrix + 3.0,
            "constant": lambda rows: np.ones_like(rows),
            "bent": lambda rows: rows @ matrix + 0.3 * np.abs(rows),
            "step": lambda rows: np.sign(rows[:, :1]) * matrix[0],
        }.items()
    }
    assert law["affine"] == law["constant"] == 1
    assert 0.5 < law["bent"] < 0.999
    assert law["step"] == 0


def test_class_shares_and_quantiles() -> None:
    z = np.arange(200) % 2
    g = np.random.default_rng(0)
    noise = g.standard_normal((200, 3))
    assert class_share(np.where(z[:, None] == 1, 1.0, -1.0) * np.ones((200, 3)), z) == pytest.approx(1)
    assert class_share(noise, z) < 0.1
    moved = np.where(z[:, None] == 1, 5 + 3 * noise, noise)
    assert quantile_gap(moved, z) == pytest.approx(quantile_gap(noise, z)), "means and variances do not count"
    assert quantile_gap(np.where(z[:, None] == 1, np.exp(noise), noise), z) > 3 * quantile_gap(noise, z)


def test_constructions_are_read_from_the_source() -> None:
    read = {name: set(constructions(Submission(source.encode()))) for name, source in kinds.SOURCES.items()}
    assert read["leace"] == {"linear solve"}
    assert read["mean projection"] == {"arithmetic"}
    assert "label readout" in read["shift"]
    assert "training" in read["network"]
    assert "quantiles" in read["quantiles"]
    assert {"spectrum", "covariance"} <= read["gaussian"]
    assert constructions(Submission(b'"""eigh, svd and quantile."""')) == ("arithmetic",), "words are not calls"


def test_a_clustering_is_kept(tmp_path: Path) -> None:
    one = Behaviour(rank=1, affine=1, shift=1, means=1, covariances=0, marginals=0, spent=1)
    made = families([Described(f"{i}", "a", replace(one, covariances=i % 2), ("kernel",)) for i in range(6)])
    assert read_families(tmp_path) is None
    path = write_families(tmp_path, made)
    assert read_families(tmp_path) == made
    assert not list(tmp_path.glob("*.json")), "records lie there"
    path.write_text("{}")
    with pytest.raises(ExciseError, match="run `excise arena families` again"):
        read_families(tmp_path)
