"""The journal: durable, readable again, and the same after any number of attempts."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.errors import RunError
from migrator.model.segment import Binlog, Segment, StoredObject
from migrator.ports.ledger import JsonValue, ListingTotals, SegmentTotals, StagedDifference
from migrator.running.journal import Journal, StepEvent
from tests.support.builders import FakeClock, a_binlog, a_journal, shuffled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with a_journal(tmp_path, FakeClock()) as journal:
        yield journal


# -- entries and notes ------------------------------------------------------------------------------------------------


def test_entries_come_back_in_order(journal: Journal) -> None:
    journal.add("a", StepEvent.STARTED)
    journal.add("b", StepEvent.STARTED)
    journal.add("a", StepEvent.FAILED, {"message": "no"})
    assert [(e.number, e.step_key, e.event) for e in journal.entries()] == [
        (1, "a", StepEvent.STARTED),
        (2, "b", StepEvent.STARTED),
        (3, "a", StepEvent.FAILED),
    ]
    assert [e.event for e in journal.entries("a")] == [StepEvent.STARTED, StepEvent.FAILED]
    last = journal.last_event("a")
    assert last is not None
    assert last.data == {"message": "no"}
    assert last.at == "2026-01-01T00:00:00+00:00"
    assert journal.last_event("c") is None


def test_finished_is_never_taken_back(journal: Journal) -> None:
    for event in (StepEvent.STARTED, StepEvent.FINISHED, StepEvent.STARTED, StepEvent.FAILED):
        journal.add("a", event)
    assert journal.is_finished("a")
    assert journal.was_started("a")
    assert not journal.is_finished("b")
    assert not journal.was_started("b")


def test_notes_are_merged_and_survive_attempts(tmp_path: Path) -> None:
    clock = FakeClock()
    with a_journal(tmp_path, clock) as journal:
        journal.note("a", {"attempt": 1, "job_id": 7})
        journal.note("b", {"attempt": 9})
        journal.add("a", StepEvent.FAILED)
    with a_journal(tmp_path, clock) as journal:
        journal.note("a", {"attempt": 2})
        journal.note("a", {"job_id": None})
        assert journal.notes("a") == {"attempt": 2, "job_id": None}
        assert journal.notes("b") == {"attempt": 9}
        assert journal.notes("c") == {}
        assert [e.event for e in journal.entries("a")] == [StepEvent.FAILED]


def test_large_numbers_and_any_text_come_back(journal: Journal) -> None:
    values: dict[str, JsonValue] = {"ts": 2**62 + 1, "text": "Ünï\u2028\"'\n", "list": [1, None, {"x": True}]}
    journal.note("a:b:0001", values)
    assert journal.notes("a:b:0001") == values


def test_many_threads_may_write(journal: Journal) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: journal.note(f"s{n % 4}", {str(n): n}), range(80)))
    assert sum(len(journal.notes(f"s{n}")) for n in range(4)) == 80


# -- the file ---------------------------------------------------------------------------------------------------------


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    with a_journal(tmp_path, FakeClock()) as journal:
        journal.add("a", StepEvent.STARTED)
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


KILLED = """
import os, pathlib, signal, sys
from migrator.running.clock import SystemClock
from migrator.running.journal import Journal, StepEvent
journal = Journal(pathlib.Path(sys.argv[1]), SystemClock())
for number in range(50):
    journal.note("a", {str(number): number})
print("noted", flush=True)
with journal._transaction() as db:
    db.execute("INSERT INTO entries (at, step_key, event, data) VALUES ('', 'a', 'finished', '{}')")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_in_the_middle_of_a_record_leaves_all_before_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, check=False, timeout=60)  # noqa: S603
    assert (done.returncode, done.stdout) == (-9, b"noted\n")
    with a_journal(tmp_path, FakeClock()) as journal:
        assert len(journal.notes("a")) == 50
        assert not journal.is_finished("a")


def test_every_record_is_synced_before_its_call_returns(journal: Journal) -> None:
    assert journal._rows("PRAGMA journal_mode") == [("wal",)]
    assert journal._rows("PRAGMA synchronous") == [(2,)]


def test_a_torn_tail_is_dropped_and_the_rest_read(tmp_path: Path) -> None:
    """What a power cut leaves: the last page of the log half written."""
    with a_journal(tmp_path, FakeClock()) as journal:
        for number in range(20):
            journal.note("a", {str(number): number})
        log = (tmp_path / "journal.db-wal").read_bytes()
        whole = (tmp_path / "journal.db").read_bytes()
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "journal.db").write_bytes(whole)
    (torn / "journal.db-wal").write_bytes(log[:-3000])
    with a_journal(torn, FakeClock()) as journal:
        assert 15 <= len(journal.notes("a")) < 20
        journal.note("a", {"more": 1})
        assert "more" in journal.notes("a")


