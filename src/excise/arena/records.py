"""One file per scored submission, named by its content, with the source beside it."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from excise.arena.problem import Private
from excise.arena.score import Score
from excise.arena.submission import Submission
from excise.arena.verdict import Verdict
from excise.types import ExciseError, write_atomically


@dataclass(frozen=True, eq=False)
class ScoreRecord:
    """A score as it was read back; `concept` and `origin` say on what, `author` who wrote the submission."""

    key: str
    concept: str
    origin: dict[str, str]
    seed: int
    author: str
    score: Score


def score_key(submission: Submission, private: Private, part: str) -> str:
    """sha256 of source, problem and part: 32 hex digits."""
    return hashlib.sha256(f"{submission.sha256} {private.id} {part}".encode()).hexdigest()[:32]


def write_score(folder: Path, submission: Submission, private: Private, found: Score, *, author: str = "") -> Path:
    """Keeps a score, whole or not at all, as folder/KEY.json, and the source as folder/sources/SHA256.py.

    Records are only added: where the same source was scored on the same rows before, the first record stays. Failures
    of the grader go to folder/grader_errors, because the submission is still to be scored.

    Args:
        author: who wrote the submission, in short: a model and its rollout, or the search that made it.
    """
    key = score_key(submission, private, found.part)
    failed = found.verdict is Verdict.GRADER_ERROR
    path = folder / "grader_errors" / f"{key}-{time.time_ns()}.json" if failed else folder / f"{key}.json"
    kept = folder / "sources" / f"{submission.sha256}.py"
    if not kept.exists():
        write_atomically(kept, submission.source)
    if not path.exists():
        record = {
            "key": key,
            "written": time.time(),
            "concept": private.data.name,
            "origin": private.origin,
            "seed": private.seed,
            "author": author,
            "score": found.to_json(),
        }
        write_atomically(path, json.dumps(record).encode())
    return path


def read_scores(folder: Path) -> list[ScoreRecord]:
    """All scores of a folder, oldest first, without the grader's failures.

    Raises:
        ExciseError: no records there, or a file that is not one.
    """
    records = []
    for path in folder.glob("*.json"):
        try:
            record = json.loads(path.read_bytes())
            read = ScoreRecord(
                key=record["key"],
                concept=record["concept"],
                origin=record["origin"],
                seed=record["seed"],
                author=record["author"],
                score=Score.from_json(record["score"]),
            )
            records.append((record["written"], read))
        except (ValueError, KeyError, TypeError) as err:
            raise ExciseError(f"{path} is not a record of the arena: {err!r}; move it elsewhere") from err
    if not records:
        raise ExciseError(f"{folder} holds no scores; `excise arena score FILE --out {folder}` makes them")
    return [read for _, read in sorted(records, key=lambda pair: pair[0])]
