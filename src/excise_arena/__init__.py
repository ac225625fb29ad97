"""The name by which verifiers finds the arena: it looks for tasksets among top-level modules only."""

from excise.arena.adapters.verifiers_env import ArenaTaskset, ReplyHarness

__all__ = ["ArenaTaskset", "ReplyHarness"]
