"""What fitting gives: maps of activations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from excise.types.errors import ExciseError
from excise.types.inputs import as_tensor


class FittedMap(nn.Module, ABC):
    """What fitting gives: a module whose tensors are buffers.

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

    def _checked(self, x: Tensor) -> Tensor:
        """x in float32 or float64, whichever it is nearer to."""
        if x.ndim == 0 or x.shape[-1] != self.d:
            raise ExciseError(
                f"this map was fitted in {self.d} dimensions and got x of shape {tuple(x.shape)}; is it another site "
                f"or model?"
            )
        if not x.is_floating_point():
            raise ExciseError(f"x has dtype {x.dtype}; activations must be floating point")
        return x.to(torch.promote_types(x.dtype, torch.float32))


class ErasureMap(FittedMap):
    """A fitted map x -> x' within one space. It needs no label, treats every row alone and never changes its input."""

    @property
    def d_out(self) -> int:
        """Dimensions of the output."""
        return self.d

    @abstractmethod
    def _map(self, x: Tensor) -> Tensor:
        """x [..., d] in float32 or float64 -> x' of the same shape and dtype, in memory of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., d] -> x' [..., d_out] of the same dtype and device; half precision is computed in float32.

        Raises:
            ExciseError: another last dimension than at fit time, or integer input.
        """
        return self._map(self._checked(x)).to(x.dtype)


class EncodingMap(ErasureMap):
    """A map into a space of its own: its output cannot be put back into the model, and the size of its edit means
    nothing. It is graded on what probes read of the concept and of the tasks that were to be kept."""

    @property
    @abstractmethod
    def d_out(self) -> int:
        """Dimensions of the space it maps to."""

    @abstractmethod
    def _map(self, x: Tensor) -> Tensor:
        """x [..., d] in float32 or float64 -> [..., d_out], same dtype."""


class OracleMap(FittedMap):
    """A map that must be told the label of every row: a bound for others, never an eraser."""

    @abstractmethod
    def _map(self, x: Tensor, columns: Tensor) -> Tensor:
        """x [n, d] and the concept's columns [n, k], same dtype -> x' [n, d]."""

    def forward(self, x: Tensor, z: Tensor | npt.ArrayLike) -> Tensor:
        """x [n, d] with labels z in the form that was fitted -> x' [n, d].

        Raises:
            ExciseError: other dimensions than at fit time, or labels that were not there then.
        """
        labels = as_tensor(z).to(x.device)
        values = self.get_buffer("values")
        work = self._checked(x)
        if len(labels) != len(x):
            raise ExciseError(f"x has {len(x)} rows and z {len(labels)}; an oracle needs the label of every row")
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim == 1 and len(values):
            member = labels[:, None] == values
            if not member.any(dim=1).all():
                unknown = labels[~member.any(dim=1)][0].item()
                raise ExciseError(f"class {unknown} was not among the fitted ones, {values.tolist()}")
            columns = member.to(work.dtype)
        else:
            columns = labels.reshape(len(x), -1).to(work.dtype)
        return self._map(work, columns).to(x.dtype)
