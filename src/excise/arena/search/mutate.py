"""Changes of programs: small steps, other parts, and parts of two."""

from __future__ import annotations

import random
from dataclasses import replace

from excise.arena.search.families import FAMILIES, MOST_STAGES, SCALE, SPEND, STAGES, Levels, Value
from excise.arena.search.program import Program, Stage

_SEED_SPEND = 0.9


def seeds() -> list[Program]:
    """One program a family, every knob in the middle of its levels."""
    return [
        Program((Stage(name, tuple((k, levels[len(levels) // 2]) for k, levels in knobs.items())),), _SEED_SPEND)
        for name, knobs in FAMILIES.items()
    ]


def mutated(program: Program, rng: random.Random) -> Program:
    """Another program, one change away; every kind of change is as likely."""
    while True:
        found = rng.choice(_CHANGES)(program, rng)
        if found != program:
            return found


def crossed(first: Program, second: Program, rng: random.Random) -> Program:
    """The head of one chain and the tail of another, with the spending of the first."""
    head = first.stages[: rng.randint(1, len(first.stages))]
    tail = second.stages[rng.randrange(len(second.stages)) :]
    return replace(first, stages=(head + tail)[:MOST_STAGES])


def fresh(name: str, rng: random.Random) -> Stage:
    """A stage with knobs at random levels."""
    return Stage(name, tuple((knob, rng.choice(levels)) for knob, levels in STAGES[name].items()))


def _turned(program: Program, rng: random.Random) -> Program:
    """One knob of one stage to a level beside it."""
    number = rng.randrange(len(program.stages))
    stage = program.stages[number]
    turned = rng.randrange(len(stage.knobs))
    knobs = tuple(
        (knob, _beside(value, STAGES[stage.name][knob], rng) if i == turned else value)
        for i, (knob, value) in enumerate(stage.knobs)
    )
    return _with(program, number, Stage(stage.name, knobs))


def _swapped(program: Program, rng: random.Random) -> Program:
    return _with(program, rng.randrange(len(program.stages)), fresh(rng.choice(list(STAGES)), rng))


def _added(program: Program, rng: random.Random) -> Program:
    if len(program.stages) == MOST_STAGES:
        return program
    place = rng.randint(0, len(program.stages))
    stage = fresh(rng.choice(list(STAGES)), rng)
    return replace(program, stages=(*program.stages[:place], stage, *program.stages[place:]))


def _dropped(program: Program, rng: random.Random) -> Program:
    if len(program.stages) == 1:
        return program
    place = rng.randrange(len(program.stages))
    return replace(program, stages=program.stages[:place] + program.stages[place + 1 :])


def _respent(program: Program, rng: random.Random) -> Program:
    return replace(program, spend=_beside(program.spend, SPEND, rng))


def _rescaled(program: Program, rng: random.Random) -> Program:
    # One stage has no rest: the change would be in name alone.
    return program if len(program.stages) == 1 else replace(program, scale=_beside(program.scale, SCALE, rng))


def _with(program: Program, number: int, stage: Stage) -> Program:
    return replace(program, stages=(*program.stages[:number], stage, *program.stages[number + 1 :]))


def _beside(value: Value, levels: Levels, rng: random.Random) -> Value:
    place = levels.index(value)
    return rng.choice([levels[i] for i in (place - 1, place + 1) if 0 <= i < len(levels)])


_CHANGES = (_turned, _swapped, _added, _dropped, _respent, _rescaled)
