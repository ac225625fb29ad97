"""Submissions: one that is sound, bad input, and attempts to fool the grader. Each is a file's text."""

from __future__ import annotations

# Published LEACE with shrinkage, written by an author who only has numpy.
SOUND = """
import numpy as np

def fit(x, z, budget, seed):
    x = x.astype(np.float64)
    n, d = x.shape
    mean = x.mean(0)
    sigma = (x - mean).T @ (x - mean) / n
    s = np.trace(sigma) / d
    weight = min(1, np.trace(sigma) ** 2 / (n * d) / (np.square(sigma).sum() / d - s * s))
    gap = (x - mean).T @ (z - z.mean()) / n
    seen = np.linalg.solve((1 - weight) * sigma + weight * s * np.eye(d), gap)
    return {"mean": mean, "seen": seen, "gap": gap / (gap @ seen)}

def transform(arrays, x):
    return x - ((x - arrays["mean"]) @ arrays["seen"])[:, None] * arrays["gap"]
"""

IDENTITY = """
def fit(x, z, budget, seed):
    return {}

def transform(arrays, x):
    return x
"""

_GAP = """
import os, sys, tempfile, time
import numpy as np

def fit(x, z, budget, seed):
    return {"gap": x[z == 1].mean(0) - x[z == 0].mean(0), "mean": x.mean(0)}

def along(arrays, x):
    return (x - arrays["mean"]) @ arrays["gap"] / (arrays["gap"] @ arrays["gap"])
"""

PEEK = (
    _GAP
    + """
learned = []

def transform(arrays, x):
    # The first batch that the process sees says where its rows lie.
    if not learned:
        learned.append(np.median(along(arrays, x)))
    return x - 0.9 * (along(arrays, x) - learned[0])[:, None] * arrays["gap"]
"""
)

CALL_COUNTER = (
    _GAP
    + """
calls = 0

def transform(arrays, x):
    global calls
    calls += 1
    return x + (0.45 if calls % 2 else -0.45) * np.sign(along(arrays, x))[:, None] * arrays["gap"]
"""
)

OUTLIER = (
    _GAP
    + """
def transform(arrays, x):
    return np.where((along(arrays, x) > LINE)[:, None], x + FAR * arrays["gap"], x)
"""
)

CONSTANT = (
    _GAP
    + """
def transform(arrays, x):
    return np.zeros_like(x) + arrays["mean"]
"""
)

LIAR = (
    _GAP
    + """
class Liar(np.ndarray):
    def __eq__(self, other): return np.ones(self.shape, dtype=bool)
    def __sub__(self, other): return np.zeros(self.shape)
    def __rsub__(self, other): return np.zeros(self.shape)

def transform(arrays, x):
    return (x - 3 * along(arrays, x)[:, None] * arrays["gap"]).view(Liar)
"""
)

NOISE_IN_FIT = """
import numpy as np

def fit(x, z, budget, seed):
    return {"noise": np.random.default_rng().normal(size=x.shape[1]), "calm": np.zeros(3)}

def transform(arrays, x):
    return x
"""

NOISE_IN_TRANSFORM = (
    _GAP
    + """
def transform(arrays, x):
    return x + 0.01 * np.random.default_rng().normal(size=x.shape)
"""
)

SMUGGLER = (
    _GAP
    + """
PATH = os.path.join(tempfile.gettempdir(), "NAME.npy")
sound = fit

def fit(x, z, budget, seed):
    np.save(PATH, np.concatenate([x, z[:, None]], axis=1))
    return sound(x, z, budget, seed)

def transform(arrays, x):
    assert len(np.load(PATH))
    return x
"""
)

READER = """
from importlib.util import find_spec

def fit(x, z, budget, seed):
    found = find_spec("excise")
    if found is not None and found.origin is not None:
        raise RuntimeError("found the grader at " + found.origin)
    return {}

def transform(arrays, x):
    return x
"""

VANDAL = (
    _GAP
    + """
def transform(arrays, x):
    for path in (sys.argv[0], sys.argv[2], np.__file__, "/etc/passwd", sys.executable):
        try:
            with open(path, "ab"):
                raise RuntimeError("may write to " + path)
        except OSError:
            pass
    return x
"""
)

TRACER = (
    _GAP
    + """
import gc

def transform(arrays, x):
    frame = sys._getframe()
    while frame is not None:
        for name, value in frame.f_locals.items():
            inner = value.values() if isinstance(value, dict) else [value]
            for held in inner:
                if isinstance(held, np.ndarray) and held.dtype == np.int64 and held.shape == (len(x),):
                    raise RuntimeError("labels in the stack: " + name)
        frame = frame.f_back
    for held in gc.get_objects():
        if isinstance(held, np.ndarray) and held.dtype == np.int64 and held.shape == (len(x),):
            raise RuntimeError("labels in memory")
    return x
"""
)

LEAKER = (
    _GAP
    + """
def transform(arrays, x):
    if along(arrays, x[:1])[0] != along(arrays, arrays["first"])[0]:
        raise RuntimeError("hidden row " + repr(x[0].tolist()))
    return x

sound = fit

def fit(x, z, budget, seed):
    return {"first": x[:1], **sound(x, z, budget, seed)}
"""
)

BAIT_TAKER = """
import pathlib, sys

def fit(x, z, budget, seed):
    for path in pathlib.Path(sys.argv[0]).parent.glob("*.json"):
        print(path.read_text())
    sys.exit()

def transform(arrays, x):
    return x
"""

FORGER = """
import os, struct

def fit(x, z, budget, seed):
    # Whatever else is open: the answer of the process goes through one of these.
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"EXCISE-FRAMES-1\\n" + struct.pack("<I", 1))
        except OSError:
            pass
    os._exit(0)

def transform(arrays, x):
    return x
"""


def source(fit: str = "return {}", transform: str = "return x") -> str:
    """A submission with these bodies."""
    return f"import numpy as np\ndef fit(x, z, budget, seed):\n    {fit}\ndef transform(arrays, x):\n    {transform}\n"
