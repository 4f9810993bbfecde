"""Many deletes of L0 segments folded into large segments: all of them come out, and memory does not grow with them."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING

from migrator.adapters import binlogs, delete_folding
from migrator.adapters.delete_folding import folded
from migrator.adapters.memory import MemoryStore
from migrator.model.collection import DataType
from migrator.model.segment import ALL_PARTITIONS, Binlog, LogKind, Segment, StoredObject
from migrator.ports.rows import L0Deletes
from tests.support.binlog_files import a_delta_log, an_insert_log
from tests.support.builders import a_schema

if TYPE_CHECKING:
    import pytest

PER_LOG = 2_000
SEGMENT = Segment(3, 2, 0)


def a_log(kind: LogKind, number: int) -> Binlog:
    is_insert = kind is LogKind.INSERT
    return Binlog(
        kind=kind,
        collection_id=1,
        partition_id=2 if is_insert else ALL_PARTITIONS,
        segment_id=3 if is_insert else 9,
        field_id=100 if is_insert else None,
        log_id=number,
        source=StoredObject(f"{kind}/{number}", 1),
    )


def fold(number: int) -> tuple[int, int]:
    """How many deletes come out of so many logs of them, every second for a key that is there; and the peak, bytes."""
    store, inserts, deletes = MemoryStore(), list[Binlog](), list[Binlog]()
    for each in range(number):
        keys = range(each * PER_LOG, (each + 1) * PER_LOG)
        inserts.append(a_log(LogKind.INSERT, each))
        store.write(inserts[-1].source.key, an_insert_log(DataType.INT64, [2 * key for key in keys]))
        deletes.append(a_log(LogKind.DELTA, each))
        texts = [json.dumps({"pk": key, "ts": 1000 + key, "pkType": 5}) for key in keys]
        store.write(deletes[-1].source.key, a_delta_log(texts))
    asked = L0Deletes(
        schema=a_schema(), store=store, binlogs=iter(deletes), key_of=lambda log: log.source.key, end_ts=10**9
    )
    tracemalloc.start()
    try:
        with folded(asked, binlogs) as made:
            logs = made.logs_of(SEGMENT, inserts, written_ts=7)
            written = sum(1 for log in logs for _ in binlogs.read_deletes(log, key="x"))
        return written, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_deletes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delete_folding, "_PER_FILE", PER_LOG)
    fold(1)  # which imports what it needs
    few, peak_of_few = fold(2)
    many, peak_of_many = fold(12)
    assert (few, many) == (PER_LOG, 6 * PER_LOG)
    assert peak_of_many < 1.5 * peak_of_few
