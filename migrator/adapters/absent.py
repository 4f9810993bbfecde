"""What stands for the target in a plan that has none."""

from __future__ import annotations

from typing import NoReturn


class AbsentMilvus:
    """Nobody asks it anything: a plan without target has no step that would."""

    def __getattr__(self, name: str) -> NoReturn:
        """Tell a bug from a server that does not answer."""
        raise AssertionError(f"{name} was asked of a target, and the plan has none")
