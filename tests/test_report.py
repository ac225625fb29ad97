"""The report: complete, self-contained, and true to the records."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from excise.bench import grade
from excise.bench.frontier import frontiers
from excise.bench.leaderboard import leaderboard
from excise.bench.records import Record
from excise.erasers import (
    Constant,
    GaussianTransport,
    KernelSal,
    Leace,
    MeanProjection,
    NoEdit,
    OracleLeace,
    RandomDirection,
)
from excise.probes import Linear, RbfSvm
from excise.report import write_report
from excise.types import ConceptData

# Every control, one map into a space of its own (no edit size) and one oracle among them.
PANEL = (Linear(), RbfSvm())
GRADED = (NoEdit, Constant, RandomDirection, Leace, MeanProjection, GaussianTransport, KernelSal, OracleLeace)


@pytest.fixture(scope="module")
def records(pairs: ConceptData) -> list[Record]:
    origin = {"model": "some <model>", "site": "14:mean"}
    return [Record("", origin, grade(kind(), pairs, probes=PANEL)) for kind in GRADED]


def test_self_contained(records: list[Record], tmp_path: Path) -> None:
    page = write_report(records, tmp_path / "report.html").read_text()
    own = re.sub(r"<script>.*?</script>", "", page, count=1, flags=re.DOTALL)  # Plotly's own source names sites.
    assert "plotly.js v" in page
    assert not re.findall(r"""(?:src|href)=["']?https?:""", own)
    assert "some &lt;model&gt;" in own
    assert "some <model>" not in own


def test_figures_are_the_boards(records: list[Record], tmp_path: Path) -> None:
    page = write_report(records, tmp_path / "report.html").read_text()
    board = leaderboard([record.grade for record in records])
    for row in board.rows:
        line = next(line for line in page.split("<tr") if f"<td>{row.title}" in line)
        for interval in (*(row.accuracy[probe] for probe in board.probes), row.worst):
            assert f"{interval.value:.3f}" in line
        assert ("<td></td>" if row.kind == "encoder" else f"<td>{row.budget:.2f}</td>") in line


def test_a_frontier_where_budgets_were_graded(records: list[Record], tmp_path: Path) -> None:
    assert "The frontier" not in write_report(records, tmp_path / "report.html").read_text()
    scaled = [
        replace(r, grade=replace(r.grade, eraser=f"{r.grade.eraser}@{b:g}", settings={"budget": b}))
        for r in records
        if r.grade.eraser in ("Leace", "GaussianTransport")
        for b in (0.5, 1.0)
    ]
    page = write_report([*records, *scaled], tmp_path / "report.html").read_text()
    assert page.count("The frontier") == 1
    own = [record.grade for record in records]
    assert "LEACE at 0.5" not in page, "the board is of erasers at their own size"
    for curve in frontiers([*own, *(record.grade for record in scaled)]):
        line = [line for line in page.split("<tr") if f"<td>{curve.title}<" in line][-1]
        assert f"{curve.area.value:.3f}" in line
        for point in curve.points or (curve.own,) * 2:
            assert f"{point.worst.value:.3f}" in line  # type: ignore[union-attr]


def test_one_section_for_each_place_and_flags_are_told(records: list[Record], tmp_path: Path) -> None:
    elsewhere = [Record("", {"model": "other", "site": "3:last"}, r.grade) for r in records]
    elsewhere[-1] = replace(elsewhere[-1], grade=replace(elsewhere[-1].grade, flags=("row depends on order",)))
    page = write_report([*records, *elsewhere], tmp_path / "report.html").read_text()
    assert page.count("How much of each concept survives") == 2
    assert "row depends on order" in page


def test_without_leace_or_controls(records: list[Record], tmp_path: Path) -> None:
    """A board of two erasers is still a report."""
    few = [r for r in records if r.grade.eraser in ("MeanProjection", "GaussianTransport")]
    assert "mean projection" in write_report(few, tmp_path / "report.html").read_text()
