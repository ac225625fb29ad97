"""What a search may choose from: families of erasers, and the levels of each of their knobs."""

from __future__ import annotations

from collections.abc import Mapping

Value = float | int | str
Levels = tuple[Value, ...]
"""From low to high where that means anything: a small change is a step to the next level."""

_PENALTY = (1e-4, 1e-3, 1e-2, 1e-1)
_TRAINED: dict[str, Levels] = {
    "rank": (8, 16, 32, 48),
    "steps": (60, 120, 240),
    "rate": (0.003, 0.01, 0.03),
    "price": (0.1, 0.3, 1.0, 3.0),
}

FAMILIES: Mapping[str, Mapping[str, Levels]] = {
    "gaussian": {
        "rank": (2, 4, 8, 16, 32),
        "shrink": (0.1, 0.3, 0.6, 0.9),
        "penalty": _PENALTY,
        "sharpness": (0.5, 1.0, 2.0),
    },
    "affine": _TRAINED,
    "network": {**_TRAINED, "hidden": (8, 32, 64), "loss": ("mmd", "hsic")},
    "soft": {"penalty": _PENALTY, "amount": (0.5, 0.75, 1.0, 1.25), "rank": (1, 4, 16, 32)},
    "hungarian": {"rank": (2, 4, 8, 16, 32), "width": (0.02, 0.05, 0.1, 0.2, 0.5), "amount": (0.5, 0.75, 1.0, 1.25)},
    "quantile": {
        "basis": ("principal", "raw"),
        "dims": (4, 16, 48, 128),
        "knots": (1, 3, 5, 9),
        "penalty": _PENALTY,
    },
}
"""The six families that agents came up with in "Discovering Concept-Editing Algorithms With LLM Agents" (2026)."""

STAGES: Mapping[str, Mapping[str, Levels]] = {**FAMILIES, "leace": {"amount": (0.5, 0.75, 1.0)}}
"""What a chain may hold: the families, and LEACE in part or whole."""

SPEND: Levels = (0.8, 0.9, 1.0, 1.1)
"""Multiple of the budget that is aimed at, by the cost of rows left out when fitting on half of them. Maps fitted on
all rows mostly cost less."""
SCALE: Levels = ("all", "rest")
"""What is made smaller to keep the budget: every edit, or all but that of the first stage."""
MOST_STAGES = 3
