"""Probes: the adversaries. A new one is one new file in this folder that defines a subclass of `Probe`."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from excise.types import ExciseError, Probe

PRESETS: dict[str, tuple[str, ...]]
"""Class names of each panel: `study` (the study's two adversaries), `fast` (the default), `full` (every probe)."""


@cache
def all_probes() -> dict[str, type[Probe]]:
    """Every probe of this folder by class name."""
    found: dict[str, type[Probe]] = {}
    for module in pkgutil.iter_modules(__path__):
        for name, value in vars(importlib.import_module(f"{__name__}.{module.name}")).items():
            # A leading underscore: a base that several probes share.
            if isinstance(value, type) and issubclass(value, Probe) and value is not Probe and name[0] != "_":
                found[name] = value
    return dict(sorted(found.items()))


def panel(names: str = "fast") -> tuple[Probe, ...]:
    """The probes of a preset, or those named, with their default settings.

    Args:
        names: a preset, or class names separated by commas ("Linear,RbfSvm").

    Raises:
        ExciseError: a name that is neither, or the same one twice.
    """
    known, presets = all_probes(), _presets()
    wanted = presets.get(names.strip()) or tuple(name.strip() for name in names.split(","))
    for name in wanted:
        if name not in known:
            raise ExciseError(
                f"no probe {name!r}; give a preset ({', '.join(presets)}) or probes separated by commas: "
                f"{', '.join(known)}"
            )
    if repeated := sorted({name for name in wanted if wanted.count(name) > 1}):
        raise ExciseError(f"probe {repeated[0]!r} is named twice; name every probe once")
    return tuple(known[name]() for name in wanted)


@cache
def _presets() -> dict[str, tuple[str, ...]]:
    return {"study": ("RbfSvm", "Forest"), "fast": ("Linear", "PolynomialSvm", "RbfSvm"), "full": tuple(all_probes())}


def __getattr__(name: str) -> Any:
    """Makes `from excise.probes import RbfSvm` work for every file in the folder, and `PRESETS` list them without an
    import of all of them beforehand."""
    if name == "PRESETS":
        return _presets()
    if name.startswith("_") or name not in all_probes():
        raise AttributeError(f"no probe {name!r}; there are: {', '.join(all_probes())}" if name[:1].isupper() else name)
    return all_probes()[name]
