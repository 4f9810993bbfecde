"""Which way objects go: copied by the service where it shows them, else streamed, and the reason told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.errors import ImportJobFailed, Interrupted, ListingOutdated, ObjectMissing, StoreRefused, StoreUnavailable
from migrator.model.segment import StoredObject
from migrator.steps.base import Evidence
from migrator.steps.copy_segments import CopySegments
from migrator.steps.throttle import Throttle
from migrator.steps.transfer import TransferMode
from tests.support.builders import Pair, fill
from tests.support.stage import Stage, a_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from migrator.steps.base import StepContext

SOURCE_BUCKET = "bucket_A"


class Bucket(MemoryStore):
    """A bucket of a service that says who copied how."""

    def __init__(self, bucket: str, beside: dict[str, MemoryStore]) -> None:
        super().__init__(bucket)
        self.service = beside
        self.calls: list[str] = []
        self.makes_empty_copies = False
        self.broken = False
        self.swept: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        """Called with the key before each copy."""

    def _require_whole(self) -> None:
        if self.broken:
            raise StoreUnavailable("no answer")

    def sweep(self, prefix: str) -> None:
        """Note it."""
        self.swept.append(prefix)

    def copy_inside(self, source_key: str, key: str) -> None:
        """Within the bucket."""
        self.calls.append("inside")
        self.before(source_key)
        super().copy_inside(source_key, key)

    def copy_from(self, bucket: str, source_key: str, key: str) -> None:
        """Out of another bucket."""
        self.calls.append("across")
        self._require_whole()
        self.before(source_key)
        super().copy_from(bucket, source_key, key)
        if self.makes_empty_copies:
            self.write(key, b"")

    def write_stream(self, key: str, parts: object, *, multipart: bool, part_size: int) -> str | None:
        """By whoever runs."""
        self.calls.append("stream")
        self._require_whole()
        return super().write_stream(key, cast("list[bytes]", parts), multipart=multipart, part_size=part_size)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Books, frozen: 5 objects in bucket_A."""
    pair = Pair()
    fill(pair)
    with a_stage(tmp_path, pair) as stage:
        stage.apply_before(CopySegments)
        yield stage


def to(stage: Stage, *, sees_source: bool = True) -> tuple[StepContext, Bucket]:
    """Another bucket as staging."""
    staging = Bucket("bucket_B", {SOURCE_BUCKET: stage.pair.store} if sees_source else {})
    return replace(stage.ctx, staging=staging), staging


def copy(stage: Stage, ctx: StepContext, mode: TransferMode = TransferMode.AUTO) -> str:
    step = stage.step(CopySegments, mode=mode)
    assert step.source_bucket == SOURCE_BUCKET
    return step.apply(ctx, step.probe(ctx.reading())).detail


def require_copied(stage: Stage, staging: Bucket) -> None:
    assert sorted(map(staging.read, (found.key for found in staging.list_objects("backup")))) == sorted(
        stage.pair.keys("files_A").values()
    )


def test_a_service_copies_across_its_buckets(stage: Stage) -> None:
    ctx, staging = to(stage)
    assert copy(stage, ctx) == "copied by the service from its bucket bucket_A"
    assert staging.calls == ["across"] * 5
    require_copied(stage, staging)


def test_a_service_that_does_not_show_the_source_is_streamed_to(stage: Stage) -> None:
    ctx, staging = to(stage, sees_source=False)
    detail = copy(stage, ctx)
    assert detail.startswith("streamed through this machine: memory://bucket_B does not show files_A/insert_log/")
    assert detail.endswith("nor does a bucket 'bucket_A' beside it")
    assert staging.calls == ["stream"] * 5
    require_copied(stage, staging)


def test_a_bucket_of_the_same_name_and_other_objects_is_no_evidence(stage: Stage) -> None:
    ctx, staging = to(stage)
    stranger = MemoryStore(SOURCE_BUCKET)
    for key, content in stage.pair.keys("files_A").items():
        stranger.write(key, content[:-1] + b" ")
    staging.service = {SOURCE_BUCKET: stranger}
    assert copy(stage, ctx).startswith("streamed through this machine: ")
    require_copied(stage, staging)


def refuse(_: str) -> None:
    raise StoreRefused("copying was refused by memory://bucket_B: AccessDenied (HTTP 403)")


def test_a_refused_copy_is_streamed_and_the_reason_told(stage: Stage) -> None:
    ctx, staging = to(stage)
    staging.before = refuse
    detail = copy(stage, ctx)
    assert detail.startswith("streamed through this machine: ")
    assert detail.endswith("AccessDenied (HTTP 403)")
    assert staging.calls == ["across", *["stream"] * 5]
    require_copied(stage, staging)


def test_a_copy_that_is_refused_later_is_streamed_alone(stage: Stage) -> None:
    ctx, staging = to(stage)
    last = max(stage.pair.keys("files_A"))
    staging.before = lambda key: refuse(key) if key == last else None
    detail = copy(stage, ctx)
    assert detail.startswith("copied by the service from its bucket bucket_A; 1 object streamed through this machine")
    require_copied(stage, staging)


