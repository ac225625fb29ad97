"""What every adapter gives its loop: one number a submission, from the grader's score."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from excise.arena.problem import Part, Private, Public, prepare
from excise.arena.records import score_key, write_score
from excise.arena.sandbox import Sandbox, find_sandbox
from excise.arena.score import Baselines, Score, score
from excise.arena.submission import Submission
from excise.arena.verdict import Verdict
from excise.concepts import load_concept
from excise.models import DEFAULT_MODEL
from excise.types import ExciseError, Probe, Site


class GraderFailed(ExciseError):
    """The grader failed, so there is no reward: leave the episode out, never train on it."""


def reward(found: Score) -> float:
    """Share of the way from LEACE to chance that the strongest probe was brought, in [0, 1]; 1 is best.

    0 for every verdict but ok, for what leaks as LEACE does or more, and where LEACE leaves nothing to gain.

    Raises:
        GraderFailed: the verdict is about the grader.
    """
    if found.verdict is Verdict.GRADER_ERROR:
        # Without the traceback: what a loop prints may reach the author.
        raise GraderFailed("the grader failed; give this episode no reward. The record in grader_errors says why")
    if found.grade is None or found.leace is None:
        return 0.0
    reference, chance = found.leace.worst_accuracy.value, found.leace.chance
    if reference <= chance:
        return 0.0
    return min(max((reference - found.grade.worst_accuracy.value) / (reference - chance), 0.0), 1.0)


@dataclass(frozen=True, eq=False)
class Judge:
    """Scores submissions on one part of one problem, and keeps records.

    Attributes:
        folder, author: where records are kept, and who is named in them.
        part: "select" for training and search; "report" once, at the end.
        probes: the panel; default as in `score`.
    """

    private: Private
    sandbox: Sandbox
    folder: Path
    author: str
    part: Part = "select"
    probes: tuple[Probe, ...] | None = None

    @cached_property
    def baselines(self) -> Baselines:
        """Graded once, and only when something is to be scored."""
        return Baselines.of(self.private, self.part, self.probes)

    def score(self, source: bytes) -> Score:
        """The score, from its record where there is one.

        Raises:
            GraderFailed: as `reward`.
        """
        submission = Submission(source)
        kept = self.folder / f"{score_key(submission, self.private, self.part)}.json"
        if kept.exists():
            return Score.from_json(json.loads(kept.read_bytes())["score"])
        found = score(submission, self.private, self.part, sandbox=self.sandbox, baselines=self.baselines)
        write_score(self.folder, submission, self.private, found, author=self.author)
        reward(found)  # Raises, where the grader failed.
        return found


Draw = Callable[[str], tuple[Public, Private]]


def builtin(model: str = DEFAULT_MODEL, site: str = "14:mean", seed: int = 0) -> Draw:
    """Problems of built-in concepts, by name; see `prepare`."""
    return lambda concept: prepare(load_concept(concept), model, Site.parse(site), seed)


class Problems:
    """Problems by concept, each drawn and its baselines graded once, when it is first asked for.

    For loops that run many episodes at a time, in threads.
    """

    def __init__(
        self,
        folder: Path,
        author: str,
        *,
        draw: Draw | None = None,
        sandbox: Sandbox | None = None,
        probes: tuple[Probe, ...] | None = None,
    ) -> None:
        self._draw = draw or builtin()
        self._sandbox, self._folder, self._author, self._probes = sandbox or find_sandbox(), folder, author, probes
        self._drawn: dict[str, tuple[Public, dict[Part, Judge]]] = {}
        self._lock = threading.Lock()

    def public(self, concept: str) -> Public:
        """What the author sees."""
        return self._of(concept)[0]

    def judge(self, concept: str, part: Part = "select") -> Judge:
        """The judge of the rows that the reward comes from, or of another part."""
        judges = self._of(concept)[1]
        with self._lock:
            if part not in judges:
                private = next(iter(judges.values())).private
                judges[part] = Judge(private, self._sandbox, self._folder, self._author, part, self._probes)
            return judges[part]

    def _of(self, concept: str) -> tuple[Public, dict[Part, Judge]]:
        with self._lock:
            if concept not in self._drawn:
                public, private = self._draw(concept)
                judge = Judge(private, self._sandbox, self._folder, self._author, "select", self._probes)
                self._drawn[concept] = public, {"select": judge}
            return self._drawn[concept]
