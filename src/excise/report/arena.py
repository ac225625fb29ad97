"""The page of the arena, and the same as plain values."""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined
from plotly.offline import get_plotlyjs

from excise.arena.failures import Failures, failures
from excise.arena.families import Families
from excise.arena.next_problems import Proposal, propose
from excise.arena.rollouts import ProblemResult, Rollout
from excise.arena.totals import ArenaReport
from excise.bench.grade import Grade
from excise.probes import all_probes
from excise.report.figures import BLUE, GREY, ORANGE, add_chance, error_bars, styled
from excise.stats.bootstrap import Interval
from excise.types import write_atomically


def arena_values(report: ArenaReport, families: Families | None = None) -> dict[str, Any]:
    """Everything on the page as plain values: problems with their rollouts, totals, failures, proposals, families."""
    return {
        "problems": [_problem(problem) for problem in report.problems],
        "totals": [asdict(one) for one in report.totals],
        "failures": asdict(failures(report)),
        "grader_errors": [
            {"concept": r.concept, "part": r.score.part, "id": r.score.sha256[:12], "author": r.author}
            for r in report.grader_errors
        ],
        "proposals": [asdict(one) for one in propose(report)],
        "families": None if families is None else asdict(families),
    }


def write_arena_report(report: ArenaReport, path: Path, families: Families | None = None) -> Path:
    """Writes one self-contained page; Plotly's script is inside, so it opens offline."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["accuracy"] = _text
    source = (files("excise.report") / "arena.html.jinja").read_text(encoding="utf-8")
    values = arena_values(report, families)
    pictures = {
        (place, held_out): _html(dumbbells([p for p in report.problems if (p.place, p.held_out) == (place, held_out)]))
        for place, held_out in dict.fromkeys((p.place, p.held_out) for p in report.problems)
    }
    found: Failures = failures(report)
    proposals: tuple[Proposal, ...] = propose(report)
    page = environment.from_string(source).render(
        **{**values, "failures": found, "proposals": proposals, "families": families, "totals": report.totals},
        pictures=pictures,
        titles={name: probe.title for name, probe in all_probes().items()},
        plotly=get_plotlyjs(),
    )
    write_atomically(path, page.encode())
    return path


def dumbbells(problems: list[ProblemResult]) -> go.Figure:
    """Per problem on report rows: unerased, LEACE, every sound rollout, and the best, which was chosen on others."""
    shown = [p for p in problems if p.leace is not None and p.unerased is not None]
    shown.sort(key=lambda p: p.leace.worst_accuracy.value if p.leace else 0.0)
    names = {p.problem: f"{p.concept}{f', seed {p.seed}' if p.seed else ''}" for p in shown}
    figure = go.Figure()
    tried = [(p, r, grade) for p in shown for r in p.rollouts if (grade := r.sound("report"))]
    figure.add_trace(
        go.Scatter(
            x=[grade.worst_accuracy.value for *_, grade in tried],
            y=[names[p.problem] for p, *_ in tried],
            mode="markers",
            name="every sound rollout",
            marker={"color": ORANGE, "size": 6, "opacity": 0.35},
            customdata=[[r.sha256[:12], r.author] for _, r, _ in tried],
            hovertemplate="%{y}: %{x:.3f}<br>%{customdata[0]} %{customdata[1]}<extra></extra>",
        )
    )
    for label, colour, symbol, graded in (
        ("unerased", GREY, "circle", [(p, p.unerased) for p in shown]),
        ("LEACE", BLUE, "circle", [(p, p.leace) for p in shown]),
        ("best, chosen on select rows", ORANGE, "diamond", [(p, p.reported) for p in shown]),
    ):
        there = [(p, grade) for p, grade in graded if grade is not None]
        figure.add_trace(
            go.Scatter(
                x=[grade.worst_accuracy.value for _, grade in there],
                y=[names[p.problem] for p, _ in there],
                error_x=error_bars([grade.worst_accuracy for _, grade in there]),
                mode="markers",
                name=label,
                marker={"color": colour, "size": 11, "symbol": symbol},
                hovertemplate="%{y}: " + label + " %{x:.3f}<extra></extra>",
            )
        )
    low = min((p.leace.chance for p in shown if p.leace), default=0.5)
    add_chance(figure, low, vertical=True)
    axis = {"title": "accuracy of the strongest probe on report rows", "range": [low - 0.03, 1.01]}
    return styled(figure, height=170 + 34 * len(shown), xaxis=axis)


def _problem(problem: ProblemResult) -> dict[str, Any]:
    return {
        "problem": problem.problem,
        "concept": problem.concept,
        "place": problem.place,
        "seed": problem.seed,
        "held_out": problem.held_out,
        "readable": problem.readable,
        "chance": None if problem.leace is None else problem.leace.chance,
        "unerased": _worst(problem.unerased),
        "leace": _worst(problem.leace),
        "best": None if problem.best is None else problem.best.sha256[:12],
        "best_accuracy": _worst(problem.reported),
        "outcome": problem.outcome,
        "share": None if problem.share is None else asdict(problem.share),
        "own_rows": None if problem.own_rows is None else asdict(problem.own_rows),
        "rollouts": [_rollout(rollout) for rollout in problem.rollouts],
    }


def _rollout(rollout: Rollout) -> dict[str, Any]:
    last = rollout.last
    return {
        "id": rollout.sha256[:12],
        "author": rollout.author,
        "verdict": str(last.verdict),
        "part": last.part,
        "ranked": all(score.ranked for score in rollout.scores.values()),
        "sandbox": last.sandbox,
        "spent": last.spent,
        # Unranked figures too: the page marks them.
        **{
            part: _worst(score.grade)
            for part in ("feedback", "select", "report")
            if (score := rollout.scores.get(part))
        },
        "strongest": None if last.grade is None else last.grade.worst,
        "notes": sorted({note for score in rollout.scores.values() for note in score.notes}),
    }


def _worst(grade: Grade | None) -> dict[str, float] | None:
    return None if grade is None else asdict(grade.worst_accuracy)


def _text(found: Interval | dict[str, float] | None) -> str:
    """ "0.847 (0.81 to 0.88)"; empty for None and NaN."""
    if found is None:
        return ""
    read = found if isinstance(found, Interval) else Interval(**found)
    return "" if read.value != read.value else f"{read.value:.3f} ({read.low:.2f} to {read.high:.2f})"


def _html(figure: go.Figure) -> str:
    config = {"displaylogo": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=config))