@pytest.mark.parametrize("content", [b"this is no database, but it is quite long" * 50, b"\0" * 5000])
def test_a_file_that_is_no_journal_is_told_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal.db").write_bytes(content)
    with pytest.raises(RunError, match=r"the journal .*journal.db cannot be used"), a_journal(tmp_path, FakeClock()):
        pass


def test_a_later_format_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        db.execute("CREATE TABLE entries (other TEXT)")
        db.execute("INSERT INTO meta VALUES ('format_version', '2')")
    db.close()
    before = path.read_bytes()
    with pytest.raises(RunError, match="has format 2, and this version of migrator reads up to 1"):
        Journal(path, FakeClock())
    assert path.read_bytes() == before


def test_a_folder_that_is_gone_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="journal"), a_journal(tmp_path / "gone", FakeClock()):
        pass


def test_a_hundred_thousand_entries_open_and_answer_quickly(tmp_path: Path) -> None:
    with a_journal(tmp_path, FakeClock()) as journal, journal._transaction() as db:
        db.executemany(
            "INSERT INTO entries (at, step_key, event, data) VALUES ('', ?, ?, '{\"rows\": 1}')",
            ((f"s{n % 1000}", "noted" if n % 10 else "finished") for n in range(100_000)),
        )
    began = time.perf_counter()
    with a_journal(tmp_path, FakeClock()) as journal:
        assert journal.is_finished("s0")
        assert not journal.is_finished("s1")
        assert journal.notes("s1") == {"rows": 1}
        assert journal.last_event("s10") is not None
    assert time.perf_counter() - began < 10


# -- frozen listings --------------------------------------------------------------------------------------------------

SEGMENTS = [Segment(3, 2, 30), Segment(4, 2, 40), Segment(5, 1, 50)]
BINLOGS = [
    a_binlog(partition_id=2, segment_id=3, field_id=100, log_id=1),
    a_binlog(partition_id=2, segment_id=3, field_id=101, log_id=2),
    a_binlog(partition_id=2, segment_id=3, field_id=None, log_id=3, size_bytes=1),
    a_binlog(partition_id=2, segment_id=4, field_id=100, log_id=4),
    a_binlog(partition_id=1, segment_id=5, field_id=100, log_id=5, size_bytes=100),
]


def staged(binlogs: Iterable[Binlog] = BINLOGS, etag: str = "copy") -> list[StoredObject]:
    return [StoredObject(b.staged_suffix, b.source.size_bytes, f"{etag}-{b.log_id}") for b in binlogs]


@pytest.fixture
def frozen(journal: Journal) -> Journal:
    """Three segments in two partitions, five binlogs, all copied and seen."""
    journal.freeze(1, shuffled(SEGMENTS, 1), iter(shuffled(BINLOGS, 2)))
    journal.note_copied(1, BINLOGS)
    assert journal.compare_staged(1, staged()) == ()
    return journal


def test_a_listing_is_summed_up(journal: Journal) -> None:
    journal.freeze(1, SEGMENTS, BINLOGS)
    assert journal.totals(1) == ListingTotals(segments=3, rows=120, objects=5, size_bytes=131)
    journal.note_copied(1, BINLOGS[:2])
    assert journal.totals(1).copied_objects == 2
    assert journal.totals(1).copied_bytes == 20
    assert journal.totals(2) == ListingTotals()
    assert list(journal.segments(1)) == [
        SegmentTotals(segment=SEGMENTS[2], insert_objects=1, delta_objects=0, size_bytes=100),
        SegmentTotals(segment=SEGMENTS[0], insert_objects=2, delta_objects=1, size_bytes=21),
        SegmentTotals(segment=SEGMENTS[1], insert_objects=1, delta_objects=0, size_bytes=10),
    ]


def test_binlogs_come_back_as_they_were(journal: Journal) -> None:
    without_etag = replace(BINLOGS[3], source=replace(BINLOGS[3].source, etag=None))
    journal.freeze(1, SEGMENTS, [*BINLOGS[:3], without_etag, BINLOGS[4]])
    assert set(journal.binlogs(1)) == {*BINLOGS[:3], without_etag, BINLOGS[4]}
    assert list(journal.binlogs(1, segment_id=5)) == [BINLOGS[4]]
    journal.note_copied(1, BINLOGS[:3])
    assert list(journal.uncopied(1)) == [without_etag, BINLOGS[4]]


def test_a_new_listing_replaces_the_old_one_of_its_collection_only(journal: Journal) -> None:
    journal.freeze(1, SEGMENTS, BINLOGS)
    journal.freeze(2, SEGMENTS[:1], [a_binlog(collection_id=2, segment_id=3)])
    journal.note_copied(1, BINLOGS)
    journal.freeze(1, SEGMENTS[:1], BINLOGS[:1])
    assert journal.totals(1) == ListingTotals(segments=1, rows=30, objects=1, size_bytes=10)
    assert journal.totals(2).objects == 1


