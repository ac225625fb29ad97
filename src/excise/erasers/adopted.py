"""Submissions of the arena as erasers: their source runs in this process, so it must be read before it is adopted.

`excise arena adopt` writes a file that names the source beside it and its sha256; this is what such files share.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar
from urllib.parse import quote, unquote

import numpy as np
import torch
from torch import Tensor

from excise.erasers.budget import leace_map, mean_squared_edit
from excise.types import Eraser, ErasureMap, ExciseError, Labels

_PREFIX = "array_"  # A module has attributes of its own, which buffers must not be named after.


@dataclass(frozen=True)
class Program:
    """Source with `fit(x, z, budget, seed)` and `transform(arrays, x)`.

    Attributes:
        path: of the source; sha256: of what was reviewed, in hex.
    """

    path: Path
    sha256: str

    @cached_property
    def module(self) -> ModuleType:
        """The source, run.

        Raises:
            ExciseError: it is not what was adopted.
        """
        source = self.path.read_bytes()
        if hashlib.sha256(source).hexdigest() != self.sha256:
            raise ExciseError(
                f"{self.path} is not the source that was adopted; restore it, or adopt the changed one after a score "
                "of its own"
            )
        module = ModuleType(self.path.stem)
        exec(compile(source, str(self.path), "exec"), vars(module))
        return module


class AdoptedMap(ErasureMap):
    """`transform` of a submission with its fitted arrays, each a buffer. In float32 on the CPU, as in the arena.

    Raises:
        ExciseError: when called and `transform` returns anything but finite floats of the shape of x.
    """

    program: ClassVar[Program]
    dimensions: Tensor

    def __init__(self, dimensions: Tensor, **arrays: Tensor) -> None:
        super().__init__(dimensions=dimensions, **arrays)

    @classmethod
    def of(cls, d: int, arrays: Any) -> AdoptedMap:
        """From what `fit` returned.

        Raises:
            ExciseError: that is no dict of names to numeric arrays.
        """
        if not isinstance(arrays, dict):
            raise ExciseError(f"fit returned a {type(arrays).__name__}; a submission returns a dict of arrays")
        tensors = {}
        for name, value in arrays.items():
            array = np.asarray(value)
            if array.dtype.kind not in "biuf":
                raise ExciseError(f"fit returned {name!r} of type {array.dtype}; a submission returns numeric arrays")
            # No dots in names of buffers.
            tensors[_PREFIX + quote(name, safe="").replace(".", "%2E")] = torch.tensor(array)
        return cls(torch.tensor(d), **tensors)

    @property
    def d(self) -> int:
        return int(self.dimensions)

    def _map(self, x: Tensor) -> Tensor:
        if x.numel() == 0:
            return x.clone()
        rows = x.detach().reshape(-1, self.d).cpu().float().numpy().copy()
        arrays = {
            unquote(name.removeprefix(_PREFIX)): buffer.cpu().numpy().copy()
            for name, buffer in self.named_buffers()
            if name != "dimensions"
        }
        out = np.asarray(self.program.module.transform(arrays, rows))
        if out.shape != rows.shape or out.dtype.kind != "f" or not np.isfinite(out).all():
            raise ExciseError(
                f"transform turned {rows.shape} into {out.shape} {out.dtype}; it must give as many finite floats"
            )
        return torch.from_numpy(out.astype(np.float32)).reshape(x.shape).to(x)


@dataclass(frozen=True)
class AdoptedEraser(Eraser):
    """A submission of the arena.

    Attributes:
        budget: what `fit` is told that it may spend, as a multiple of LEACE's mean squared edit on the fitted rows.
        seed: what `fit` draws from.
    """

    budget: float = 1.0
    seed: int = 0

    @property
    @abstractmethod
    def map_kind(self) -> type[AdoptedMap]:
        """The map of this submission."""

    def _fit(self, x: Tensor, z: Labels) -> AdoptedMap:
        # The arena gives float32.
        rows, classes = x.cpu().float(), z.of_rows.cpu()
        spent = mean_squared_edit(leace_map(rows.double(), classes), rows.double())
        fit = self.map_kind.program.module.fit
        arrays = fit(rows.numpy().copy(), classes.numpy().copy(), self.budget * spent, self.seed)
        return self.map_kind.of(x.shape[1], arrays).to(x.device)
