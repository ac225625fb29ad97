"""The file in a model's reply."""

from __future__ import annotations

import re

ASK = """
Reply with the whole file in one block that starts with ```python and ends with ```, or leave it as `submission.py` in
the working folder. The last block counts."""

_BLOCK = re.compile(r"^```(?:python|py)?[ \t]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def source_in(reply: str) -> bytes:
    """The last fenced block, or the reply itself where there is none."""
    blocks = _BLOCK.findall(reply)
    return (blocks[-1] if blocks else reply).encode()
