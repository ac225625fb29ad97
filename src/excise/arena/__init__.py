"""Inventing erasers against a hidden grader."""

from excise.arena.problem import Private, Public, prepare

__all__ = ["Private", "Public", "prepare"]
