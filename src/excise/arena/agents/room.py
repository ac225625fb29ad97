"""Our sandbox for Inspect's tools: a work folder a sample, every command a run of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import anyio
from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxEnvironment,
    SandboxEnvironmentConfigType,
    SandboxUserUnsupportedError,
    concurrency,
    sandboxenv,
)
from pydantic import BaseModel, ConfigDict

from excise.arena.sandbox import Completed, Limits, Sandbox, SandboxError, find_sandbox, read_inside

NAME = "excise"
WORK = "/work"
MODEL_VARIABLE = "MODEL"
"""Names, inside, the path of the language model's folder."""
_MODEL = "/model"

LIMITS = Limits(seconds=300, cpu_seconds=600, output=10 << 20)
"""Of one command of an agent."""
_MOST_READ = 100 << 20


class Room(BaseModel):
    """What a sample's sandbox holds beside its work folder.

    Attributes:
        model: host folder mounted read-only, or "" for none.
        inside: path in that folder that the variable MODEL names.
    """

    model_config = ConfigDict(frozen=True)

    model: str = ""
    inside: str = ""


@sandboxenv(name=NAME)
class RoomEnvironment(SandboxEnvironment):
    """No network, no host files but the interpreter and the model, and no process outlives its command.

    A command is waited for, or killed at its limit, also when the sample is cancelled: nothing may write into the work
    folder once a submission has been read from it.

    Raises:
        SandboxError: no sandbox holds on this machine.
    """

    def __init__(self, sandbox: Sandbox, room: Room) -> None:
        super().__init__()
        self._sandbox, self._room = sandbox, room
        self.work = Path(tempfile.mkdtemp(prefix="excise-arena-"))

    @classmethod
    async def sample_init(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        room = config if isinstance(config, Room) else Room()
        return {"default": cls(await anyio.to_thread.run_sync(find_sandbox), room)}

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: SandboxEnvironmentConfigType | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        for environment in environments.values():
            await anyio.to_thread.run_sync(environment.as_type(cls).remove)

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        return Room(**config)

    def remove(self) -> None:
        """Deletes the work folder. By programs: Python's rmtree gives up on folders nested by the thousand, which are a
        stranger's to leave. Neither follows a link that it meets."""
        for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            subprocess.run([*command, "--", str(self.work)], stderr=subprocess.DEVNULL, check=False)

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Runs a command in a sandbox of its own. Nothing of it but files in the work folder is left.

        Raises:
            SandboxUserUnsupportedError: there is one user inside.
            TimeoutError: over the timeout, or over `LIMITS.seconds`.
            OutputLimitExceededError: over 10 MiB on stdout.
        """
        if user is not None:
            raise SandboxUserUnsupportedError(f"cannot run as {user!r}: there is one user in this sandbox")
        data = input.encode() if isinstance(input, str) else input or b""
        command = cmd if cwd is None else ["/bin/sh", "-c", 'cd "$0" && exec "$@"', cwd, *cmd]
        async with _cores():
            done = await anyio.to_thread.run_sync(partial(self._run, command, data, env or {}, timeout))
        return _result(done)

    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Writes from inside, where a link can lead to nothing of the host's."""
        data = contents.encode() if isinstance(contents, str) else contents
        script = 'mkdir -p "$(dirname "$0")" && exec cat > "$0"'
        async with _cores():
            done = await anyio.to_thread.run_sync(partial(self._run, ["/bin/sh", "-c", script, _relative(file)], data))
        if done.returncode != 0:
            raise PermissionError(f"cannot write {file!r:.100}: {done.log.strip()[-200:]}")

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        """Reads a plain file of the work folder; no link is followed.

        Raises:
            PermissionError: outside the work folder, a link, or no plain file.
            FileNotFoundError: not there.
            OutputLimitExceededError: over 100 MiB.
        """
        name = _relative(file)
        try:
            data = await anyio.to_thread.run_sync(partial(read_inside, self.work, name, limit=_MOST_READ))
        except SandboxError as err:
            if not os.path.lexists(self.work / name):
                raise FileNotFoundError(str(err)) from None
            if "more than" in str(err):
                raise OutputLimitExceededError("100 MiB", None) from None
            raise PermissionError(str(err)) from None
        return data.decode() if text else data

    def _run(
        self, command: list[str], data: bytes = b"", env: dict[str, str] | None = None, timeout: int | None = None
    ) -> Completed:
        seconds = LIMITS.seconds if timeout is None else min(timeout, LIMITS.seconds)
        limits = Limits(seconds, LIMITS.cpu_seconds, LIMITS.memory, LIMITS.disk, LIMITS.processes, LIMITS.output)
        variables = {"PATH": f"{os.path.dirname(self._sandbox.python)}:/usr/bin:/bin", **(env or {})}
        mounts = {}
        if self._room.model:
            mounts[_MODEL] = Path(self._room.model)
            variables[MODEL_VARIABLE] = os.path.normpath(f"{_MODEL}/{self._room.inside}")
        return self._sandbox.run(
            command, data=data, mounts=mounts, work=self.work, limits=limits, environment=variables
        )


def _cores() -> Any:
    return concurrency("excise sandbox", os.cpu_count() or 1, visible=False)


def _relative(file: str) -> str:
    """A path below the work folder.

    Raises:
        PermissionError: it is absolute and elsewhere.
    """
    path = os.path.normpath(os.path.join(WORK, file))
    if not path.startswith(WORK + "/"):
        raise PermissionError(f"{file!r:.100} is not in the work folder")
    return path.removeprefix(WORK + "/")


def _result(done: Completed) -> ExecResult[str]:
    output = done.output.decode(errors="replace")
    if done.ended == "time":
        raise TimeoutError(f"killed after {done.seconds:.0f} seconds")
    if done.ended == "output":
        raise OutputLimitExceededError("10 MiB", output)
    log = done.log
    if done.ended == "signal":
        name = signal.Signals(-done.returncode).name if -done.returncode in set(signal.Signals) else "a signal"
        log += f"\nended by {name}: mostly too much memory, disk, processor time or too many processes\n"
    return ExecResult(done.returncode == 0, done.returncode, output, log)
