"""One file per graded cell, named by its content: append-only, safe to kill, cheap to resume."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import duckdb
import numpy as np

from excise.bench.grade import Grade
from excise.types import ConceptData, Eraser, ExciseError, Oracle, Probe, write_atomically

# What every grade depends on; other erasers and probes than the cell's own are left out.
_SHARED_CODE = (
    "types",
    "stats",
    "measures",
    "bench/fresh.py",
    "bench/grade.py",
    "erasers/leace.py",
    "erasers/low_rank.py",
    "probes/tuning.py",
)


@dataclass(frozen=True, eq=False)
class Cell:
    """One thing to grade.

    Attributes:
        origin: where the activations come from (model, revision, site, digest of the texts): part of the record's
        name, and
            shown in the report.
    """

    eraser: Eraser | Oracle
    data: ConceptData
    origin: dict[str, str]
    probes: tuple[Probe, ...]
    seed: int = 0
    key: str = field(init=False)

    def __post_init__(self) -> None:
        what = {
            "eraser": [self.eraser.name, self.eraser.settings()],
            "probes": [[type(p).__name__, asdict(p)] for p in self.probes],
            "concept": self.data.name,
            "origin": self.origin,
            "seed": self.seed,
            # A record made by other code is another record: nobody has to remember to bump a version.
            "code": _code_digest(self.eraser, *self.probes),
            "data": _data_digest(self.data),
        }
        object.__setattr__(self, "key", hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32])


def _code_digest(*methods: object) -> str:
    root = Path(__file__).parents[1]
    files: set[Path] = set()
    for method in methods:
        files |= _files_of(type(method).__module__)
        for inner in vars(method).values():  # An eraser that wraps another.
            files |= _files_of(type(inner).__module__)
    for part in _SHARED_CODE:
        files |= {root / part} if part.endswith(".py") else set((root / part).glob("*.py"))
    return hashlib.sha256(
        "".join(hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(files)).encode()
    ).hexdigest()


def _files_of(module: str) -> set[Path]:
    """File of a method and of the eraser and probe files that it builds on."""
    found: dict[str, Path] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in found and (name == module or name.startswith(("excise.erasers.", "excise.probes."))):
            if not (source := getattr(sys.modules[name], "__file__", None)):
                continue
            found[name] = Path(source)
            todo += [str(getattr(value, "__module__", "")) for value in vars(sys.modules[name]).values()]
    return set(found.values())


def _data_digest(data: ConceptData) -> str:
    digest = hashlib.sha256(f"{tuple(data.x.shape)} {data.x.dtype} {data.classes}".encode())
    task = np.zeros(0) if data.task is None else data.task.cpu().numpy()
    for array in (data.x.double().cpu().numpy(), data.z.cpu().numpy(), data.groups, task):
        digest.update(array.tobytes())
    if data.background is not None:
        digest.update(b"background" + data.background.double().cpu().numpy().tobytes())
    return digest.hexdigest()


def record_path(folder: Path, cell: Cell) -> Path:
    """Where the record of a cell is or will be."""
    return folder / f"{cell.key}.json"


def write_record(folder: Path, cell: Cell, grade: Grade) -> None:
    """Writes a finished cell, whole or not at all."""
    record = {"key": cell.key, "written": time.time(), "origin": cell.origin, "grade": grade.to_json()}
    write_atomically(record_path(folder, cell), json.dumps(record).encode())


@dataclass(frozen=True, eq=False)
class Record:
    """A finished cell as it was read back."""

    key: str
    origin: dict[str, str]
    grade: Grade


def read_records(folder: Path, keys: Sequence[str] | None = None) -> list[Record]:
    """Finished cells of a results folder: those with the given keys, or the newest of each setting, in order of
    concept.

    A cell graded again with newer code, texts or weights leaves its older record in place; without keys only the newest
    is read.

    Raises:
        ExciseError: no records there, or a file that is not one.
    """
    if not any(folder.glob("*.json")):
        raise ExciseError(f"{folder} holds no records; `excise bench --out {folder.parent}` makes them")
    query = """
        SELECT key, origin, grade
        FROM read_json(?, columns={key: 'VARCHAR', written: 'DOUBLE', origin: 'JSON', grade: 'JSON'},
                       maximum_object_size=268435456)
        WHERE ? OR list_contains(?, key)
        QUALIFY row_number() OVER (
            PARTITION BY origin->>'model', origin->>'site', origin->>'dtype', grade->>'concept', grade->>'eraser',
                         grade->>'settings', grade->>'seed', grade->>'n_background'
            ORDER BY written DESC) = 1
        ORDER BY origin, grade->>'concept', grade->>'eraser', grade->>'seed'
    """
    try:
        with duckdb.connect() as database:
            rows = database.execute(query, [str(folder / "*.json"), keys is None, list(keys or ())]).fetchall()
        return [Record(key, json.loads(origin), Grade.from_json(json.loads(grade))) for key, origin, grade in rows]
    except (duckdb.Error, TypeError, KeyError, json.JSONDecodeError) as err:
        raise ExciseError(f"{folder} holds a file that is not a record of Excise: {err}") from err


def by_place(records: Sequence[Record]) -> dict[str, list[Grade]]:
    """Grades by where their activations come from ("model, site"): two sites or dtypes are never averaged."""
    places: dict[str, list[Grade]] = {}
    for record in records:
        dtype = record.origin.get("dtype", "float32")
        place = f"{record.origin['model']}{'' if dtype == 'float32' else f' in {dtype}'}, {record.origin['site']}"
        places.setdefault(place, []).append(record.grade)
    return places
