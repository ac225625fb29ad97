"""Folders of records with figures of a test's choice, and the command line in this process."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from excise.arena import Private, Score, Submission, Verdict
from excise.arena.records import write_score
from excise.arena.totals import ArenaReport, read_rollouts
from excise.bench.grade import Grade
from excise.cli.app import app


def by_two(one: Grade) -> Grade:
    """As if a second probe had read the same: what it is matters nowhere here."""
    return dataclasses.replace(
        one,
        correct={**one.correct, "RbfSvm": one.correct["Linear"]},
        cv={**one.cv, "RbfSvm": one.cv["Linear"]},
    )


def reading(accuracy: float, like: Grade, seed: int = 0) -> Grade:
    """A grade whose probes name this share of rows, at random; the linear one reads a little less."""
    draw = np.random.default_rng(seed).permutation(len(like.z))
    correct = {
        probe: draw < round(share * len(draw)) for probe, share in (("Linear", accuracy - 0.1), ("RbfSvm", accuracy))
    }
    return dataclasses.replace(like, correct=correct, cv={"Linear": [accuracy - 0.1] * 5, "RbfSvm": [accuracy] * 5})


class Folder:
    """Records as `excise arena score` keeps them, with figures of the test's choice."""

    def __init__(self, path: Path, private: Private, beside: dict[str, dict[str, Grade]]) -> None:
        self.path, self.private, self.beside = path, private, beside

    def add(
        self,
        name: str,
        verdict: Verdict = Verdict.OK,
        detail: str = "",
        ranked: bool = True,
        source: str = "",
        **accuracy: float | None,
    ) -> Submission:
        plain = f"# {name}\ndef fit(x, z, budget, seed): ...\ndef transform(a, x): ...\n"
        submission = Submission((source or plain).encode())
        for part, value in accuracy.items():
            leace, unerased = self.beside[part]["Leace"], self.beside[part]["NoEdit"]
            fine = verdict is Verdict.OK
            found = Score(
                sha256=submission.sha256, problem=self.private.id, part=part, verdict=verdict,  # type: ignore[arg-type]
                detail=detail, spent=0.9 if fine else None,
                grade=reading(value, leace, len(name)) if fine and value else None,
                leace=leace, unerased=unerased, sandbox="bubblewrap", ranked=ranked, seconds=1.0,
            )  # fmt: skip
            write_score(self.path, submission, self.private, found, author=name)
        return submission

    def read(self) -> ArenaReport:
        return read_rollouts(self.path)


def run(*arguments: object) -> str:
    """What `excise arena` prints."""
    done = CliRunner().invoke(app, ["arena", *map(str, arguments)])
    if done.exception is not None:
        raise done.exception
    return done.stdout
