"""The journal: durable, readable again, and the same after any number of attempts."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from migrator.errors import RunError, StalePlan
from migrator.model.segment import Binlog, Segment, StoredObject
from migrator.ports.ledger import JsonValue, ListingTotals, SegmentTotals, StagedDifference
from migrator.running.journal import FORMAT_VERSION, Journal, StepEvent
from tests.support.builders import FakeClock, a_binlog, a_journal, shuffled
from tests.support.mortality import Fate, Killed, MortalJournal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


SEGMENTS = [Segment(3, 2, 30), Segment(4, 2, 40), Segment(5, 1, 50)]
BINLOGS = [
    a_binlog(partition_id=2, segment_id=3, field_id=100, log_id=1),
    a_binlog(partition_id=2, segment_id=3, field_id=101, log_id=2),
    a_binlog(partition_id=2, segment_id=3, field_id=None, log_id=3, size_bytes=1),
    a_binlog(partition_id=2, segment_id=4, field_id=100, log_id=4),
    a_binlog(partition_id=1, segment_id=5, field_id=100, log_id=5, size_bytes=100),
]


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


def test_a_failure_does_not_take_back_that_it_was_finished(journal: Journal) -> None:
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


def test_a_renewed_step_begins_from_nothing_and_its_past_stays_on_record(journal: Journal) -> None:
    for event in (StepEvent.STARTED, StepEvent.FINISHED):
        journal.add("a", event)
        journal.add("b", event)
    journal.note("a", {"frozen": 1})
    journal.add("a", StepEvent.RENEWED, {"reason": "it has vanished"})
    assert not journal.is_finished("a")
    assert not journal.was_started("a")
    assert journal.notes("a") == {}
    assert journal.is_finished("b")
    assert (journal.times_renewed("a"), journal.times_renewed("b")) == (1, 0)
    journal.add("a", StepEvent.STARTED)
    journal.note("a", {"frozen": 2})
    assert journal.was_started("a")
    assert journal.notes("a") == {"frozen": 2}
    journal.add("a", StepEvent.FINISHED)
    assert journal.is_finished("a")
    assert [entry.event for entry in journal.entries("a")] == [
        StepEvent.STARTED,
        StepEvent.FINISHED,
        StepEvent.RENEWED,
        StepEvent.STARTED,
        StepEvent.FINISHED,
    ]


@pytest.mark.parametrize("strike_at", [0, 1])
def test_what_is_renewed_together_is_so_in_one(tmp_path: Path, strike_at: int) -> None:
    """A run that dies amid it would else do anew what stands on something that is not done anew."""
    clock, keys = FakeClock(), ("list", "copy", "import")
    with a_journal(tmp_path, clock) as journal:
        for key in keys:
            journal.add(key, StepEvent.FINISHED)
        path = journal._path
    dying = MortalJournal(path, clock, fate := Fate())
    fate.strike_at = len(fate.points) + strike_at
    with pytest.raises(Killed):
        dying.renew(keys, "files moved")
    dying.close()
    with a_journal(tmp_path, clock) as journal:
        assert len({journal.times_renewed(key) for key in keys}) == 1


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
from migrator.running.journal import FORMAT_VERSION, Journal, StepEvent
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


def crash_copy(folder: Path, copy: Path, *, notes: int) -> bytes:
    """What lies on the disk, without the log, after so many notes and no close; the log's bytes."""
    with a_journal(folder, FakeClock()) as journal:
        for number in range(notes):
            journal.note("a", {str(number): number})
        log = (folder / "journal.db-wal").read_bytes()
        copy.mkdir()
        (copy / "journal.db").write_bytes((folder / "journal.db").read_bytes())
    return log


def reopened(folder: Path, whole: bytes, log: bytes) -> int:
    """How many notes are read where only this much of the log reached the disk; more can be written."""
    for name in ("journal.db-wal", "journal.db-shm"):
        (folder / name).unlink(missing_ok=True)
    (folder / "journal.db").write_bytes(whole)
    (folder / "journal.db-wal").write_bytes(log)
    with a_journal(folder, FakeClock()) as journal:
        found = journal.notes("a")
        assert found == {str(number): number for number in range(len(found))}
        journal.note("b", {"more": 1})
        assert journal.notes("b") == {"more": 1}
    return len(found)


