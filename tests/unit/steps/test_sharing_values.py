"""Values compared by the workers of an engine: what is found is what this process finds, also after a failure."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from migrator.errors import MilvusUnavailable
from migrator.model.codec import from_plain, to_plain
from migrator.model.rows import Sample
from migrator.model.shard import CopyAnswer, CopyShard, ValuesAnswer, ValuesShard
from migrator.steps import comparing
from migrator.steps.comparing import Compared, RowComparison
from migrator.steps.comparing_values import ValueComparison
from migrator.steps.sharding import failure_of
from migrator.steps.sharing_values import SharedValues
from tests.support.builders import FakeClock, a_collection, a_schema, silent
from tests.support.sides import FakeSide

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 400
SENT = 40


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "_SENT_KEYS", SENT)


@dataclass(slots=True)
class Threads:
    """An engine whose workers see the same two sides, and are told by JSON."""

    source: FakeSide
    target: FakeSide
    width: int = 2
    place: str = "threads://here"
    shards: list[ValuesShard] = field(default_factory=list)
    fails_at: int | None = None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2))

    def compare(self, shard: ValuesShard) -> Future[ValuesAnswer]:
        """As a worker does it."""
        told = from_plain(ValuesShard, json.loads(json.dumps(to_plain(shard))))
        assert told == shard
        self.shards.append(told)
        number = len(self.shards)
        return self._pool.submit(self._compare, told, number)

    def copy(self, shard: CopyShard) -> Future[CopyAnswer]:
        """Is not asked for."""
        raise NotImplementedError

    def _compare(self, shard: ValuesShard, number: int) -> ValuesAnswer:
        if number == self.fails_at:
            return ValuesAnswer(failure=failure_of(MilvusUnavailable("milvus_A does not answer")))
        found = ValueComparison(self.source, self.target, shard.schema).compare(
            shard.partition, shard.keys, shard.named_before
        )
        return ValuesAnswer(repeated=found.repeated, routed=found.routed, differences=found.differences)


@pytest.fixture
def sides() -> tuple[FakeSide, FakeSide]:
    """Two that differ in every twentieth row, and in some that are there twice."""
    ours = [(key, (b"one", b"\0" * 8)) for key in range(ROWS)]
    theirs = [(key, (b"two" if key % 20 == 7 else b"one", b"\0" * 8)) for key in range(ROWS)]
    twice = [(key, (b"other", b"\0" * 8)) for key in (11, 12)]
    return FakeSide({"p": [*ours, *twice]}), FakeSide({"p": [*twice, *theirs]})


def a_comparison(
    sides: tuple[FakeSide, FakeSide], engine: Threads | None, put_down: Callable[[Compared], None] = lambda _: None
) -> RowComparison:
    pair = a_collection()
    shared = None
    if engine is not None:
        shared = SharedValues(engine=engine, source_is=pair, target_is=pair, schema=a_schema(), level="full")
    return RowComparison(
        source=sides[0],
        target=sides[1],
        schema=a_schema(),
        partitions=("p",),
        sample=Sample(7, 1.0),
        clock=FakeClock(),
        progress=silent,
        put_down=put_down,
        share=shared,
    )


def test_workers_find_what_this_process_finds(sides: tuple[FakeSide, FakeSide]) -> None:
    engine = Threads(*sides)
    alone = a_comparison(sides, None).run(Compared())
    shared = a_comparison(sides, engine).run(Compared())
    assert len(engine.shards) >= ROWS / SENT
    assert sorted(key for shard in engine.shards for key in shard.keys) == list(range(ROWS))
    assert shared.differences.totals == alone.differences.totals
    assert set(map(str, shared.differences.shown)) == set(map(str, alone.differences.shown))
    assert replace(shared, differences=alone.differences) == alone


def test_a_failure_puts_down_what_is_sure_and_the_next_attempt_goes_on_there(sides: tuple[FakeSide, FakeSide]) -> None:
    down: list[Compared] = []
    engine = Threads(*sides, fails_at=2)
    with pytest.raises(MilvusUnavailable, match="milvus_A does not answer"):
        a_comparison(sides, engine, down.append).run(Compared())
    assert down[-1].source_keys < ROWS, "what was not answered for is not done"
    again = a_comparison(sides, Threads(*sides)).run(down[-1])
    alone = a_comparison(sides, None).run(Compared())
    assert again.differences.totals == alone.differences.totals
    assert (again.rows_valued, again.source_digest) == (alone.rows_valued, alone.source_digest)
