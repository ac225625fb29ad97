"""The arena as an environment of OpenEnv 0.10: `uvicorn --factory excise.arena.adapters.openenv_server:app`.

`reset(concept=...)` shows a problem; every `step` tries a file on the feedback rows, and the step that hands in
ends the episode with the reward of the select rows.
"""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from openenv.core.env_server import Action, Environment, Observation, State, create_app
from pydantic import Field

from excise.arena.adapters.judge import Problems, reward
from excise.arena.problem import dev_concepts
from excise.arena.score import Feedback
from excise.arena.statement import statement
from excise.types import ExciseError

CALLS = 20
"""Files that an episode may try before it hands in."""


class Source(Action):
    """A submission: tried on the feedback rows, or handed in."""

    source: str
    hand_in: bool = False


class Heard(Observation):
    """Attributes: text, the task at first and then the feedback; sample, files of the task by name in base64."""

    text: str
    sample: dict[str, str] = Field(default_factory=dict)


class ArenaEnvironment(Environment[Source, Heard, State]):
    """One episode at a time; what several share is in `problems`."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, problems: Problems, concepts: tuple[str, ...]) -> None:
        super().__init__()
        self._problems, self._concepts = problems, concepts
        self._state, self._concept = State(), ""

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, concept: str | None = None, **kwargs: Any
    ) -> Heard:
        """Draws a concept by `seed`, unless one is named."""
        if concept is not None and concept not in self._concepts:
            raise ExciseError(f"no concept {concept!r} here; there are {', '.join(self._concepts)}")
        self._concept = concept or random.Random(seed).choice(self._concepts)
        self._state = State(episode_id=episode_id)
        public = self._problems.public(self._concept)
        text = statement(len(public.texts), public.x.shape[1], public.model, public.site, public.budget)
        arrays = {"activations.npy": public.x.numpy(), "labels.npy": public.z.numpy()}
        sample = {name: _encoded(array) for name, array in arrays.items()}
        sample["texts.txt"] = base64.b64encode("\n".join(t.replace("\n", " ") for t in public.texts).encode()).decode()
        return Heard(text=text, sample=sample)

    def step(self, action: Source, timeout_s: float | None = None, **kwargs: Any) -> Heard:
        """Raises where the grader failed: the client gets an error and no reward."""
        if not self._concept:
            raise ExciseError("call reset first: no problem is drawn")
        calls = self._state.step_count
        if action.hand_in:
            self._concept, found = "", self._problems.judge(self._concept).score(action.source.encode())
            return Heard(text="handed in", done=True, reward=reward(found))
        if calls >= CALLS:
            raise ExciseError("no tries are left; hand in the best file you have")
        self._state.step_count = calls + 1
        found = self._problems.judge(self._concept, "feedback").score(action.source.encode())
        return Heard(text=str(Feedback.of(found, CALLS - calls - 1)))

    @property
    def state(self) -> State:
        """Episode and steps."""
        return self._state


def app(problems: Callable[[], Problems] | None = None, concepts: tuple[str, ...] | None = None) -> FastAPI:
    """The server, over built-in development concepts unless told otherwise; records go to results/arena-openenv."""
    shared = problems() if problems else Problems(Path("results/arena-openenv"), "openenv")
    names = concepts or dev_concepts()
    return create_app(lambda: ArenaEnvironment(shared, names), Source, Heard, "excise-arena", max_concurrent_envs=64)


def _encoded(array: np.ndarray[Any, Any]) -> str:
    file = io.BytesIO()
    np.save(file, array)
    return base64.b64encode(file.getvalue()).decode()
