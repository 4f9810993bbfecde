"""The rows of a dump, read from its own binlogs.

First the keys and timestamps of all segments go into an SQLite file, then an index is made, then deletes take rows
out by it, and then the files of all other fields are read once, for the fingerprints. Memory holds a few files.
"""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from migrator.adapters import binlogs
from migrator.adapters.delete_folding import folded
from migrator.adapters.row_files import room_in, temporary_database, temporary_folder
from migrator.errors import BinlogUnreadable
from migrator.model.collection import DYNAMIC_FIELD, ROW_ID_FIELD, TIMESTAMP_FIELD, DataType
from migrator.model.rows import PRINT_BYTES, print_of
from migrator.model.segment import ALL_PARTITIONS
from migrator.model.timestamps import at_millisecond
from migrator.steps.counting import WHOLE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from migrator.model.collection import CollectionSchema, FieldSchema
    from migrator.model.rows import Key, Value
    from migrator.model.segment import Segment
    from migrator.ports.rows import Dump, FoldedDeletes, L0Deletes, ReadingReport, RowSource
    from migrator.ports.store import ObjectReader

T = TypeVar("T")

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
CREATE TABLE logs (partition_id INTEGER, segment_id INTEGER, field_id INTEGER, log_id INTEGER, object TEXT);
CREATE TABLE groups (segment_id INTEGER, field_id INTEGER, group_id INTEGER, PRIMARY KEY (segment_id, field_id));
CREATE TABLE blocks (first_row INTEGER PRIMARY KEY, segment_id INTEGER, number INTEGER, row_count INTEGER);
CREATE TABLE rows (row INTEGER PRIMARY KEY, partition_id INTEGER, key, ts INTEGER);
CREATE TABLE prints (row INTEGER PRIMARY KEY, prints BLOB);
"""
_INDEX = "CREATE INDEX rows_by_key ON rows (partition_id, key, ts)"
_FIND = (
    "SELECT key, rows.row, prints FROM rows LEFT JOIN prints USING (row) WHERE partition_id = ? AND key IN (%s) "
    "ORDER BY ts, rows.row"
)
_ASKED = 500
"""Keys per statement."""
_NO_FIELD = -1
"""The field of delta logs."""
_TOGETHER = 0
"""The partition of all rows where they are read together."""
_NOWHERE = -1
_ALL_ROWS = 2**62
_PAGE = 10_000
_AHEAD = 4
"""Files on their way while one is being decoded."""


class BinlogDecoder(Protocol):
    """Decodes binlogs: the module `adapters.binlogs`, or what stands for it in memory."""

    def missing(self) -> str: ...

    def read_values(
        self,
        content: bytes,
        data_type: DataType,
        *,
        key: str,
        element_type: DataType | None = None,
        field_id: int = ...,
    ) -> list[Value]: ...

    def read_keys(self, content: bytes, data_type: DataType, *, key: str, field_id: int = ...) -> list[Key]: ...

    def field_ids(self, content: bytes, *, key: str) -> Iterable[int]: ...

    def read_deletes(self, content: bytes, *, key: str) -> Iterable[tuple[Key, int]]: ...

    def write_deletes(
        self,
        deletes: Sequence[tuple[Key, int]],
        segment: Segment,
        *,
        collection_id: int,
        key_type: DataType,
        written_ts: int,
    ) -> bytes: ...


class BinlogDumps:
    """Reads dumps, if their decoder can."""

    def __init__(self, decoder: BinlogDecoder = binlogs) -> None:
        self._decoder = decoder

    @property
    def missing(self) -> str:
        """What has to be installed; empty if nothing."""
        return self._decoder.missing()

    @contextmanager
    def open(self, dump: Dump, *, wants: Callable[[Key], bool], report: ReadingReport) -> Iterator[RowSource]:
        """Read a dump through; what is kept of it lies in a temporary folder as long as this is open."""
        with temporary_folder() as folder, closing(temporary_database(folder, _TABLES)) as database:
            rows = DumpRows(dump, database, self._decoder)
            with room_in(folder):
                rows.gather(wants, report)
            yield rows

    def fold(self, deletes: L0Deletes) -> AbstractContextManager[FoldedDeletes]:
        """Read deletes of L0 segments; what is kept of them lies in a temporary folder as long as this is open."""
        return folded(deletes, self._decoder)


def value_fields(schema: CollectionSchema) -> tuple[FieldSchema, ...]:
    """The `value_fields` of a schema, with the id that `$meta` has in files."""
    meta_id = schema.dynamic_field_id or ROW_ID_FIELD
    return tuple(replace(each, field_id=meta_id) if each == DYNAMIC_FIELD else each for each in schema.value_fields)


class DumpRows:
    """The rows of one dump, once they are gathered.

    A row is numbered by its place: segment by segment, file by file. The n-th files of all fields of a segment hold the
    same rows; together they are a block.
    """

    def __init__(self, dump: Dump, database: sqlite3.Connection, decoder: BinlogDecoder) -> None:
        self._dump = dump
        self._decoder = decoder
        self._database = database
        self._fields = value_fields(dump.collection.schema)
        self._key_field = next(field for field in dump.collection.schema.fields if field.is_primary_key)
        self._whole = dump.collection.schema.has_partition_key
        self._end_ts = at_millisecond(dump.end_ts)

    @property
    def place(self) -> str:
        """Where the dump lies."""
        return self._dump.place

    @property
    def field_names(self) -> tuple[str, ...]:
        """Every field but the primary key, `$meta` last."""
        return tuple(field.name for field in self._fields)

    # -- gathering --------------------------------------------------------------------------------------------------

    def gather(self, wants: Callable[[Key], bool], report: ReadingReport) -> None:
        """Read every file once; but none of a block in which no key is wanted, its keys apart."""
        self._database.executemany("INSERT INTO logs VALUES (?, ?, ?, ?, ?)", self._listed())
        self._database.execute("CREATE INDEX logs_by_field ON logs (segment_id, field_id, log_id)")
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="binlog") as pool:
            counted = _Counted(self._dump.store, pool, report, self._count_files())
            self._tell_columns_apart(counted)
            self._require_aligned()
            self._gather_keys(counted)
            self._database.execute(_INDEX)
            self._take_deleted(counted)
            self._gather_prints(counted, wants)
        self._database.commit()

    def _listed(self) -> Iterator[tuple[int, int, int, int, str]]:
        for log in self._dump.binlogs:
            partition_id = _TOGETHER if self._whole else log.partition_id
            field_id = _NO_FIELD if log.field_id is None else log.field_id
            yield partition_id, log.segment_id, field_id, log.log_id, self._dump.key_of(log)

    def _tell_columns_apart(self, counted: _Counted) -> None:
        """In storage v2 a file holds several fields, and says which; in v1 a field is its own group."""
        self._database.execute(
            "INSERT INTO groups SELECT DISTINCT segment_id, field_id, field_id FROM logs WHERE field_id != ?",
            (_NO_FIELD,),
        )
        for segment_id in self._dump.grouped_segments:
            listed = "SELECT field_id, MIN(object) FROM logs WHERE segment_id = ? AND field_id != ? GROUP BY field_id"
            files = self._database.execute(listed, (segment_id, _NO_FIELD)).fetchall()
            self._database.execute("DELETE FROM groups WHERE segment_id = ?", (segment_id,))
            for (group_id, name), (content,) in counted.read((file, (file[1],)) for file in files):
                self._database.executemany(
                    "INSERT OR REPLACE INTO groups VALUES (?, ?, ?)",
                    ((segment_id, field_id, group_id) for field_id in self._decoder.field_ids(content, key=name)),
                )

    def _count_files(self) -> int:
        """The files to be read, which are all but those of RowID."""
        sql = "SELECT COUNT(*) FROM logs WHERE field_id != ?"
        return int(self._database.execute(sql, (ROW_ID_FIELD,)).fetchone()[0])

    def _require_aligned(self) -> None:
        """Every field has as many files as the key; else no row could be told."""
        wanted = [TIMESTAMP_FIELD, *(field.field_id for field in self._fields)]
        counted = (
            "SELECT (SELECT COUNT(*) FROM logs b JOIN groups h ON h.segment_id = b.segment_id AND "
            "h.group_id = b.field_id WHERE b.segment_id = a.segment_id AND h.field_id = ?1), COUNT(*), a.segment_id "
            "FROM logs a JOIN groups g ON g.segment_id = a.segment_id AND g.group_id = a.field_id "
            "WHERE g.field_id = ?2 GROUP BY a.segment_id"
        )
        for field_id in wanted:
            for found, keys, segment_id in self._database.execute(counted, (field_id, self._key_field.field_id)):
                if found != keys:
                    raise BinlogUnreadable(
                        f"segment {segment_id} of the dump has {found} files of field {field_id}, and {keys} of its key"
                    )

    def _gather_keys(self, counted: _Counted) -> None:
        """Number all rows, and keep those up to the bound."""
        first_row, number, last_segment = 0, 0, _NOWHERE
        for (partition_id, segment_id, key_object, ts_object), (keys_file, ts_file) in counted.read(self._key_files()):
            key_field = self._key_field
            keys = self._decoder.read_keys(keys_file, key_field.data_type, key=key_object, field_id=key_field.field_id)
            stamps = self._decoder.read_keys(ts_file, DataType.INT64, key=ts_object, field_id=TIMESTAMP_FIELD)
            self._require_equal(len(keys), len(stamps), ts_object)
            number = number + 1 if segment_id == last_segment else 0
            last_segment = segment_id
            if not keys:  # a block is told by its first row
                continue
            block = (first_row, segment_id, number, len(keys))
            self._database.execute("INSERT INTO blocks VALUES (?, ?, ?, ?)", block)
            self._database.executemany(
                "INSERT INTO rows VALUES (?, ?, ?, ?)",
                (
                    (row, partition_id, key, ts)
                    for row, (key, ts) in enumerate(zip(keys, stamps, strict=True), start=first_row)
                    if int(ts) <= self._end_ts
                ),
            )
            first_row += len(keys)

    def _key_files(self) -> Iterator[tuple[tuple[int, int, str, str], tuple[str, ...]]]:
        """The files of key and timestamp, block by block."""
        listed = (
            "SELECT l.partition_id, l.segment_id, l.object FROM logs l JOIN groups g "
            "ON g.segment_id = l.segment_id AND g.group_id = l.field_id WHERE g.field_id = ? "
            "ORDER BY l.segment_id, l.log_id"
        )
        keys = self._database.execute(listed, (self._key_field.field_id,))
        stamps = self._database.execute(listed, (TIMESTAMP_FIELD,))
        for (partition_id, segment_id, key_object), (_, _, ts_object) in zip(keys, stamps, strict=True):
            yield (partition_id, segment_id, key_object, ts_object), (key_object, ts_object)

    def _require_equal(self, wanted: int, found: int, name: str) -> None:
        if found != wanted:
            raise BinlogUnreadable(f"{name} holds {found:,} rows, and the key's file beside it {wanted:,}")

    def _take_deleted(self, counted: _Counted) -> None:
        """Take out what a delete of the same segment took that is newer, as an import does; or one of an L0 segment."""
        listed = "SELECT segment_id, partition_id, object FROM logs WHERE field_id = ? ORDER BY segment_id, log_id"
        deltas = self._database.execute(listed, (_NO_FIELD,))
        for (segment_id, partition_id, name), (content,) in counted.read((log, (log[2],)) for log in deltas):
            spans = self._spans(segment_id, partition_id)
            self._database.executemany(
                "DELETE FROM rows WHERE partition_id = ? AND key = ? AND ts < ? AND row >= ? AND row < ?",
                (
                    (where, key, ts, first, end)
                    for key, ts in self._decoder.read_deletes(content, key=name)
                    if ts <= self._end_ts
                    for where, first, end in spans
                ),
            )

    def _spans(self, segment_id: int, partition_id: int) -> list[tuple[int, int, int]]:
        """Where the rows are that a segment's deletes may take, each a partition and a range of rows.

        A segment without rows of its own is an L0 segment, whose deletes take rows of all others.
        """
        own = "SELECT 1 FROM blocks WHERE segment_id = ?"
        if self._database.execute(own, (segment_id,)).fetchone():
            return [(partition_id, *self._span(segment_id))]
        if partition_id != ALL_PARTITIONS:
            return [(partition_id, 0, _ALL_ROWS)]
        found = self._database.execute("SELECT DISTINCT partition_id FROM logs WHERE field_id != ?", (_NO_FIELD,))
        return [(each, 0, _ALL_ROWS) for (each,) in found.fetchall()]

    def _span(self, segment_id: int) -> tuple[int, int]:
        """The numbers of a segment's rows."""
        span = "SELECT MIN(first_row), MAX(first_row + row_count) FROM blocks WHERE segment_id = ?"
        first, end = self._database.execute(span, (segment_id,)).fetchone()
        return first or 0, end or 0

    def _gather_prints(self, counted: _Counted, wants: Callable[[Key], bool]) -> None:
        prints: list[bytes] = []
        for (block, places, number), (content,) in counted.read(self._wanted_files(wants)):
            values = self._values_of(content, block, number)
            prints.append(b"".join(print_of(values[place]) for place in places))
            if len(prints) == len(self._fields):
                self._keep_prints(block.first_row, places, prints)
                prints = []

    def _wanted_files(self, wants: Callable[[Key], bool]) -> Iterator[tuple[tuple[_Block, list[int], int], tuple[str]]]:
        """The files of all value fields, block by block, with the places of the rows that are wanted."""
        for block in self._blocks():
            alive = self._database.execute(
                "SELECT row, key FROM rows WHERE row >= ? AND row < ? ORDER BY row", (block.first_row, block.end)
            )
            places = [row - block.first_row for row, key in alive if wants(key)]
            if places:
                for number in range(len(self._fields)):
                    yield (block, places, number), (self._file(block, number),)

    def _blocks(self) -> Iterator[_Block]:
        for found in self._database.execute("SELECT * FROM blocks ORDER BY first_row"):
            yield _Block(*found)

    def _file(self, block: _Block, number: int) -> str:
        """Where the file of the n-th value field lies."""
        sql = (
            "SELECT l.object FROM groups g JOIN logs l ON l.segment_id = g.segment_id AND l.field_id = g.group_id "
            "WHERE g.segment_id = ? AND g.field_id = ? ORDER BY l.log_id LIMIT 1 OFFSET ?"
        )
        found = self._database.execute(sql, (block.segment_id, self._fields[number].field_id, block.number)).fetchone()
        return str(found[0])

    def _values_of(self, content: bytes, block: _Block, number: int) -> list[Value]:
        field = self._fields[number]
        name = self._file(block, number)
        values = self._decoder.read_values(
            content, field.data_type, element_type=field.element_type, key=name, field_id=field.field_id
        )
        self._require_equal(block.row_count, len(values), name)
        return values

    def _keep_prints(self, first_row: int, places: list[int], prints: list[bytes]) -> None:
        cut = (slice(at, at + PRINT_BYTES) for at in range(0, len(places) * PRINT_BYTES, PRINT_BYTES))
        self._database.executemany(
            "INSERT INTO prints VALUES (?, ?)",
            (
                (first_row + place, b"".join(column[piece] for column in prints))
                for place, piece in zip(places, cut, strict=True)
            ),
        )

    # -- what was gathered ------------------------------------------------------------------------------------------

    def _partition_id(self, name: str) -> int:
        if self._whole:
            return _TOGETHER if name == WHOLE else _NOWHERE
        return next((each.partition_id for each in self._dump.collection.partitions if each.name == name), _NOWHERE)

    def keys(self, partition: str, *, after: Key | None = None) -> Iterator[Sequence[Key]]:
        """Pages of keys in ascending order, each key once."""
        partition_id, bound = self._partition_id(partition), "" if after is None else "AND key > ?"
        while True:
            sql = f"SELECT DISTINCT key FROM rows WHERE partition_id = ? {bound} ORDER BY key LIMIT {_PAGE}"  # noqa: S608 - constants
            values = (partition_id,) if after is None else (partition_id, after)
            page = [key for (key,) in self._database.execute(sql, values)]
            if not page:
                return
            yield page
            after, bound = page[-1], "AND key > ?"

    def prints(self, partition: str, keys: Sequence[Key]) -> Mapping[Key, tuple[bytes, ...]]:
        """Fingerprints of what is there; those that were not kept are made now."""
        newest = {key: (row, prints) for key, row, prints in self._find(partition, keys)}
        made = self._read_rows({row: key for key, (row, prints) in newest.items() if prints is None})
        cut = [slice(at, at + PRINT_BYTES) for at in range(0, len(self._fields) * PRINT_BYTES, PRINT_BYTES)]
        kept = {key: tuple(prints[each] for each in cut) for key, (_, prints) in newest.items() if prints is not None}
        return kept | {key: tuple(map(print_of, values)) for key, values in made.items()}

    def values(self, partition: str, keys: Sequence[Key]) -> Mapping[Key, tuple[Value, ...]]:
        """The values of what is there, read from the dump once more."""
        newest = {key: row for key, row, _ in self._find(partition, keys)}
        return self._read_rows({row: key for key, row in newest.items()})

    def copies(self, partition: str, keys: Sequence[Key]) -> Mapping[Key, int]:
        """How often each key is there."""
        counted = Counter(key for key, _, _ in self._find(partition, keys))
        return {key: counted[key] for key in keys}

    def count(self, partition: str, keys: Sequence[Key]) -> int:
        """How many rows have one of the keys."""
        return sum(1 for _ in self._find(partition, keys))

    def _find(self, partition: str, keys: Sequence[Key]) -> Iterator[tuple[Key, int, bytes | None]]:
        """The rows of keys with the prints that were kept; of the same key the newest last."""
        partition_id = self._partition_id(partition)
        for start in range(0, len(keys), _ASKED):
            asked = keys[start : start + _ASKED]
            sql = _FIND % ", ".join("?" * len(asked))
            yield from self._database.execute(sql, (partition_id, *asked))

    def _read_rows(self, keys: Mapping[int, Key]) -> dict[Key, tuple[Value, ...]]:
        """The values of rows by their keys, each file read once."""
        read: dict[Key, tuple[Value, ...]] = {}
        blocks: dict[_Block, list[int]] = {}
        for row in sorted(keys):
            blocks.setdefault(self._block_of(row), []).append(row)
        for block, rows in blocks.items():
            columns = [self._column(block, number, rows) for number in range(len(self._fields))]
            read |= {keys[row]: values for row, values in zip(rows, zip(*columns, strict=True), strict=True)}
        return read

    def _block_of(self, row: int) -> _Block:
        sql = "SELECT * FROM blocks WHERE first_row <= ? ORDER BY first_row DESC LIMIT 1"
        return _Block(*self._database.execute(sql, (row,)).fetchone())

    def _column(self, block: _Block, number: int, rows: list[int]) -> list[Value]:
        content = self._dump.store.read(self._file(block, number))
        values = self._values_of(content, block, number)
        return [values[row - block.first_row] for row in rows]


