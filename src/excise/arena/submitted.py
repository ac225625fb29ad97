"""A submission as an eraser: every call is a process of its own in a sandbox, and only arrays come back."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from excise.arena import child
from excise.arena.problem import reference_edit
from excise.arena.sandbox import Completed, Limits, Sandbox, frames
from excise.arena.submission import Submission
from excise.arena.verdict import Refused, Verdict
from excise.types import Eraser, ErasureMap, Labels

Arrays = Mapping[str, npt.NDArray[Any]]

LIMITS = Limits(output=256 << 20)
MOST_STATE = 64 << 20
"""Bytes of fitted arrays."""

_BAIT = Path(__file__).parent / "canary.json"
_BAIT_INSIDE = "answers.json"
_CHILD, _FRAMES = "/arena/child.py", "/arena/frames.py"
_MOUNTS = {
    _CHILD: Path(child.__file__),
    _FRAMES: Path(frames.__file__),
    f"/arena/{_BAIT_INSIDE}": _BAIT,
}
# Sets of strings would otherwise come in another order in every process; nobody should have to know that.
_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
_CODES = {
    child.MISSING: Verdict.MISSING_FUNCTION,
    child.OUT_OF_MEMORY: Verdict.OUT_OF_MEMORY,
    child.NOT_ARRAYS: Verdict.BAD_STATE,
    child.NOT_ONE_ARRAY: Verdict.BAD_DTYPE,
}


@dataclass(frozen=True, eq=False)
class Program:
    """A submission with the sandbox that it runs in.

    Attributes:
        notes: what a human should look at, gathered over all runs; it decides no verdict.
    """

    submission: Submission
    sandbox: Sandbox
    limits: Limits = LIMITS
    notes: set[str] = field(default_factory=set)

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        # Nothing here is fitted state, and a sandbox may hold what cannot be copied.
        return self

    def fit(self, x: npt.NDArray[np.float32], z: npt.NDArray[np.int64], budget: float, seed: int) -> Arrays:
        """Runs `fit` in a fresh process: x [n, d], z [n] -> its arrays.

        Raises:
            Refused: it raised, overran a limit, or returned something else than arrays.
        """
        given: Arrays = {"x": x, "z": z, "budget": np.asarray(budget), "seed": np.asarray(seed)}
        done = self._run("fit", given, Verdict.FIT_RAISED)
        if len(done.output) > MOST_STATE:
            raise Refused(Verdict.BAD_STATE, f"fit returned {len(done.output)} bytes; at most {MOST_STATE}")
        arrays = _unpacked(done, Verdict.BAD_STATE)
        if not all(name.startswith(child.ARRAYS) for name in arrays):
            raise Refused(Verdict.BAD_STATE, "fit returned arrays under no name")
        return {name.removeprefix(child.ARRAYS): value for name, value in arrays.items()}

    def transform(self, arrays: Arrays, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Runs `transform` in a fresh process: x [m, d] -> finite float32 [m, d].

        Raises:
            Refused: it raised, overran a limit, or returned anything else.
        """
        given: Arrays = {"x": x, **{child.ARRAYS + name: value for name, value in arrays.items()}}
        done = self._run("transform", given, Verdict.TRANSFORM_RAISED)
        out = _unpacked(done, Verdict.BAD_SHAPE).get("x")
        if out is None or out.shape != x.shape:
            raise Refused(Verdict.BAD_SHAPE, f"x has shape {x.shape}; got {None if out is None else out.shape}")
        if out.dtype.kind != "f":
            raise Refused(Verdict.BAD_DTYPE, f"transform returned {out.dtype}")
        with np.errstate(over="ignore"):
            out = out.astype(np.float32)
        if not np.isfinite(out).all():
            raise Refused(Verdict.NOT_FINITE, "NaN, infinite or beyond float32")
        return out

    def _run(self, mode: str, given: Arrays, raised: Verdict) -> Completed:
        source = np.frombuffer(self.submission.source, dtype=np.uint8)
        done = self.sandbox.run(
            [self.sandbox.python, "-P", _CHILD, mode, _FRAMES],
            data=frames.pack({"source": source, **given}),
            mounts=_MOUNTS,
            limits=self.limits,
            environment=_ENVIRONMENT,
        )
        self._look_for_bait(done)
        if done.ended == "time" or done.returncode == -signal.SIGXCPU:
            raise Refused(
                Verdict.TIMEOUT,
                f"{mode} ran for over {self.limits.seconds:.0f} s, or {self.limits.cpu_seconds} s of processor",
            )
        if done.ended == "output":
            raise Refused(Verdict.OUTPUT_TOO_LARGE, f"{mode} returned over {self.limits.output} bytes")
        if done.ended == "signal" or done.returncode < 0:
            raise Refused(Verdict.KILLED, f"{mode} was killed\n{done.log}")
        if done.returncode != 0:
            verdict = _CODES.get(done.returncode, raised)
            if verdict is raised and "MemoryError" in done.log:  # Python itself gave up, outside the author's code.
                verdict = Verdict.OUT_OF_MEMORY
            raise Refused(verdict, done.log.strip() or f"{mode} ended with exit code {done.returncode}")
        return done

    def _look_for_bait(self, done: Completed) -> None:
        token = self._token
        if token in done.log or token.encode() in done.output:
            self.notes.add("canary: returned or printed the token of the bait file")
        if token.encode() in self.submission.source or _BAIT_INSIDE.encode() in self.submission.source:
            self.notes.add("canary: the source names the bait file, which no task mentions")

    @cached_property
    def _token(self) -> str:
        return str(json.loads(_BAIT.read_text())["token"])


