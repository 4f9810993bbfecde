"""Deletes of L0 segments as delta logs of the segments they apply to: keys on disk, memory holds a file or two."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from migrator.adapters.row_files import room_in, temporary_database, temporary_folder
from migrator.errors import BinlogUnreadable
from migrator.model.segment import ALL_PARTITIONS, STORAGE_V2, LogKind, Segment

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from migrator.adapters.dump_rows import BinlogDecoder
    from migrator.model.rows import Key
    from migrator.model.segment import Binlog
    from migrator.ports.rows import L0Deletes

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
CREATE TABLE deletes (key, partition_id INTEGER, ts INTEGER, PRIMARY KEY (key, partition_id)) WITHOUT ROWID;
CREATE TABLE keys (key PRIMARY KEY) WITHOUT ROWID;
"""
_ADD = "INSERT INTO deletes VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET ts = MAX(ts, excluded.ts)"
_FIND = (
    "SELECT key, MAX(ts) newest FROM keys JOIN deletes USING (key) WHERE partition_id IN (?, ?) "
    "GROUP BY key ORDER BY newest, key"
)
_ANY = "SELECT 1 FROM deletes WHERE partition_id IN (?, ?) LIMIT 1"
_PER_FILE = 100_000
"""Deletes in one delta log: each is a text of some fifty bytes while it is written."""


@contextmanager
def folded(deletes: L0Deletes, decoder: BinlogDecoder) -> Iterator[FoldedDeletes]:
    """Read all of them, and keep the newest of each key as long as this is open; see `ports.rows.DumpReader`."""
    with temporary_folder() as folder, closing(temporary_database(folder, _TABLES)) as database:
        made = FoldedDeletes(deletes, folder, database, decoder)
        made.gather()
        yield made


class FoldedDeletes:
    """The deletes, once they are gathered."""

    def __init__(
        self,
        deletes: L0Deletes,
        folder: Path,
        database: sqlite3.Connection,
        decoder: BinlogDecoder,
    ) -> None:
        self._deletes = deletes
        self._folder = folder
        self._database = database
        self._decoder = decoder
        self._key_field = deletes.schema.primary_field
        self.later = 0
        """Deletes that are newer than the bound, and are left out."""

    def gather(self) -> None:
        """Read every delta log once."""
        for log in self._deletes.binlogs:
            name = self._deletes.key_of(log)
            content = self._deletes.store.read(name)
            with room_in(self._folder):
                self._database.executemany(_ADD, self._bounded(log, self._decoder.read_deletes(content, key=name)))

    def _bounded(self, log: Binlog, found: Iterable[tuple[Key, int]]) -> Iterator[tuple[Key, int, int]]:
        for key, ts in found:
            if ts <= self._deletes.end_ts:
                yield key, log.partition_id, ts
            else:
                self.later += 1

    def logs_of(self, segment: Segment, binlogs: Iterable[Binlog], *, written_ts: int) -> Iterator[bytes]:
        """Delta logs with those deletes whose keys a segment has, by its insert logs; none where it has none."""
        inserts = [log for log in binlogs if log.kind is LogKind.INSERT]
        partitions = (segment.partition_id, ALL_PARTITIONS)
        if not self._database.execute(_ANY, partitions).fetchone():
            return
        with room_in(self._folder):
            self._database.execute("DELETE FROM keys")
            for log in self._key_logs(segment, inserts):
                name = self._deletes.key_of(log)
                keys = self._decoder.read_keys(
                    self._deletes.store.read(name),
                    self._key_field.data_type,
                    key=name,
                    field_id=self._key_field.field_id,
                )
                self._database.executemany("INSERT OR IGNORE INTO keys VALUES (?)", ((key,) for key in keys))
            found = self._database.execute(_FIND, partitions)
            while page := found.fetchmany(_PER_FILE):
                yield self._decoder.write_deletes(
                    page,
                    segment,
                    collection_id=inserts[0].collection_id,
                    key_type=self._key_field.data_type,
                    written_ts=written_ts,
                )

    def _key_logs(self, segment: Segment, inserts: list[Binlog]) -> list[Binlog]:
        """The files that hold its primary keys: in storage v2 a group says itself which columns it has."""
        folder = self._key_field.field_id
        if segment.storage_version == STORAGE_V2:
            groups = {log.field_id: log for log in inserts}
            folder = next((number for number, log in groups.items() if number is not None and self._has_key(log)), -1)
        found = [log for log in inserts if log.field_id == folder]
        if not found:
            raise BinlogUnreadable(
                f"segment {segment.segment_id} has no binlogs of its key, field {self._key_field.field_id}",
                hint="see whether the source's own files are the same",
            )
        return found

    def _has_key(self, log: Binlog) -> bool:
        name = self._deletes.key_of(log)
        return self._key_field.field_id in self._decoder.field_ids(self._deletes.store.read(name), key=name)
