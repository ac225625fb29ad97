"""What a sandbox promises: one program, its input, its limits, and what came back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

from excise.types.errors import ExciseError

NOTHING: Mapping[str, str] = MappingProxyType({})
NO_MOUNTS: Mapping[str, Path] = MappingProxyType({})


class SandboxError(ExciseError):
    """No sandbox can be had here, or it could not start the program. The message says what to do."""


@dataclass(frozen=True)
class Limits:
    """The most that one run may use.

    Attributes:
        seconds: wall time.
        cpu_seconds: processor time of each process.
        memory: bytes, of each process (address space) and of all of them together (resident).
        disk: bytes, of each file and of each writable tmpfs.
        processes: processes alive at once, threads not counted.
        output: bytes on the result stream.
    """

    seconds: float = 120
    cpu_seconds: int = 240
    memory: int = 4 << 30
    disk: int = 256 << 20
    processes: int = 64
    output: int = 1 << 30


DEFAULT = Limits()


@dataclass(frozen=True)
class Completed:
    """What came back from one run. All of it was written by the program: untrusted.

    Attributes:
        returncode: of the program; minus the signal's number where a signal ended it.
        output: what it wrote to the descriptor that was its stdout at start.
        log: the last 20,000 characters of its stderr.
        ended: "exit" by itself; "time" or "output" past that limit; "signal" killed, also for memory or processes.
        seconds: wall time.
    """

    returncode: int
    output: bytes
    log: str
    ended: Literal["exit", "time", "output", "signal"]
    seconds: float


class Sandbox(ABC):
    """Runs programs of strangers. `ranked` is False where nothing stops them from reading the answers."""

    name: ClassVar[str]
    ranked: ClassVar[bool] = True

    @property
    @abstractmethod
    def python(self) -> str:
        """Path, inside, of an interpreter that imports numpy, scipy, torch and scikit-learn, and never `excise`."""

    @abstractmethod
    def run(
        self,
        command: Sequence[str],
        *,
        data: bytes = b"",
        mounts: Mapping[str, Path] = NO_MOUNTS,
        work: Path | None = None,
        limits: Limits = DEFAULT,
        environment: Mapping[str, str] = NOTHING,
    ) -> Completed:
        """Runs one program to its end; nothing that it started outlives the call.

        Args:
            command: program and arguments, as paths inside.
            data: its stdin.
            mounts: path inside -> host file or folder, read-only.
            work: host folder to be found at /work, writable; without it /work is an empty tmpfs, gone after the run.
            environment: variables beside PATH, HOME, LANG and one-thread settings; nothing is inherited.

        Raises:
            SandboxError: a mount is missing, or the sandbox could not start.
        """
