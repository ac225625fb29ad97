"""The map of the code: imports run one way."""

from __future__ import annotations

import ast
from pathlib import Path

import excise

ROOT = Path(excise.__file__).parent
# Each room may import the rooms named here, and itself.
MAY_IMPORT = {
    "types": set(),
    "stats": {"types"},
    "erasers": {"types", "stats"},
    "probes": {"types", "stats"},
    "concepts": {"types"},
    "models": {"types"},
    "measures": {"types", "stats", "erasers", "probes"},
    "bench": {"types", "stats", "erasers", "probes", "measures"},
    "diagnose": {"types", "stats", "erasers", "probes", "measures", "bench"},
    "arena": {"types", "stats", "erasers", "probes", "concepts", "models", "measures", "bench"},
    "report": {"types", "stats", "erasers", "probes", "measures", "bench", "diagnose", "arena"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)
# Files at the top are doors for users: they may look into the rooms, nothing may look at them.
DOORS = {"__init__", "sklearn"}


def rooms_imported(source: str) -> set[str]:
    """Rooms that a file imports anywhere, also inside functions."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import: write the full path"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return {name.split(".")[1] if "." in name else "__init__" for name in names if name.split(".")[0] == "excise"}


def upward(room: str, source: str) -> set[str]:
    return rooms_imported(source) - MAY_IMPORT[room] - {room}


def test_imports_run_one_way() -> None:
    wrong = {}
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).parts[0]
        if room.removesuffix(".py") not in DOORS and (found := upward(room, path.read_text())):
            wrong[str(path.relative_to(ROOT))] = found
    assert not wrong


def test_every_room_is_on_the_map() -> None:
    assert {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} == set(MAY_IMPORT)


def test_an_upward_import_would_be_seen() -> None:
    assert upward("stats", "def f():\n    from excise.bench.grade import grade") == {"bench"}
    assert upward("models", "import excise.stats.moments") == {"stats"}
    assert upward("erasers", "from excise import load") == {"load"}
    assert not upward("bench", "from excise.types import Site")


def test_files_stay_small_enough_to_read() -> None:
    long = {str(p.relative_to(ROOT)): n for p in ROOT.rglob("*.py") if (n := len(p.read_text().splitlines())) > 300}
    assert not long
