"""Tables, progress and JSON, the same for every command."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from excise.bench.leaderboard import READABLE, Board
from excise.stats.bootstrap import Interval

console = Console(soft_wrap=False)
stderr = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout instead of a table.")]


def print_json(value: Any) -> None:
    """Dataclasses and plain values as JSON on stdout."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    print(json.dumps(value, indent=2, ensure_ascii=False))


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr that appears with the first step; the callable takes (done, of)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=stderr) as bar:
        task: list[Any] = []

        def step(done: int, of: int) -> None:
            if not task:
                task.append(bar.add_task(title, total=of))
            bar.update(task[0], completed=done, total=of)

        yield step


def figure(interval: Interval) -> str:
    """".847 ±.021": half the width of the 95% interval."""
    half = (interval.high - interval.low) / 2
    return f"{interval.value:.3f} ±{half:.3f}"


def signed(interval: Interval) -> str:
    """"-0.021 [-0.040, -0.003]"."""
    return f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def board_table(board: Board) -> Table:
    """The leaderboard as a terminal table."""
    table = Table(
        title=f"Accuracy of fresh probes after erasure, mean over {len(board.concepts)} concepts; chance is {board.chance:.3f}",
        caption="± is half the 95% bootstrap interval over groups of test rows. Worst: the panel's strongest probe, chosen on probe rows.\n"
        "Budget: mean squared edit on test rows, in LEACE edits. Equal rank: not told apart. Controls and flagged maps (!) are unranked.",
        caption_justify="left",
    )
    for column in ("rank", "eraser"):
        table.add_column(column)
    for column in (*board.probes, "worst", "worst, against LEACE", "budget"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in board.rows:
        table.add_row(
            str(row.rank) if row.rank else "-",
            row.title + (" !" if row.flags else ""),
            *(figure(row.accuracy[probe]) for probe in board.probes),
            figure(row.worst),
            "" if row.eraser == "Leace" else signed(row.against_leace),
            f"{row.budget:.2f}",
            style="dim" if row.control else None,
        )
    return table


def print_board(board: Board) -> None:
    """The table and what must be said beside it."""
    console.print(board_table(board))
    for row in board.rows:
        if row.flags:
            console.print(f"! {row.title}: {'; '.join(row.flags)}")
    if board.set_apart:
        console.print(f"Set apart, unerased accuracy under {READABLE}: {', '.join(board.set_apart)}")
