"""The rows of a dump are those of its collection: of a Milvus in memory, and of what a real one wrote."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrator.adapters.dump_rows import BinlogDumps
from migrator.adapters.memory import MemoryBinlogs, MemoryMilvus, MemoryStore
from migrator.adapters.memory_rows import exact_bytes
from migrator.errors import BinlogUnreadable, Interrupted, RunError
from migrator.model.collection import DataType, FieldSchema
from migrator.model.rows import Key, print_of
from migrator.model.segment import parse_binlog
from migrator.ports.rows import Dump
from migrator.steps.counting import WHOLE
from tests.support.binlog_files import real_dump, real_rows
from tests.support.builders import BOOKS, FakeClock, a_key_schema, a_schema, create, flush, some_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from migrator.model.rows import Value
    from migrator.ports.rows import RowSource

PARTITIONS = ("_default", "east")


def a_milvus(version: str = "2.3.5") -> tuple[MemoryMilvus, MemoryStore]:
    store = MemoryStore()
    return MemoryMilvus("http://milvus_A:19530", store, "files_A", FakeClock(), version=version), store


def dump_of(milvus: MemoryMilvus, store: MemoryStore, *, end_ts: int | None = None) -> Dump:
    """All files of the live segments, where they lie."""
    collection = milvus.find_collection(BOOKS)
    assert collection is not None
    live = {segment.segment_id for segment in milvus.list_segments(BOOKS)}
    found = (parse_binlog(each, "files_A") for each in store.list_objects("files_A"))
    return Dump(
        collection=collection,
        place="the dump",
        store=store,
        binlogs=[log for log in found if log is not None and log.segment_id in live],
        key_of=lambda log: log.source.key,
        end_ts=end_ts or milvus.allocate_timestamp() + (1 << 18),
    )


def nobody_listens(done: int, total: int) -> None:
    """Watch nothing."""


@contextmanager
def opened(
    dump: Dump, wants: Callable[[Key], bool] = lambda _: True, reader: BinlogDumps | None = None
) -> Iterator[RowSource]:
    """Read a dump of a Milvus in memory."""
    with (reader or BinlogDumps(MemoryBinlogs())).open(dump, wants=wants, report=nobody_listens) as rows:
        yield rows


def keys_of(rows: RowSource, partition: str = "_default") -> list[Key]:
    return list(chain.from_iterable(rows.keys(partition)))


def exact(row: dict[str, Any]) -> tuple[bytes | None, ...]:
    """A row of `a_schema` less its key."""
    return tuple(exact_bytes(f, row[f.name]) for f in a_schema().fields if not f.is_primary_key)


def written_at(row: dict[str, Any]) -> int:
    """The number of the verb that wrote it, which is its title."""
    return int(row["title"])


writes = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.sampled_from(PARTITIONS), st.lists(st.integers(0, 20), min_size=1, max_size=8)),
        st.tuples(st.just("delete"), st.just(""), st.lists(st.integers(0, 20), max_size=5)),
        st.tuples(st.sampled_from(["flush", "compact", "cut"]), st.just(""), st.just([])),
    ),
    max_size=14,
)


@settings(max_examples=40, deadline=None)
@given(writes, st.sets(st.integers(0, 20)), st.sampled_from(["2.3.5", "2.5.20"]))
def test_whatever_was_written_the_dump_tells_what_the_collection_shows(
    story: list[tuple[str, str, list[int]]], wanted: set[int], version: str
) -> None:
    milvus, store = a_milvus(version)
    create(milvus)
    milvus.create_partition(BOOKS, "east")
    for number, (verb, partition, keys) in enumerate([*story, ("flush", "", [])]):
        if verb == "insert":
            rows = [{"id": key, "title": f"{number}", "vec": [float(key), 0.5]} for key in keys]
            milvus.insert(BOOKS, rows, partition)
        elif verb == "delete":
            milvus.delete(BOOKS, keys)
        elif verb == "compact":
            milvus.compact(BOOKS)
        elif verb == "flush":
            flush(milvus)
    shown: dict[str, dict[int, list[dict[str, Any]]]] = {name: {} for name in PARTITIONS}
    for row in milvus.rows(BOOKS):
        shown[str(row["$partition"])].setdefault(int(str(row["id"])), []).append(row)
    with opened(dump_of(milvus, store), wanted.__contains__) as read:
        for name, rows_by_key in shown.items():
            keys = sorted(rows_by_key)
            assert keys_of(read, name) == keys
            told = read.values(name, [*keys, 99])
            assert told == {key: exact(max(rows_by_key[key], key=written_at)) for key in keys}
            assert read.prints(name, [*keys, 99]) == {key: tuple(map(print_of, row)) for key, row in told.items()}
            assert read.copies(name, keys) == {key: len(found) for key, found in rows_by_key.items()}


def test_keys_come_in_ascending_order_page_by_page_from_behind_a_key() -> None:
    milvus, store = a_milvus()
    create(milvus)
    for start in (6_000, 0):
        milvus.insert(BOOKS, some_rows(6_000, start=start))
        flush(milvus)
    with opened(dump_of(milvus, store), lambda _: False) as rows:
        pages = list(rows.keys("_default"))
        assert len(pages) > 1
        assert list(chain.from_iterable(pages)) == list(range(12_000))
        assert list(chain.from_iterable(rows.keys("_default", after=11_990))) == list(range(11_991, 12_000))


def test_text_keys_are_ordered_by_their_bytes() -> None:
    milvus, store = a_milvus()
    keys = ["", "Z", "a", "a\x00b", "ab", "ä", "\uffff", "\U00010000"]
    fields = (
        FieldSchema(field_id=100, name="code", data_type=DataType.VARCHAR, is_primary_key=True),
        a_schema().fields[2],
    )
    create(milvus, schema=replace(a_schema(), fields=fields))
    milvus.insert(BOOKS, [{"code": key, "vec": [0.0, 1.0]} for key in reversed(keys)])
    flush(milvus)
    with opened(dump_of(milvus, store)) as rows:
        assert keys_of(rows) == keys
        assert list(chain.from_iterable(rows.keys("_default", after=""))) == keys[1:]


def test_what_was_written_after_the_cut_is_not_there_and_what_was_deleted_after_it_is() -> None:
    milvus, store = a_milvus()
    create(milvus)
    milvus.insert(BOOKS, some_rows(3))
    flush(milvus)
    cut = milvus.allocate_timestamp() + (1 << 18)
    milvus._clock.sleep(1)  # the cut is a millisecond, and this is after it
    milvus.delete(BOOKS, [0])
    milvus.insert(BOOKS, some_rows(2, start=3))
    flush(milvus)
    with opened(dump_of(milvus, store, end_ts=cut)) as rows:
        assert keys_of(rows) == [0, 1, 2]


def test_partitions_of_a_partition_key_are_read_as_one() -> None:
    milvus, store = a_milvus()
    create(milvus, schema=a_key_schema(), num_partitions=3)
    for number, row in enumerate(some_rows(6)):
        milvus.insert(BOOKS, [row], f"_default_{number % 3}")
    flush(milvus)
    with opened(dump_of(milvus, store)) as rows:
        assert keys_of(rows, WHOLE) == list(range(6))
        assert keys_of(rows, "_default_0") == []


def test_files_that_do_not_lie_side_by_side_are_refused() -> None:
    milvus, store = a_milvus()
    create(milvus)
    milvus.insert(BOOKS, some_rows(3))
    flush(milvus)
    dump = dump_of(milvus, store)
    (title,) = [log for log in dump.binlogs if log.field_id == 101]
    few = replace(dump, binlogs=[log for log in dump.binlogs if log is not title])
    with pytest.raises(BinlogUnreadable, match="has 0 files of field 101, and 1 of its key"), opened(few):
        pass
    store.write(title.source.key, b'["one", "two"]')
    with pytest.raises(BinlogUnreadable, match="holds 2 rows, and the key's file beside it 3"), opened(dump):
        pass


@pytest.mark.parametrize("how", ["by the end", "by an error", "by a stop while it reads"])
def test_nothing_is_left_on_the_disk(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    milvus, store = a_milvus()
    create(milvus)
    milvus.insert(BOOKS, some_rows(3))
    flush(milvus)

    def stop(done: int, total: int) -> None:
        assert (done, total) == (2, 4)
        assert list(tmp_path.iterdir())
        raise Interrupted("stopped")

    reader, dump = BinlogDumps(MemoryBinlogs()), dump_of(milvus, store)
    if how == "by a stop while it reads":
        with pytest.raises(Interrupted), reader.open(dump, wants=lambda _: True, report=stop):
            pass
    elif how == "by an error":
        with pytest.raises(RunError), opened(dump):
            raise RunError("something else")
    else:
        with opened(dump) as rows:
            assert keys_of(rows) == [0, 1, 2]
            assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    milvus, store = a_milvus()
    create(milvus)
    with pytest.raises(RunError, match="nowhere") as caught, opened(dump_of(milvus, store)):
        pass
    assert "TMPDIR" in caught.value.hint


@pytest.mark.parametrize("name", ["kinds", "coded"])
def test_rows_of_a_real_server_are_read_exactly(name: str) -> None:
    found = real_dump(name)
    dump = Dump(
        collection=found.collection,
        place="the dump",
        store=found.store,
        binlogs=found.binlogs,
        key_of=lambda log: log.source.key,
        end_ts=found.cut_ts,
    )
    key_name = found.collection.schema.fields[0].name
    with BinlogDumps().open(dump, wants=lambda _: True, report=nobody_listens) as rows:
        for partition, expected in real_rows(name).items():
            keys = [row[key_name] for row in expected]
            exact_rows = {
                row[key_name]: tuple(real_bytes(dump, row, each) for each in rows.field_names) for row in expected
            }
            assert keys_of(rows, partition) == keys
            assert rows.values(partition, keys) == exact_rows
            assert rows.prints(partition, keys) == {
                key: tuple(map(print_of, values)) for key, values in exact_rows.items()
            }
            twice = {6} if name == "kinds" else set()
            assert rows.copies(partition, keys) == {key: 2 if key in twice else 1 for key in keys}


def real_bytes(dump: Dump, row: dict[str, Any], name: str) -> Value:
    """A value of `real_rows` as exact bytes."""
    fields = {field.name: field for field in dump.collection.schema.fields}
    if name not in fields or fields[name].data_type is DataType.JSON:
        return str(row[name]).encode()
    if fields[name].data_type is DataType.BINARY_VECTOR:
        return bytes.fromhex(row[name])
    return exact_bytes(fields[name], row[name])


def test_without_pyarrow_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BinlogDumps().missing == ""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert 'pip install "migrator[binlogs]"' in BinlogDumps().missing
