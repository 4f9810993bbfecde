"""The messages and the stub that pymilvus generates, without the rest of pymilvus.

`pymilvus/__init__.py` imports its client, and with it pandas: three seconds of every command, for nothing it uses.
"""

from __future__ import annotations

import importlib.util
import sys
import types

__all__ = ["common_pb2", "milvus_pb2", "milvus_pb2_grpc", "schema_pb2"]


def _without_client() -> types.ModuleType | None:
    """An empty pymilvus, in which only its submodules are found; None if the whole of it is here already."""
    spec = importlib.util.find_spec("pymilvus")
    if "pymilvus" in sys.modules or spec is None or spec.submodule_search_locations is None:
        return None
    bare = types.ModuleType("pymilvus")
    bare.__path__ = spec.submodule_search_locations
    return bare


_bare = _without_client()
if _bare is not None:
    sys.modules["pymilvus"] = _bare
try:
    from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2
finally:
    if _bare is not None:  # whoever asks for pymilvus later gets all of it, with these same messages
        del sys.modules["pymilvus"]
