"""What Inspect finds by the entry point `inspect_ai` of the package: the task, the sandbox, the scripted model."""

from excise.arena.agents.room import RoomEnvironment
from excise.arena.agents.script import Script
from excise.arena.agents.task import arena

__all__ = ["RoomEnvironment", "Script", "arena"]
