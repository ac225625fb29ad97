"""Where in a model activations are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from excise.types.errors import ExciseError

Pooling = Literal["mean", "last", "all"]


@dataclass(frozen=True)
class Site:
    """One place in a model: the output of a module, pooled over tokens.

    Attributes:
        module: path of the module as `model.named_modules()` prints it ("layers.14", "encoder.layer.3"); a bare number
            ("14") means that block of the model's main stack, counted from 0.
        pooling: "mean" over all tokens but the first and any other attention sink (tokens whose activations are about
            100 times larger than the rest and would drown it), "last" token, or "all" tokens, one row each.
    """

    module: str
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        if not self.module:
            raise ExciseError("a site needs a module path, for instance 'layers.14:mean'")
        if self.pooling not in get_args(Pooling):
            raise ExciseError(f"unknown pooling {self.pooling!r}; choose one of {', '.join(get_args(Pooling))}")

    @classmethod
    def parse(cls, text: str) -> Site:
        """Reads "layers.14:mean"; the pooling may be left out."""
        module, _, pooling = text.partition(":")
        return cls(module, pooling or "mean")  # type: ignore[arg-type]  # checked in __post_init__

    def __str__(self) -> str:
        return f"{self.module}:{self.pooling}"