def test_a_log_torn_anywhere_loses_only_what_is_behind_the_tear(tmp_path: Path) -> None:
    """What a power cut leaves: any beginning of the log."""
    torn = tmp_path / "torn"
    log = crash_copy(tmp_path, torn, notes=12)
    whole = (torn / "journal.db").read_bytes()
    lengths = [*range(len(log), 0, -997), 32, 31, 0]
    found = [reopened(torn, whole, log[:length]) for length in lengths]
    assert found[0] == 12
    assert found == sorted(found, reverse=True)
    assert set(found) == set(range(13))


@pytest.mark.parametrize("tail", [b"\0" * 5000, bytes(range(256)) * 20], ids=["zeros", "garbage"])
def test_a_log_with_something_else_at_its_end_is_read_up_to_there(tmp_path: Path, tail: bytes) -> None:
    torn = tmp_path / "torn"
    log = crash_copy(tmp_path, torn, notes=5)
    whole = (torn / "journal.db").read_bytes()
    assert reopened(torn, whole, log + tail) == 5
    assert reopened(torn, whole, log[:-1000] + tail[:1000]) == 4


@pytest.mark.parametrize("content", [b"this is no database, but it is quite long" * 50, b"\0" * 5000])
def test_a_file_that_is_no_journal_is_told_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal.db").write_bytes(content)
    with pytest.raises(RunError, match=r"the journal .*journal.db cannot be used"), a_journal(tmp_path, FakeClock()):
        pass


@pytest.mark.parametrize("read_only", [False, True])
def test_a_later_format_is_refused_and_left_as_it_is(tmp_path: Path, *, read_only: bool) -> None:
    path, later = tmp_path / "journal.db", FORMAT_VERSION + 1
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        db.execute("CREATE TABLE entries (other TEXT)")
        db.execute("INSERT INTO meta VALUES ('format_version', ?)", (str(later),))
    before = path.read_bytes()
    with pytest.raises(RunError, match=f"has format {later}, and this version of migrator reads up to") as caught:
        Journal(path, FakeClock(), read_only=read_only)
    assert "or a newer one" in caught.value.hint
    assert path.read_bytes() == before


VERSION_1 = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE entries (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, step_key TEXT NOT NULL, event TEXT NOT NULL,
  data TEXT NOT NULL);
CREATE INDEX entries_by_step ON entries (step_key, event, number);
CREATE TABLE segments (
  collection_id INTEGER, partition_id INTEGER, segment_id INTEGER, num_rows INTEGER,
  PRIMARY KEY (collection_id, partition_id, segment_id)) WITHOUT ROWID;
CREATE TABLE binlogs (
  collection_id INTEGER, segment_id INTEGER, suffix TEXT, kind TEXT, partition_id INTEGER, field_id INTEGER,
  log_id INTEGER, source_key TEXT, size_bytes INTEGER, source_etag TEXT, copied INTEGER NOT NULL DEFAULT 0,
  staged_etag TEXT, PRIMARY KEY (collection_id, segment_id, suffix)) WITHOUT ROWID;
CREATE UNIQUE INDEX binlogs_by_suffix ON binlogs (collection_id, suffix);
INSERT INTO meta VALUES ('format_version', '1');
INSERT INTO entries (at, step_key, event, data) VALUES
  ('2025-12-31T00:00:00+00:00', 'a', 'started', '{}'), ('2025-12-31T00:00:00+00:00', 'a', 'noted', '{"x": 1}'),
  ('2025-12-31T00:00:01+00:00', 'a', 'finished', '{"rows": 3}'), ('2025-12-31T00:00:02+00:00', 'b', 'started', '{}');
INSERT INTO segments VALUES (1, 2, 3, 30);
INSERT INTO binlogs VALUES
  (1, 3, 'insert_log/1/2/3/3/100/4', 'insert_log', 2, 100, 4, 'files_A/insert_log/1/2/3/100/4', 10, '"4"', 1, 'copy-4');
