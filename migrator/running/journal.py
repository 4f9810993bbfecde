"""The journal of one run: what happened to each step, its notes, and the frozen listings.

One SQLite file in WAL mode: a record is durable when the call returns, a torn last record is rolled back when the file
is opened again, and a listing of a million objects is read page by page. Entries are only ever added.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from migrator.errors import JournalUnusable, RunError, StalePlan
from migrator.model.segment import Binlog, LogKind, Segment, SegmentLevel, StoredObject
from migrator.ports.ledger import ListingTotals, SegmentTotals, StagedDifference

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from migrator.ports.clock import Clock
    from migrator.ports.ledger import JsonValue
    from migrator.running.mirror import JournalMirror

FORMAT_VERSION = 3
"""1 knew no renewed steps and no superseded binlogs, 2 no traits of segments; they are read, and become 3 when they are
next written."""
_PAGE = 1000
_LARGE = 16 * 1024
"""Notes of so many bytes are read from the file once."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, step_key TEXT NOT NULL, event TEXT NOT NULL,
  data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS entries_by_step ON entries (step_key, event, number);
CREATE TABLE IF NOT EXISTS segments (
  collection_id INTEGER, partition_id INTEGER, segment_id INTEGER, num_rows INTEGER,
  PRIMARY KEY (collection_id, partition_id, segment_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS binlogs (
  collection_id INTEGER, segment_id INTEGER, suffix TEXT, kind TEXT, partition_id INTEGER, field_id INTEGER,
  log_id INTEGER, source_key TEXT, size_bytes INTEGER, source_etag TEXT, copied INTEGER NOT NULL DEFAULT 0,
  staged_etag TEXT, PRIMARY KEY (collection_id, segment_id, suffix)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS binlogs_by_suffix ON binlogs (collection_id, suffix);
CREATE TABLE IF NOT EXISTS traits (
  collection_id INTEGER, segment_id INTEGER, level INTEGER, storage_version INTEGER, is_sorted INTEGER, vchannel TEXT,
  PRIMARY KEY (collection_id, segment_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS superseded (
  collection_id INTEGER, suffix TEXT, segment_id INTEGER, source_key TEXT,
  PRIMARY KEY (collection_id, suffix)) WITHOUT ROWID;
"""

_SINCE_RENEWED = "number > COALESCE((SELECT MAX(number) FROM entries WHERE step_key = ? AND event = 'renewed'), 0)"

_LAST_OF_EACH = "number IN (SELECT MAX(number) FROM entries WHERE event != 'noted' GROUP BY step_key)"

_LISTING_TABLES = ("segments", "traits", "binlogs", "superseded")
_NO_TRAITS = "(SELECT 0 collection_id, 0 segment_id, 0 level, 0 storage_version, 0 is_sorted, '' vchannel)"
"""What stands for the table where a journal of an older format is only read."""


class StepEvent(StrEnum):
    """What an entry says of a step."""

    STARTED = "started"
    NOTED = "noted"
    FINISHED = "finished"
    FAILED = "failed"
    PARKED = "parked"
    RENEWED = "renewed"
    """What was noted before counts no more: the step is done anew."""
    ROLLBACK_STARTED = "rollback_started"
    """Of the run as a whole: what it created is being dropped, and it cannot go on."""
    ROLLED_BACK = "rolled_back"
    """Of the run as a whole: nothing that it created is left at the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One entry; `at` is UTC in ISO format, `step_key` is empty for the run as a whole."""

    number: int
    at: str
    step_key: str
    event: StepEvent
    data: Mapping[str, Any]


@dataclass(slots=True)
class _Added:
    """An entry on its way into the database, by `_write_added` of whichever thread."""

    values: tuple[str, str, str, str]
    is_over: bool = False
    error: BaseException | None = None


class Journal:
    """A run's memory; every method may be called from any thread.

    With `read_only` it can be opened beside the process that writes it, and refuses to be written.
    """

    def __init__(self, path: Path, clock: Clock, *, read_only: bool = False) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.RLock()
        self._order = threading.Lock()
        self._adding = threading.Lock()
        self._added: list[_Added] = []
        """Entries that wait for the next transaction."""
        self._large_notes: dict[str, Mapping[str, JsonValue]] = {}
        """Those of steps that every collection asks for, as the flush's, which names all of them."""
        self._is_writer = not read_only
        """The only one: who reads beside it has to look at the file each time."""
        self._version = 0
        """Of what is noted: counted up before and after each transaction."""
        self._mirror: JournalMirror | None = None
        self._numbers = itertools.count(1)
        with self._translated():
            if not read_only:
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(
                _address(path, read_only=read_only), uri=True, check_same_thread=False, isolation_level=None, timeout=30
            )
        if read_only or self._rows("SELECT 1 FROM sqlite_master WHERE name = 'meta'"):
            self._require_readable()  # before anything is touched
        if not read_only:
            with self._translated():
                self._prepare()

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA temp_store=FILE")
        self._db.executescript(_SCHEMA)
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('format_version', ?)", (str(FORMAT_VERSION),))

    def bind(self, digest: str) -> None:
        """Note of which run file this is the journal."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('run_digest', ?)", (digest,))

    def require_bound_to(self, digest: str) -> None:
        """Raise `StalePlan` where the journal was kept for another run file, or the file was edited since."""
        bound = self._rows("SELECT value FROM meta WHERE name = 'run_digest'")
        if bound and bound[0][0] != digest:
            raise StalePlan(
                f"the run file beside {self._path} is not the one this journal was kept for",
                hint="restore run.json as the run's start wrote it",
            )

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalUnusable(
                f"the journal {self._path} cannot be used: {error}",
                hint="see that its disk has room and the file is whole, then run migrator apply --resume",
            ) from error

    def _require_readable(self) -> None:
        noted = self._rows("SELECT value FROM meta WHERE name = 'format_version'")
        found = int(noted[0][0]) if noted else FORMAT_VERSION  # a power cut while it was made may leave none
        if found > FORMAT_VERSION:
            raise RunError(
                f"the journal {self._path} has format {found}, and this version of migrator reads up to "
                f"{FORMAT_VERSION}",
                hint="use the version of migrator that began the run, or a newer one",
            )

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        with self._lock, self._translated():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, and durable at the end."""
        with self._lock, self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    # -- entries ----------------------------------------------------------------------------------------------------

    def add(self, step_key: str, event: StepEvent, data: Mapping[str, JsonValue] | None = None) -> None:
        """Add an entry; it is durable when this returns, in the bucket too where the run is mirrored."""
        self._add_together([step_key], event, data or {})

    def renew(self, step_keys: Iterable[str], reason: str) -> None:
        """Note that steps are done anew: of all of them or, where the process dies in it, of none."""
        self._add_together(step_keys, StepEvent.RENEWED, {"reason": reason})

    def _add_together(self, step_keys: Iterable[str], event: StepEvent, data: Mapping[str, JsonValue]) -> None:
        at, text = self._clock.now().isoformat(), json.dumps(data)
        together = [_Added((at, key, event, text)) for key in step_keys]
        with self._adding:
            self._added += together
        for added in together:
            with self._order:  # whoever comes first writes for all that wait: one fsync, and one object of the mirror
                if not added.is_over:
                    self._write_added()
            if added.error is not None:
                raise added.error

    def _write_added(self) -> None:
        with self._adding:
            group, self._added = self._added, []
            self._version += 1
        try:
            with self._transaction() as db:
                db.executemany(
                    "INSERT INTO entries (at, step_key, event, data) VALUES (?, ?, ?, ?)",
                    [added.values for added in group],
                )
            if self._mirror is not None:
                self._mirror.push(self.records(after=self._mirror.sent))
        except BaseException as error:
            for added in group:
                added.error = error
            raise
        finally:
            self._forget_notes(added.values[1] for added in group)
            for added in group:
                added.is_over = True

    def _forget_notes(self, step_keys: Iterable[str]) -> None:
        with self._adding:
            self._version += 1
            for step_key in step_keys:
                self._large_notes.pop(step_key, None)

    def entries(self, step_key: str | None = None) -> Iterator[JournalEntry]:
        """All entries in order, or those of one step; notes are left out, they are for `notes`."""
        where = "event != 'noted'" + ("" if step_key is None else " AND step_key = ?")
        values = () if step_key is None else (step_key,)
        query = f"SELECT number, at, step_key, event, data FROM entries WHERE {where} ORDER BY number"
        yield from map(_entry, self._rows(query, values))

    def last_event(self, step_key: str) -> JournalEntry | None:
        """The latest thing that happened to a step, notes apart."""
        found = self._rows(
            "SELECT number, at, step_key, event, data FROM entries WHERE step_key = ? AND event != 'noted' "
            "ORDER BY number DESC LIMIT 1",
            (step_key,),
        )
        return _entry(found[0]) if found else None

    def is_finished(self, step_key: str) -> bool:
        """Whether the step came to its end, and was not begun anew since."""
        return self._has(step_key, StepEvent.FINISHED)

    def was_started(self, step_key: str) -> bool:
        """Whether an earlier attempt at the step is on record."""
        return self._has(step_key, StepEvent.STARTED)

    def _has(self, step_key: str, event: StepEvent) -> bool:
        query = f"SELECT 1 FROM entries WHERE step_key = ? AND event = ? AND {_SINCE_RENEWED} LIMIT 1"
        return bool(self._rows(query, (step_key, event, step_key)))

    def finished(self) -> frozenset[str]:
        """The keys of all steps for which `is_finished` says yes, by one look at the index."""
        query = (
            "SELECT step_key FROM entries WHERE event IN ('finished', 'renewed') GROUP BY step_key "
            "HAVING MAX(number * (event = 'finished')) > MAX(number * (event = 'renewed'))"
        )
        return frozenset(key for (key,) in self._rows(query))

    def begun(self) -> frozenset[str]:
        """The keys of all steps that were ever started, or begun anew."""
        query = "SELECT DISTINCT step_key FROM entries WHERE event IN ('started', 'renewed')"
        return frozenset(key for (key,) in self._rows(query))

    def last_events(self) -> dict[str, JournalEntry]:
        """The latest thing that happened to each step, notes apart."""
        query = f"SELECT number, at, step_key, event, data FROM entries WHERE {_LAST_OF_EACH}"
        return {entry.step_key: entry for entry in map(_entry, self._rows(query))}

    def last_kinds(self) -> dict[str, StepEvent]:
        """What kind of thing that was, without reading what was said of it."""
        query = f"SELECT step_key, event FROM entries WHERE {_LAST_OF_EACH}"
        return {key: StepEvent(event) for key, event in self._rows(query)}

    def moments(self) -> Iterator[tuple[str, StepEvent, str]]:
        """Key, event and time of every start and end, in their order."""
        query = "SELECT step_key, event, at FROM entries WHERE event IN ('started', 'finished') ORDER BY number"
        for key, event, at in self._rows(query):
            yield key, StepEvent(event), at

    def times_renewed(self, step_key: str) -> int:
        """How often the step was begun anew."""
        query = "SELECT COUNT(*) FROM entries WHERE step_key = ? AND event = 'renewed'"
        return int(self._rows(query, (step_key,))[0][0])

    def rollback(self) -> StepEvent | None:
        """How far the run is rolled back: `ROLLBACK_STARTED`, `ROLLED_BACK`, or None where it is not."""
        query = "SELECT event FROM entries WHERE step_key = '' AND event IN (?, ?) ORDER BY number DESC LIMIT 1"
        found = self._rows(query, (StepEvent.ROLLBACK_STARTED, StepEvent.ROLLED_BACK))
        return StepEvent(found[0][0]) if found else None

    def note(self, step_key: str, values: Mapping[str, JsonValue]) -> None:
        """Note values under a step; durable when this returns."""
        self.add(step_key, StepEvent.NOTED, values)

    def notes(self, step_key: str) -> Mapping[str, JsonValue]:
        """All that was noted under a step; later values replace earlier ones of the same name."""
        query = f"SELECT data FROM entries WHERE step_key = ? AND event = 'noted' AND {_SINCE_RENEWED} ORDER BY number"
        version, noted = self._version, self._large_notes.get(step_key)
        if noted is not None:
            return noted
        notes: dict[str, JsonValue] = {}
        found = self._rows(query, (step_key, step_key))
        for (data,) in found:
            notes |= json.loads(data)
        if self._is_writer and sum(len(data) for (data,) in found) > _LARGE:
            with self._adding:
                if version == self._version:
                    self._large_notes[step_key] = notes
        return notes

    # -- the mirror -------------------------------------------------------------------------------------------------

    def attach(self, mirror: JournalMirror) -> None:
        """From here on, tell the mirror everything; what it has not heard of yet comes first."""
        with self._order:
            self._mirror = mirror
            mirror.push(self.records(after=mirror.sent))

    def last_number(self) -> int:
        """The number of the last entry, 0 where there is none; numbers have no gaps."""
        return int(self._rows("SELECT COALESCE(MAX(number), 0) FROM entries")[0][0])

    def record(self, number: int) -> dict[str, Any]:
        """One entry as it is mirrored."""
        return self.records(after=number - 1, most=1)[0]

    def records(self, *, after: int, most: int = -1) -> list[dict[str, Any]]:
        """Entries as they are mirrored, notes included, in their order."""
        query = "SELECT number, at, step_key, event, data FROM entries WHERE number > ? ORDER BY number LIMIT ?"
        return [
            {"number": number, "at": at, "step_key": key, "event": event, "data": json.loads(data)}
            for number, at, key, event, data in self._rows(query, (after, most))
        ]

    def replace(
        self,
        records: Iterable[Mapping[str, Any]],
        listings: Iterable[tuple[int, Iterable[str]]],
        copied: Iterable[tuple[int, Iterable[str]]],
    ) -> None:
        """Become what the mirror holds, all or nothing."""
        self._large_notes = {}
        with self._transaction() as db:
            for table in ("entries", *_LISTING_TABLES):
                db.execute(f"DELETE FROM {table}")
            db.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
                ((r["number"], r["at"], r["step_key"], r["event"], json.dumps(r["data"])) for r in records),
            )
            for _, lines in listings:
                for table, row in map(json.loads, lines):
                    places = ", ".join("?" * len(row))
                    db.execute(f"INSERT INTO {_listing_table(table)} VALUES ({places})", row)
            for collection_id, suffixes in copied:
                db.executemany(
                    "UPDATE binlogs SET copied = 1 WHERE collection_id = ? AND suffix = ?",
                    ((collection_id, suffix) for suffix in suffixes),
                )

    def _listing_lines(self, collection_id: int) -> Iterator[str]:
        """A collection's frozen listing as lines of JSON, table and row; by a reader of its own: memory stays flat."""
        with self._translated(), closing(sqlite3.connect(_address(self._path, read_only=True), uri=True)) as reader:
            for table in _LISTING_TABLES:
                for row in reader.execute(f"SELECT * FROM {table} WHERE collection_id = ?", (collection_id,)):
                    yield json.dumps([table, row])

    # -- frozen listings --------------------------------------------------------------------------------------------

    def freeze(self, collection_id: int, segments: Iterable[Segment], binlogs: Iterable[Binlog]) -> None:
        """Replace the collection's listing; pages of binlogs are written as they come."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO superseded SELECT collection_id, suffix, segment_id, source_key FROM binlogs "
                "WHERE collection_id = ?",
                (collection_id,),
            )
            for table in ("segments", "traits", "binlogs"):
                db.execute(f"DELETE FROM {table} WHERE collection_id = ?", (collection_id,))
        for page in _pages(map(_binlog_row, binlogs)):
            with self._transaction() as db:
                db.executemany("INSERT INTO binlogs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, NULL)", page)
        with self._transaction() as db:
            for each in segments:  # after the binlogs, which may show what a segment is
                row = (collection_id, each.partition_id, each.segment_id, each.num_rows)
                db.execute("INSERT INTO segments VALUES (?, ?, ?, ?)", row)
                if traits := _traits_row(collection_id, each):
                    db.execute("INSERT INTO traits VALUES (?, ?, ?, ?, ?, ?)", traits)
        self._mirror_listing(collection_id)

    def leave_out(self, collection_id: int, binlogs: Iterable[Binlog]) -> None:
        """Take binlogs out of the frozen listing: they belong to no segment."""
        keys = [(collection_id, binlog.segment_id, binlog.staged_suffix) for binlog in binlogs]
        with self._transaction() as db:
            db.executemany("DELETE FROM binlogs WHERE collection_id = ? AND segment_id = ? AND suffix = ?", keys)
        self._mirror_listing(collection_id)

    def _mirror_listing(self, collection_id: int) -> None:
        if self._mirror is not None:
            self._mirror.put_listing(collection_id, partial(self._listing_lines, collection_id))

    def totals(self, collection_id: int) -> ListingTotals:
        """The frozen listing summed up."""
        ((segments, rows),) = self._rows(
            "SELECT COUNT(*), COALESCE(SUM(num_rows), 0) FROM segments WHERE collection_id = ?",
            (collection_id,),
        )
        ((objects, size_bytes, copied, copied_bytes),) = self._rows(
            "SELECT COUNT(*), COALESCE(SUM(size_bytes), 0), COALESCE(SUM(copied), 0), "
            "COALESCE(SUM(size_bytes * copied), 0) FROM binlogs WHERE collection_id = ?",
            (collection_id,),
        )
        return ListingTotals(
            segments=segments,
            rows=rows,
            objects=objects,
            size_bytes=size_bytes,
            copied_objects=copied,
            copied_bytes=copied_bytes,
        )

    def segments(self, collection_id: int) -> Iterator[SegmentTotals]:
        """The frozen segments by partition and id."""
        query = (
            "SELECT s.partition_id, s.segment_id, s.num_rows, COALESCE(t.level, 0), COALESCE(t.storage_version, 0), "
            "COALESCE(t.is_sorted, 0), COALESCE(t.vchannel, ''), "
            "SUM(b.kind = 'insert_log'), SUM(b.kind = 'delta_log'), SUM(b.size_bytes) "
            "FROM segments s LEFT JOIN binlogs b USING (collection_id, segment_id) "
            f"LEFT JOIN {self._traits} t USING (collection_id, segment_id) "
            "WHERE s.collection_id = ? GROUP BY s.partition_id, s.segment_id ORDER BY s.partition_id, s.segment_id"
        )
        for row in self._rows(query, (collection_id,)):
            partition_id, segment_id, num_rows, level, storage_version, is_sorted, vchannel, *sums = row
            inserts, deltas, size_bytes = sums
            yield SegmentTotals(
                segment=Segment(
                    segment_id,
                    partition_id,
                    num_rows,
                    level=SegmentLevel(level),
                    storage_version=storage_version,
                    is_sorted=bool(is_sorted),
                    vchannel=vchannel,
                ),
                insert_objects=inserts or 0,
                delta_objects=deltas or 0,
                size_bytes=size_bytes or 0,
            )

    @property
    def _traits(self) -> str:
        known = self._rows("SELECT 1 FROM sqlite_master WHERE name = 'traits'")
        return "traits" if known else _NO_TRAITS

    def binlogs(self, collection_id: int, *, segment_id: int | None = None) -> Iterator[Binlog]:
        """The frozen binlogs by segment and suffix, of one segment or of all."""
        return self._paged(collection_id, segment_id=segment_id)

    def uncopied(self, collection_id: int) -> Iterator[Binlog]:
        """Those that no copy was noted for, as of when each page is read."""
        return self._paged(collection_id, "AND copied = 0")

    def superseded(self, collection_id: int) -> Iterator[str]:
        """Suffixes of earlier listings that the present one has not."""
        return self._superseded(collection_id, "suffix", "")

    def lost(self, collection_id: int) -> Iterator[str]:
        """Source keys of those whose segment lives on."""
        return self._superseded(
            collection_id,
            "source_key",
            "AND source_key != '' AND segment_id IN (SELECT segment_id FROM segments WHERE collection_id = ?)",
        )

    def _superseded(self, collection_id: int, column: str, condition: str) -> Iterator[str]:
        query = (
            f"SELECT suffix, {column} FROM superseded s WHERE collection_id = ? AND suffix > ? AND NOT EXISTS "
            "(SELECT 1 FROM binlogs b WHERE b.collection_id = s.collection_id AND b.suffix = s.suffix) "
            f"{condition} ORDER BY suffix LIMIT {_PAGE}"
        )
        after, more = "", (collection_id,) if condition else ()
        while page := self._rows(query, (collection_id, after, *more)):
            yield from (value for _, value in page)
            after = page[-1][0]

    def _paged(self, collection_id: int, condition: str = "", *, segment_id: int | None = None) -> Iterator[Binlog]:
        """Page by page, so that nothing is held open while the caller writes."""
        is_one = segment_id is not None  # asked for by a pair too, SQLite would read all segments to find it
        beyond = f"segment_id = {segment_id:d} AND suffix > ?" if is_one else "(segment_id, suffix) > (?, ?)"
        query = (
            "SELECT segment_id, suffix, kind, partition_id, field_id, log_id, source_key, size_bytes, source_etag "
            f"FROM binlogs WHERE collection_id = ? {condition} AND {beyond} ORDER BY segment_id, suffix LIMIT {_PAGE}"
        )
        after: tuple[int, str] | tuple[str] = ("",) if is_one else (-1, "")
        while page := self._rows(query, (collection_id, *after)):
            for segment, suffix, kind, partition_id, field_id, log_id, key, size_bytes, etag in page:
                after = (suffix,) if is_one else (segment, suffix)
                yield Binlog(
                    kind=LogKind(kind),
                    collection_id=collection_id,
                    partition_id=partition_id,
                    segment_id=segment,
                    field_id=field_id,
                    log_id=log_id,
                    source=StoredObject(key, size_bytes, etag),
                )

    def unfold(self, collection_id: int) -> None:
        """Take out the delta logs that were made here."""
        with self._transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO superseded SELECT collection_id, suffix, segment_id, source_key FROM binlogs "
                "WHERE collection_id = ? AND source_key = ''",
                (collection_id,),
            )
            db.execute("DELETE FROM binlogs WHERE collection_id = ? AND source_key = ''", (collection_id,))

    def note_folding(self, collection_id: int, binlog: Binlog) -> None:
        """Superseded until it is noted as folded."""
        with self._transaction() as db:
            row = (collection_id, binlog.staged_suffix, binlog.segment_id, binlog.source.key)
            db.execute("INSERT OR IGNORE INTO superseded VALUES (?, ?, ?, ?)", row)

    def note_folded(self, collection_id: int, binlogs: Iterable[Binlog]) -> None:
        """Add what was made here as copied."""
        with self._transaction() as db:
            rows = map(_binlog_row, binlogs)
            db.executemany("INSERT INTO binlogs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, NULL)", rows)
        self._mirror_listing(collection_id)

    def note_copied(self, collection_id: int, copied: Iterable[Binlog]) -> None:
        """Note copies; durable when this returns."""
        keys = [(collection_id, binlog.segment_id, binlog.staged_suffix) for binlog in copied]
        if keys:
            if self._mirror is not None:
                self._mirror.note_copied(collection_id, [suffix for _, _, suffix in keys])
            with self._transaction() as db:
                db.executemany(
                    "UPDATE binlogs SET copied = 1, staged_etag = NULL "
                    "WHERE collection_id = ? AND segment_id = ? AND suffix = ?",
                    keys,
                )

    def compare_staged(
        self,
        collection_id: int,
        staged: Iterable[StoredObject],
        *,
        partition_id: int | None = None,
        forget_missing: bool = False,
    ) -> tuple[StagedDifference, ...]:
        """Hold the dump's objects against the frozen binlogs, in the database: memory stays flat."""
        with self._temporary(staged) as table:
            return self._compare(table, collection_id, partition_id, forget_missing=forget_missing)

    def compare_forwarded(
        self, collection_id: int, found: Iterable[StoredObject], *, partition_id: int | None = None
    ) -> tuple[StagedDifference, ...]:
        """The same by sizes alone, and nothing is noted."""
        with self._temporary(found) as table:
            return self._differences(table, collection_id, partition_id, "s.size_bytes = b.size_bytes")

    def unforwarded(self, collection_id: int, found: Iterable[StoredObject]) -> Generator[Binlog]:
        """The frozen binlogs that are not among those objects, page by page."""
        with self._temporary(found) as table:
            same = "s.name = binlogs.suffix AND s.size_bytes = binlogs.size_bytes"
            yield from self._paged(collection_id, f"AND NOT EXISTS (SELECT 1 FROM {table} s WHERE {same})")

    def changed_at_source(self, collection_id: int, found: Iterable[StoredObject]) -> tuple[str, ...]:
        """Keys that are frozen and have another size or ETag now; at most five."""
        with self._temporary(found) as table:
            rows = self._rows(
                f"SELECT b.source_key FROM {table} s JOIN binlogs b ON b.source_key = s.name AND b.collection_id = ? "
                "WHERE s.size_bytes != b.size_bytes OR s.etag IS NOT b.source_etag LIMIT 5",
                (collection_id,),
            )
        return tuple(key for (key,) in rows)

    @contextmanager
    def _temporary(self, objects: Iterable[StoredObject]) -> Iterator[str]:
        """A table of objects by name, for as long as the block lasts; filled page by page: memory stays flat."""
        table = f"temp.objects_{next(self._numbers)}"
        with self._transaction() as db:
            db.execute(f"CREATE TABLE {table} (name TEXT PRIMARY KEY, size_bytes INTEGER, etag TEXT) WITHOUT ROWID")
        try:
            for page in _pages((s.key, s.size_bytes, s.etag) for s in objects):
                with self._transaction() as db:
                    db.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", page)
            yield table
        finally:
            with self._transaction() as db:
                db.execute(f"DROP TABLE {table}")

    def _compare(
        self, table: str, collection_id: int, partition_id: int | None, *, forget_missing: bool
    ) -> tuple[StagedDifference, ...]:
        mine = _of(partition_id)
        same = "s.size_bytes = b.size_bytes AND COALESCE(b.staged_etag, s.etag) IS s.etag"
        key = (collection_id,)
        differences = self._differences(table, collection_id, partition_id, same)
        with self._transaction() as db:
            if forget_missing:
                db.execute(
                    f"UPDATE binlogs AS b SET copied = 0, staged_etag = NULL WHERE {mine} AND copied AND NOT EXISTS "
                    f"(SELECT 1 FROM {table} s WHERE s.name = b.suffix AND {same})",
                    key,
                )
            db.execute(
                f"UPDATE binlogs AS b SET staged_etag = (SELECT etag FROM {table} s WHERE s.name = b.suffix) "
                f"WHERE {mine} AND copied AND staged_etag IS NULL",
                key,
            )
        return differences

    def _differences(
        self, table: str, collection_id: int, partition_id: int | None, same: str
    ) -> tuple[StagedDifference, ...]:
        mine, key = _of(partition_id), (collection_id,)
        wrong = self._rows(
            f"SELECT b.suffix, b.size_bytes, s.size_bytes FROM binlogs b LEFT JOIN {table} s ON s.name = b.suffix "
            f"WHERE {mine} AND ({same}) IS NOT TRUE LIMIT 5",
            key,
        )
        strange = self._rows(
            f"SELECT s.name, NULL, s.size_bytes FROM {table} s WHERE NOT EXISTS "
            f"(SELECT 1 FROM binlogs b WHERE {mine} AND b.suffix = s.name) LIMIT 5",
            key,
        )
        return tuple(StagedDifference(*row) for row in (*wrong, *strange))


def _entry(row: tuple[int, str, str, str, str]) -> JournalEntry:
    number, at, key, event, data = row
    return JournalEntry(number=number, at=at, step_key=key, event=StepEvent(event), data=json.loads(data))


def _address(path: Path, *, read_only: bool) -> str:
    """SQLite's name of the file; read without a trace where no writer has it open."""
    if not read_only:
        return f"{path.absolute().as_uri()}?mode=rw"
    has_writer = path.with_name(f"{path.name}-wal").exists()
    return f"{path.absolute().as_uri()}?mode=ro" + ("" if has_writer else "&immutable=1")


def _of(partition_id: int | None) -> str:
    """What binlogs of a collection, or of one partition of it, fulfil."""
    return "b.collection_id = ?" + ("" if partition_id is None else f" AND b.partition_id = {partition_id:d}")


def _listing_table(name: str) -> str:
    """The name, if it is one of ours: it comes out of a file."""
    return _LISTING_TABLES[_LISTING_TABLES.index(name)]


def _traits_row(collection_id: int, segment: Segment) -> tuple[object, ...] | None:
    """None where a segment is as all those of Milvus 2.3 are."""
    told = (segment.level, segment.storage_version, segment.is_sorted, segment.vchannel)
    return (collection_id, segment.segment_id, *told) if any(told) else None


def _binlog_row(binlog: Binlog) -> tuple[object, ...]:
    found = binlog.source
    return (
        binlog.collection_id,
        binlog.segment_id,
        binlog.staged_suffix,
        binlog.kind,
        binlog.partition_id,
        binlog.field_id,
        binlog.log_id,
        found.key,
        found.size_bytes,
        found.etag,
    )


def _pages(rows: Iterable[tuple[object, ...]]) -> Iterator[list[tuple[object, ...]]]:
    iterator = iter(rows)
    while page := list(itertools.islice(iterator, _PAGE)):
        yield page
