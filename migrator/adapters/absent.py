"""What stands for a Milvus that is not there: the target of a plan that has none, or a source that is not needed."""

from __future__ import annotations

from typing import NoReturn


class AbsentMilvus:
    """Nobody asks it anything."""

    def __getattr__(self, name: str) -> NoReturn:
        """Tell a bug from a server that does not answer."""
        raise AssertionError(f"{name} was asked of a Milvus that is not there")