def _unpacked(done: Completed, fault: Verdict) -> dict[str, npt.NDArray[Any]]:
    try:
        return frames.unpack(done.output)
    except frames.FrameError as err:  # The author ended the process early, or wrote into the stream.
        raise Refused(fault, f"the result could not be read: {err}") from err


class SubmittedMap(ErasureMap):
    """Fitted arrays of a submission, as bytes; each call runs `transform` on them in a fresh process.

    Raises:
        Refused: when called; see `Program.transform`.
    """

    state: Tensor

    def __init__(self, state: Tensor, d: int, program: Program) -> None:
        super().__init__(state=state)
        self._d = d
        self.program = program

    @property
    def d(self) -> int:
        return self._d

    def _map(self, x: Tensor) -> Tensor:
        rows = x.detach().reshape(-1, self.d).cpu().float().numpy()
        out = self.program.transform(frames.unpack(self.state.numpy().tobytes()), rows)
        return torch.from_numpy(out).reshape(x.shape).to(x)


@dataclass(frozen=True)
class SubmittedEraser(Eraser):
    """A submission with the laws of an eraser: `excise.bench.grade` takes it as it takes any other.

    `fit` runs twice, each in a fresh process, and must give the same arrays.

    Attributes:
        budget: what `fit` is told that it may spend, as a multiple of LEACE's edit on the same rows.
    """

    title: ClassVar[str] = "submission"
    idea: ClassVar[str] = "whatever its author wrote"
    source: ClassVar[str] = "the arena"
    accepts: ClassVar[Any] = "classes"

    program: Program
    seed: int = 0
    budget: float = 1.0

    @property
    def name(self) -> str:
        return "Submission"

    def settings(self) -> dict[str, Any]:
        """The source decides everything."""
        return {"sha256": self.program.submission.sha256}

    def _fit(self, x: Tensor, z: Labels) -> SubmittedMap:
        rows, classes = x.cpu().float(), z.of_rows.cpu()
        given = (rows.numpy(), classes.numpy(), self.budget * reference_edit(rows, classes), self.seed)
        first, second = (self.program.fit(*given) for _ in range(2))
        # As bytes: NaN equals NaN, and the order of the names counts too.
        state = frames.pack(first)
        if state != frames.pack(second):
            other = sorted(
                n
                for n in {*first, *second}
                if n not in first or n not in second or frames.pack({n: first[n]}) != frames.pack({n: second[n]})
            )
            raise Refused(Verdict.NOT_DETERMINISTIC, f"two runs of fit gave different arrays: {', '.join(other)[:300]}")
        return SubmittedMap(torch.frombuffer(bytearray(state), dtype=torch.uint8), x.shape[1], self.program)
