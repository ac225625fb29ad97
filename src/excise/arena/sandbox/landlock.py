"""Landlock and seccomp by sandlock: the fallback where user namespaces are refused. It needs no privilege."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from excise.arena.sandbox import interior
from excise.arena.sandbox.base import DEFAULT, NO_MOUNTS, NOTHING, Completed, Limits, Sandbox, SandboxError
from excise.arena.sandbox.process import execute

# Landlock says nothing of an inode's mode, owner, times and attributes; memfd holds memory that no limit counts.
REFUSED = [
    *("chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "utimensat"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "memfd_create"),
]
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
DESCRIPTORS = 1024
# A process of its own, as sandlock forks and runs a supervisor, which the grader's process should not hold.
LAUNCHER = """
import json, sys
from sandlock import Sandbox
policy, command = json.loads(sys.argv[1])
code = Sandbox(**policy).run_interactive(command)
sys.exit(code if code >= 0 else 137)
"""


class Landlock(Sandbox):
    """Every run is a process that may open nothing but the interpreter, its mounts and its work folder.

    There is no file tree of its own: paths inside are made true by rewriting the command, as in `LocalSandbox`.

    Raises:
        SandboxError: sandlock or prlimit is not installed.
    """

    name: ClassVar[str] = "landlock"

    def __init__(self) -> None:
        if importlib.util.find_spec("sandlock") is None:
            raise SandboxError("sandlock is not installed; pip install sandlock (Linux 6.12 or later)")
        prlimit, setpriv = shutil.which("prlimit"), shutil.which("setpriv")
        if prlimit is None or setpriv is None:
            raise SandboxError("prlimit or setpriv is not installed; install util-linux")
        self._prlimit, self._setpriv = prlimit, setpriv
        _, folders = interior.top_links()
        self._readable = interior.read_only() | folders
        self._denied = [self._readable_host(path) for path in interior.masked(self._readable)]

    @property
    def python(self) -> str:
        return sys.executable

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
        scratch = None if work else tempfile.mkdtemp(prefix="excise-")
        folder = (work or Path(str(scratch))).resolve()
        places = {**{inside: str(host.resolve()) for inside, host in mounts.items()}, "/work": str(folder)}
        variables = interior.ENVIRONMENT | {"HOME": "/work", "TMPDIR": "/work"} | dict(environment)
        policy = {
            "fs_readable": [str(path) for path in (*self._readable.values(), *mounts.values())] + list(DEVICES),
            "fs_writable": [str(folder), "/dev/null"],
            "fs_denied": self._denied,
            "cwd": str(folder),
            "clean_env": True,
            "env": {name: interior.outside(value, places) for name, value in variables.items()},
            "max_processes": limits.processes,
            "max_open_files": DESCRIPTORS,
            "no_coredump": True,
            "extra_deny_syscalls": REFUSED,
        }
        inner = [
            self._prlimit,
            *(f"--as={limits.memory}", f"--cpu={limits.cpu_seconds}", f"--fsize={limits.disk}", "--core=0", "--"),
            *(interior.outside(word, places) for word in command),
        ]
        # Root without capabilities: with them it could raise its limits again. No effect on an ordinary user.
        drop = [self._setpriv, "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
        line = [*drop, "--no-new-privs", "--"] if os.getuid() == 0 else []
        line += [sys.executable, "-I", "-c", LAUNCHER, json.dumps([policy, inner])]
        try:
            done = execute(line, data=data, limits=limits, environment={"PATH": os.defpath}, work=folder)
        finally:
            if scratch:
                shutil.rmtree(scratch, ignore_errors=True)
        return interior.signalled(done)

    def _readable_host(self, inside: str) -> str:
        home = max((path for path in self._readable if inside.startswith(path + "/")), key=len)
        return str(self._readable[home]) + inside[len(home) :]
