"""Chooses a sandbox that holds on this machine, or refuses."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from excise.arena.sandbox.attacks import self_test
from excise.arena.sandbox.base import Sandbox, SandboxError
from excise.arena.sandbox.bubblewrap import Bubblewrap
from excise.arena.sandbox.landlock import Landlock
from excise.arena.sandbox.local import LocalSandbox

CANDIDATES: tuple[Callable[[], Sandbox], ...] = (Bubblewrap, Landlock)
ADVICE = (
    "Install bubblewrap (Debian, Ubuntu: apt-get install bubblewrap), or, where user namespaces are refused, "
    "sandlock (pip install sandlock; Linux 6.12 or later); docs/sandbox.md says more. To grade your own code only, "
    "without isolation and unranked: --unsafe-local"
)


def find_sandbox(*, unsafe_local: bool = False) -> Sandbox:
    """The first sandbox that passes its self-test here; looked for once in a process.

    Args:
        unsafe_local: take no sandbox at all. What runs in it can read the answers, so its results are unranked.

    Raises:
        SandboxError: none passes. The message says why for each.
    """
    return LocalSandbox() if unsafe_local else _found()


@cache
def _found() -> Sandbox:
    reasons = []
    for candidate in CANDIDATES:
        try:
            sandbox = candidate()
            broken = [result for result in self_test(sandbox) if not result.held]
        except SandboxError as error:
            reasons.append(str(error))
            continue
        if not broken:
            return sandbox
        reasons.append(f"{sandbox.name} does not hold: " + "; ".join(f"{r.name} ({r.how})" for r in broken))
    raise SandboxError("no sandbox holds on this machine. " + ". ".join(reasons) + ". " + ADVICE)