def test_more_binlogs_than_a_page_all_come_back_while_they_are_noted(journal: Journal) -> None:
    many = [a_binlog(segment_id=n % 7, log_id=n) for n in range(2500)]
    journal.freeze(1, [Segment(n, 2, 1) for n in range(7)], many)
    seen = []
    for binlog in journal.uncopied(1):
        journal.note_copied(1, [binlog])
        seen.append(binlog)
    assert sorted(b.log_id for b in seen) == list(range(2500))
    assert journal.totals(1).copied_objects == 2500


# -- the dump against the listing -------------------------------------------------------------------------------------


def test_a_whole_dump_has_no_differences(frozen: Journal) -> None:
    assert frozen.compare_staged(1, shuffled(staged(), 3)) == ()


def test_what_is_missing_is_told(frozen: Journal) -> None:
    assert frozen.compare_staged(1, staged(BINLOGS[1:])) == (StagedDifference(BINLOGS[0].staged_suffix, 10, None),)


def test_another_size_is_told(frozen: Journal) -> None:
    found = [replace(staged()[0], size_bytes=9), *staged()[1:]]
    assert frozen.compare_staged(1, found) == (StagedDifference(BINLOGS[0].staged_suffix, 10, 9),)


def test_another_etag_than_was_seen_first_is_told(frozen: Journal) -> None:
    found = [replace(staged()[0], etag="other"), *staged()[1:]]
    assert frozen.compare_staged(1, found) == (StagedDifference(BINLOGS[0].staged_suffix, 10, 10),)
    assert frozen.compare_staged(1, staged()) == ()


def test_a_stranger_is_told(frozen: Journal) -> None:
    assert frozen.compare_staged(1, [*staged(), StoredObject("insert_log/1/2/3/3/100/99", 5)]) == (
        StagedDifference("insert_log/1/2/3/3/100/99", None, 5),
    )


def test_no_more_than_a_few_of_each_are_told(journal: Journal) -> None:
    many = [a_binlog(log_id=n) for n in range(20)]
    journal.freeze(1, SEGMENTS[:1], many)
    strangers = [StoredObject(f"x/{n}", 1) for n in range(20)]
    assert len(journal.compare_staged(1, strangers)) == 10


def test_one_partition_is_compared_by_itself(frozen: Journal) -> None:
    of_one = staged(BINLOGS[4:])
    assert frozen.compare_staged(1, of_one, partition_id=1) == ()
    assert [d.suffix for d in frozen.compare_staged(1, of_one, partition_id=2)] == [
        *(sorted(b.staged_suffix for b in BINLOGS[:4])),
        BINLOGS[4].staged_suffix,
    ]


def test_a_store_without_etags_is_compared_by_size(journal: Journal) -> None:
    journal.freeze(1, SEGMENTS[:1], BINLOGS[:1])
    journal.note_copied(1, BINLOGS[:1])
    plain = [StoredObject(BINLOGS[0].staged_suffix, 10, None)]
    assert journal.compare_staged(1, plain) == ()
    assert journal.compare_staged(1, plain) == ()


def test_a_copy_that_is_lost_or_changed_counts_as_not_made_only_where_that_is_asked_for(frozen: Journal) -> None:
    changed = [replace(staged()[1], etag="other"), replace(staged()[2], size_bytes=7), *staged()[3:]]
    frozen.compare_staged(1, changed)
    assert frozen.totals(1).copied_objects == 5
    frozen.compare_staged(1, changed, forget_missing=True)
    assert {b.log_id for b in frozen.uncopied(1)} == {1, 2, 3}


def test_a_copy_made_again_may_have_another_etag(frozen: Journal) -> None:
    frozen.compare_staged(1, staged(BINLOGS[1:]), forget_missing=True)
    frozen.note_copied(1, BINLOGS[:1])
    again = [replace(staged()[0], etag="again"), *staged()[1:]]
    assert frozen.compare_staged(1, again) == ()
    assert len(frozen.compare_staged(1, staged())) == 1


def test_what_lies_there_without_a_noted_copy_is_copied_all_the_same(journal: Journal) -> None:
    """It may be of an upload that broke: only a noted copy counts."""
    journal.freeze(1, SEGMENTS, BINLOGS)
    assert journal.compare_staged(1, staged(), forget_missing=True) == ()
    assert len(list(journal.uncopied(1))) == 5


def test_a_comparison_that_breaks_leaves_nothing_behind(frozen: Journal) -> None:
    def broken() -> Iterator[StoredObject]:
        yield staged()[0]
        raise RunError("the listing broke")

    with pytest.raises(RunError, match="the listing broke"):
        frozen.compare_staged(1, broken(), forget_missing=True)
    assert frozen.totals(1).copied_objects == 5
    assert frozen._rows("SELECT name FROM temp.sqlite_master") == []
    assert frozen.compare_staged(1, staged()) == ()
