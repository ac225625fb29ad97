"""The report's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from excise.bench.grade import Grade
from excise.bench.leaderboard import WITHIN_BUDGET, Board, best_within
from excise.erasers import title_of
from excise.probes import all_probes
from excise.stats.bootstrap import Interval

# Okabe-Ito: told apart by colour-blind readers.
GREY, BLUE, ORANGE = "#8a8f98", "#0072b2", "#d55e00"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8f98", "#000000")


def dumbbells(grades: Sequence[Grade], board: Board) -> go.Figure:
    """Per concept: unerased, LEACE and the best eraser within budget, with intervals; most readable after LEACE on
    top."""
    by_concept: dict[str, list[Grade]] = {
        c: [g for g in grades if g.concept == c] for c in (*board.concepts, *board.set_apart)
    }
    rows = []
    for concept, cells in by_concept.items():
        kinds = {g.eraser: g for g in cells}
        best = best_within(cells, WITHIN_BUDGET)
        if "NoEdit" in kinds and "Leace" in kinds and best is not None:
            name = concept + (" (set apart)" if concept in board.set_apart else "")
            rows.append((name, kinds["NoEdit"], kinds["Leace"], best))
    rows.sort(key=lambda row: row[2].worst_accuracy.value)
    figure = go.Figure()
    for name, unerased, _, best in rows:
        ends = [best.worst_accuracy.value, unerased.worst_accuracy.value]
        figure.add_trace(
            go.Scatter(
                x=ends,
                y=[name, name],
                mode="lines",
                line={"color": "#d9dce1", "width": 6},
                hoverinfo="skip",
                showlegend=False,
            )
        )
    for label, cells, colour, symbol in (
        ("unerased", [row[1] for row in rows], GREY, "circle"),
        ("LEACE", [row[2] for row in rows], BLUE, "circle"),
        ("best within budget", [row[3] for row in rows], ORANGE, "diamond"),
    ):
        figure.add_trace(
            go.Scatter(
                x=[g.worst_accuracy.value for g in cells],
                y=[row[0] for row in rows],
                error_x=error_bars([g.worst_accuracy for g in cells]),
                mode="markers",
                name=label,
                marker={"color": colour, "size": 11, "symbol": symbol},
                customdata=[[title_of(g.eraser), g.worst, f"{g.budget.value:.2f}"] for g in cells],
                hovertemplate="%{y}<br>%{customdata[0]}: %{x:.3f} (%{customdata[1]})<br>"
                "edit %{customdata[2]} x LEACE<extra></extra>",
            )
        )
    add_chance(figure, board.chance, vertical=True)
    return styled(
        figure,
        height=150 + 44 * len(rows),
        xaxis={"title": "accuracy of the strongest probe", "range": [board.chance - 0.03, 1.01]},
    )


def means(board: Board) -> go.Figure:
    """Per eraser: mean accuracy of each probe with intervals."""
    figure = go.Figure()
    names = [row.title for row in reversed(board.rows)]
    for i, probe in enumerate(board.probes):
        figures = [row.accuracy[probe] for row in reversed(board.rows)]
        colour, title = COLOURS[i % len(COLOURS)], all_probes()[probe].title
        # The legend shows a trace's first mark, which may be a hollow one: an unseen filled mark stands for all.
        figure.add_trace(
            go.Scatter(x=[None], y=names[:1], mode="markers", name=title, marker={"color": colour, "size": 10})
        )
        figure.add_trace(
            go.Scatter(
                x=[f.value for f in figures],
                y=names,
                error_x=error_bars(figures),
                mode="markers",
                name=title,
                showlegend=False,
                marker={
                    "color": colour,
                    "size": 10,
                    "symbol": ["circle-open" if row.control else "circle" for row in reversed(board.rows)],
                },
                hovertemplate="%{y}<br>" + title + ": %{x:.3f}<extra></extra>",
            )
        )
    figure.update_layout(scattermode="group", scattergap=0.5)
    add_chance(figure, board.chance, vertical=True)
    return styled(
        figure,
        height=150 + 50 * len(names),
        xaxis={"title": "mean accuracy on test rows", "range": [board.chance - 0.03, 1.01]},
    )


def leakage_against_edit(grades: Sequence[Grade], board: Board) -> go.Figure:
    """Worst-probe accuracy against mean squared edit in LEACE budgets."""
    figure = go.Figure()
    shown = [row for row in board.rows if row.eraser != "Constant" and row.kind != "encoder"]
    # From left to right, labels in turn above and below: neighbours at almost the same budget stay readable.
    for i, row in enumerate(sorted(shown, key=lambda r: r.budget)):
        colour = COLOURS[i % len(COLOURS)]
        cells = [g for g in grades if g.eraser == row.eraser and g.concept in board.concepts]
        figure.add_trace(
            go.Scatter(
                x=[g.budget.value for g in cells],
                y=[g.worst_accuracy.value for g in cells],
                mode="markers",
                marker={"color": colour, "size": 6, "opacity": 0.35},
                showlegend=False,
                text=[g.concept for g in cells],
                hovertemplate=row.title + ", %{text}<br>%{y:.3f} at %{x:.2f} x LEACE<extra></extra>",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=[row.budget],
                y=[row.worst.value],
                error_y=error_bars([row.worst]),
                mode="markers+text",
                text=[row.title],
                textposition="top right" if i == 0 else "top center" if i % 2 else "bottom center",
                marker={
                    "color": colour,
                    "size": 13,
                    "symbol": "circle-open" if row.control else "circle",
                    "line": {"width": 2},
                },
                showlegend=False,
                hovertemplate=row.title + ", mean<br>%{y:.3f} at %{x:.2f} x LEACE<extra></extra>",
            )
        )
    add_chance(figure, board.chance, vertical=False)
    figure.add_vline(x=1, line={"color": GREY, "dash": "dot", "width": 1})
    axes: dict[str, Any] = {"xaxis": {"title": "mean squared edit on test rows, in LEACE edits", "rangemode": "tozero"}}
    return styled(
        figure,
        height=520,
        yaxis={"title": "accuracy of the strongest probe", "range": [board.chance - 0.03, 1.01]},
        **axes,
    )


def error_bars(figures: Sequence[Interval]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(f.high - f.value, 0.0) for f in figures],
        "arrayminus": [max(f.value - f.low, 0.0) for f in figures],
        "thickness": 1.2,
        "width": 3,
    }


def add_chance(figure: go.Figure, chance: float, vertical: bool) -> None:
    add = figure.add_vline if vertical else figure.add_hline
    text = {"annotation_text": "chance", "annotation_position": "bottom right"}
    add(
        **{"x" if vertical else "y": float(np.round(chance, 4))},
        line={"color": "#444", "dash": "dash", "width": 1},
        **text,
    )


def styled(figure: go.Figure, height: int, **axes: Any) -> go.Figure:
    figure.update_layout(
        height=height,
        template="plotly_white",
        font={"family": "system-ui, sans-serif", "size": 14, "color": "#1c2024"},
        margin={"l": 10, "r": 20, "t": 50, "b": 60},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        **axes,
    )
    figure.update_yaxes(automargin=True)
    return figure
