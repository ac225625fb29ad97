"""Programs put together by the search are sound submissions, keep their budget, and bring the classes together."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from excise.arena import Submission, Verdict, prepare_rows, score
from excise.arena.problem import reference_edit
from excise.arena.sandbox import SandboxError, find_sandbox
from excise.arena.search import Program, Proposer, Stage, crossed, mutated, seeds
from excise.arena.search.families import FAMILIES, MOST_STAGES, STAGES
from excise.probes import Linear
from excise.types import ConceptData, ExciseError
from tests.arena import sources

LEACE = Stage("leace", (("amount", 1.0),))
_CHEAPEST = {"steps": 60}


def cheap(program: Program) -> Program:
    """The same families, with few steps of training."""
    stages = [Stage(s.name, tuple((k, _CHEAPEST.get(k, v)) for k, v in s.knobs)) for s in program.stages]
    return Program(tuple(stages), program.spend, program.scale)


PROGRAMS = [cheap(program) for program in seeds()]
CHAINS = [Program((LEACE, *program.stages), 1.0, "rest") for program in PROGRAMS]


def loaded(program: Program) -> dict[str, Any]:
    """The functions of a submission of ours, run here."""
    module: dict[str, Any] = {}
    exec(program.source, module)
    return module


@pytest.fixture(scope="module")
def rows(pairs: ConceptData) -> tuple[Any, ...]:
    """x and z of two halves."""
    x, z = pairs.x.numpy(), pairs.z.numpy()
    return x[:200], z[:200], x[200:], z[200:]


def many(count: int) -> list[Program]:
    rng, found = random.Random(0), seeds()
    while len(found) < count:
        first, second = rng.choices(found, k=2)
        found.append(mutated(first, rng) if rng.random() < 0.7 else crossed(first, second, rng))
    return found


def test_the_seeds_are_the_six_families() -> None:
    assert [program.name for program in seeds()] == list(FAMILIES)


def test_a_plan_is_read_back_from_the_text() -> None:
    for program in many(60):
        assert Program.parse(program.source) == program


def test_texts_are_submissions_that_need_nothing_of_ours() -> None:
    for program in many(60):
        Submission(program.source.encode()).check()
        assert "excise" not in program.source


def test_other_files_have_no_plan() -> None:
    text = seeds()[0].source
    for wrong in (
        sources.SOUND,
        text.replace("PLAN = {", "PLAN = {{"),
        text.replace("'stages'", "'parts'"),
        text.replace("'gaussian'", "'unknown'"),
        text.replace("'rank': 8", "'rank': 9"),
        text.replace("'spend': 0.9", "'spend': 5"),
    ):
        assert wrong != text
        with pytest.raises(ExciseError):
            Program.parse(wrong)


def test_a_mutation_is_another_program() -> None:
    rng = random.Random(0)
    program, reached, knobs = seeds()[0], set(), set()
    for _ in range(400):
        other = mutated(program, rng)
        assert other != program
        reached |= {stage.name for stage in other.stages}
        knobs |= {(other.spend, other.scale)}
        program = other
    assert reached == set(STAGES)
    assert len(knobs) == 8


def test_a_cross_has_the_head_of_one_and_the_tail_of_another() -> None:
    rng = random.Random(0)
    for first, second in zip(many(60), reversed(many(60)), strict=True):
        child = crossed(first, second, rng)
        assert child.stages[0] == first.stages[0]
        assert set(child.stages) <= {*first.stages, *second.stages}
        assert len(child.stages) <= MOST_STAGES


def test_the_proposer_never_repeats_itself() -> None:
    proposer = Proposer(0)
    parent = proposer.start()
    found = [parent, *(proposer.next(parent) for _ in range(60))]
    assert len(set(found)) == len(found)
    assert {program.name for program in found[:6]} == set(FAMILIES)
    again = Proposer(0)
    assert again.start() == parent
    assert again.next(parent) == found[1]
    assert Proposer(1).start() != parent or Proposer(2).start() != parent


@pytest.mark.parametrize("program", PROGRAMS + CHAINS, ids=lambda program: program.name)
def test_a_program_keeps_the_laws_of_the_arena(program: Program, rows: tuple[Any, ...]) -> None:
    x, z, new, new_z = rows
    module = loaded(program)
    arrays = module["fit"](x, z, 1.0, 0)
    again = module["fit"](x, z, 1.0, 0)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
    out = module["transform"](arrays, new)
    assert out.shape == new.shape
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert np.allclose(module["transform"](arrays, new[:1]), out[:1], atol=1e-4), "rows are treated alone"
    reference = leace_edit(x, z, new)
    spent = np.square(out - new).sum(1).mean() / reference
    assert 0.2 < spent < 1.1 * float(program.spend), "near the budget, and not far over it"
    before, after = (gap(found, new_z) for found in (new, out))
    assert after < 0.7 * before


def gap(x: Any, z: Any) -> float:
    """Distance of the class means."""
    return float(np.linalg.norm(x[z == 1].mean(0) - x[z == 0].mean(0)))


def leace_edit(x: Any, z: Any, new: Any) -> float:
    """What LEACE fitted on some rows spends on others."""
    module: dict[str, Any] = {}
    exec(sources.SOUND, module)
    return float(np.square(module["transform"](module["fit"](x, z, 1.0, 0), new) - new).sum(1).mean())


def test_without_the_scaling_a_program_would_spend_too_much(rows: tuple[Any, ...]) -> None:
    x, z, new, _ = rows
    far = Program((Stage("hungarian", (("rank", 32), ("width", 0.02), ("amount", 1.25))),), 1.0)
    module = loaded(far)
    arrays = module["fit"](x, z, 1.0, 0)
    scaled, whole = (
        np.square(module["transform"](found, new) - new).sum(1).mean() / leace_edit(x, z, new)
        for found in (arrays, {**arrays, "scales": np.ones(2)})
    )
    assert scaled < 1.1
    assert whole > 1.3


def test_our_copy_of_leace_is_the_reference(pairs: ConceptData) -> None:
    module = loaded(Program((LEACE,)))
    x, z = pairs.x.double().numpy(), pairs.z.double().numpy()
    mean, seen, gap = module["leace_edit"](x, z)
    spent = np.square((x - mean) @ seen).mean() * (gap @ gap)
    assert spent == pytest.approx(reference_edit(pairs.x, pairs.z), rel=1e-4)


def test_a_program_is_scored_in_the_sandbox(pairs: ConceptData) -> None:
    try:
        sandbox = find_sandbox()
    except SandboxError as err:
        pytest.skip(str(err))
    _, private = prepare_rows(pairs, ["a text"] * len(pairs), {"model": "tiny"}, 0)
    found = score(Submission(CHAINS[0].source.encode()), private, "select", sandbox=sandbox, probes=(Linear(),))
    assert found.verdict is Verdict.OK, found.detail
    assert found.grade is not None
    assert found.unerased is not None
    assert found.grade.worst_accuracy.value < found.unerased.worst_accuracy.value - 0.2


def test_gepa_climbs_with_it() -> None:
    """GEPA takes the proposer in place of a language model; the score is made up, so that it has a known best."""
    oa = pytest.importorskip("gepa.optimize_anything")
    tried = []

    def evaluate(candidate: str) -> tuple[float, dict[str, Any]]:
        program = Program.parse(candidate)
        tried.append(program)
        return ("soft" in program.name) + len(program.stages) / 10 + float(program.spend), {"Feedback": "none"}

    proposer = Proposer(0)
    found = oa.optimize_anything(
        seed_candidate=proposer.start().source,
        evaluator=evaluate,
        config=oa.GEPAConfig(
            engine=oa.EngineConfig(max_candidate_proposals=40, parallel=False),
            reflection=oa.ReflectionConfig(reflection_lm=None, custom_candidate_proposer=proposer),
        ),
    )
    best = Program.parse(found.best_candidate)
    assert "soft" in best.name
    assert len(best.stages) == MOST_STAGES
    assert len(set(tried)) == 41
