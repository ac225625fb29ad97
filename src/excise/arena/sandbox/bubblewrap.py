"""Namespaces by bubblewrap: own files, processes, network, users; read-only host; nothing inherited."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from excise.arena.sandbox import interior, seccomp
from excise.arena.sandbox.base import DEFAULT, NO_MOUNTS, NOTHING, Completed, Limits, Sandbox, SandboxError
from excise.arena.sandbox.process import execute, wait_dead

INSTALL = "install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap; Fedora: dnf install bubblewrap)"
NOBODY = "65534"
DESCRIPTORS = 1024


class Bubblewrap(Sandbox):
    """Every run is a fresh set of namespaces, about 15 ms.

    Raises:
        SandboxError: bwrap or prlimit is not installed.
    """

    name: ClassVar[str] = "bubblewrap"

    def __init__(self) -> None:
        bwrap, prlimit = shutil.which("bwrap"), shutil.which("prlimit")
        if bwrap is None:
            raise SandboxError(f"bubblewrap is not installed; {INSTALL}")
        if prlimit is None:
            raise SandboxError("prlimit is not installed; install util-linux")
        self._bwrap, self._prlimit = bwrap, prlimit
        self._links, folders = interior.top_links()
        self._mounted = interior.read_only() | folders
        self._masked = interior.masked(self._mounted)

    @property
    def python(self) -> str:
        return interior.python()

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
        interior.require(mounts, work)
        variables = interior.ENVIRONMENT | dict(environment)
        with _filter() as rules, _pipe() as (status, report):
            line = [
                self._bwrap,
                *("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"),
                *("--clearenv", "--cap-drop", "ALL", "--uid", NOBODY, "--gid", NOBODY, "--hostname", "sandbox"),
                *self._files(mounts, work, limits),
                *(word for name, value in variables.items() for word in ("--setenv", name, value)),
                *(("--seccomp", str(rules)) if rules is not None else ()),
                *("--json-status-fd", str(report), "--chdir", "/work", "--"),
                *limited(self._prlimit, limits),
                *command,
            ]
            keep = [report] if rules is None else [report, rules]
            done = execute(line, data=data, limits=limits, environment={}, keep=keep, work=work)
            told = _read(status)
        # bwrap reports and leaves before the first process of the namespace does, and with that one die all others.
        wait_dead([int(pid) for pid in re.findall(rb'"child-pid": (\d+)', told)])
        if done.ended == "exit" and b"exit-code" not in told:
            raise SandboxError(f"bubblewrap could not start: {done.log.strip()[-500:]}. {ADVICE}")
        return interior.signalled(done)

    def _files(self, mounts: Mapping[str, Path], work: Path | None, limits: Limits) -> list[str]:
        line = [word for inside, target in self._links.items() for word in ("--symlink", target, inside)]
        for inside, host in self._mounted.items():
            line += ["--ro-bind", str(host), inside]
        for inside in self._masked:
            line += ["--tmpfs", inside, "--remount-ro", inside]
        line += ["--proc", "/proc", "--dev", "/dev"]
        for scratch in ("/tmp", "/dev/shm", *(() if work else ("/work",))):
            line += ["--size", str(limits.disk), "--tmpfs", scratch]
        if work:
            line += ["--bind", str(work), "/work"]
        for inside, host in mounts.items():
            line += ["--ro-bind", str(host), inside]
        # The root and /dev are tmpfs of bwrap's own, without a size: writable, they would hold half of the memory.
        # /proc/sys asks for no capability: under a grader run by root, the program could set the host's core_pattern,
        # a command that the kernel runs as root.
        return [*line, *(word for path in ("/proc", "/dev", "/") for word in ("--remount-ro", path))]


def limited(prlimit: str, limits: Limits) -> list[str]:
    """The words that put a program under its limits. They hold for each process; the watch holds for all together."""
    words = [
        prlimit,
        f"--as={limits.memory}",
        f"--cpu={limits.cpu_seconds}",
        f"--fsize={limits.disk}",
        f"--nofile={DESCRIPTORS}",
        "--core=0",
    ]
    # Before Linux 5.14 this counts the user's processes outside too; root is never counted. The watch counts always.
    if os.getuid() != 0 and _kernel() >= (5, 14):
        words.append(f"--nproc={8 * limits.processes}")
    return [*words, "--"]


def _kernel() -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", platform.release())[:2]))


ADVICE = (
    "Where user namespaces are refused: in Docker add --security-opt seccomp=unconfined --security-opt "
    "systempaths=unconfined; on Ubuntu 24.04 allow bwrap in AppArmor; or install the fallback: pip install sandlock"
)


@contextlib.contextmanager
def _filter() -> Iterator[int | None]:
    rules = seccomp.program()
    if rules is None:
        yield None
        return
    descriptor = os.memfd_create("filter", 0)
    try:
        os.write(descriptor, rules)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def _read(descriptor: int) -> bytes:
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return b""
