"""A submission put together from stages: its plan, and its text."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.resources import files

from excise.arena.search.families import MOST_STAGES, SCALE, SPEND, STAGES, Levels, Value
from excise.types import ExciseError

_NEEDS = {"affine": ("trained",), "network": ("trained",)}
_PLAN = "PLAN = "


@dataclass(frozen=True)
class Stage:
    """One edit: a name of `STAGES`, and a level of each of its knobs."""

    name: str
    knobs: tuple[tuple[str, Value], ...]

    def __post_init__(self) -> None:
        if self.name not in STAGES:
            raise ExciseError(f"no stage {self.name!r}; there are {', '.join(STAGES)}")
        known = STAGES[self.name]
        if [knob for knob, _ in self.knobs] != list(known):
            raise ExciseError(f"{self.name} takes the knobs {', '.join(known)}, in this order")
        for knob, value in self.knobs:
            _check(f"{self.name}.{knob}", value, known[knob])


@dataclass(frozen=True)
class Program:
    """A chain of stages, each fitted on what the one before made of the rows, scaled to the budget.

    Attributes:
        spend, scale: see `SPEND` and `SCALE` in `excise.arena.search.families`.
    """

    stages: tuple[Stage, ...]
    spend: Value = 0.9
    scale: Value = "all"

    def __post_init__(self) -> None:
        if not 1 <= len(self.stages) <= MOST_STAGES:
            raise ExciseError(f"{len(self.stages)} stages; a program has 1 to {MOST_STAGES}")
        _check("spend", self.spend, SPEND)
        _check("scale", self.scale, SCALE)

    @property
    def name(self) -> str:
        """Its stages: "leace+soft"."""
        return "+".join(stage.name for stage in self.stages)

    @property
    def source(self) -> str:
        """The submission: one file that needs numpy, scipy and torch and nothing of Excise."""
        plan = {"stages": [[s.name, dict(s.knobs)] for s in self.stages], "spend": self.spend, "scale": self.scale}
        used = dict.fromkeys(part for s in self.stages for part in (*_NEEDS.get(s.name, ()), s.name))
        parts = [_text(part) for part in ("shared", *used, "driver")]
        return "\n\n".join([f'"""{self.name}, put together by a search."""', f"{_PLAN}{plan!r}", *parts])

    @classmethod
    def parse(cls, source: str) -> Program:
        """Reads the plan back from `source`, without running it.

        Raises:
            ExciseError: the text holds no plan of ours.
        """
        try:
            line = next(line for line in source.splitlines() if line.startswith(_PLAN))
            plan = ast.literal_eval(line.removeprefix(_PLAN))
            stages = tuple(Stage(name, tuple(knobs.items())) for name, knobs in plan["stages"])
            return cls(stages, plan["spend"], plan["scale"])
        except (StopIteration, ValueError, SyntaxError, KeyError, TypeError, AttributeError) as err:
            raise ExciseError("this file was not put together by the search; start from one of `seeds()`") from err


def _check(name: str, value: Value, levels: Levels) -> None:
    if value not in levels:
        raise ExciseError(f"{name} is {value!r}; its levels are {', '.join(map(str, levels))}")


def _text(part: str) -> str:
    """A stage's text without what the file has already: imports of ours, and the driver's empty plan."""
    text = (files("excise.arena.search.stages") / f"{part}.py").read_text()
    return "\n".join(line for line in text.splitlines() if not line.startswith(("from excise.", "PLAN:"))) + "\n"
