"""Where programs of strangers run."""

from excise.arena.sandbox.base import Completed, Limits, Sandbox, SandboxError

__all__ = ["Completed", "Limits", "Sandbox", "SandboxError"]
