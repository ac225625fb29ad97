"""A problem's terms change what is asked and nothing else; proposals rest on records and can be run."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command

from excise.arena import Private, Submission, Verdict, dev_concepts, prepare_rows, score
from excise.arena.failures import failures
from excise.arena.next_problems import propose
from excise.arena.problem import reference_edit
from excise.arena.sandbox import Sandbox, SandboxError, find_sandbox
from excise.cli.app import app
from excise.probes import Linear
from excise.types import ConceptData, ExciseError
from tests.arena import sources
from tests.arena.records import Folder, run

TEXTS = ["a text"] * 400
ORIGIN = {"model": "tiny", "site": "2:mean"}


def posed(pairs: ConceptData, **terms: float) -> Private:
    return prepare_rows(pairs, TEXTS, ORIGIN, 0, **terms)[1]


def test_terms_make_another_problem(pairs: ConceptData) -> None:
    usual = posed(pairs)
    assert posed(pairs, budget=1, labels=1).id == usual.id
    others = [posed(pairs, budget=0.5), posed(pairs, labels=0.25)]
    assert len({usual.id, *(other.id for other in others)}) == 3
    assert others[0].origin == {**ORIGIN, "budget": "0.5"}
    assert usual.origin == ORIGIN
    assert ORIGIN == {"model": "tiny", "site": "2:mean"}


def test_fewer_labels_leave_the_attacked_rows_alone(pairs: ConceptData) -> None:
    usual, half = posed(pairs), posed(pairs, labels=0.5)
    for part in ("feedback", "select", "report"):
        assert np.array_equal(usual.parts[part], half.parts[part])
    for part in ("shown", "fit"):
        assert len(half.parts[part]) == pytest.approx(len(usual.parts[part]) / 2, abs=2)
        assert set(half.parts[part]) < set(usual.parts[part])
        assert pairs.z.numpy()[half.parts[part]].mean() == pytest.approx(0.5, abs=0.05)


def test_the_author_is_told_the_budget_that_is_enforced(pairs: ConceptData, tmp_path: Path) -> None:
    public, half = prepare_rows(pairs, TEXTS, ORIGIN, 0, budget=0.5)
    assert half.budget == 0.5
    assert public.budget == pytest.approx(reference_edit(public.x, public.z) / 2)
    public.write(tmp_path)
    assert f"{public.budget:.4g}" in (tmp_path / "task.md").read_text()


@pytest.mark.parametrize("terms", [{"budget": 0.0}, {"budget": float("inf")}, {"labels": 0.3}, {"labels": 0.0}])
def test_terms_that_cannot_be(pairs: ConceptData, terms: dict[str, float]) -> None:
    with pytest.raises(ExciseError, match="give"):
        posed(pairs, **terms)


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    try:
        return find_sandbox()
    except SandboxError as err:
        pytest.skip(str(err))


def test_leace_is_over_half_of_its_own_edit(pairs: ConceptData, sandbox: Sandbox) -> None:
    half = posed(pairs, budget=0.5)
    for source, verdict in ((sources.SOUND, Verdict.OVER_BUDGET), (_HALF, Verdict.OK)):
        found = score(Submission(source.encode()), half, "select", sandbox=sandbox, probes=(Linear(),))
        assert found.verdict is verdict, found.detail
    assert found.spent == pytest.approx(1, abs=0.01), "in budgets, not in LEACE edits"
    assert found.grade is not None
    assert found.grade.budget.value == pytest.approx(0.5, abs=0.01)


# What `fit` is told decides how far it goes.
_HALF = sources.SOUND.replace('"gap": gap / (gap @ seen)}', '"gap": gap / (gap @ seen) * share}').replace(
    "    return {",
    "    full = np.square(((x - mean) @ seen)[:, None] * gap / (gap @ seen)).sum(1).mean()\n"
    "    share = np.sqrt(budget / full)\n"
    "    return {",
    1,
)


def test_proposals_follow_from_the_records(folder: Folder) -> None:
    folder.add("sound", select=0.6, report=0.7)
    few = {one.title: one for one in propose(folder.read())}
    assert set(few) == {"Half of LEACE's edit", "Three classes", "Another model", "Another layer"}
    assert "0.90 of it on average" in few["Half of LEACE's edit"].evidence
    folder.add("wide", Verdict.OVER_BUDGET, "spent 1.50 times the reference", select=None)
    folder.add("fitted", feedback=0.5, select=0.75, report=0.95)
    more = {one.title: one for one in propose(folder.read())}
    assert "1 of 3 rollouts broke the budget, by up to 1.50 times" in more["Half of LEACE's edit"].evidence
    assert more["Half of LEACE's edit"].count == 3
    overfit = failures(folder.read()).overfit
    assert f"{overfit.value:.3f}" in more["Half the labels"].evidence
    assert more["Half the labels"].command.endswith("--labels 0.5")


def test_what_was_posed_already_is_not_proposed(folder: Folder, pairs: ConceptData) -> None:
    folder.add("sound", select=0.6, report=0.7)
    Folder(folder.path, posed(pairs, budget=0.5), folder.beside).add("sound", select=0.8, report=0.9)
    assert "Half of LEACE's edit" not in {one.title for one in propose(folder.read())}


def test_no_proposal_leads_to_a_held_out_concept(folder: Folder, pairs: ConceptData) -> None:
    other = prepare_rows(dataclasses.replace(pairs, name="abstraction"), TEXTS, ORIGIN, 0)[1]
    Folder(folder.path, other, folder.beside).add("sound", select=0.6, report=0.7)
    for one in propose(folder.read()):
        assert "abstraction" not in one.command
        assert dev_concepts()[0] in one.command or "three.jsonl" in one.command


def test_every_command_parses(folder: Folder) -> None:
    folder.add("sound", feedback=0.5, select=0.6, report=0.9)
    found = propose(folder.read())
    assert len(found) == 5
    for one in found:
        for command in one.command.split(" && "):
            words = shlex.split(command, comments=True)
            assert words[0] == "excise"
            group = get_command(app)
            while (inner := getattr(group, "commands", {}).get(words[1])) is not None:
                group, words = inner, words[1:]
            group.make_context("excise", words[1:])  # Raises for options that are not there.


def test_the_command(folder: Folder) -> None:
    folder.add("sound", select=0.6, report=0.7)
    read = json.loads(run("problems", "--out", folder.path, "--json"))
    assert {"title", "measure", "evidence", "count", "command"} == set(read[0])
    out = run("problems", "--out", folder.path)
    assert all(one["command"] in out for one in read)
