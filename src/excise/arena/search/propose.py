"""Proposes programs where other searches ask a language model: the `custom_candidate_proposer` of GEPA."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from excise.arena.search.mutate import crossed, mutated, seeds
from excise.arena.search.program import Program

_MOST_DRAWS = 200


class Proposer:
    """The six families first, as they are; then changes of the candidate, and crosses with earlier proposals.

    Nothing is proposed twice, unless chance finds nothing new. It reads no scores: which candidate it is given to
    change is the search's choice.
    """

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._first = seeds()
        self._rng.shuffle(self._first)
        self._seen: list[Program] = []

    def start(self) -> Program:
        """The first program to try: one of the six."""
        self._seen.append(self._first.pop())
        return self._seen[-1]

    def next(self, parent: Program) -> Program:
        """A program to try; `parent` counts as tried."""
        if parent not in self._seen:
            self._seen.append(parent)
        for _ in range(_MOST_DRAWS):
            found = self._first.pop() if self._first else self._changed(parent)
            if found not in self._seen:
                break
        self._seen.append(found)
        return found

    def _changed(self, parent: Program) -> Program:
        if self._rng.random() < 0.3:
            return crossed(parent, self._rng.choice(self._seen), self._rng)
        return mutated(parent, self._rng)

    def __call__(
        self,
        candidate: dict[str, str],
        reflective_dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components_to_update: list[str],
    ) -> dict[str, str]:
        """New texts by component; see `gepa.core.adapter.ProposalFn`."""
        return {name: self.next(Program.parse(candidate[name])).source for name in components_to_update}
