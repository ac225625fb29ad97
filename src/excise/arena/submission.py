"""What an author hands in: one Python file."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from excise.arena.verdict import Refused, Verdict

MOST_BYTES = 1_000_000
FUNCTIONS = ("fit", "transform")


@dataclass(frozen=True)
class Submission:
    """Source of a file that defines `fit(x, z, budget, seed)` and `transform(arrays, x)`; see docs/arena.md.

    It is never imported or run here, only parsed. What is graded is this source and no file that may change meanwhile.
    """

    source: bytes

    @cached_property
    def sha256(self) -> str:
        """Of the source, in hex."""
        return hashlib.sha256(self.source).hexdigest()

    @classmethod
    def read(cls, path: Path) -> Submission:
        """Reads a file, or the only .py file of a folder.

        Raises:
            Refused: no such file, several of them, too large, or not a sound file; see `check`.
        """
        if path.is_dir():
            found = sorted(path.glob("*.py"))
            if len(found) > 1:
                raise Refused(Verdict.TWO_FILES, f"{path} holds {', '.join(file.name for file in found)}")
            path = found[0] if found else path / "*.py"
        if not path.is_file():
            raise Refused(Verdict.NO_FILE, f"there is no file {path}")
        with path.open("rb") as file:  # No more than needed: the file may be endless.
            submission = cls(file.read(MOST_BYTES + 1))
        submission.check()
        return submission

    def check(self) -> None:
        """Judges the source without running it.

        Raises:
            Refused: over 1 MB, not UTF-8 text, a syntax error, or a function missing.
        """
        if len(self.source) > MOST_BYTES:
            raise Refused(Verdict.TOO_LARGE, f"the file has over {MOST_BYTES} bytes")
        try:
            text = self.source.decode()
        except UnicodeDecodeError as err:
            raise Refused(Verdict.NOT_TEXT, f"not UTF-8 at byte {err.start}") from err
        if "\0" in text:
            raise Refused(Verdict.NOT_TEXT, f"a NUL at byte {self.source.index(0)}")
        try:
            # As bytes: a coding line other than UTF-8 would be obeyed where the file is run.
            module = ast.parse(self.source)
        except SyntaxError as err:
            raise Refused(Verdict.SYNTAX_ERROR, f"line {err.lineno}: {err.msg}") from err
        except (RecursionError, MemoryError, ValueError) as err:
            raise Refused(Verdict.SYNTAX_ERROR, "nested too deeply to be parsed") from err
        defined = {name for node in module.body for name in _defines(node)}
        if missing := [name for name in FUNCTIONS if name not in defined]:
            raise Refused(Verdict.MISSING_FUNCTION, f"the file does not define {' and '.join(missing)}")


def _defines(node: ast.stmt) -> list[str]:
    """Names that a statement of a module binds, as far as functions are bound: def, assignment, import."""
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    return []
