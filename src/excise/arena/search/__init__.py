"""A search without a language model: submissions put together from known parts, and changed step by step."""

from excise.arena.search.mutate import crossed, mutated, seeds
from excise.arena.search.program import Program, Stage
from excise.arena.search.propose import Proposer

__all__ = ["Program", "Proposer", "Stage", "crossed", "mutated", "seeds"]
