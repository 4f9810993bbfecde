"""Sources that are written to as fast as they can take it, all through a run: the cut holds to the row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.busy import KINDS, apply, arrived, busy, done_before, drop, move
from tests.support.writers import assert_cut, plain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bench import Bench


def test_the_cut_holds_to_the_row(bench: Bench, tmp_path: Path) -> None:
    """Three collections, five writers, inserts, upserts and deletes of old and new keys."""
    names = tuple(KINDS)
    drop(bench, names)
    shell = move(bench, tmp_path, "cut", names)
    with busy(bench, names) as writers:
        before = done_before(writers)
        apply(shell, "plan.yaml", "--yes")
    for name, found in arrived(bench, "cut", names).items():
        cuts = assert_cut(writers[name], before[name], found)
        assert all(cut.stop - 1 < len(w.log) for cut, w in zip(cuts, writers[name], strict=True)), "it never ran on"


@pytest.mark.exhaustive
@pytest.mark.parametrize("turn", range(6))
def test_the_cut_holds_time_and_again(bench: Bench, tmp_path: Path, turn: int) -> None:
    names = tuple(KINDS)
    drop(bench, names)
    shell = move(bench, tmp_path, f"again-{turn}", names)
    with busy(bench, names) as writers:
        before = done_before(writers)
        apply(shell, "plan.yaml", "--yes")
    for name, found in arrived(bench, f"again-{turn}", names).items():
        assert_cut(writers[name], before[name], found)


def test_without_a_flush_what_is_stored_comes_along(bench: Bench, tmp_path: Path) -> None:
    """`flush: never`: no cut is exact, the plan says so, and yet no row is invented, torn or doubled."""
    names = ("cut_words",)
    drop(bench, names)
    shell = move(bench, tmp_path, "unflushed", names, "{flush: never}")
    with busy(bench, names) as writers:
        assert "o flush: rows and deletes that are not flushed do not come along" in shell.run("plan", "plan.yaml").out
        apply(shell, "plan.yaml", "--yes")
    found = arrived(bench, "unflushed", names)["cut_words"]
    (writer,) = writers["cut_words"]
    written = {(row["word"], row["version"]): row for operation in writer.log for row in operation.rows or ()}
    assert found.count == len(found.rows) > 0
    assert all(plain(row) == written[key, row["version"]] for key, row in found.rows.items())
