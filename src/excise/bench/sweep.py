"""Many cells, in parallel, resumable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from joblib import Parallel, delayed, parallel_config

from excise.bench.grade import grade
from excise.bench.records import Cell, record_path, write_record
from excise.types import ExciseError


def run_sweep(
    cells: Sequence[Cell],
    folder: Path,
    *,
    jobs: int = -1,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, str]:
    """Grades every cell that has no record yet; a killed sweep loses the running cells and nothing else.

    Args:
        cells: what to grade.
        folder: of the records.
        jobs: processes; -1 for one per core. Wrap the call in `joblib.parallel_config(backend=...)` for another
        backend.
        force: grade again what has a record.
        progress: called with (cells done, cells to do).

    Returns:
        Errors by cell key: a cell that cannot be graded does not stop the others.
    """
    todo = [cell for cell in cells if force or not record_path(folder, cell).exists()]
    errors: dict[str, str] = {}
    if not todo:
        return errors
    folder.mkdir(parents=True, exist_ok=True)
    # One thread a process: the matrices are small, and processes that each take all cores slow each other down.
    with parallel_config(backend="loky", inner_max_num_threads=1):
        running = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
        for done, (key, error) in enumerate(running(delayed(_run)(cell, folder) for cell in todo), 1):
            if error:
                errors[key] = error
            if progress:
                progress(done, len(todo))
    return errors


def _run(cell: Cell, folder: Path) -> tuple[str, str]:
    torch.set_num_threads(1)
    try:
        write_record(folder, cell, grade(cell.eraser, cell.data, probes=cell.probes, seed=cell.seed))
    except ExciseError as err:
        return cell.key, f"{type(cell.eraser).__name__} on {cell.data.name}: {err}"
    except Exception as err:  # An eraser under development may raise anything; the other cells go on.
        return cell.key, f"{type(cell.eraser).__name__} on {cell.data.name}: {type(err).__name__}: {err}"
    return cell.key, ""
