"""The two halves of every method: settings (`Eraser`) and result (`ErasureMap`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy.typing as npt
import torch
from torch import Tensor, nn

from excise.types.errors import ExciseError
from excise.types.inputs import as_tensor, check_activations

Guarantee = Literal["none", "linear", "total"]


class ErasureMap(nn.Module, ABC):
    """A fitted map x -> x'. It needs no label, treats every row alone and never changes its input.

    A subclass takes its tensors as constructor arguments and hands them on by name; they become buffers, so
    `state_dict`, `save`, `to` and `load` need no further code.
    """

    provenance: dict[str, Any]
    """How the map came about: eraser, settings, rows and dimensions it was fitted on. Stored in the file header."""

    def __init__(self, **tensors: Tensor) -> None:
        super().__init__()
        self.provenance = {}
        for name, tensor in tensors.items():
            # A copy: buffers that share memory could not be saved.
            self.register_buffer(name, tensor.detach().clone(memory_format=torch.contiguous_format))

    @property
    @abstractmethod
    def d(self) -> int:
        """Dimensions of the space it was fitted in."""

    @abstractmethod
    def _map(self, x: Tensor) -> Tensor:
        """x [..., d] in float32 or float64 -> x' of the same shape and dtype."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., d] -> x' of the same shape, dtype and device; half precision is computed in float32.

        Raises:
            ExciseError: another last dimension than at fit time, or integer input.
        """
        if x.ndim == 0 or x.shape[-1] != self.d:
            raise ExciseError(
                f"this map was fitted in {self.d} dimensions and got x of shape {tuple(x.shape)}; is it another site "
                f"or model?"
            )
        if not x.is_floating_point():
            raise ExciseError(f"x has dtype {x.dtype}; activations must be floating point")
        work = x.to(torch.promote_types(x.dtype, torch.float32))
        return self._map(work).to(x.dtype)


@dataclass(frozen=True)
class Eraser(ABC):
    """Settings of one method. `fit` returns the result and leaves the settings as they are."""

    title: ClassVar[str]
    """Name in tables and plots."""
    source: ClassVar[str]
    """Where the formula comes from."""
    guarantee: ClassVar[Guarantee] = "none"
    """What holds by construction on the fitted rows: "linear" (cov(x', z) = 0, so a linear probe trained with a convex
    loss does no better than a constant), "total" (nothing is left)."""
    control: ClassVar[bool] = False
    """A control is always on the board and never called the best."""

    def fit(self, x: Tensor | npt.ArrayLike, z: Tensor | npt.ArrayLike) -> ErasureMap:
        """Fits on activations x [n, d] and the concept z ([n] classes or values, [n, k] columns).

        Statistics are computed in float64 whatever the dtype of x; the map lives on x's device.

        Raises:
            ExciseError: bad input (see `excise.types.inputs`), or a z that the method cannot use.
        """
        x = check_activations(x)
        erasure = self._fit(x.double(), (z if isinstance(z, Tensor) else as_tensor(z)).to(x.device))
        erasure.provenance = {"eraser": type(self).__name__, "settings": asdict(self), "n": len(x), "d": x.shape[1]}
        return erasure

    @abstractmethod
    def _fit(self, x: Tensor, z: Tensor) -> ErasureMap:
        """x is checked, float64 [n, d]; z is on x's device, unchecked: read it by `check_labels` or `check_classes`."""
