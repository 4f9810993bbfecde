"""Copies by the workers of an engine: what is sent, what is believed of their answers, and what a failure leaves."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.errors import EngineUnavailable, Interrupted, ListingOutdated, RunError, StoreUnavailable
from migrator.model.codec import to_plain
from migrator.model.shard import ShardFailure, StoreRole
from migrator.running.assignment import Assignment, ShardSender, places_of
from migrator.running.clock import StopSignal, SystemClock
from migrator.steps.copy_segments import CopySegments
from migrator.steps.sharding import copy_shard, error_of, failure_of
from migrator.steps.throttle import Throttle
from migrator.steps.transfer import TransferMode
from tests.support.builders import FakeClock, Pair, a_loaded_plan, fill
from tests.support.engines import PLACE, ThreadTransport
from tests.support.stage import Stage, a_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.steps.base import StepContext

SECRET = "never-to-be-sent-0815"  # noqa: S105 - of this test
SIZE = 5
"""Objects of the books."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Books, frozen: 5 objects in bucket_A."""
    pair = Pair()
    fill(pair)
    with a_stage(tmp_path, pair) as stage:
        stage.apply_before(CopySegments)
        yield stage


def workers(stage: Stage, staging: MemoryStore) -> ThreadTransport:
    """Such as reach both stores by themselves."""
    stores = {StoreRole.SOURCE: stage.pair.store, StoreRole.STAGING: staging}

    def work(text: str) -> str:
        shard = Assignment.from_json(text).copy
        assert shard is not None
        answer = copy_shard(
            shard,
            stores[shard.origin],
            stores[shard.destination],
            clock=FakeClock(),
            throttle=Throttle(shard.limit_bytes_per_s),
        )
        return json.dumps(to_plain(answer))

    return ThreadTransport(work)


def shared(stage: Stage, folder: Path, transport: ThreadTransport, staging: MemoryStore) -> StepContext:
    """The context of a run that is shared with them, whose dump lies in another store than the source."""
    sender = ShardSender(transport=transport, attempt="1", places=places_of(a_loaded_plan(folder)))
    return replace(stage.ctx, staging=staging, engine=sender)


def copy(stage: Stage, ctx: StepContext) -> str:
    step = stage.step(CopySegments, mode=TransferMode.AUTO)
    return step.apply(ctx, step.probe(ctx.reading())).detail


def uncopied(stage: Stage) -> int:
    return len(list(stage.journal.uncopied(stage.step(CopySegments).collection_id)))


def require_copied(stage: Stage, staging: MemoryStore) -> None:
    assert sorted(map(staging.read, (found.key for found in staging.list_objects("backup")))) == sorted(
        stage.pair.keys("files_A").values()
    )


