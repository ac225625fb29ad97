"""Settings of a method (`Eraser`, `Oracle`), whose `fit` gives a map."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NoReturn, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor

from excise.types.errors import ExciseError
from excise.types.inputs import check_activations, check_background
from excise.types.labels import Kind, Labels
from excise.types.maps import EncodingMap, ErasureMap, FittedMap, OracleMap

Guarantee = Literal["none", "linear", "quadratic", "total"]
Accepts = Literal["binary", "classes", "any"]
_NEEDS = {"binary": "two classes", "classes": "classes"}


Fitted = TypeVar("Fitted", bound=FittedMap)


@dataclass(frozen=True)
class Method(ABC):
    """What erasers and oracles have in common: settings, and how they introduce themselves."""

    title: ClassVar[str]
    """Name in tables and plots."""
    idea: ClassVar[str]
    """What it does, in one line of the table of erasers."""
    source: ClassVar[str]
    """Where the formula comes from."""
    accepts: ClassVar[Accepts] = "any"
    """Concepts that it can erase: two classes, any number of classes, or anything (also continuous and multi-column
    z)."""
    min_class_rows: ClassVar[int] = 1
    """Rows that it needs of every class."""
    control: ClassVar[bool] = False
    """A control is always on the board and never called the best."""

    @property
    def name(self) -> str:
        """Name in records and on the command line."""
        return type(self).__name__

    def settings(self) -> dict[str, Any]:
        """The settings as plain values; with `name` they say which method this is."""
        return asdict(self)

    def _read(self, x: Tensor | npt.ArrayLike, z: Tensor | npt.ArrayLike) -> tuple[Tensor, Labels]:
        """Checked input, labels on x's device."""
        x = check_activations(x)
        labels = Labels.of(z, len(x)).to(x.device)
        self._check(labels)
        return x, labels

    def _check(self, labels: Labels) -> None:
        """Raises ExciseError if the method cannot use these labels, with the names of those that can."""
        self._check_kind(labels.kind)
        if labels.classes is None or labels.values is None:
            return
        counts = torch.bincount(labels.classes, minlength=len(labels.values))
        fewest = int(counts.min())
        if fewest < self.min_class_rows:
            can = _names(type(self), lambda m: m.min_class_rows <= fewest)
            raise ExciseError(
                f"class {labels.values[counts.argmin()].item()} has {fewest} rows; {self.name} needs "
                f"{self.min_class_rows} of each class. Merge the class with another, or use one of: {can}"
            )

    def _check_kind(self, kind: Kind) -> None:
        """As `_check`, for the kind alone."""
        if self.accepts == "any" or kind == "binary" or (self.accepts, kind) == ("classes", "classes"):
            return
        given = "continuous, or several classes hold in one row" if kind == "continuous" else "more classes"
        can = _names(type(self), lambda m: m.accepts == "any" or (m.accepts, kind) == ("classes", "classes"))
        raise ExciseError(f"{self.name} needs {_NEEDS[self.accepts]} and z is {given}; these can: {can}")

    def _signed(self, erasure: Fitted, n: int, d: int, **more: int) -> Fitted:
        """The map with its provenance."""
        erasure.provenance = {"eraser": self.name, "settings": self.settings(), "n": n, "d": d, **more}
        return erasure


