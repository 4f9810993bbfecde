"""`python -m tests.doubles`: the double, without the client that its messages come with, which takes seconds."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType


def _leave_out_client() -> None:
    """Let `pymilvus` be a bare package: of it only the generated messages are needed."""
    spec = find_spec("pymilvus")
    assert spec is not None
    bare = ModuleType("pymilvus")
    bare.__path__ = list(spec.submodule_search_locations or ())
    sys.modules["pymilvus"] = bare


if __name__ == "__main__":
    _leave_out_client()
    from tests.doubles.milvus import main

    main()