def test_workers_stream_what_no_service_copies(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    staging = MemoryStore("bucket_B")
    transport = workers(stage, staging)
    detail = copy(stage, shared(stage, tmp_path, transport, staging))
    assert detail.startswith(f"streamed through the workers of {PLACE}: ")
    require_copied(stage, staging)
    assert len(transport.sent) == 4, "two for each that works at a time"
    assert sum(len(json.loads(text)["copy"]["cargo"]) for text in transport.sent) == SIZE
    assert all('{"env": "SECRET"' in text for text in transport.sent)
    assert not [text for text in transport.sent if SECRET in text]


def test_what_the_service_copies_is_not_sent(stage: Stage, tmp_path: Path) -> None:
    transport = workers(stage, stage.pair.store)
    copy(stage, shared(stage, tmp_path, transport, stage.pair.store))
    assert transport.sent == []


def test_what_arrived_before_a_failure_is_not_copied_again(stage: Stage, tmp_path: Path) -> None:
    """A shard tells what it did beside what failed; the next attempt sends the rest alone."""
    staging = MemoryStore("bucket_B")
    transport = workers(stage, staging)
    whole = transport.work

    def half(text: str) -> str:
        plain = json.loads(text)
        plain["copy"]["cargo"] = plain["copy"]["cargo"][:1]
        answer = json.loads(whole(json.dumps(plain)))
        return json.dumps(answer | {"failure": to_plain(failure_of(StoreUnavailable("bucket_B does not answer")))})

    transport.work, transport.width = half, 1
    ctx = shared(stage, tmp_path, transport, staging)
    with pytest.raises(StoreUnavailable, match="bucket_B does not answer"):
        copy(stage, ctx)
    left = uncopied(stage)
    assert 0 < left < SIZE
    transport.sent.clear()
    transport.work = whole
    copy(stage, ctx)
    assert sum(len(json.loads(text)["copy"]["cargo"]) for text in transport.sent) == left
    require_copied(stage, staging)


def test_an_object_that_changed_is_listed_again(stage: Stage, tmp_path: Path) -> None:
    staging = MemoryStore("bucket_B")
    (key, *_) = stage.pair.keys("files_A")
    transport = workers(stage, staging)
    whole = transport.work

    def late(text: str) -> str:
        stage.pair.store.write(key, b"other bytes")
        return whole(text)

    transport.work = late
    with pytest.raises(ListingOutdated, match=r"has changed since it was listed"):
        copy(stage, shared(stage, tmp_path, transport, staging))


def test_an_answer_alone_is_no_evidence(stage: Stage, tmp_path: Path) -> None:
    """Workers that say it is there, and write elsewhere: the dump's own listing is what counts."""
    staging = MemoryStore("bucket_B")
    transport = workers(stage, MemoryStore("elsewhere"))
    with pytest.raises(RunError, match="is missing"):
        copy(stage, shared(stage, tmp_path, transport, staging))


def test_a_stop_is_heard_while_workers_work(stage: Stage, tmp_path: Path) -> None:
    staging = MemoryStore("bucket_B")
    stop = StopSignal()
    stop.ask()
    with pytest.raises(Interrupted):
        copy(stage, replace(shared(stage, tmp_path, workers(stage, staging), staging), clock=SystemClock(stop)))


def test_what_workers_end_after_a_stop_is_noted(stage: Stage, tmp_path: Path) -> None:
    """A run that is stopped waits for shards that are under way: nothing of them is written later."""
    staging, stop = MemoryStore("bucket_B"), StopSignal()
    transport = workers(stage, staging)
    whole = transport.work

    def late(text: str) -> str:
        stop.ask()
        return whole(text)

    transport.work, transport.width = late, SIZE
    with pytest.raises(Interrupted):
        copy(stage, replace(shared(stage, tmp_path, transport, staging), clock=SystemClock(stop)))
    assert len(list(staging.list_objects("backup"))) == SIZE - uncopied(stage) > 0


def test_who_forgets_a_shard_is_unavailable_and_the_step_tried_again(stage: Stage, tmp_path: Path) -> None:
    class Forgetful(ThreadTransport):
        def send(self, _: str) -> Future[str]:
            lost: Future[str] = Future()
            lost.set_exception(EngineUnavailable("it has lost what was sent to it"))
            return lost

    with pytest.raises(EngineUnavailable) as caught:
        copy(stage, shared(stage, tmp_path, Forgetful(str), MemoryStore("bucket_B")))
    assert caught.value.retryable
    assert uncopied(stage) == SIZE


@pytest.mark.parametrize(
    ("error", "comes_as"),
    [(StoreUnavailable("a", hint="b"), StoreUnavailable), (ListingOutdated("a", renews=("b",)), RunError)],
)
def test_errors_come_back_as_what_they_were(error: RunError, comes_as: type[Exception]) -> None:
    back = error_of(failure_of(error))
    assert type(back) is comes_as
    assert (back.message, back.hint) == (error.message, error.hint)


def test_of_a_bug_nothing_is_told_that_might_be_a_secret() -> None:
    assert SECRET not in str(to_plain(failure_of(ValueError(SECRET))))
    assert error_of(ShardFailure(kind="BaseException", message="m")).__class__ is RunError


def test_a_limit_holds_over_all_workers(stage: Stage, tmp_path: Path) -> None:
    """No shard begins before those ahead of it are over at the limit's rate, and none is larger than a second of it."""
    staging, clock = MemoryStore("bucket_B"), FakeClock()
    transport = workers(stage, staging)
    size_bytes = sum(map(len, stage.pair.keys("files_A").values()))
    limit = max(map(len, stage.pair.keys("files_A").values()))
    begun_at = clock.monotonic()
    ctx = replace(shared(stage, tmp_path, transport, staging), clock=clock, throttle=Throttle(limit))
    copy(stage, ctx)
    assert clock.monotonic() - begun_at >= (size_bytes - limit) / limit - 1
    assert {json.loads(text)["copy"]["limit_bytes_per_s"] for text in transport.sent} == {limit}
