"""Probes: the adversaries. A new one is one new file in this folder that defines a subclass of `Probe`."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from excise.types import Probe


@cache
def all_probes() -> dict[str, type[Probe]]:
    """Every probe of this folder by class name."""
    found: dict[str, type[Probe]] = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Probe) and "fit" not in value.__abstractmethods__:
                found[value.__name__] = value
    return dict(sorted(found.items()))


def __getattr__(name: str) -> type[Probe]:
    """Makes `from excise.probes import RbfSvm` work for every file in the folder."""
    if name.startswith("_") or name not in all_probes():
        raise AttributeError(f"no probe {name!r}; there are: {', '.join(all_probes())}" if name[:1].isupper() else name)
    return all_probes()[name]
