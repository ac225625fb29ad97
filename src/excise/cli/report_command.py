"""`excise report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from excise.bench.records import read_records
from excise.report import write_report


def report(
    out: Annotated[Path, typer.Option(help="Results folder of `excise bench`.")] = Path("results"),
) -> None:
    """Write report.html from the records of a results folder: one file, works offline."""
    path = write_report(read_records(out / "records"), out / "report.html")
    print(f"Report: {path.resolve()}")
