"""Sweeps: one record a cell, resumable after kill -9."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from excise.bench.records import Cell, by_place, read_records, record_path
from excise.bench.sweep import run_sweep
from excise.erasers import BudgetedTransport, Leace, MeanProjection, NoEdit
from excise.probes import Linear
from excise.types import ConceptData, Eraser, ErasureMap, ExciseError

ORIGIN = {"model": "none", "site": "synthetic"}


def cells(data: ConceptData, *erasers: Eraser, seeds: int = 1) -> list[Cell]:
    return [Cell(e, data, ORIGIN, (Linear(),), seed) for e in erasers for seed in range(seeds)]


def test_only_what_is_missing_is_computed(pairs: ConceptData, tmp_path: Path) -> None:
    first = cells(pairs, NoEdit(), Leace())
    assert run_sweep(first, tmp_path, jobs=2) == {}
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert len(written) == 2
    steps: list[tuple[int, int]] = []
    run_sweep(
        cells(pairs, NoEdit(), Leace(), MeanProjection()), tmp_path, jobs=1, progress=lambda a, b: steps.append((a, b))
    )
    assert steps == [(1, 1)]
    assert {p: p.stat().st_mtime_ns for p in written} == written
    run_sweep(first, tmp_path, jobs=1, force=True)
    assert all(p.stat().st_mtime_ns > old for p, old in written.items())


def test_key_depends_on_everything_that_decides_the_figures(pairs: ConceptData) -> None:
    base = cells(pairs, Leace())[0]
    others = [
        *cells(pairs, Leace(shrinkage=False)),
        *cells(pairs, NoEdit()),
        *cells(pairs, Leace(), seeds=2)[1:],
        Cell(Leace(), pairs, {**ORIGIN, "texts": "other"}, (Linear(),)),
        Cell(Leace(), dataclasses.replace(pairs, x=pairs.x + 1e-3), ORIGIN, (Linear(),)),
        Cell(Leace(), dataclasses.replace(pairs, groups=pairs.groups[::-1].copy()), ORIGIN, (Linear(),)),
        Cell(Leace(), dataclasses.replace(pairs, background=pairs.x + 1), ORIGIN, (Linear(),)),
        Cell(Leace(), dataclasses.replace(pairs, background=pairs.x + 2), ORIGIN, (Linear(),)),
        Cell(Leace(), pairs, ORIGIN, ()),
    ]
    assert len({base.key, *(cell.key for cell in others)}) == 1 + len(others)
    assert base.key == cells(pairs, Leace())[0].key


def test_newest_record_of_a_setting_is_read(pairs: ConceptData, tmp_path: Path) -> None:
    """A record made by older code stays on disk, under its own name, and no longer counts."""
    cell = cells(pairs, Leace())[0]
    run_sweep([cell], tmp_path, jobs=1)
    path = record_path(tmp_path, cell)
    old = path.read_text().replace(cell.key, "0" * 32).replace('"written": ', '"written": -')
    (tmp_path / f"{'0' * 32}.json").write_text(old)
    assert [record.key for record in read_records(tmp_path)] == [cell.key]
    assert len(read_records(tmp_path, ["0" * 32, cell.key])) == 1
    assert list(by_place(read_records(tmp_path))) == ["none, synthetic"]


def test_a_background_makes_another_record(pairs: ConceptData, tmp_path: Path) -> None:
    beside = dataclasses.replace(pairs, background=pairs.x[torch.randperm(len(pairs))] + pairs.x)
    run_sweep([*cells(pairs, BudgetedTransport()), *cells(beside, BudgetedTransport())], tmp_path, jobs=2)
    assert sorted(record.grade.n_background for record in read_records(tmp_path)) == [0, len(pairs)]


def test_foreign_or_missing_records(tmp_path: Path) -> None:
    with pytest.raises(ExciseError, match="holds no records"):
        read_records(tmp_path)
    (tmp_path / "note.json").write_text('{"key": "a", "written": 1, "origin": {}, "grade": {"concept": 3}}')
    with pytest.raises(ExciseError, match="not a record"):
        read_records(tmp_path)
    (tmp_path / "note.json").write_text('{"key": "a", "wri')
    with pytest.raises(ExciseError, match="not a record"):
        read_records(tmp_path)


@dataclass(frozen=True)
class Fails(Eraser):
    title = "fails"
    source = "test"

    bug: str = ""

    def _fit(self, x: Tensor, z: Tensor) -> ErasureMap:
        if self.bug:
            raise ZeroDivisionError(self.bug)
        raise ExciseError("this one cannot")


def test_a_cell_that_fails_stops_no_other(pairs: ConceptData, tmp_path: Path) -> None:
    errors = run_sweep(cells(pairs, Fails(), NoEdit()), tmp_path, jobs=1)
    assert list(errors.values()) == ["Fails on synthetic: this one cannot"]
    assert len(list(tmp_path.glob("*.json"))) == 1
    (error,) = run_sweep(cells(pairs, Fails("a bug of its author")), tmp_path, jobs=1).values()
    assert error == "Fails on synthetic: ZeroDivisionError: a bug of its author"


SCRIPT = """
import sys, torch
from pathlib import Path
from excise.bench.records import Cell
from excise.bench.sweep import run_sweep
from excise.erasers import NoEdit
from excise.probes import Forest, RbfSvm
from excise.types import ConceptData
x = torch.randn(400, 50, generator=torch.Generator().manual_seed(0))
data = ConceptData.of(x, [i % 2 for i in range(400)])
cells = [Cell(NoEdit(), data, {"model": "m", "site": "s"}, (Forest(), RbfSvm()), seed) for seed in range(6)]
if __name__ == "__main__":
    run_sweep(cells, Path(sys.argv[1]), jobs=1, progress=lambda done, of: print(done, of, flush=True))
"""


def test_resumes_after_kill_9(tmp_path: Path) -> None:
    script, folder = tmp_path / "sweep.py", tmp_path / "records"
    script.write_text(SCRIPT)
    run = subprocess.Popen([sys.executable, script, folder], start_new_session=True)
    deadline = time.time() + 120
    while len(list(folder.glob("*.json"))) < 2 and time.time() < deadline:
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    before = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    assert 2 <= len(before) < 6, "killed in the middle"
    done = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{6 - len(before)} {6 - len(before)}"
    after = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    assert len(after) == 6
    assert before.items() <= after.items()
    assert len(read_records(folder)) == 6
