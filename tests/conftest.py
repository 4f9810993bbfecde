"""Fixtures of tests on real servers, and the order of all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.bench import bench, running_bench, stop_running

__all__ = ["bench", "running_bench"]

_SLOW_FIRST = ("faults", "e2e", "contract", "browser", "unit")
_SLOWEST = (
    "test_kills",
    "test_migration",
    "test_interruptions",
    "test_replace",
    "test_again",
    "test_verification",
    "test_backups",
    "test_words_of_mappings",
    "test_busy_cut",
    "test_newer_targets",
    "test_foreign_backups",
    "test_storages",
    "test_snapshots_between_doubles",
    "test_rbac",
    "test_older_source",
    "test_moves_between_doubles",
    "test_kills_doubles",
)
"""Files of a minute and more: whoever begins one last leaves the other workers idle at the end."""
_FILES_ON_SERVERS = pytest.StashKey[frozenset[Path]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Files that need the shared servers come first, and these end when the last is done; of each, the slow ones do."""
    on_servers = frozenset(item.path for item in items if _needs_servers(item))
    config.stash[_FILES_ON_SERVERS] = on_servers
    items.sort(key=lambda item: (item.path not in on_servers, *_slowness(item.path)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Servers that nobody needs any more take a fifth of a core from the tests that are left."""
    if item.path not in item.config.stash[_FILES_ON_SERVERS]:
        stop_running()


def _needs_servers(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    has_its_own = callspec is not None and "bench" in callspec.params
    return not has_its_own and not {"bench", "subject"}.isdisjoint(getattr(item, "fixturenames", ()))


def _slowness(path: Path) -> tuple[int, int]:
    folder = path.parts[len(Path(__file__).parent.parts)]
    place = _SLOWEST.index(path.stem) if path.stem in _SLOWEST else len(_SLOWEST)
    return place, _SLOW_FIRST.index(folder)
