"""No isolation at all: for one's own code on a machine without a sandbox. Results are never ranked."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from excise.arena.sandbox import interior
from excise.arena.sandbox.base import DEFAULT, NO_MOUNTS, NOTHING, Completed, Limits, Sandbox
from excise.arena.sandbox.process import execute


class LocalSandbox(Sandbox):
    """A plain process with time and output limits. It can read the answers, the network and everything of the user's.

    Paths inside are made true by rewriting: in the command and the environment, a mounted path or /work at the start of
    a word becomes the host's path. The program itself finds its work folder as its current directory.
    """

    name: ClassVar[str] = "local (unsafe)"
    ranked: ClassVar[bool] = False

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
        folder = work or Path(str(scratch))
        places = {**{inside: str(host.absolute()) for inside, host in mounts.items()}, "/work": str(folder)}
        variables = interior.ENVIRONMENT | {"PATH": os.environ.get("PATH", os.defpath)} | dict(environment)
        try:
            return execute(
                [interior.outside(word, places) for word in command],
                data=data,
                limits=limits,
                environment={name: interior.outside(value, places) for name, value in variables.items()},
                cwd=folder,
            )
        finally:
            if scratch:
                shutil.rmtree(scratch, ignore_errors=True)
