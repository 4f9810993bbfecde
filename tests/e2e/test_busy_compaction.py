"""Sources that are compacted while they are written to and moved: the cut holds, or the collection fails and says so.

Servers of their own, with auto compaction as in production.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from migrator.lab import Settings
from tests.support.busy import arrived, busy, done_before, drop, move
from tests.support.compacting import compact
from tests.support.writers import assert_cut

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bench import Bench
    from tests.support.cli import Shell

pytestmark = pytest.mark.parametrize("bench", [Settings(auto_compaction=True)], indirect=True)

NAMES = ("cut_shards", "cut_words")


def compacting(bench: Bench, shell: Shell, moment: str, *, collect: bool = False) -> dict[str, str]:
    """Variables of `tests.support.compacting`."""
    return {
        "COMPACT_BEFORE": moment,
        "COMPACT_AT": bench.a.uri,
        "COMPACT_WHAT": ",".join(NAMES),
        "COMPACT_LOG": str(shell.folder / "compacted"),
    } | ({"COMPACT_AND_COLLECT": bench.a.root_path} if collect else {})


def gone(shell: Shell) -> int:
    """How many segments were compacted away in the midst of it."""
    lines = (shell.folder / "compacted").read_text(encoding="utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines)


@pytest.mark.parametrize(
    ("moment", "collect"),
    [
        pytest.param("list_segments", False, id="between-flush-and-listing"),
        pytest.param("copy_inside", False, id="between-listing-and-copy", marks=pytest.mark.exhaustive),
        pytest.param("copy_inside", True, id="and-collected", marks=pytest.mark.exhaustive),
    ],
)
def test_segments_are_compacted_away_in_the_midst(bench: Bench, tmp_path: Path, moment: str, collect: bool) -> None:  # noqa: FBT001 - a parameter of the test
    plan = f"{moment}-{collect}".lower().replace("_", "-")
    drop(bench, NAMES)
    shell = move(bench, tmp_path, plan, NAMES)
    with busy(bench, NAMES) as writers:
        before = done_before(writers)
        variables = compacting(bench, shell, moment, collect=collect)
        answer = shell.start("apply", "plan.yaml", "--yes", program="tests.support.compacting", **variables).finish()
    assert answer.code in {0, 51}, answer.text
    assert gone(shell) >= 2, "nothing was compacted"
    for name, found in arrived(bench, plan, NAMES).items():
        assert_cut(writers[name], before[name], found)


@contextmanager
def compacted_all_the_while(bench: Bench) -> Iterator[None]:
    """Nobody's source: everything is compacted again as soon as it was."""
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            compact(bench.a.uri, list(NAMES))
            time.sleep(0.2)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    ended.set()
    thread.join(60)


@pytest.mark.exhaustive
def test_compaction_never_ends(bench: Bench, tmp_path: Path) -> None:
    """What came along is of one moment; a collection that never held still says so, and comes later."""
    drop(bench, NAMES)
    shell = move(bench, tmp_path, "never", NAMES)
    with busy(bench, NAMES) as writers:
        before = done_before(writers)
        with compacted_all_the_while(bench):
            answer = shell.start("apply", "plan.yaml", "--yes").finish()
        if answer.code == 20:
            assert "did not hold still over" in answer.text
            answer = shell.start("apply", "--resume").finish()
    assert answer.code in {0, 51}, answer.text
    for name, found in arrived(bench, "never", NAMES).items():
        assert_cut(writers[name], before[name], found)
