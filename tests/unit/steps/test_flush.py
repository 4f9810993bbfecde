"""The cut: of a first flush, with a second one that seals what was under way in its moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from migrator.errors import MilvusUnavailable
from migrator.steps.dump_meta import DumpMeta, frozen_dump
from migrator.steps.flush import Flush, flush_and_wait
from migrator.steps.import_segments import ImportSegments
from tests.support.builders import BOOKS, Pair, create, fill, flush, some_rows
from tests.support.stage import Stage, a_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from migrator.adapters.memory import MemoryMilvus
    from migrator.model.collection import CollectionRef
    from migrator.ports.milvus import FlushResult


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Nothing is done yet: books with 3 rows."""
    pair = Pair()
    fill(pair, rows=3)
    with a_stage(tmp_path, pair) as stage:
        yield stage


def after_the_first_flush(monkeypatch: pytest.MonkeyPatch, source: MemoryMilvus, happens: Callable[[], None]) -> None:
    """Let something happen once between the two flushes."""
    plain, todo = source.flush, [happens]

    def flush_then(refs: Sequence[CollectionRef]) -> Mapping[CollectionRef, FlushResult]:
        result = plain(refs)
        if todo:
            todo.pop()()
        return result

    monkeypatch.setattr(source, "flush", flush_then)


def test_what_grows_after_the_cut_is_sealed_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    source = stage.pair.source
    after_the_first_flush(monkeypatch, source, lambda: source.insert(BOOKS, some_rows(2, start=10)))
    stage.apply_before(ImportSegments)
    assert frozen_dump(stage.ctx.ledger, BOOKS).raw_rows == 5
    assert stage.apply(stage.step(ImportSegments)).rows == 3


def test_segments_with_nothing_up_to_the_cut_may_bring_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    source = stage.pair.source
    after_the_first_flush(monkeypatch, source, lambda: source.insert(BOOKS, some_rows(2, start=10)))
    stage.apply_before(ImportSegments)
    assert stage.apply(stage.step(ImportSegments, segments_per_job=1)).rows == 3


def test_a_collection_whose_rows_are_all_later_arrives_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    create(pair.source)
    with a_stage(tmp_path, pair) as stage:
        after_the_first_flush(monkeypatch, pair.source, lambda: pair.source.insert(BOOKS, some_rows(2)))
        stage.apply_before(ImportSegments)
        assert stage.apply(stage.step(ImportSegments)).rows == 0


def test_what_somebody_flushed_in_between_is_not_trusted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    source, plain = stage.pair.source, stage.pair.source.flush

    def insert_and_flush() -> None:
        source.insert(BOOKS, some_rows(2, start=10))
        result = plain([BOOKS])[BOOKS]
        while not source.is_flushed(BOOKS, result):
            pass

    after_the_first_flush(monkeypatch, source, insert_and_flush)
    stage.apply(stage.step(Flush))
    assert len(source.list_segments(BOOKS)) == 2
    stage.apply(stage.step(DumpMeta))
    assert "cut" in stage.ctx.ledger.notes("dump_meta:default.books")
    assert frozen_dump(stage.ctx.ledger, BOOKS).raw_rows == 5


def test_a_second_flush_waits_for_a_rate_limit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    source, plain, calls = stage.pair.source, stage.pair.source.flush, 0

    def limited(refs: Any) -> Any:  # noqa: ANN401 - as the port
        nonlocal calls
        calls += 1
        if calls in range(2, 5):
            raise MilvusUnavailable("rate limit exceeded")
        return plain(refs)

    monkeypatch.setattr(source, "flush", limited)
    source.insert(BOOKS, some_rows(2, start=10))
    result = flush_and_wait(source, [BOOKS], stage.ctx.clock)[BOOKS]
    assert calls == 5
    assert result.sealed_ids == ()
    assert len(result.segment_ids) == 2


def test_a_flush_tells_what_grew_until_then(stage: Stage) -> None:
    source = stage.pair.source
    source.insert(BOOKS, some_rows(2, start=10))
    result = source.flush([BOOKS])[BOOKS]
    assert len(result.segment_ids) == 2
    assert set(result.sealed_ids) < set(result.segment_ids)
    flush(source)
    assert source.flush([BOOKS])[BOOKS].sealed_ids == ()
