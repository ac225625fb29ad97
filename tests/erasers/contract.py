"""What every eraser must do. Each check takes settings and raises AssertionError when the law is broken."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

import excise
from excise.measures.edit import row_dependence
from excise.types import Eraser, ExciseError
from tests.conftest import gaussian_classes

Check = Callable[[Eraser], None]


def _data(n: int = 300, d: int = 12) -> tuple[Tensor, Tensor]:
    return gaussian_classes(n, d)


def finite_shape_dtype(eraser: Eraser) -> None:
    """Output is finite, in the shape and dtype of the input, for any leading dimensions and any float type."""
    x, z = _data()
    erasure = eraser.fit(x, z)
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        for shape in ((12,), (7, 12), (2, 3, 12), (0, 12)):
            given = (
                x[:7]
                .to(dtype)[: max(shape[0], 1) if len(shape) == 2 else 6]
                .reshape(-1)[: int(np.prod(shape))]
                .reshape(shape)
            )
            out = erasure(given)
            assert out.shape == given.shape
            assert out.dtype == dtype
            assert out.device == given.device
            assert torch.isfinite(out).all()


def half_precision_fits(eraser: Eraser) -> None:
    """fp16 and bf16 activations can be fitted on, and give nearly the float64 map."""
    x, z = _data()
    for dtype, tolerance in ((torch.float16, 0.02), (torch.bfloat16, 0.15)):
        rounded = x.to(dtype)
        exact = eraser.fit(rounded.double(), z)(x)
        assert (eraser.fit(rounded, z)(x) - exact).abs().max() <= tolerance


def input_is_not_changed(eraser: Eraser) -> None:
    """Neither fitting nor applying touches the caller's tensors, and output never shares their memory."""
    x, z = _data()
    x_before, z_before = x.clone(), z.clone()
    out = eraser.fit(x, z)(x)
    out.mul_(0)
    assert torch.equal(x, x_before)
    assert torch.equal(z, z_before)


def rows_are_independent(eraser: Eraser) -> None:
    """A row's output does not depend on its batch."""
    x, z = _data()
    assert not row_dependence(eraser.fit(x, z), x[:100], x[100:])


def deterministic(eraser: Eraser) -> None:
    """Same settings, same data: same map, whatever the global generators were doing."""
    x, z = _data()
    torch.manual_seed(1)
    first = eraser.fit(x, z)(x)
    torch.manual_seed(99)
    np.random.seed(99)  # the global state that a careless eraser would use
    assert torch.equal(first, eraser.fit(x, z)(x))


def saved_and_loaded(eraser: Eraser) -> None:
    """A map on disk is the same map, its origin in the header."""
    x, z = _data()
    erasure = eraser.fit(x, z)
    with tempfile.TemporaryDirectory() as folder:
        excise.save(erasure, Path(folder) / "map.safetensors")
        back = excise.load(Path(folder) / "map.safetensors")
    assert torch.equal(back(x), erasure(x))
    assert back.provenance == erasure.provenance
    assert back.provenance["eraser"] == type(eraser).__name__
    assert back.provenance["n"] == 300


def no_label_at_apply_time(eraser: Eraser) -> None:
    """The map takes x and nothing else."""
    x, z = _data()
    assert list(inspect.signature(eraser.fit(x, z).forward).parameters) == ["x"]


def moves_with_the_origin(eraser: Eraser) -> None:
    """Shifting all activations shifts the erased ones: no eraser depends on where zero happens to be."""
    x, z = _data()
    shift = torch.linspace(-2, 2, x.shape[1], dtype=torch.float64)
    assert torch.allclose(eraser.fit(x + shift, z)(x + shift), eraser.fit(x, z)(x) + shift, atol=1e-5)


def scales_with_the_units(eraser: Eraser) -> None:
    """A concept of tiny scale is erased like any other: tolerances are relative."""
    x, z = _data()
    assert torch.allclose(eraser.fit(x * 1e-5, z)(x * 1e-5) * 1e5, eraser.fit(x, z)(x), atol=1e-4)


def guarantee_holds(eraser: Eraser) -> None:
    """On its fitted rows, the adversary that the guarantee names is at chance; before, it was not."""
    if eraser.guarantee == "none":
        return
    for k in (2, 3):
        x, z = gaussian_classes(300, 12, k=k)
        before = LogisticRegression(max_iter=5000).fit(x, z).score(x, z)
        erased = eraser.fit(x, z)(x)
        after = LogisticRegression(max_iter=5000).fit(erased, z).score(erased, z)
        assert before > 1 / k + 0.2, "the probe must have learnt something to lose"
        assert after <= 1 / k + 0.02


def handles_awkward_data(eraser: Eraser) -> None:
    """Fewer rows than dimensions, a constant dimension, a rare class: finite, and the guarantee if there is one."""
    wide, z_wide = gaussian_classes(40, 64)
    constant, z_constant = _data()
    constant[:, 3] = 7.0
    rare, _ = gaussian_classes(2000, 12)
    z_rare = torch.zeros(2000, dtype=torch.int64)
    z_rare[:12] = 1
    rare[:12] += 2.0
    for x, z in ((wide, z_wide), (constant, z_constant), (rare, z_rare)):
        erased = eraser.fit(x, z)(x)
        assert torch.isfinite(erased).all()
        if eraser.guarantee != "none":
            gap = (erased[z == 1].mean(dim=0) - erased[z == 0].mean(dim=0)).norm()
            assert gap <= 1e-6 * (x[z == 1].mean(dim=0) - x[z == 0].mean(dim=0)).norm()


def refuses_bad_input(eraser: Eraser) -> None:
    """Clear errors, never a silent half-erasure."""
    x, z = _data()
    nan = x.clone()
    nan[5, 2] = torch.nan
    cases = [
        (nan, z, "row 5"),
        (x, torch.zeros_like(z), "1 class"),
        (x[:0], z[:0], "empty"),
        (x, z[:-1], "300 rows"),
        (x.long(), z, "floating"),
        (x[None], z, "shape"),
        (x, (z + 3 * (torch.arange(300) % 3)).double(), "whole numbers as floats"),
    ]
    for bad_x, bad_z, words in cases:
        with pytest.raises(ExciseError, match=words):
            eraser.fit(bad_x, bad_z)
    erasure = eraser.fit(x, z)
    with pytest.raises(ExciseError, match="12 dimensions"):
        erasure(x[:, :5])
    with pytest.raises(ExciseError, match="floating"):
        erasure(x.long())


CHECKS: tuple[Check, ...] = (
    finite_shape_dtype,
    half_precision_fits,
    input_is_not_changed,
    rows_are_independent,
    deterministic,
    saved_and_loaded,
    no_label_at_apply_time,
    moves_with_the_origin,
    scales_with_the_units,
    guarantee_holds,
    handles_awkward_data,
    refuses_bad_input,
)
