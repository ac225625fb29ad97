"""`excise leaderboard`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from excise.bench.frontier import at_own_size
from excise.bench.leaderboard import leaderboard as make_board
from excise.bench.records import by_place, read_records
from excise.cli.show import Json, print_board, print_json


def leaderboard(
    out: Annotated[Path, typer.Option(help="Results folder of `excise bench`.")] = Path("results"),
    json: Json = False,
) -> None:
    """Print the board of every record in a results folder, one board per model and site."""
    boards = {
        place: make_board(at_own_size(grades)) for place, grades in by_place(read_records(out / "records")).items()
    }
    if json:
        print_json({place: asdict(board) for place, board in boards.items()})
        return
    for place, board in boards.items():
        print(place)
        print_board(board)
