"""Runs one program to its end under a watch: time, output, processes, memory, disk."""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from excise.arena.sandbox.base import Completed, Limits, SandboxError

LOG = 20_000
# A fork bomb grows by some hundred processes in this time, and is then killed whole.
TICK = 0.05
DISK_TICK = 0.2
CHUNK = 1 << 16
_CROWD = 1_000
Ended = Literal["exit", "time", "output", "signal"]


def execute(
    command: Sequence[str],
    *,
    data: bytes,
    limits: Limits,
    environment: Mapping[str, str],
    keep: Sequence[int] = (),
    work: Path | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Starts the command in a session of its own and kills every process of it that is left at the end.

    Args:
        keep: descriptors that the program inherits, beside its three.
        work: host folder whose size is watched.

    Raises:
        SandboxError: the command cannot be started.
    """
    started = time.monotonic()
    try:
        # Never preexec_fn: it runs Python between fork and exec, where a thread of the grader may hold a lock.
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            pass_fds=tuple(keep),
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxError(f"cannot start {command[0]}: {error.strerror}") from None
    pipes = _Pipes(child, data, limits.output)
    ended: Ended | None = None
    checked, measured = started, started
    with _first_in_line():
        try:
            while ended is None:
                pipes.turn(TICK)
                now = time.monotonic()
                if pipes.read > limits.output:
                    ended = "output"
                elif now - started > limits.seconds:
                    ended = "time"
                elif child.poll() is not None:
                    ended = "exit"
                elif now - checked >= TICK:
                    checked = now
                    if _too_big(child.pid, limits):
                        ended = "signal"
                    elif work is not None and now - measured >= DISK_TICK:
                        measured = now
                        ended = "signal" if folder_bytes(work) > limits.disk else None
        finally:
            kill_tree(child.pid)
            child.wait()
    pipes.drain()
    if pipes.read > limits.output:
        ended = "output"
    if ended == "exit" and child.returncode < 0:
        ended = "signal"
    # A program that ended by itself while it was being killed must not pass for a success.
    code = child.returncode if ended == "exit" or child.returncode < 0 else -signal.SIGKILL
    return Completed(code, pipes.output(), pipes.log(), ended, time.monotonic() - started)


@contextlib.contextmanager
def _first_in_line() -> Iterator[None]:
    """This thread before all ordinary ones: among the thousands of a fork bomb the watch would wait for minutes. Only
    root may; for others RLIMIT_NPROC holds the bomb."""
    before = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


class _Pipes:
    """The three pipes, without threads and without ever holding more than the limit."""

    def __init__(self, child: subprocess.Popen[bytes], data: bytes, limit: int) -> None:
        assert child.stdin and child.stdout and child.stderr  # noqa: PT018
        self._in, self._out, self._err = child.stdin, child.stdout, child.stderr
        self._data, self._limit = memoryview(data), limit
        self._parts: list[bytes] = []
        self._log = b""
        self.read = 0
        self._selector = selectors.DefaultSelector()
        for pipe, event in (
            (self._in, selectors.EVENT_WRITE),
            (self._out, selectors.EVENT_READ),
            (self._err, selectors.EVENT_READ),
        ):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, event)

    def turn(self, seconds: float) -> bool:
        """Moves what can be moved; False if nothing could within the time."""
        if not self._selector.get_map():
            time.sleep(min(seconds, 0.002))
            return False
        ready = self._selector.select(seconds)
        for key, _ in ready:
            if key.fileobj is self._in:
                self._write()
            else:
                self._read(key.fd)
        return bool(ready)

    def drain(self) -> None:
        """What the dead left in the pipes. A pipe held by somebody else is not waited for."""
        while self.read <= self._limit and self.turn(0):
            pass
        self._selector.close()
        for pipe in (self._in, self._out, self._err):
            # The rest of stdin that nobody will read must not raise here.
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def output(self) -> bytes:
        return b"".join(self._parts)[: self._limit]

    def log(self) -> str:
        return self._log.decode(errors="replace")[-LOG:]

    def _write(self) -> None:
        try:
            self._data = self._data[os.write(self._in.fileno(), self._data[:CHUNK]) :]
        except BrokenPipeError:
            self._data = self._data[:0]
        except BlockingIOError:
            return
        if not self._data:
            self._selector.unregister(self._in)
            self._in.close()

    def _read(self, descriptor: int) -> None:
        try:
            chunk = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            self._selector.unregister(descriptor)
        elif descriptor == self._out.fileno():
            self.read += len(chunk)
            self._parts.append(chunk)
        else:
            self._log = (self._log + chunk)[-4 * LOG :]


def tree(root: int, most: float = math.inf) -> list[int]:
    """A process and all its descendants, by /proc; stops counting past `most`."""
    found: list[int] = []
    queue = [root]
    while queue and len(found) <= most:
        pid = queue.pop()
        found.append(pid)
        queue += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found.extend(map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split()))
    return found


def kill_tree(root: int) -> None:
    """Kills a process, its descendants and its session, and waits until they are dead, 2 s at most.

    A process namespace dies with its first process, which the kernel lets go only when all others in it are gone. That
    one is a child of `root`; it goes first, and only so many of the others are listed: a fork bomb still grows.
    """
    family = tree(root, _CROWD)
    first = set(_children(root))
    for pid in [*sorted(family[1:], key=lambda pid: pid not in first), root]:
        _kill(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(root, signal.SIGKILL)
    wait_dead(family)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_dead(family: Sequence[int], seconds: float = 2) -> None:
    """Waits until processes that were killed, children or not, are gone."""
    deadline = time.monotonic() + seconds
    while any(map(_alive, family)) and time.monotonic() < deadline:
        time.sleep(0.001)


def _alive(pid: int) -> bool:
    try:
        # The name, which may hold anything, stands in brackets before the state.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except (OSError, IndexError):
        return False


def _too_big(root: int, limits: Limits) -> bool:
    most = limits.processes + 2  # The launchers (bwrap and its first process) are not the program's.
    family = tree(root, most)
    if len(family) > most:
        return True
    return sum(map(_own_memory, family)) > limits.memory


def _own_memory(pid: int) -> int:
    # Not VmRSS: every worker would be charged with the libraries that all of them share.
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def folder_bytes(folder: Path) -> int:
    """Bytes on disk of a folder that a stranger may have filled; links are not followed, each entry costs 4 kB."""
    total, waiting = 0, [os.fspath(folder)]
    while waiting:  # Not os.walk, which calls itself for every level and so can be nested to death.
        total += 4096
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    total += 4096 + 512 * entry.stat(follow_symlinks=False).st_blocks
    return total
