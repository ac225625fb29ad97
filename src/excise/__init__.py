"""Excise: the open-source lab for concept erasure.

Fit: `from excise.erasers import Leace; erasure = Leace().fit(x, z)`. Apply: `erasure(x_new)`. Keep: `save`, `load`.
"""

from excise.erasers.saving import load_map as load
from excise.erasers.saving import save_map as save

__version__ = "0.1.0"
__all__ = ["__version__", "load", "save"]
