"""Where programs of strangers run."""

from excise.arena.sandbox.attacks import AttackResult, attack_report, self_test
from excise.arena.sandbox.base import Completed, Limits, Sandbox, SandboxError
from excise.arena.sandbox.find import find_sandbox
from excise.arena.sandbox.folder import read_inside

__all__ = [
    "AttackResult",
    "Completed",
    "Limits",
    "Sandbox",
    "SandboxError",
    "attack_report",
    "find_sandbox",
    "read_inside",
    "self_test",
]
