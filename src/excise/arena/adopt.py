"""A submission becomes an eraser: its source, its record and a class beside them."""

from __future__ import annotations

import json
import keyword
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from excise.arena.submission import Submission
from excise.arena.verdict import Verdict
from excise.erasers import all_erasers, all_oracles
from excise.types import ExciseError, write_atomically

_TEMPLATE = '''\
"""{title}.

Its source is {stem}.txt, as its author wrote it, and runs in this process: read it before use. Its scores are in
{stem}.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from excise.erasers.adopted import AdoptedEraser, AdoptedMap, Program


class {name}Map(AdoptedMap):
    """What the submission makes of its arrays."""

    program = Program(
        Path(__file__).with_suffix(".txt"),
        sha256="{sha256}",
    )


@dataclass(frozen=True)
class {name}(AdoptedEraser):
    """A submission of the arena; see {stem}.txt."""

    title = {title!r}
    idea = {idea!r}
    source = {source!r}
    accepts = {accepts!r}
    map_kind = {name}Map

    budget: float = {budget!r}
'''


@dataclass(frozen=True)
class Adopted:
    """Files of an adopted submission: the eraser, the author's source as it is, and the records."""

    name: str
    module: Path
    source: Path
    records: Path


def adopt(records: Path, prefix: str, folder: Path, name: str = "") -> Adopted:
    """Writes an eraser file for a submission that is sound and ranked on report rows. Runs nothing of it.

    The file belongs into the folder of `excise.erasers`, where it is found like any other. Nobody has proved that the
    submission keeps the laws of an eraser: tests/erasers/test_contract.py tries them.

    Args:
        records: folder of `excise arena score`.
        prefix: of the sha256 of the source, as the report prints it.
        folder: to write into.
        name: of the class; default: Adopted and eight digits.

    Raises:
        ExciseError: no such submission, or several; none of its scores on report rows is sound and ranked; its source
            is missing or another; a name that is taken or is no name of a class.
    """
    found = _records(records, prefix)
    sha = str(found[0]["score"]["sha256"])
    name = name or f"Adopted{sha[:8]}"
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]{1,60}", name) or keyword.iskeyword(name):
        raise ExciseError(f"--name {name!r}: give a class name such as SoftTransport")
    stem = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    files = Adopted(name, *(folder / f"{stem}.{end}" for end in ("py", "txt", "json")))
    if {name, f"{name}Map"} & {*all_erasers(), *all_oracles()} or any(
        path.exists() for path in (files.module, files.source, files.records)
    ):
        raise ExciseError(f"there is an eraser {name} already, or a file of its name in {folder}; choose with --name")
    reported = [record for record in found if record["score"]["part"] == "report"]
    sound = [r for r in reported if r["score"]["verdict"] == Verdict.OK and r["score"]["ranked"]]
    if not sound:
        why = ", ".join(sorted({_state(record["score"]) for record in found}))
        raise ExciseError(
            f"submission {sha[:12]} has no sound, ranked score on report rows ({why}); score it with `excise arena "
            "score` in a sandbox first"
        )
    submission = _source(records, sha)
    last = max(sound, key=lambda record: record["written"])
    day = datetime.fromtimestamp(last["written"], UTC).date()
    author = last.get("author", "") or "an author not named"
    concepts = sorted({record["concept"] for record in sound})
    text = _TEMPLATE.format(
        name=name,
        stem=stem,
        sha256=sha,
        title=name,
        idea=f"adopted from the arena, {len(sound)} of {len(reported)} report scores sound"[:90],
        source=f"the arena, {day}, {sha[:12]}, by {author}"[:100],
        accepts="binary" if last["score"]["grade"]["n_classes"] == 2 else "classes",
        budget=float(last["origin"].get("budget", 1)),
    )
    provenance = {
        "sha256": sha,
        "author": author,
        "adopted_on": [record["score"]["problem"] for record in sound],
        "concepts": concepts,
        "scored": str(day),
        # Those that failed too.
        "records": found,
    }
    write_atomically(files.source, submission.source)
    write_atomically(files.records, (json.dumps(provenance) + "\n").encode())
    # Last, so that there is never an eraser without its source.
    write_atomically(files.module, text.encode())
    return files


def _records(folder: Path, prefix: str) -> list[dict[str, Any]]:
    """Records of the one submission that the prefix names, as they were written."""
    if len(prefix) < 4 or not re.fullmatch(r"[0-9a-f]+", prefix):
        raise ExciseError(f"{prefix!r} names no submission; give four digits or more of its sha256, as the report does")
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_bytes())
            sha = record["score"]["sha256"]
        except (ValueError, KeyError, TypeError):  # Files of others may lie there; `read_scores` complains of them.
            continue
        if sha.startswith(prefix):
            found.setdefault(sha, []).append(record)
    if not found:
        raise ExciseError(f"no submission in {folder} begins with {prefix}; `excise arena report` lists them")
    if len(found) > 1:
        raise ExciseError(f"{prefix} names {len(found)} submissions; give more digits of one: {', '.join(found)}")
    return next(iter(found.values()))


def _source(folder: Path, sha: str) -> Submission:
    path = folder / "sources" / f"{sha}.py"
    submission = Submission.read(path)
    if submission.sha256 != sha:
        raise ExciseError(f"{path} is not the source that was scored; restore it from where the score was made")
    return submission


def _state(score: dict[str, Any]) -> str:
    return f"{score['part']}: {score['verdict']}{'' if score['ranked'] else ', unranked'}"