"""
"""A file as the first version left it."""


def found_of_version_1(journal: Journal) -> None:
    assert journal.is_finished("a")
    assert journal.notes("a") == {"x": 1}
    assert journal.was_started("b")
    assert not journal.is_finished("b")
    assert journal.totals(1).copied_objects == 1
    assert list(journal.binlogs(1)) == [a_binlog()]


def version_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("SELECT value FROM meta WHERE name = 'format_version'").fetchone()[0])


def test_a_file_of_the_first_version_is_read_as_it_is_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1)
    before = path.read_bytes()
    reader = Journal(path, FakeClock(), read_only=True)
    reader.require_bound_to("any digest: that version noted none")
    found_of_version_1(reader)
    reader.close()
    assert path.read_bytes() == before
    with a_journal(tmp_path, FakeClock()) as journal:
        found_of_version_1(journal)
        assert list(journal.superseded(1)) == []
        journal.add("a", StepEvent.RENEWED)
        newer = a_binlog(log_id=5)
        journal.freeze(1, [Segment(3, 2, 30)], [newer])
        assert list(journal.superseded(1)) == [a_binlog().staged_suffix]
        assert not journal.is_finished("a")
    assert version_of(path) == str(FORMAT_VERSION)


def test_a_journal_goes_with_one_run_file(tmp_path: Path) -> None:
    with a_journal(tmp_path, FakeClock()) as journal:
        journal.require_bound_to("anything, as long as nothing is bound")
        journal.bind("digest-1")
    with a_journal(tmp_path, FakeClock()) as journal:
        journal.require_bound_to("digest-1")
        with pytest.raises(StalePlan, match=r"the run file beside .*journal\.db is not the one") as caught:
            journal.require_bound_to("digest-2")
        assert caught.value.exit_code == 12


def test_a_folder_that_is_gone_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="journal"), a_journal(tmp_path / "gone", FakeClock()):
        pass


def test_a_hundred_thousand_entries_open_and_answer_as_few_do(tmp_path: Path) -> None:
    """How quickly is for benchmarks/journal_open.py to say."""
    with a_journal(tmp_path, FakeClock()) as journal, journal._transaction() as db:
        db.executemany(
            "INSERT INTO entries (at, step_key, event, data) VALUES ('', ?, ?, '{\"rows\": 1}')",
            ((f"s{n % 1000}", "noted" if n % 10 else "finished") for n in range(100_000)),
        )
    with a_journal(tmp_path, FakeClock()) as journal:
        assert journal.is_finished("s0")
        assert not journal.is_finished("s1")
        assert journal.notes("s1") == {"rows": 1}
        assert journal.last_event("s10") is not None


# -- frozen listings --------------------------------------------------------------------------------------------------


def staged(binlogs: Iterable[Binlog] = BINLOGS, etag: str = "copy") -> list[StoredObject]:
    return [StoredObject(b.staged_suffix, b.source.size_bytes, f"{etag}-{b.log_id}") for b in binlogs]


@pytest.fixture
def frozen(journal: Journal) -> Journal:
    """Three segments in two partitions, five binlogs, all copied and seen."""
    journal.freeze(1, shuffled(SEGMENTS, 1), iter(shuffled(BINLOGS, 2)))
    journal.note_copied(1, BINLOGS)
    assert journal.compare_staged(1, staged()) == ()
    return journal


def test_one_segment_s_files_are_found_without_reading_those_of_all(journal: Journal) -> None:
    """Counted in steps of SQLite's machine: a collection has as many segments to ask for as it is large."""
    steps = []
    for collection_id, segments in (1, range(10, 20)), (2, range(10, 2010)):
        binlogs = [a_binlog(segment_id=each, collection_id=collection_id) for each in segments]
        journal.freeze(collection_id, [Segment(each, 2, 1) for each in segments], binlogs)
        counted: list[None] = []
        journal._db.set_progress_handler(partial(counted.append, None), 1)
        assert [each.segment_id for each in journal.binlogs(collection_id, segment_id=15)] == [15]
        journal._db.set_progress_handler(None, 0)
        steps.append(len(counted))
    few, many = steps
    assert many < 2 * few


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


