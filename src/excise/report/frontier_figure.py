"""The report's picture of leakage against budget."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
import plotly.graph_objects as go

from excise.bench.frontier import Frontier, Point, budgets_asked
from excise.report.figures import COLOURS, GREY, add_chance, error_bars, styled

_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")


def frontier_figure(curves: Sequence[Frontier]) -> go.Figure:
    """Worst-probe accuracy against the edit measured on test rows, one line an eraser; controls are dashed levels.

    A dotted line leads from an eraser's largest edit to the largest budget that it was offered and had no use for.

    Args:
        curves: frontiers of one place, at least one that is not a control's.
    """
    drawn = [curve for curve in curves if not curve.control]
    spent = [p.budget for curve in drawn for p in curve.points]
    # A tenth of the axis at either end keeps marks and labels off its frame.
    ticks = budgets_asked(curves)
    ends = np.log2([min(*spent, *ticks), max(*spent, *ticks)])
    low, high = 2.0 ** (ends + np.array([-0.1, 0.1]) * max(ends[1] - ends[0], 1.0))
    figure = go.Figure()
    for i, curve in enumerate(drawn):
        colour = COLOURS[i % len(COLOURS)]
        points = sorted(curve.points, key=lambda p: p.budget)
        last = points[-1]
        figure.add_trace(
            go.Scatter(
                x=[last.budget, max(last.budget, *(p.asked or 0.0 for p in points))],
                y=[last.worst.value] * 2,
                mode="lines",
                line={"color": colour, "dash": "dot", "width": 1.5},
                hoverinfo="skip",
                showlegend=False,
            )
        )
        figure.add_trace(
            go.Scatter(
                x=[p.budget for p in points],
                y=[p.worst.value for p in points],
                error_y=error_bars([p.worst for p in points]),
                mode="lines+markers",
                name=curve.title,
                line={"color": colour, "width": 2},
                marker={"size": 9, "symbol": _SYMBOLS[i % len(_SYMBOLS)]},
                customdata=[[f"{p.asked:g}", _probes(p)] for p in points],
                hovertemplate=curve.title + " at %{customdata[0]}<br>%{y:.3f} at %{x:.2f} x LEACE<br>"
                "%{customdata[1]}<extra></extra>",
            )
        )
    # Constant output lies on the line of chance and costs dozens of LEACE edits.
    levels = [curve for curve in curves if curve.control and curve.own and curve.eraser != "Constant"]
    for curve, position in zip(levels[::-1], cycle(("top left", "bottom left"))):  # Neighbours' names stay apart.
        assert curve.own is not None
        figure.add_trace(
            go.Scatter(
                x=[low, high],
                y=[curve.own.worst.value] * 2,
                mode="lines+text",
                text=["", curve.title],
                textposition=position,
                line={"color": GREY, "dash": "dash", "width": 1.5},
                hovertemplate=curve.title + ": %{y:.3f}<extra></extra>",
                showlegend=False,
            )
        )
    chance = curves[0].chance
    add_chance(figure, chance, vertical=False)
    return styled(
        figure,
        height=520,
        xaxis={
            "title": "mean squared edit on test rows, in LEACE edits",
            "type": "log",
            "range": np.log10([low, high]).tolist(),
            "tickvals": ticks,
            "ticktext": [f"{tick:g}" for tick in ticks],
        },
        yaxis={"title": "accuracy of the strongest probe", "range": [chance - 0.03, 1.01]},
    )


def _probes(point: Point) -> str:
    return ", ".join(f"{probe} {figure.value:.3f}" for probe, figure in point.accuracy.items())
