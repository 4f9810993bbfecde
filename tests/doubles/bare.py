"""The messages of pymilvus, without the client that they come with, which takes seconds: to be imported before them."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType

_spec = find_spec("pymilvus")
assert _spec is not None
_bare = ModuleType("pymilvus")
_bare.__path__ = list(_spec.submodule_search_locations or ())
sys.modules["pymilvus"] = _bare
