"""Fixtures of tests on real servers, and the order of all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bench import bench, running_bench

__all__ = ["bench", "running_bench"]

_SLOW_FIRST = ("faults", "e2e", "contract", "browser", "unit")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders of slow files come first, so that no worker is left with one when the others are done."""
    folder = len(Path(__file__).parent.parts)
    items.sort(key=lambda item: _SLOW_FIRST.index(item.path.parts[folder]))
