"""Runs inside: `python -P child.py fit|transform FRAMES.PY`, arrays on stdin and on the descriptor that was stdout.

It never imports excise. Nothing that it says is believed: its exit code and its arrays are
all the author's to forge, and the grader takes them as the author's word, never as its own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

# Exit codes. Python itself ends with 1 or 2.
RAISED = 10
MISSING = 11
OUT_OF_MEMORY = 12
NOT_ARRAYS = 13
NOT_ONE_ARRAY = 14

ARRAYS = "array:"
"""Prefix of the fitted arrays' names, which leaves the other names to the protocol."""
NAME = "submission"


def main(mode: str, frames: Any) -> int:
    """Runs `fit` or `transform` of the submission; returns an exit code and writes arrays where that is 0."""
    result = os.dup(1)
    # What the author prints must not mix with the arrays.
    os.dup2(2, 1)
    given = frames.unpack(sys.stdin.buffer.read())
    path = Path(tempfile.mkdtemp()) / f"{NAME}.py"
    path.write_bytes(given["source"].tobytes())
    try:
        module = load(path, NAME)
        function = getattr(module, "fit" if mode == "fit" else "transform", None)
        if not callable(function):
            print("fit and transform must be functions", file=sys.stderr)
            return MISSING
        out = fit(function, given) if mode == "fit" else transform(function, given)
    except MemoryError:
        show(path)
        return OUT_OF_MEMORY
    except BaseException:  # Also SystemExit, which would end the process as if all were well.
        show(path)
        return RAISED
    return write(frames, result, out, NOT_ARRAYS if mode == "fit" else NOT_ONE_ARRAY)


def load(path: Path, name: str) -> ModuleType:
    """A module imported from its own file."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def fit(function, given):  # type: ignore[no-untyped-def]
    """Fitted arrays by prefixed name, or what the author returned instead of a dict."""
    arrays = function(given["x"], given["z"], float(given["budget"]), int(given["seed"]))
    if not isinstance(arrays, dict) or not all(isinstance(name, str) for name in arrays):
        return None
    return {ARRAYS + name: value for name, value in arrays.items()}


def transform(function, given):  # type: ignore[no-untyped-def]
    """The edited rows under the one name "x"."""
    arrays = {name.removeprefix(ARRAYS): value for name, value in given.items() if name.startswith(ARRAYS)}
    return {"x": function(arrays, given["x"])}


def write(frames: Any, result: int, out: object, fault: int) -> int:
    """Sends the arrays; the exit code `fault` says that they are none."""
    try:
        if not isinstance(out, dict):
            raise TypeError("fit must return a dict of names to arrays")
        stream = frames.pack({name: np.asarray(value) for name, value in out.items()})
    except MemoryError:
        return OUT_OF_MEMORY
    except BaseException as err:
        # The author's objects may raise anything when they are turned into arrays.
        print(f"not numeric arrays: {err}", file=sys.stderr)
        return fault
    with os.fdopen(result, "wb") as file:
        file.write(stream)
    return 0


def show(path: Path) -> None:
    """The traceback on stderr, from the author's own file on."""
    kind, error, trace = sys.exc_info()
    while trace is not None and trace.tb_frame.f_code.co_filename != str(path) and trace.tb_next is not None:
        trace = trace.tb_next
    traceback.print_exception(kind, error, trace)


if __name__ == "__main__":
    code = main(sys.argv[1], load(Path(sys.argv[2]), "frames"))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # The author may have closed or replaced them.
            stream.flush()
    # Threads that the author left behind must not keep the process, nor handlers at exit change its answer.
    os._exit(code)
