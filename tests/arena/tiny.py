"""A problem that takes seconds, for loops that build it in processes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from excise.arena import Private, Public, prepare_rows
from excise.arena.adapters.judge import Problems
from excise.arena.sandbox import Completed
from excise.arena.sandbox.local import LocalSandbox
from excise.arena.search import Program, Stage, seeds
from excise.probes import Linear
from excise.types import ConceptData
from tests.conftest import gaussian_classes

CONCEPT = "synthetic"
BREAKS = "# breaks the grader"
# Goes a third of the way on this problem; LEACE itself, or any family alone, goes none.
GOOD = Program((Stage("leace", (("amount", 1.0),)), *seeds()[0].stages), 1.0, "rest").source


class BreaksAtAWord(LocalSandbox):
    """Fails as a grader fails, not as a submission does, where the source says so."""

    def run(self, command: Sequence[str], *, data: bytes = b"", **kwargs: Any) -> Completed:
        if BREAKS.encode() in data:
            raise OSError("the disk is full")
        return super().run(command, data=data, **kwargs)


def draw(concept: str) -> tuple[Public, Private]:
    """200 pairs in 24 dimensions."""
    x, z = gaussian_classes(400, 24)
    data = ConceptData.of(x.float(), z.tolist(), [i // 2 for i in range(400)], concept)
    return prepare_rows(data, ["a text"] * 400, {"model": "tiny"}, 0)


def problems(folder: Path) -> Problems:
    """With one probe, outside any sandbox: all code is ours."""
    return Problems(folder, "a test", draw=draw, sandbox=BreaksAtAWord(), probes=(Linear(),))
