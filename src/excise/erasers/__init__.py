"""Erasers. A new one is one new file in this folder: define a subclass of `Eraser` there and nothing else."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from excise.types import Eraser, ErasureMap


@cache
def all_erasers() -> dict[str, type[Eraser]]:
    """Every eraser of this folder by class name, controls first, then by name."""
    found: dict[str, type[Eraser]] = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Eraser) and "_fit" not in value.__abstractmethods__:
                found[value.__name__] = value
    return dict(sorted(found.items(), key=lambda item: (not item[1].control, item[0])))


def all_maps() -> dict[str, type[ErasureMap]]:
    """Every kind of map that `load` can rebuild, by class name."""
    all_erasers()
    return {kind.__name__: kind for kind in ErasureMap.__subclasses__() if kind.__module__.startswith(__name__)}


def __getattr__(name: str) -> type[Eraser]:
    """Makes `from excise.erasers import Leace` work for every file in the folder."""
    if name.startswith("_") or name not in all_erasers():
        raise AttributeError(
            f"no eraser {name!r}; there are: {', '.join(all_erasers())}" if name[:1].isupper() else name
        )
    return all_erasers()[name]