def test_what_earlier_listings_had_and_this_one_has_not_is_superseded(journal: Journal) -> None:
    """Of segments that are gone: the dump's copy has to go. Of a segment that lives on: something was lost."""
    journal.freeze(1, SEGMENTS, BINLOGS)
    journal.freeze(2, SEGMENTS[:1], [a_binlog(collection_id=2, segment_id=3)])
    assert list(journal.superseded(1)) == []
    merged = a_binlog(partition_id=2, segment_id=9, log_id=9)
    journal.freeze(1, [SEGMENTS[2], Segment(9, 2, 70)], [BINLOGS[4], merged])
    assert list(journal.superseded(1)) == sorted(b.staged_suffix for b in BINLOGS[:4])
    assert list(journal.lost(1)) == []
    journal.freeze(1, SEGMENTS, [*BINLOGS[:2], *BINLOGS[3:]])
    assert list(journal.superseded(1)) == sorted([BINLOGS[2].staged_suffix, merged.staged_suffix])
    assert list(journal.lost(1)) == [BINLOGS[2].source.key]
    journal.freeze(1, SEGMENTS, BINLOGS)
    assert list(journal.superseded(1)) == [merged.staged_suffix]
    assert list(journal.lost(1)) == []
    assert list(journal.superseded(2)) == []


def test_more_superseded_binlogs_than_a_page_are_all_told(journal: Journal) -> None:
    many = [a_binlog(log_id=n) for n in range(2500)]
    journal.freeze(1, [Segment(3, 2, 1)], many)
    journal.freeze(1, [Segment(3, 2, 1)], many[:1])
    assert list(journal.superseded(1)) == sorted(b.staged_suffix for b in many[1:])
    assert len(list(journal.lost(1))) == 2499


def changed(binlog: Binlog, **values: Any) -> StoredObject:  # noqa: ANN401 - any member
    return replace(binlog.source, **values)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([b.source for b in BINLOGS], []),
        ([], []),
        ([StoredObject("files_A/insert_log/1/2/3/100/77", 5, "new")], []),
        ([changed(BINLOGS[0], size_bytes=11)], [BINLOGS[0]]),
        ([changed(BINLOGS[1], etag="other"), BINLOGS[0].source], [BINLOGS[1]]),
        ([changed(BINLOGS[0], etag=None)], [BINLOGS[0]]),
        ([changed(b, etag="other") for b in BINLOGS], BINLOGS),
    ],
    ids=["nothing", "all are gone", "a new one", "another size", "another ETag", "no ETag any more", "all"],
)
def test_what_changed_at_the_source_is_told_and_what_is_gone_or_new_is_not(
    journal: Journal, found: list[StoredObject], told: list[Binlog]
) -> None:
    journal.freeze(1, SEGMENTS, BINLOGS)
    assert sorted(journal.changed_at_source(1, found)) == sorted(b.source.key for b in told)
    assert journal.changed_at_source(2, found) == ()


def test_a_source_without_etags_is_compared_by_size(journal: Journal) -> None:
    plain = [replace(b, source=replace(b.source, etag=None)) for b in BINLOGS]
    journal.freeze(1, SEGMENTS, plain)
    assert journal.changed_at_source(1, [b.source for b in plain]) == ()
    assert journal.changed_at_source(1, [changed(plain[0], size_bytes=1)]) == (plain[0].source.key,)


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


def test_large_notes_are_as_they_were_noted_last(journal: Journal) -> None:
    cuts: dict[str, JsonValue] = {f"default.c{number:05d}": number for number in range(2_000)}
    journal.note("flush", {"cuts": cuts})
    assert journal.notes("flush") == {"cuts": cuts}
    journal.note("flush", {"faults": {}})
    assert journal.notes("flush") == {"cuts": cuts, "faults": {}}
    assert journal.notes("flush") is journal.notes("flush"), "and read from the file once"
    journal.add("flush", StepEvent.RENEWED)
    assert journal.notes("flush") == {}
