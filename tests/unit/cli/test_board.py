"""What is shown of a run under way fits the screen, says what is waited for, and is plain where it has to be."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from migrator.cli.board import board, clock_time, progress_text, step_words, time_left
from migrator.errors import ListingOutdated, MilvusUnavailable
from migrator.running.events import Progress
from migrator.running.track import Track
from migrator.steps.base import Outcome
from tests.support.builders import FakeClock
from tests.support.stage_of_lines import LONG, a_plan

if TYPE_CHECKING:
    from migrator.planning.plan import Plan
    from migrator.steps.base import Step

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3[0-9]|4[0-9]|9[0-7])m")


def step_of(plan: Plan, kind: str, number: int = 0) -> Step:
    return next(s for s in plan.steps if s.kind == kind and s.collection == plan.collections[number].label)


@pytest.mark.parametrize("width", [20, 40, 80, 160])
@pytest.mark.parametrize("count", [3, 50])
def test_it_fits_any_screen(tmp_path: Path, count: int, width: int) -> None:
    plan, clock = a_plan(tmp_path, count), FakeClock()
    track = Track(plan, clock)
    for number in range(count):
        track.step_started(step_of(plan, "copy_segments", number))
    lines = board(track.view(), {plan.collections[1].label: "本の山" * 20}, width=width, height=24)
    assert len(lines) == min(count + 1, 24 - 3)
    assert all(cell_len(line.plain) <= width for line in lines)
    assert count < 20 or f"{count - 19} more under way"[:10] in lines[-2].plain


def test_a_line_tells_collection_share_and_what_goes_on(tmp_path: Path) -> None:
    plan, clock = a_plan(tmp_path, 2), FakeClock()
    track = Track(plan, clock)
    copying = step_of(plan, "copy_segments", 1)
    track.step_started(copying)
    for second in range(5):
        told = Progress(
            message="copying",
            done=second * 10,
            total=120,
            unit="objects",
            size_bytes=second << 20,
            total_bytes=12 << 20,
        )
        track.step_progressed(copying, told)
        clock.sleep(1.0)
    line, run = board(track.view(), {copying.collection: "books → books_bak"}, width=120, height=24)
    assert line.plain.startswith("  books → books_bak  ╌")
    assert "copying 40 of 120 objects, 4.0 of 12.0 MiB, 819 KiB/s" in line.plain
    assert line.plain.endswith("  0:05")
    assert "0 of 2 done" in run.plain


def test_what_is_waited_for_is_said_in_words(tmp_path: Path) -> None:
    plan, clock = a_plan(tmp_path, 2), FakeClock()
    track, indexing = Track(plan, clock), step_of(plan, "create_index")
    track.step_started(indexing)

    def words() -> str:
        return step_words(track.view().running[0])

    assert words() == indexing.describe()
    track.step_progressed(indexing, Progress(message="target builds indexes", done=4_200, total=6_000, unit="rows"))
    assert words() == "70 %: target builds indexes, 4,200 of 6,000 rows"
    track.step_waits(indexing, MilvusUnavailable("connection refused"), 1.0)
    track.step_waits(indexing, MilvusUnavailable("connection refused"), 6.0)
    clock.sleep(2.0)
    assert words() == "attempt 3 in 4 s: connection refused"
    track.step_progressed(indexing, Progress(message="target builds indexes", done=40, total=100, unit="%"))
    assert words() == "40 %: target builds indexes"


def test_shares_grow_and_a_range_is_told(tmp_path: Path) -> None:
    plan, clock = a_plan(tmp_path, 3), FakeClock()
    chain = [step.key for step in plan.steps]
    track = Track(plan, clock, finished=chain[:1])
    before = track.view()
    assert (before.steps_done, before.collections, before.collections_done) == (1, 3, 0)
    for step in plan.steps[1:]:
        track.step_started(step)
        clock.sleep(3.0)
        track.step_finished(step, Outcome(rows=3, objects=5, size_bytes=70))
        assert track.view().share > before.share
        before = track.view()
    assert (before.share, before.collections_done, before.rows, before.objects) == (1.0, 3, 9, 15)
    assert time_left(before.fast_s, before.slow_s) == "about 1 s left"


def test_what_is_done_anew_is_not_done(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, 1)
    track, dump, copy = Track(plan, FakeClock()), step_of(plan, "dump_meta"), step_of(plan, "copy_segments")
    track.step_started(dump)
    track.step_finished(dump, Outcome())
    track.step_started(copy)
    track.step_renewed(copy, ListingOutdated("it vanished", renews=(dump.key, copy.key)))
    assert (track.view().steps_done, track.view().share) == (0, 0.0)


@pytest.mark.parametrize(
    ("fast_s", "slow_s", "said"),
    [(None, None, ""), (170.0, 200.0, "about 3 min left"), (120.0, 600.0, "2 min to 10 min left")],
)
def test_time_left(fast_s: float | None, slow_s: float | None, said: str) -> None:
    assert time_left(fast_s, slow_s) == said
    assert [clock_time(seconds) for seconds in (45, 3_723)] == ["0:45", "1:02:03"]


def test_import_jobs_are_counted_in_words() -> None:
    told = Progress(message="import 2 of 7, 40 %, job 4512", done=12, total=70, unit="rows", jobs=7)
    assert progress_text(told) == "import 2 of 7, 40 %, job 4512; 12 of 70 rows"


# -- a real terminal --------------------------------------------------------------------------------------------------


def on_a_terminal(columns: int, rows: int, **variables: str) -> str:
    """All that was written to a terminal of that size, while a run of many collections was played."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    bare = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "LINES", "CI"}}
    command = [sys.executable, "-m", "tests.support.stage_of_lines", "text"]
    environment = bare | {"TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[3])} | variables
    with subprocess.Popen(  # noqa: S603 - our own
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # so Linux tells that nobody has the other side any more
                break
            if not piece:
                break
            written += piece
    os.close(ours)
    assert process.returncode == 0, written.decode()
    return written.decode()


def visible_lines(written: str) -> list[str]:
    return [ESCAPES.sub("", line) for line in re.split(r"[\r\n]+", written)]


def test_on_a_small_terminal_no_line_is_too_wide_and_no_frame_too_high() -> None:
    written = on_a_terminal(60, 12)
    lines = visible_lines(written)
    assert max(map(cell_len, lines)) <= 60
    assert max(len(moved) for moved in re.findall(r"(?:\x1b\[1A\x1b\[2K)+", written)) // len("\x1b[1A\x1b[2K") < 12
    assert COLOURS.search(written)
    assert any("more under way" in line for line in lines)
    assert any(line.startswith("  ✓ books_0001  6,000 rows") for line in lines)
    assert any("hint: " in line for line in lines)


def test_without_colours_and_without_a_cursor() -> None:
    assert not COLOURS.search(on_a_terminal(80, 24, NO_COLOR="1"))
    dumb = on_a_terminal(80, 24, TERM="dumb")
    assert "\x1b" not in dumb
    assert f"✓ copy_segments:default/{LONG}"[:10] in dumb
