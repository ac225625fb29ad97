"""What records come to: the choice on select rows, the figure on report rows, nothing lost and nothing flattered."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from excise.arena import Score, Verdict, prepare_rows
from excise.arena.erased import check_edit
from excise.arena.failures import failures, overspent
from excise.arena.records import write_score
from excise.arena.rollouts import by_probes, share_of_way
from excise.arena.verdict import Refused
from excise.bench.grade import Grade
from excise.report.arena import arena_values, write_arena_report
from excise.types import ConceptData, ExciseError
from tests.arena.records import Folder, reading, run


def test_chosen_on_select_and_reported_on_report(folder: Folder) -> None:
    chosen = folder.add("lucky", select=0.55, report=0.75)
    folder.add("solid", select=0.65, report=0.6)
    (problem,) = folder.read().problems
    assert problem.best is not None
    assert problem.best.sha256 == chosen.sha256
    assert problem.best.author == "lucky"
    assert problem.reported is not None
    assert problem.reported.worst_accuracy.value == pytest.approx(0.75, abs=0.01), "not the better 0.6 next to it"
    assert problem.own_rows is not None
    assert problem.own_rows.best == pytest.approx(0.55, abs=0.01)
    assert problem.own_rows.honest == pytest.approx(0.75, abs=0.01)
    assert (
        problem.own_rows.best
        <= problem.own_rows.if_varying
        <= problem.own_rows.if_equal
        == pytest.approx(0.6, abs=0.01)
    )


def test_one_try_was_chosen_from_nothing(folder: Folder) -> None:
    folder.add("only", select=0.6, report=0.6)
    assert folder.read().problems[0].own_rows is None


@pytest.mark.parametrize("how", ["unranked", "refused"])
def test_unsafe_and_refused_ones_are_never_the_best(folder: Folder, how: str) -> None:
    folder.add("honest", select=0.8, report=0.8)
    if how == "unranked":
        folder.add("open", ranked=False, select=0.5, report=0.5)
    else:
        folder.add("broken", Verdict.ROW_DEPENDENT, select=0.5, report=0.5)
    (problem,) = folder.read().problems
    assert problem.best is not None
    assert problem.best.author == "honest"
    assert len(problem.rollouts) == 2, "but it is listed"


def test_a_best_that_breaks_a_rule_on_report_rows_counts_as_no_edit(folder: Folder) -> None:
    best = folder.add("wide", select=0.55)
    folder.add("narrow", select=0.7, report=0.7)
    report = folder.read()
    assert report.problems[0].outcome == "not reported"
    assert not report.totals, "no figure before it is there"
    found = Score(
        sha256=best.sha256, problem=folder.private.id, part="report", verdict=Verdict.OVER_BUDGET,
        detail="spent 1.20 times the reference", spent=None, grade=None, leace=folder.beside["report"]["Leace"],
        unerased=folder.beside["report"]["NoEdit"], sandbox="bubblewrap", ranked=True, seconds=1.0,
    )  # fmt: skip
    write_score(folder.path, best, folder.private, found)
    report = folder.read()
    (totals,) = report.totals
    assert report.problems[0].outcome == "over_budget"
    assert totals.best == totals.unerased
    assert totals.failed == ("synthetic",)


def test_share_of_the_way(folder: Folder, beside: dict[str, dict[str, Grade]]) -> None:
    leace = reading(0.9, beside["report"]["Leace"])
    chance = leace.chance
    assert share_of_way([(leace, leace)]).value == 0
    assert share_of_way([(leace, reading(0.7, leace))]).value == pytest.approx(0.2 / (0.9 - chance), abs=0.02)
    assert share_of_way([(leace, reading(0.95, leace))]).value < 0
    nothing = share_of_way([(reading(0.53, leace), leace)])
    assert np.isnan(nothing.value), "LEACE at chance leaves no way to go"


def test_totals_are_means_and_held_out_concepts_stand_apart(
    folder: Folder, pairs: ConceptData, beside: dict[str, dict[str, Grade]]
) -> None:
    folder.add("first", select=0.6, report=0.6)
    for name in ("abstraction", "agreement"):
        data = dataclasses.replace(pairs, name=name)
        private = prepare_rows(data, ["a text"] * len(data), {"model": "tiny", "site": "2:mean"}, 0)[1]
        Folder(folder.path, private, beside).add(name, select=0.7, report=0.7 if name == "agreement" else 0.8)
    report = folder.read()
    assert [t.held_out for t in report.totals] == [False, True]
    assert [t.problems for t in report.totals] == [1, 2]
    assert report.totals[1].best.value == pytest.approx(0.75, abs=0.01)
    assert report.totals[0].leace.value == report.problems[-1].leace.worst_accuracy.value  # type: ignore[union-attr]


def test_other_terms_are_another_place(folder: Folder, pairs: ConceptData, beside: dict[str, dict[str, Grade]]) -> None:
    folder.add("usual", select=0.6, report=0.6)
    origin = {"model": "tiny", "site": "2:mean"}
    half = prepare_rows(pairs, ["a text"] * len(pairs), origin, 0, budget=0.5)[1]
    Folder(folder.path, half, beside).add("usual", select=0.8, report=0.8)
    places = [t.place for t in folder.read().totals]
    assert places == ["tiny, 2:mean", "tiny, 2:mean, budget 0.5"]


def test_failures_are_counted_and_the_graders_own_apart(folder: Folder) -> None:
    folder.add("sound", feedback=0.6, select=0.6, report=0.8)
    folder.add("other", feedback=0.7, select=0.7, report=0.7)
    folder.add("wide", Verdict.OVER_BUDGET, "spent 1.50 times the reference", select=None)
    folder.add("late", Verdict.TIMEOUT, "transform ran for over 120 s", select=None)
    folder.add("unlucky", Verdict.GRADER_ERROR, "Traceback", select=None)
    wrong = failures(folder.read())
    assert wrong.verdicts == {"ok": 2, "over_budget": 1, "timeout": 1}
    assert wrong.grader_errors == 1
    assert wrong.over_budget == (1.5,)
    assert wrong.reported == 2
    assert wrong.strongest == {"RbfSvm": 2}
    leace = [folder.beside[part]["Leace"].worst_accuracy.value for part in ("feedback", "report")]
    assert wrong.overfit.value == pytest.approx((0.2 + 0.0) / 2 - (leace[1] - leace[0]), abs=0.02)
    assert wrong.compared == 2


def test_over_budget_is_read_from_the_words_of_the_check(folder: Folder) -> None:
    rows = folder.private.data.x[:50]
    with pytest.raises(Refused) as caught:
        check_edit(rows, rows + 1, (0 * rows + 0.5).sum(dim=1))
    score = folder.beside["select"]["Leace"]
    found = Score(
        "a", "b", "select", caught.value.verdict, caught.value.detail, None, None, score, score, "bubblewrap", True, 1.0
    )
    assert overspent(found) == 2.0


def test_held_out_families_that_read_more_are_seen(folder: Folder, beside: dict[str, dict[str, Grade]]) -> None:
    folder.add("sound", select=0.6, report=0.6)
    assert failures(folder.read()).held_out_reads_more == 0
    report = folder.read()
    rollout = report.problems[0].rollouts[0]
    graded = rollout.sound("report")
    assert graded is not None
    forest = reading(0.9, graded).correct["RbfSvm"]
    seen = dataclasses.replace(
        graded, correct={**graded.correct, "Forest": forest}, cv={**graded.cv, "Forest": [0.9] * 5}
    )
    rollout.scores["report"] = dataclasses.replace(rollout.scores["report"], grade=seen)
    wrong = failures(report)
    assert wrong.held_out_reads_more == 1
    assert wrong.held_out_gap == pytest.approx(0.3, abs=0.02)
    assert by_probes(seen, ["Linear"]).worst == "Linear"


def test_the_page_shows_every_rollout(folder: Folder, tmp_path: Path) -> None:
    folder.add("sound <b>", feedback=0.6, select=0.6, report=0.7)
    folder.add("other", select=0.65, report=0.8)
    folder.add("open", ranked=False, select=0.5, report=0.5)
    folder.add("late", Verdict.TIMEOUT, select=None)
    report = folder.read()
    page = write_arena_report(report, tmp_path / "report.html").read_text()
    own = re.sub(r"<script>.*?</script>", "", page, count=1, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["']?https?:""", own)
    assert "<td>sound &lt;b&gt;" in own
    for problem in arena_values(report)["problems"]:
        for rollout in problem["rollouts"]:
            line = next(line for line in own.split("<tr") if f"<code>{rollout['id']}</code></td><td>" in line)
            assert rollout["verdict"] in line
            assert ("unranked" in line) == (not rollout["ranked"])
    (totals,) = report.totals
    assert f"{totals.best.value:.3f}" in own


def test_the_command(folder: Folder, tmp_path: Path) -> None:
    folder.add("sound", select=0.6, report=0.7)
    folder.add("wide", Verdict.OVER_BUDGET, "spent 1.50 times the reference", select=None)
    out = run("report", "--out", folder.path)
    assert "1 ok, 1 over_budget" in out
    assert (folder.path / "report.html").exists()
    values = json.loads(run("report", "--out", folder.path, "--json"))
    assert values["failures"]["verdicts"] == {"ok": 1, "over_budget": 1}
    assert [r["verdict"] for r in values["problems"][0]["rollouts"]] == ["ok", "over_budget"]
    with pytest.raises(ExciseError, match="holds no scores"):
        run("report", "--out", tmp_path / "nothing")