def test_a_service_that_makes_something_else_of_a_copy_is_streamed_to(stage: Stage) -> None:
    """As one that does not know the header, and puts an empty object."""
    ctx, staging = to(stage)
    staging.makes_empty_copies = True
    assert "made an object of 0 bytes of files_A/" in copy(stage, ctx)
    require_copied(stage, staging)


@pytest.mark.parametrize("sees_source", [True, False])
def test_server_side_is_an_error_where_it_cannot_be(stage: Stage, *, sees_source: bool) -> None:
    ctx, staging = to(stage, sees_source=sees_source)
    staging.before = refuse
    with pytest.raises(StoreRefused):
        copy(stage, ctx, TransferMode.SERVER_SIDE)
    assert "stream" not in staging.calls


def test_an_object_that_a_mirror_lacks_is_streamed(stage: Stage) -> None:
    """The bucket beside staging is a mirror of the source's, and behind it."""
    ctx, staging = to(stage)
    mirror = MemoryStore(SOURCE_BUCKET)
    first, *rest = stage.pair.keys("files_A").items()
    mirror.write(*first)
    staging.service = {SOURCE_BUCKET: mirror}
    detail = copy(stage, ctx)
    assert f"{len(rest)} objects streamed through this machine" in detail
    require_copied(stage, staging)


def test_an_object_that_the_source_lacks_has_vanished(stage: Stage) -> None:
    ctx, staging = to(stage)

    def collect(key: str) -> None:
        stage.pair.store.delete([key])

    staging.before = collect
    with pytest.raises(ListingOutdated, match="has vanished"):
        copy(stage, ctx)


def test_an_object_too_large_for_the_service_is_streamed(stage: Stage) -> None:
    ctx, staging = to(stage)
    staging.most_copied_bytes = min(map(len, stage.pair.keys("files_A").values()))
    assert "streamed through this machine: the service copies no object above" in copy(stage, ctx)
    assert sorted(set(staging.calls)) == ["across", "stream"]
    require_copied(stage, staging)


@pytest.mark.parametrize(("mode", "swept"), [(TransferMode.STREAM, 4), (TransferMode.AUTO, 0)])
def test_pieces_are_swept_by_the_next_attempt_where_something_was_streamed(
    stage: Stage, mode: TransferMode, swept: int
) -> None:
    ctx, staging = to(stage)
    step = stage.step(CopySegments, mode=mode)
    staging.broken = True
    with pytest.raises(StoreUnavailable):
        step.apply(ctx, Evidence.ABSENT)
    assert staging.swept == []
    staging.broken = False
    step.apply(ctx, Evidence.ABSENT)
    assert len(staging.swept) == swept
    assert all(str(step.collection_id) in folder for folder in staging.swept)


@pytest.mark.parametrize("mode", [TransferMode.AUTO, TransferMode.SERVER_SIDE, TransferMode.STREAM])
def test_a_limit_holds_for_copies_and_streams_alike(stage: Stage, mode: TransferMode) -> None:
    ctx, staging = to(stage)
    sizes = [len(content) for content in stage.pair.keys("files_A").values()]
    began = ctx.clock.monotonic()
    copy(stage, replace(ctx, throttle=Throttle(10)), mode)
    lasted = ctx.clock.monotonic() - began
    assert (sum(sizes) - max(sizes)) / 10 <= lasted <= sum(sizes) / 10
    require_copied(stage, staging)


@pytest.mark.parametrize("mode", [TransferMode.AUTO, TransferMode.SERVER_SIDE, TransferMode.STREAM])
def test_a_stop_is_heard_while_the_limit_is_waited_for(stage: Stage, mode: TransferMode) -> None:
    ctx, staging = to(stage)
    stage.pair.clock.error = Interrupted("stopped")
    with pytest.raises(Interrupted):
        copy(stage, replace(ctx, throttle=Throttle(1)), mode)
    assert stage.pair.clock.monotonic() < 3
    stage.pair.clock.error = None
    copy(stage, ctx, mode)
    require_copied(stage, staging)


def test_a_failure_ends_the_others_that_wait(stage: Stage) -> None:
    ctx, staging = to(stage)
    calls = 0

    def fail_second(_: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ImportJobFailed("of another kind")

    staging.before = fail_second
    step = stage.step(CopySegments, concurrency=5)
    with pytest.raises(ImportJobFailed):
        step.apply(replace(ctx, throttle=Throttle(1)), step.probe(ctx.reading()))
    assert staging.calls.count("across") < 5


def test_a_missing_object_beside_is_none_and_not_an_error() -> None:
    store = Bucket("bucket_B", {"x": MemoryStore("x")})
    assert store.find_beside("x", "a") is None
    assert store.find_beside("y", "a") is None
    store.service["x"].write("a", b"1")
    assert store.find_beside("x", "a") == StoredObject("a", 1, '"c4ca4238a0b923820dcc509a6f75849b"')
    with pytest.raises(ObjectMissing):
        store.copy_from("x", "b", "c")
