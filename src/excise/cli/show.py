"""Tables, progress and JSON, the same for every command."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from math import isnan
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from excise.bench.frontier import Frontier, budgets_asked
from excise.bench.leaderboard import READABLE, WITHIN_BUDGET, Board
from excise.probes import all_probes
from excise.stats.bootstrap import Interval

console = Console(soft_wrap=False)
stderr = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of a table.")]


def print_json(value: Any) -> None:
    """Dataclasses and plain values as JSON on stdout."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    print(json.dumps(_without_nan(value), indent=2, ensure_ascii=False, allow_nan=False))


def _without_nan(value: Any) -> Any:
    """NaN, which JSON does not know, as null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and isnan(value) else value


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr that appears with the first step; the callable takes (done, of)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr) as bar:
        task: list[Any] = []

        def step(done: int, of: int) -> None:
            if not task:
                task.append(bar.add_task(title, total=of))
            bar.update(task[0], completed=done, total=of)

        yield step


def figure(interval: Interval) -> str:
    """ ".847 ±.02": accuracy and half the width of its 95% interval."""
    half = (interval.high - interval.low) / 2
    return f"{_short(f'{interval.value:.3f}')}±{_short(f'{half:.2f}')}"


_MARKS = {"eraser": "-", "encoder": "~", "oracle": "o"}
_MARK_KEYS = {
    "encoder": "~: output in a space of its own, so the edit has no size; not ranked.",
    "oracle": "o: an oracle, told the labels of the rows that it erases; not ranked.",
}
_KEY = """\
Number: rank; equal ranks are not told apart; controls (-) and maps that broke
a rule (!) have none. ±: half the 95% bootstrap interval. worst: the strongest
probe, chosen on probe rows. vs LEACE: of worst; * if its interval excludes 0.
edit: mean squared edit on test rows, in LEACE edits."""


def board_table(board: Board) -> Table:
    """The leaderboard as a terminal table that fits 80 columns with the default panel."""
    table = Table(
        title=f"Fresh probes on erased rows, mean accuracy over {len(board.concepts)} concepts",
        caption=_KEY,
        caption_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    table.add_column("eraser", no_wrap=True)
    for column in (*(all_probes()[p].title for p in board.probes), "worst", "vs LEACE", "edit"):
        table.add_column(column, justify="right", no_wrap=True)
    for before, row in zip([None, *board.rows], board.rows, strict=False):
        if before is not None and before.kind != row.kind:
            table.add_section()
        table.add_row(
            ("!" if row.flags else str(row.rank) if row.rank else _MARKS[row.kind]) + f" {row.title}",
            *(figure(row.accuracy[probe]) for probe in board.probes),
            figure(row.worst),
            "" if row.eraser == "Leace" else _difference(row.against_leace),
            "" if isnan(row.budget) else f"{row.budget:.2f}" if row.budget < 10 else f"{row.budget:.0f}",
            style="dim" if row.control else None,
        )
    return table


_FRONTIER_KEY = """\
Columns: budget asked for, in LEACE edits. An edit is only ever scaled back,
so past an eraser's own size nothing changes. +: spent over {over:.0%} of the
budget on test rows. area: excess over chance, averaged over log budget,
{counted}. Number: rank by area; equal ranks are not told apart;
controls (-) are at their own size. *: the difference's interval excludes 0."""


def frontier_table(curves: Sequence[Frontier]) -> Table:
    """Frontiers as a terminal table that fits 80 columns with five budgets."""
    counted, budgets = curves[0].counted, budgets_asked(curves)
    n = len(curves[0].concepts)
    span = f"{counted[0]:g} to {counted[-1]:g}" if counted else "none of which all have"
    table = Table(
        title=f"The strongest probe at each budget, mean accuracy over {n} concept{'s' if n > 1 else ''}",
        caption=_FRONTIER_KEY.format(over=WITHIN_BUDGET, counted=span),
        caption_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    table.add_column("eraser", no_wrap=True)
    for column in (*(f"{budget:g}" for budget in budgets), "area", "vs LEACE"):
        table.add_column(column, justify="right", no_wrap=True)
    for curve in curves:
        points = {point.asked: point for point in curve.points}
        found = [curve.own if curve.control else points.get(budget) for budget in budgets]
        table.add_row(
            ("!" if curve.flags else str(curve.rank or "-")) + f" {curve.title}",
            *(f"{_short(f'{p.worst.value:.3f}')}{'+' if p.overshoots else ' '}" if p else "" for p in found),
            "" if isnan(curve.area.value) else figure(curve.area),
            "" if curve.eraser == "Leace" else _difference(curve.against_leace),
            style="dim" if curve.control else None,
        )
    return table


def print_frontiers(curves: Sequence[Frontier]) -> None:
    """The table and what must be said beside it; nothing without frontiers."""
    if not curves:
        return
    console.print(frontier_table(curves))
    widest = max((p.worst.high - p.worst.low) / 2 for c in curves for p in (*c.points, *([c.own] if c.own else [])))
    console.print(f"Chance is {curves[0].chance:.3f}; 95% intervals of the accuracies are at most ±{widest:.3f}.")
    console.print(f"Guesses would read an area of {curves[0].guesses:.3f}, because accuracies are folded.")
    for curve in curves:
        if curve.flags:
            console.print(f"! {curve.title}: {'; '.join(curve.flags)}")


def _difference(against: Interval) -> str:
    """ "-.021*": the star says that the interval excludes 0."""
    if isnan(against.value):
        return ""
    return _short(f"{against.value:+.3f}") + ("*" if against.low > 0 or against.high < 0 else " ")


def _short(figure: str) -> str:
    """ "-0.021" as "-.021"."""
    return figure.replace("0.", ".", 1) if figure.lstrip("+-").startswith("0.") else figure


def print_board(board: Board) -> None:
    """The table and what must be said beside it."""
    console.print(board_table(board))
    console.print(f"Chance is {board.chance:.3f}.")
    if not isnan(board.detectable):
        console.print(f"{board.detectable:.3f} against LEACE would have shown in four samples of five.")
    for kind in sorted({row.kind for row in board.rows} & set(_MARK_KEYS)):
        console.print(_MARK_KEYS[kind])
    for row in board.rows:
        if row.flags:
            console.print(f"! {row.title}: {'; '.join(row.flags)}")
    if board.set_apart:
        console.print(f"Set apart, unerased accuracy under {READABLE}: {', '.join(board.set_apart)}")
