"""One self-contained file from records."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from plotly.offline import get_plotlyjs

from excise.bench.frontier import at_own_size, budgets_asked, frontiers
from excise.bench.leaderboard import READABLE, WITHIN_BUDGET, leaderboard
from excise.bench.records import Record, by_place
from excise.probes import all_probes
from excise.report.figures import dumbbells, leakage_against_edit, means
from excise.report.frontier_figure import frontier_figure
from excise.types import write_atomically


def write_report(records: Sequence[Record], path: Path) -> Path:
    """Writes the report: a section for each model and site. Plotly's script is inside, so it opens offline."""
    sections = []
    for place, grades in by_place(records).items():
        own = at_own_size(grades)
        board, curves = leaderboard(own), frontiers(grades)
        first = grades[0]
        sections.append(
            {
                "place": place,
                "board": board,
                "curves": curves,
                "budgets": budgets_asked(curves),
                "rows": f"{first.n_fit} fit, {first.n_probe} probe, {first.n_test} test",
                "d": first.d,
                "seeds": len({grade.seed for grade in grades}),
                "figures": [
                    {
                        "title": title,
                        "note": note,
                        "html": figure.to_html(full_html=False, include_plotlyjs=False, config=_CONFIG),
                    }
                    for title, note, figure in (
                        ("How much of each concept survives", _DUMBBELL_NOTE, dumbbells(grades, board)),
                        ("Every eraser, every probe", _MEANS_NOTE, means(board)),
                        ("What is read against what was spent", _EDIT_NOTE, leakage_against_edit(own, board)),
                        *([("The frontier", _FRONTIER_NOTE, frontier_figure(curves))] if curves else []),
                    )
                ],
            }
        )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("excise.report") / "report.html.jinja").read_text(encoding="utf-8"))
    titles = {name: probe.title for name, probe in all_probes().items()}
    page = template.render(
        sections=sections, plotly=get_plotlyjs(), readable=READABLE, within=WITHIN_BUDGET, titles=titles
    )
    write_atomically(path, page.encode())
    return path


_CONFIG = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["lasso2d", "select2d", "autoScale2d"]}
_DUMBBELL_NOTE = (
    "The strongest probe's accuracy on test rows: before erasure, after LEACE, and after the best eraser of at most "
    f"{WITHIN_BUDGET} LEACE edits. The strongest probe and the best eraser are chosen on probe rows, never on test "
    f"rows. Bars are 95% intervals."
)
_MEANS_NOTE = (
    "Mean accuracy over the concepts with 95% intervals. The dashed line is chance; hollow marks are controls."
)
_EDIT_NOTE = (
    "Each large mark is an eraser's mean over concepts, each small one a concept. To the left is a smaller edit, "
    "below is less "
    "left to read. Constant output is far to the right and left out: it destroys everything."
)
_FRONTIER_NOTE = (
    "Each eraser scaled back to stated budgets; a point stands at the mean edit that was measured on test rows. Bars "
    "are 95% intervals. An edit is never scaled up: past an eraser's own size nothing changes (dotted). Dashed lines "
    "are controls at their own size."
)