@dataclass(frozen=True, slots=True)
class _Block:
    """The n-th files of all fields of a segment, and the numbers of their rows."""

    first_row: int
    segment_id: int
    number: int
    row_count: int

    @property
    def end(self) -> int:
        return self.first_row + self.row_count


class _Counted:
    """Objects, read a little ahead of their use, and counted."""

    def __init__(self, store: ObjectReader, pool: ThreadPoolExecutor, report: ReadingReport, total: int) -> None:
        self._store = store
        self._pool = pool
        self._report = report
        self._total = total
        self._done = 0

    def read(self, wanted: Iterable[tuple[T, tuple[str, ...]]]) -> Iterator[tuple[T, tuple[bytes, ...]]]:
        """The contents of the named objects, in the order asked for; each with what it was asked with."""
        on_their_way: deque[tuple[T, list[Future[bytes]]]] = deque()
        last: dict[str, Future[bytes]] = {}
        for what, names in wanted:  # a file of several columns is asked for once for each
            last = {name: last.get(name) or self._pool.submit(self._store.read, name) for name in names}
            on_their_way.append((what, [last[name] for name in names]))
            if len(on_their_way) > _AHEAD:
                yield self._arrived(*on_their_way.popleft())
        while on_their_way:
            yield self._arrived(*on_their_way.popleft())

    def _arrived(self, what: T, reads: list[Future[bytes]]) -> tuple[T, tuple[bytes, ...]]:
        self._done += len(reads)
        self._report(self._done, self._total)
        return what, tuple(read.result() for read in reads)