@dataclass(frozen=True)
class Eraser(Method):
    """Settings of one method. `fit` returns the result and leaves the settings as they are.

    A new eraser is a frozen dataclass with `_fit`; one that can keep a task label has `_fit_keeping` too,
    one that learns from unlabelled rows of other texts `_fit_beside`.
    """

    guarantee: ClassVar[Guarantee] = "none"
    """What holds by construction on the fitted rows: "linear" (cov(x', z) = 0, so a linear probe trained with a convex
    loss does no better than a constant), "quadratic" (class means and covariances agree), "total" (nothing is left)."""
    waivers: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Laws of the contract (functions of tests/erasers/contract.py) that the method cannot keep, with the reason."""

    @classmethod
    def keeps_task(cls) -> bool:
        """Whether `fit` takes a task label y whose linear relation to x, or whose probe, it preserves."""
        return cls._fit_keeping is not Eraser._fit_keeping

    def reads_background(self) -> bool:
        """Whether `fit` learns from unlabelled activations of other texts too."""
        return type(self)._fit_beside is not Eraser._fit_beside

    @classmethod
    def streams(cls) -> bool:
        """Whether it can be fitted from moments, and so from batches or shards."""
        return False

    def fit(
        self,
        x: Tensor | npt.ArrayLike,
        z: Tensor | npt.ArrayLike,
        y: Tensor | npt.ArrayLike | None = None,
        groups: Tensor | npt.ArrayLike | None = None,
        background: Tensor | npt.ArrayLike | None = None,
    ) -> ErasureMap:
        """Fits on activations x [n, d] and the concept z ([n] classes or values, [n, k] columns).

        Statistics are computed in float64 whatever the dtype of x; the map lives on x's device.

        Args:
            y: labels of a task to keep, in the same forms as z; for methods whose `keeps_task()` is true.
            groups: [n] whole numbers, the same for rows that belong together, such as two phrasings of one text. Used
                by methods that learn from rows held out (`BudgetedTransport`): a row whose twin was seen is not new.
            background: activations [m, d] of other texts at the same site, without labels; for methods whose
                `reads_background()` is true. Thousands help, the nearer to x in kind the better; none may be a
                row that the map is tested on. A method may leave out one that would do harm, with a warning; the map's
                `provenance` says how many rows it learned from.

        Raises:
            ExciseError: bad input (see `excise.types.inputs`), or a z, y or groups that the method cannot use.
        """
        x, labels = self._read(x, z)
        if groups is not None:
            labels = labels.in_groups(groups)
        if background is not None:
            self._check_beside(y)
            others = check_background(background, x).double().to(x.device)
            beside = self._fit_beside(x.double(), labels, others)
            if beside is not None:
                return self._signed(beside, *x.shape, background=len(others))
            warnings.warn(
                "the background was not used: rows of x held out are less likely under it. Give texts nearer in kind",
                stacklevel=2,
            )
            return self._signed(self._fit_checked(x, labels), *x.shape, background=0)
        if y is None:
            return self._signed(self._fit_checked(x, labels), *x.shape)
        if not self.keeps_task():
            self._refuse_task()
        return self._signed(self._fit_keeping(x.double(), labels, Labels.of(y, len(x), "y").to(x.device)), *x.shape)

    def _check_beside(self, y: Tensor | npt.ArrayLike | None) -> None:
        """Raises ExciseError if the method cannot learn from a background, or not while it keeps a task."""
        if not self.reads_background():
            can = _names(type(self), lambda m: issubclass(m, Eraser) and m._fit_beside is not Eraser._fit_beside)
            raise ExciseError(f"{self.name} cannot learn from a background; these can: {can}")
        if y is not None:
            self._refuse_task()

    def _refuse_task(self) -> NoReturn:
        can = _names(type(self), lambda m: issubclass(m, Eraser) and m.keeps_task())
        raise ExciseError(f"{self.name} cannot keep a task y; these can: {can}")

    def _fit_checked(self, x: Tensor, z: Labels) -> ErasureMap:
        """x in its own dtype, for methods that need no copy of it in float64."""
        return self._fit(x.double(), z)

    @abstractmethod
    def _fit(self, x: Tensor, z: Labels) -> ErasureMap:
        """x is checked, float64 [n, d]; z is of a kind that `accepts` names."""

    def _fit_keeping(self, x: Tensor, z: Labels, y: Labels) -> ErasureMap:
        """As `_fit`, and keeps what x says of y."""
        raise NotImplementedError

    def _fit_beside(self, x: Tensor, z: Labels, background: Tensor) -> ErasureMap | None:
        """As `_fit`, and learns from other rows [m, d] without labels; None if these would do harm."""
        raise NotImplementedError


@dataclass(frozen=True)
class Encoder(Eraser):
    """Settings of a method whose map goes into a space of its own; see `EncodingMap`."""

    @abstractmethod
    def _fit(self, x: Tensor, z: Labels) -> EncodingMap:
        """As `Eraser._fit`."""


@dataclass(frozen=True)
class Oracle(Method):
    """Settings of a method that needs the label of every row when it is applied: own type, own board."""

    def fit(self, x: Tensor | npt.ArrayLike, z: Tensor | npt.ArrayLike) -> OracleMap:
        """As `Eraser.fit`."""
        x, labels = self._read(x, z)
        return self._signed(self._fit(x.double(), labels), *x.shape)

    @abstractmethod
    def _fit(self, x: Tensor, z: Labels) -> OracleMap:
        """x is checked, float64 [n, d]; z is of a kind that `accepts` names."""


def _names(asked: type[Method], fits: Callable[[type[Method]], bool]) -> str:
    """Names of the methods of the same sort that fit."""
    # Late and by name: types import no other room, and only an error message needs to know what is there.
    erasers = import_module("excise.erasers")
    every = erasers.all_oracles() if issubclass(asked, Oracle) else erasers.all_erasers()
    return ", ".join(name for name, kind in every.items() if fits(kind) and not kind.control) or "none"
