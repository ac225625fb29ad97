"""The page of a diagnosis."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, StrictUndefined
from plotly.offline import get_plotlyjs

from excise.diagnose import CAUSES, Diagnosis, LearningCurve
from excise.erasers import title_of
from excise.report.figures import add_chance, error_bars, styled
from excise.types import write_atomically

# Okabe-Ito, from the cause that labels cure to those that only another method does.
_COLOURS = dict(zip(CAUSES, ("#cc79a7", "#56b4e9", "#e69f00", "#d55e00", "#8a4b08"), strict=True))


def write_diagnosis(found: Sequence[Diagnosis], path: Path) -> Path:
    """Writes one self-contained page for diagnoses of several concepts."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = (files("excise.report") / "diagnosis.html.jinja").read_text(encoding="utf-8")
    sections = [
        {
            "d": one,
            "title": title_of(one.ladder.eraser),
            "curve": None if one.curve is None else _html(curve_figure(one.curve)),
        }
        for one in found
    ]
    page = environment.from_string(source).render(
        sections=sections, causes=CAUSES, picture=_html(ladder_figure(found)), plotly=get_plotlyjs()
    )
    write_atomically(path, page.encode())
    return path


def ladder_figure(found: Sequence[Diagnosis]) -> go.Figure:
    """A bar a concept, from chance to what is read after erasure, cut by cause; the mark is the figure itself."""
    ladders = sorted((one.ladder for one in found), key=lambda steps: steps.erased.value)
    names = [steps.concept for steps in ladders]
    figure = go.Figure()
    starts = [steps.chance for steps in ladders]
    for cause in CAUSES:
        points = [max(steps.excess[cause].value, 0.0) for steps in ladders]
        figure.add_trace(
            go.Bar(
                y=names,
                x=points,
                base=starts,
                orientation="h",
                name=cause,
                marker={"color": _COLOURS[cause]},
                hovertemplate="%{y}: " + cause + " %{x:.3f}<extra></extra>",
            )
        )
        starts = [start + point for start, point in zip(starts, points, strict=True)]
    for label, readings, symbol in (
        ("after erasure", [steps.erased for steps in ladders], "diamond"),
        ("unerased", [steps.unerased for steps in ladders], "circle-open"),
    ):
        figure.add_trace(
            go.Scatter(
                x=[reading.value for reading in readings],
                y=names,
                error_x=error_bars(readings),
                mode="markers",
                name=label,
                marker={"color": "#1c2024", "size": 9, "symbol": symbol},
                hovertemplate="%{y}: " + label + " %{x:.3f}<extra></extra>",
            )
        )
    figure.update_layout(barmode="overlay")
    low = min(steps.chance for steps in ladders)
    add_chance(figure, low, vertical=True)
    return styled(
        figure,
        height=170 + 34 * len(names),
        xaxis={"title": "accuracy of the strongest probe", "range": [low - 0.03, 1.01]},
    )


def curve_figure(curve: LearningCurve) -> go.Figure:
    """Accuracy against fitting labels, with the fitted power law."""
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=curve.n_fit,
            y=[reading.value for reading in curve.accuracy],
            error_y=error_bars(curve.accuracy),
            mode="markers",
            name="measured",
            marker={"color": "#0072b2", "size": 10},
        )
    )
    ahead = [curve.n_fit[-1] * (1 + step / 10) for step in range(31)]
    figure.add_trace(
        go.Scatter(
            x=ahead, y=[curve.at(round(n)) for n in ahead], mode="lines", name="extrapolated", line={"dash": "dot"}
        )
    )
    add_chance(figure, curve.chance, vertical=False)
    return styled(
        figure,
        height=360,
        xaxis={"title": "labels that the eraser was fitted on", "type": "log"},
        yaxis={"title": "accuracy of the strongest probe"},
    )


def _html(figure: go.Figure) -> str:
    config = {"displaylogo": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=config))
