"""Language models as authors, by Inspect AI (https://inspect.aisi.org.uk); needs the extra `arena`.

Nothing of it is imported with `excise.arena`: only the modules of this folder need the extra.
"""

import importlib.util

from excise.types import ExciseError


def require_inspect() -> None:
    """Raises ExciseError where Inspect is not installed."""
    if importlib.util.find_spec("inspect_ai") is None:
        raise ExciseError("agents need Inspect AI: pip install 'excise[arena]'")
