"""The source's side: flush, dump_meta, copy_segments, seal_dump."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import pytest

from migrator.errors import (
    ListingOutdated,
    LockHeld,
    MilvusRefused,
    ObjectMissing,
    RunError,
    SchemaDiffers,
    SourceBusy,
    StagedFilesDiffer,
    StoreRefused,
    StoreUnavailable,
)
from migrator.model.collection import CollectionRef, Partition
from migrator.model.segment import LogKind, SegmentState, StoredObject
from migrator.ports.store import Fetched
from migrator.steps.allowance import Allowance
from migrator.steps.base import Evidence
from migrator.steps.copy_segments import CopySegments
from migrator.steps.dump_claim import DumpClaim, drop_claim, read_claims
from migrator.steps.dump_meta import MAX_LISTINGS, DumpMeta, frozen_dump, require_same_schema
from migrator.steps.flush import Flush
from migrator.steps.seal_dump import SealDump
from migrator.steps.transfer import TransferMode
from tests.support.builders import (
    BOOKS,
    HeldLease,
    Pair,
    a_collection,
    a_context,
    a_schema,
    an_index,
    fill,
    flush,
    run_steps,
    some_rows,
)
from tests.support.stage import Stage, a_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from migrator.model.collection import Collection
    from migrator.model.segment import Segment
    from migrator.ports.milvus import MilvusSource
    from migrator.ports.store import ObjectStore
    from migrator.steps.base import StepContext

FILMS = CollectionRef("default", "films")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Books with 3 rows, and nothing done yet."""
    pair = Pair()
    fill(pair, rows=3)
    with a_stage(tmp_path, pair) as stage:
        yield stage


@dataclass
class Altered:
    """A port with some of its methods replaced."""

    port: object
    methods: dict[str, Any]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the port has
        return self.methods.get(name) or getattr(self.port, name)


def with_source(stage: Stage, **methods: Any) -> StepContext:  # noqa: ANN401 - callables of many shapes
    return replace(stage.ctx, source=cast("MilvusSource", Altered(stage.pair.source, methods)))


# -- what moved since it was planned ----------------------------------------------------------------------------------

FIELDS = a_schema().fields
OLD = Partition(8, "old")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (a_collection(collection_id=5), "was dropped and created again since"),
        (a_collection(schema=a_schema(fields=FIELDS[:2])), "lost a field 'vec' since"),
        (a_collection(schema=a_schema(fields=(*FIELDS, replace(FIELDS[1], name="x")))), "gained a field 'x' since"),
        (
            a_collection(schema=a_schema(fields=(*FIELDS[:2], replace(FIELDS[2], name="v")))),
            "gained a field 'v' and lost a field 'vec' since",
        ),
        (a_collection(schema=a_schema(description="other")), "changed its schema since"),
        (a_collection(partitions=(Partition(7, "_default"), OLD)), "gained a partition 'old' since"),
        (a_collection(partitions=(OLD,)), "gained a partition 'old' and lost a partition '_default' since"),
        (a_collection(partitions=(Partition(9, "_default"),)), "had a partition dropped and created again since"),
        (a_collection(indexes=()), "changed its indexes since"),
        (a_collection(indexes=(an_index(name="other"),)), "changed its indexes since"),
    ],
)
def test_what_moved_is_said_in_words(found: Collection, said: str) -> None:
    with pytest.raises(SchemaDiffers, match=said) as caught:
        require_same_schema(a_collection(), found)
    assert "plan again" in caught.value.hint


@pytest.mark.parametrize("changes", [{}, {"aliases": ("x",)}, {"loaded_partitions": ()}, {"replica_number": 2}])
def test_what_may_move_may_move(changes: dict[str, Any]) -> None:
    require_same_schema(a_collection(), a_collection(**changes))


# -- flush ------------------------------------------------------------------------------------------------------------


def test_a_flush_lets_the_clock_pass_what_was_written_before(stage: Stage) -> None:
    stage.pair.source.insert(BOOKS, some_rows(2, start=10))
    written = stage.pair.source.allocate_timestamp()
    stage.apply(stage.step(Flush))
    cuts = cast("dict[str, dict[str, int]]", stage.ctx.ledger.notes("flush")["cuts"])
    cut_ts = cuts["default.books"]["cut_ts"]
    assert cut_ts >> 18 > written >> 18
    states = {segment.state for segment in stage.pair.source.list_segments(BOOKS)}
    assert states == {SegmentState.FLUSHED}


def test_a_collection_that_cannot_be_flushed_fails_by_itself(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, BOOKS)
    fill(pair, FILMS)
    with a_stage(tmp_path, pair, collections="['*']") as stage:

        def refuse(refs: Any) -> Any:  # noqa: ANN401 - as the port
            if FILMS in refs:
                raise MilvusRefused("PrivilegeFlush: permission deny")
            return pair.source.flush(refs)

        stage.step(Flush).apply(with_source(stage, flush=refuse), stage.step(Flush).probe(stage.ctx.reading()))
        books, films = (s for s in stage.plan.steps if isinstance(s, DumpMeta))
        stage.apply(books)
        with pytest.raises(RunError, match="films could not be flushed: PrivilegeFlush"):
            stage.apply(films)


def test_a_flush_that_does_not_end_fails(stage: Stage) -> None:
    ctx = with_source(stage, is_flushed=lambda *_: False)
    with pytest.raises(RunError, match="did not end within 10 minutes"):
        stage.step(Flush).apply(ctx, stage.step(Flush).probe(ctx.reading()))


def test_without_a_flush_only_the_time_is_noted(stage: Stage) -> None:
    stage.pair.source.insert(BOOKS, some_rows(2, start=10))
    stage.apply(stage.step(Flush, enabled=False))
    assert stage.apply(stage.step(DumpMeta, may_flush=False)).rows == 3
    assert len(stage.pair.source.list_segments(BOOKS)) == 1


# -- dump_meta --------------------------------------------------------------------------------------------------------


def test_a_listing_is_frozen_with_its_binlogs(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    outcome = stage.apply(stage.step(DumpMeta))
    assert (outcome.rows, outcome.objects) == (3, 5)
    dump = frozen_dump(stage.ctx.ledger, BOOKS)
    assert dump.rows_at_cut == {"_default": 3}
    assert {b.field_id for b in stage.ctx.ledger.binlogs(dump.collection.collection_id)} == {0, 1, 100, 101, 102}


def test_segments_newer_than_the_cut_move_the_cut(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    before = cast("dict[str, dict[str, int]]", stage.ctx.ledger.notes("flush")["cuts"])["default.books"]["cut_ts"]
    stage.pair.source.insert(BOOKS, some_rows(2, start=10))
    flush(stage.pair.source)
    assert stage.apply(stage.step(DumpMeta)).rows == 5
    assert frozen_dump(stage.ctx.ledger, BOOKS).cut_ts > before


def test_segments_that_were_compacted_are_left_out_though_their_files_are_there(stage: Stage) -> None:
    stage.pair.source.delete(BOOKS, [0])
    stage.apply(stage.step(Flush))
    stage.pair.source.compact(BOOKS)
    outcome = stage.apply(stage.step(DumpMeta))
    assert (outcome.rows, outcome.objects) == (2, 5)
    assert len(stage.pair.keys("files_A/insert_log")) == 10


def delta_log_ids(stage: Stage) -> dict[int, list[int]]:
    """Of the frozen listing, by segment."""
    found: dict[int, list[int]] = {}
    for binlog in stage.ctx.ledger.binlogs(frozen_dump(stage.ctx.ledger, BOOKS).collection.collection_id):
        if binlog.kind is LogKind.DELTA:
            found.setdefault(binlog.segment_id, []).append(binlog.log_id)
    return found


def write_late_deletes(stage: Stage, segment: Segment) -> int:
    """A delta log of row 1, written to a segment that was compacted away meanwhile, as Milvus 2.3 does."""
    source = stage.pair.source
    collection = source.find_collection(BOOKS)
    assert collection is not None
    log_id = source.allocate_timestamp()
    place = f"{collection.collection_id}/{segment.partition_id}/{segment.segment_id}"
    stage.pair.store.write(f"files_A/delta_log/{place}/{log_id}", json.dumps([[1, log_id]]).encode())
    return log_id


@pytest.mark.parametrize("compactions", [1, 3])
def test_deletes_that_a_compaction_left_behind_come_along(stage: Stage, compactions: int) -> None:
    """Written to a segment while it was compacted, and in no delta log of the product."""
    stage.pair.source.delete(BOOKS, [0])
    flush(stage.pair.source)
    (old,) = stage.pair.source.list_segments(BOOKS)
    stage.pair.source.compact(BOOKS)
    lost = write_late_deletes(stage, old)
    for _ in range(compactions - 1):
        stage.pair.source.compact(BOOKS)
    stage.apply(stage.step(Flush))
    stage.apply(stage.step(DumpMeta))
    (live,) = stage.pair.source.list_segments(BOOKS)
    assert delta_log_ids(stage) == {live.segment_id: [lost]}


def test_deletes_that_a_compaction_took_along_come_once(stage: Stage) -> None:
    """As the server copies them: under their own log id."""
    flush(stage.pair.source)
    (old,) = stage.pair.source.list_segments(BOOKS)
    stage.pair.source.compact(BOOKS)
    late = write_late_deletes(stage, old)
    (live,) = stage.pair.source.list_segments(BOOKS)
    (key,) = [key for key in stage.pair.keys("files_A/delta_log") if key.endswith(str(late))]
    copied = key.replace(str(old.segment_id), str(live.segment_id))
    stage.pair.store.write(copied, stage.pair.keys("files_A/delta_log")[key])
    stage.apply(stage.step(Flush))
    stage.apply(stage.step(DumpMeta))
    assert delta_log_ids(stage) == {live.segment_id: [late]}
    collection_id = frozen_dump(stage.ctx.ledger, BOOKS).collection.collection_id
    taken = {binlog.source.key for binlog in stage.ctx.ledger.binlogs(collection_id)}
    assert copied in taken
    assert key not in taken


def test_a_source_that_never_holds_still_is_given_up(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    listings = 0

    def busy(ref: CollectionRef) -> Any:  # noqa: ANN401 - as the port
        nonlocal listings
        listings += 1
        stage.pair.source.insert(BOOKS, some_rows(1, start=100 * listings))
        flush(stage.pair.source)
        return stage.pair.source.list_segments(ref)

    with pytest.raises(SourceBusy, match=f"did not hold still over {MAX_LISTINGS} listings") as caught:
        stage.step(DumpMeta).apply(
            with_source(stage, list_segments=busy), stage.step(DumpMeta).probe(stage.ctx.reading())
        )
    last = max(segment.segment_id for segment in stage.pair.source.list_segments(BOOKS))
    assert str(last) in caught.value.message
    assert listings == MAX_LISTINGS


def test_a_collection_that_changed_since_it_was_planned_is_not_dumped(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    stage.pair.source.create_partition(BOOKS, "old")
    with pytest.raises(SchemaDiffers, match="gained a partition 'old'"):
        stage.apply(stage.step(DumpMeta))


def test_a_collection_that_is_gone_is_said_so(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    stage.pair.source.drop_collection(BOOKS)
    with pytest.raises(RunError, match="books is gone from http://milvus_A:19530"):
        stage.apply(stage.step(DumpMeta))


def test_a_root_path_without_the_files_is_named(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    with pytest.raises(ObjectMissing, match="has 3 rows at the source and no binlogs under file/insert_log"):
        stage.apply(stage.step(DumpMeta, source_root="file"))


def test_a_segment_that_lacks_a_field_is_named(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    (lost,) = [key for key in stage.pair.keys("files_A/insert_log") if "/101/" in key]
    stage.pair.store.delete([lost])
    with pytest.raises(ObjectMissing, match="has no binlogs of field 101"):
        stage.apply(stage.step(DumpMeta))


def test_a_file_too_many_is_named(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    (one,) = [key for key in stage.pair.keys("files_A/insert_log") if "/101/" in key]
    stage.pair.store.write(f"{one}7", b"[]")
    with pytest.raises(RunError, match="unequal numbers of binlogs per field"):
        stage.apply(stage.step(DumpMeta))


def test_a_listing_is_made_anew_after_a_failure(stage: Stage) -> None:
    stage.apply(stage.step(Flush))
    with pytest.raises(ObjectMissing):
        stage.apply(stage.step(DumpMeta, source_root="file"))
    assert stage.apply(stage.step(DumpMeta)).objects == 5


# -- copy_segments ----------------------------------------------------------------------------------------------------


@pytest.fixture
def dumped(stage: Stage) -> Stage:
    """Books, frozen with a delta log: 6 objects to copy."""
    stage.pair.source.delete(BOOKS, [0])
    stage.apply_before(CopySegments)
    return stage


class CountingStore:
    """A store that counts what is copied through it."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a store has
        if name in {"copy_inside", "write_stream"}:
            self.calls.append(name)
        return getattr(self._store, name)


def counting(stage: Stage, **changes: Any) -> tuple[StepContext, CountingStore]:  # noqa: ANN401 - any member
    store = CountingStore(stage.pair.store)
    return replace(stage.ctx, staging=cast("ObjectStore", store), **changes), store


@contextmanager
def a_journal_of_its_own(stage: Stage) -> Iterator[StepContext]:
    """As run-2 of the same plan sees it, which has made its listing."""
    with TemporaryDirectory() as folder, a_context(stage.pair, Path(folder), run_id="run-2") as ctx:
        for step in stage.plan.steps[:2]:
            step.apply(ctx, Evidence.ABSENT)
        yield ctx


def copy(ctx: StepContext, step: CopySegments) -> int:
    return step.apply(ctx, step.probe(ctx.reading())).objects


def test_a_dump_has_milvus_backups_layout(dumped: Stage) -> None:
    step = dumped.step(CopySegments)
    dumped.apply(step)
    source = dumped.pair.keys("files_A")
    expected = {}
    for binlog in dumped.ctx.ledger.binlogs(step.collection_id):
        c, p, s = binlog.collection_id, binlog.partition_id, binlog.segment_id
        last = f"{binlog.log_id}" if binlog.field_id is None else f"{binlog.field_id}/{binlog.log_id}"
        expected[f"backup/a_to_b/binlogs/{binlog.kind}/{c}/{p}/{s}/{s}/{last}"] = source[binlog.source.key]
    assert len(expected) == 6
    assert dumped.pair.keys("backup") == expected


def test_one_bucket_copies_inside(dumped: Stage) -> None:
    ctx, store = counting(dumped)
    assert copy(ctx, dumped.step(CopySegments)) == 6
    assert store.calls == ["copy_inside"] * 6


def find_own(stage: Stage, key: str) -> StoredObject | None:
    """As another store than the source's finds it."""
    return None if key.startswith("files_A/") else stage.pair.store.find_object(key)


def test_another_store_is_streamed_to(dumped: Stage) -> None:
    ctx, store = counting(dumped)
    hidden = Altered(store, {"find_object": lambda key: find_own(dumped, key)})
    assert copy(replace(ctx, staging=cast("ObjectStore", hidden)), dumped.step(CopySegments)) == 6
    assert store.calls == ["write_stream"] * 6


def test_another_store_that_forbids_a_look_is_streamed_to(dumped: Stage) -> None:
    def forbid(key: str) -> StoredObject | None:
        if key.startswith("files_A/"):
            raise StoreRefused("forbidden")
        return dumped.pair.store.find_object(key)

    ctx, store = counting(dumped)
    hidden = Altered(store, {"find_object": forbid})
    assert copy(replace(ctx, staging=cast("ObjectStore", hidden)), dumped.step(CopySegments)) == 6
    assert store.calls == ["write_stream"] * 6


def refuse_to_copy(*_: str) -> None:
    raise StoreRefused("AccessDenied")


def test_what_the_service_refuses_to_copy_is_streamed(dumped: Stage) -> None:
    ctx, store = counting(dumped)
    strict = Altered(store, {"copy_inside": refuse_to_copy})
    assert copy(replace(ctx, staging=cast("ObjectStore", strict)), dumped.step(CopySegments)) == 6
    assert store.calls == ["write_stream"] * 6


def test_what_the_service_refuses_to_copy_fails_where_it_shall(dumped: Stage) -> None:
    strict = Altered(dumped.pair.store, {"copy_inside": refuse_to_copy})
    ctx = replace(dumped.ctx, staging=cast("ObjectStore", strict))
    with pytest.raises(StoreRefused, match="AccessDenied"):
        copy(ctx, dumped.step(CopySegments, mode=TransferMode.SERVER_SIDE))


def test_server_side_is_refused_where_it_cannot_be(dumped: Stage) -> None:
    hidden = Altered(dumped.pair.store, {"find_object": lambda key: find_own(dumped, key)})
    ctx = replace(dumped.ctx, staging=cast("ObjectStore", hidden))
    with pytest.raises(StoreRefused, match=r"cannot copy files_A/.* by itself") as caught:
        copy(ctx, dumped.step(CopySegments, mode=TransferMode.SERVER_SIDE))
    assert "options.transfer.mode" in caught.value.hint


def test_copying_again_copies_nothing(dumped: Stage) -> None:
    dumped.apply(dumped.step(CopySegments))
    ctx, store = counting(dumped)
    assert copy(ctx, dumped.step(CopySegments)) == 6
    assert store.calls == []


def test_a_copy_that_was_lost_or_changed_is_made_again(dumped: Stage) -> None:
    dumped.apply(dumped.step(CopySegments))
    first, second, *_ = dumped.pair.keys("backup")
    dumped.pair.store.delete([first])
    dumped.pair.store.write(second, b"[]")
    ctx, store = counting(dumped)
    assert copy(ctx, dumped.step(CopySegments)) == 6
    assert store.calls == ["copy_inside"] * 2


def test_a_stranger_in_the_dump_stops_the_copy(dumped: Stage) -> None:
    dumped.apply(dumped.step(CopySegments))
    collection_id = dumped.step(CopySegments).collection_id
    dumped.pair.store.write(f"backup/a_to_b/binlogs/insert_log/{collection_id}/1/2/2/100/5", b"[]")
    with pytest.raises(StagedFilesDiffer, match="which this run did not put there"):
        dumped.apply(dumped.step(CopySegments))


@pytest.mark.parametrize("mode", TransferMode)
@pytest.mark.parametrize(("action", "said"), [("delete", "has vanished"), ("change", "has changed")])
def test_a_source_object_that_moved_makes_the_listing_outdated(
    dumped: Stage, action: str, said: str, mode: TransferMode
) -> None:
    last = list(dumped.ctx.ledger.binlogs(dumped.step(CopySegments).collection_id))[-1].source.key
    if action == "delete":
        dumped.pair.store.delete([last])
    else:
        dumped.pair.store.write(last, b"[]")
    with pytest.raises(ListingOutdated, match=f"{last} {said} since it was listed"):
        dumped.apply(dumped.step(CopySegments, mode=mode))


def test_a_copy_that_fails_leaves_the_others_noted(dumped: Stage) -> None:
    calls = 0

    def fail_from_now_on(source_key: str, key: str) -> None:
        nonlocal calls
        calls += 1
        if calls >= 4:
            raise StoreUnavailable("no answer")
        dumped.pair.store.copy_inside(source_key, key)

    staging = cast("ObjectStore", Altered(dumped.pair.store, {"copy_inside": fail_from_now_on}))
    with pytest.raises(StoreUnavailable):
        copy(replace(dumped.ctx, staging=staging), dumped.step(CopySegments))
    assert dumped.ctx.ledger.totals(dumped.step(CopySegments).collection_id).copied_objects == 3
    ctx, store = counting(dumped)
    assert copy(ctx, dumped.step(CopySegments)) == 6
    assert store.calls == ["copy_inside"] * 3


def test_a_store_that_says_slow_down_gets_fewer_copies_at_a_time(dumped: Stage) -> None:
    limits: list[int] = []
    refused: set[str] = set()

    def throttled(source_key: str, key: str) -> None:
        if key not in refused and len(refused) < 3 and limits:
            refused.add(key)
            raise StoreUnavailable("SlowDown (HTTP 503)")
        limits.append(ctx.copies.limit)
        dumped.pair.store.copy_inside(source_key, key)

    staging = cast("ObjectStore", Altered(dumped.pair.store, {"copy_inside": throttled}))
    ctx = replace(dumped.ctx, staging=staging, copies=Allowance(16))
    assert copy(ctx, dumped.step(CopySegments)) == 6, "in one attempt"
    assert len(refused) == 3
    assert limits[0] == 16
    assert min(limits) == 2, "halved by each of them"
    assert_dump_is_the_sources(dumped)


def test_many_at_once_are_bounded(dumped: Stage) -> None:
    step = dumped.step(CopySegments, concurrency=3)
    assert copy(dumped.ctx, step) == 6


def read_again(data: bytes) -> Iterator[bytes]:
    yield data[:7]
    yield data[7:]


def bent(data: bytes) -> bytes:
    """As many bytes, one of them another."""
    return bytes([data[0] ^ 1]) + data[1:]


@dataclass
class UnreliableStore:
    """A store on the far side of a network that bends or drops bytes of the first transfers of each object."""

    store: ObjectStore
    does: Callable[[bytes], bytes]
    way: str
    times: int = 1
    etag: Callable[[str | None], str | None] = lambda etag: etag
    seen: Counter[str] = field(default_factory=Counter)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a store has
        return getattr(self.store, name)

    def _carry(self, way: str, key: str, data: bytes) -> bytes:
        self.seen[key] += way == self.way
        return self.does(data) if way == self.way and self.seen[key] <= self.times else data

    def stream(self, key: str, *, part_size: int) -> Iterator[bytes]:  # noqa: ARG002 - of the port
        """Read."""
        return read_again(self._carry("read", key, self.store.read(key)))

    def fetch(self, key: str, *, part_size: int) -> Fetched:
        """Read, and head."""
        parts, found = self.stream(key, part_size=part_size), self.find_object(key)
        assert found is not None
        return Fetched(found, parts)

    def write_stream(self, key: str, parts: Iterable[bytes], **_: object) -> None:
        """Write."""
        self.store.write(key, self._carry("write", key, b"".join(parts)))

    def find_object(self, key: str) -> StoredObject | None:
        """With the ETags of this kind of store."""
        found = self.store.find_object(key)
        return None if found is None else replace(found, etag=self.etag(found.etag))

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """As above."""
        return (replace(found, etag=self.etag(found.etag)) for found in self.store.list_objects(prefix))


def over(stage: Stage, side: str, store: UnreliableStore) -> StepContext:
    found = cast("ObjectStore", store)
    return replace(stage.ctx, source_store=found) if side == "source" else replace(stage.ctx, staging=found)


@pytest.mark.parametrize(
    ("side", "way", "does", "said"),
    [
        ("source", "read", bent, "sent other bytes of files_A/.* when asked again"),
        ("source", "read", lambda data: data[:-1], r"sent [\d,]+ of [\d,]+ bytes of files_A/"),
        ("source", "read", lambda _: b"", r"sent 0 of [\d,]+ bytes of files_A/"),
        ("staging", "write", bent, "holds other bytes of backup/.* than were written"),
        ("staging", "write", lambda data: data[:-1], "does not hold backup/.* as it was written"),
    ],
    ids=["bent on the way in", "cut short", "empty", "bent on the way out", "cut short on the way out"],
)
def test_bytes_that_a_network_bends_are_noticed_and_sent_again(
    dumped: Stage, side: str, way: str, does: Callable[[bytes], bytes], said: str
) -> None:
    step = dumped.step(CopySegments, mode=TransferMode.STREAM)
    ctx = over(dumped, side, UnreliableStore(dumped.pair.store, does, way))
    with pytest.raises(StoreUnavailable, match=said) as caught:
        copy(ctx, step)  # nothing got through before
    assert caught.value.retryable
    assert copy(ctx, step) == 6, "the others are sent again at once"
    assert_dump_is_the_sources(dumped)


def assert_dump_is_the_sources(stage: Stage) -> None:
    binlogs = list(stage.ctx.ledger.binlogs(stage.step(CopySegments).collection_id))
    source, dump = stage.pair.keys("files_A"), stage.pair.keys("backup/a_to_b/binlogs")
    assert dump == {f"backup/a_to_b/binlogs/{b.staged_suffix}": source[b.source.key] for b in binlogs}


def test_bytes_bent_for_ever_fail_the_step(dumped: Stage) -> None:
    store = UnreliableStore(dumped.pair.store, bent, "write", times=1_000)
    step = dumped.step(CopySegments, mode=TransferMode.STREAM, needs=())
    result = run_steps([step], over(dumped, "staging", store), dumped.journal)
    assert result.exit_code == 20
    assert "than were written" in result.failures[step.key].message
    assert dumped.ctx.ledger.totals(step.collection_id).copied_objects == 0


@pytest.mark.parametrize("side", ["source", "staging"])
@pytest.mark.parametrize(
    "etag",
    [
        lambda _: None,
        lambda _: '"0x8DC5A1B2C3D4E5F"',
        lambda etag: f"{(etag or '').strip(chr(34))}-1",
        lambda etag: hashlib.md5(f"sealed {etag}".encode(), usedforsecurity=False).hexdigest(),
    ],
    ids=["none", "of its own", "of parts", "of what was encrypted"],
)
def test_etags_that_are_no_md5_of_the_content_are_no_complaint(
    dumped: Stage, side: str, etag: Callable[[str | None], str | None]
) -> None:
    store = UnreliableStore(dumped.pair.store, bytes, "neither", etag=etag)
    if side == "source":
        dumped.apply(dumped.step(Flush))
        listing = dumped.step(DumpMeta)
        listing.apply(over(dumped, "source", store), Evidence.ABSENT)
    step = dumped.step(CopySegments, mode=TransferMode.STREAM)
    assert copy(over(dumped, side, store), step) == 6
    assert_dump_is_the_sources(dumped)
    assert copy(over(dumped, side, store), step) == 6


def test_an_object_that_vanishes_while_it_is_read_makes_the_listing_outdated(dumped: Stage) -> None:
    def vanish(key: str, *, part_size: int) -> Iterator[bytes]:
        yield from [dumped.pair.store.read(key)[:part_size][:1]]
        raise ObjectMissing(f"reading {key} failed: there is no such object")

    def fetch(key: str, *, part_size: int) -> Fetched:
        return replace(dumped.pair.store.fetch(key, part_size=part_size), parts=vanish(key, part_size=part_size))

    source = cast("ObjectStore", Altered(dumped.pair.store, {"fetch": fetch}))
    with pytest.raises(ListingOutdated, match="has vanished since it was listed"):
        copy(replace(dumped.ctx, source_store=source), dumped.step(CopySegments, mode=TransferMode.STREAM))


# -- whose a dump is --------------------------------------------------------------------------------------------------

CLAIMS = ".migrator/dumps/backup~a_to_b"


def as_run(stage: Stage, run_id: str) -> StepContext:
    return replace(stage.ctx, run_id=run_id)


def test_a_dump_tells_beside_itself_which_run_it_is_of(dumped: Stage) -> None:
    copy(dumped.ctx, dumped.step(CopySegments))
    assert list(read_claims(dumped.pair.store, CLAIMS)) == [
        DumpClaim(run_id="run-1", plan="a-to-b", since=dumped.pair.clock.now().isoformat())
    ]
    assert not any("migrator" in key for key in dumped.pair.keys("backup"))


def test_a_dump_of_another_plan_is_left_alone(dumped: Stage) -> None:
    copy(dumped.ctx, dumped.step(CopySegments))
    before = dumped.pair.keys("")
    for earlier in ((), ("run-0",)):
        with pytest.raises(
            StagedFilesDiffer, match=r"the dump backup/a_to_b belongs to run run-1 of plan a-to-b"
        ) as caught:
            copy(as_run(dumped, "run-2"), dumped.step(CopySegments, plan="other", earlier_runs=earlier))
        assert "staging.backup_name" in caught.value.hint
    assert dumped.pair.keys("") == before


@pytest.mark.parametrize("key", ["meta/full_meta.json", "binlogs/insert_log/1/2/3/3/100/4", "notes.txt"])
def test_a_folder_that_holds_files_of_nobody_knows_whom_is_left_alone(dumped: Stage, key: str) -> None:
    dumped.pair.store.write(f"backup/a_to_b/{key}", b"{}")
    before = dumped.pair.keys("")
    with pytest.raises(StagedFilesDiffer, match=f"holds backup/a_to_b/{key}, which this run did not put there"):
        copy(dumped.ctx, dumped.step(CopySegments))
    assert dumped.pair.keys("") == before


def test_a_dump_that_only_begins_like_this_one_is_another(dumped: Stage) -> None:
    dumped.pair.store.write("backup/a_to_b2/meta/full_meta.json", b"{}")
    dumped.pair.store.write("backup/a_to/meta/full_meta.json", b"{}")
    assert copy(dumped.ctx, dumped.step(CopySegments)) == 6


def test_a_dump_of_an_earlier_run_of_the_plan_is_gone_on_with(dumped: Stage) -> None:
    copy(dumped.ctx, dumped.step(CopySegments))
    with a_journal_of_its_own(dumped) as ctx:
        assert copy(ctx, dumped.step(CopySegments, earlier_runs=("run-1",))) == 6
    assert {claim.run_id for claim in read_claims(dumped.pair.store, CLAIMS)} == {"run-1", "run-2"}


def test_a_dump_that_was_given_up_is_anybodys(dumped: Stage) -> None:
    copy(dumped.ctx, dumped.step(CopySegments))
    dumped.pair.store.delete(dumped.pair.keys("backup"))
    drop_claim(dumped.pair.store, CLAIMS, "run-1")
    with a_journal_of_its_own(dumped) as ctx:
        assert copy(ctx, dumped.step(CopySegments, plan="other")) == 6


def test_nothing_is_written_into_a_dump_whose_lease_is_lost(dumped: Stage) -> None:
    before = dumped.pair.keys("")
    with pytest.raises(LockHeld):
        copy(replace(dumped.ctx, lease=HeldLease(LockHeld("somebody else has it"))), dumped.step(CopySegments))
    assert dumped.pair.keys("") == before


# -- seal_dump --------------------------------------------------------------------------------------------------------


def meta(pair: Pair, name: str = "full_meta") -> Any:  # noqa: ANN401 - JSON
    return json.loads(pair.store.read(f"backup/a_to_b/meta/{name}.json"))


def test_a_dump_lists_what_lies_there(dumped: Stage) -> None:
    for step in dumped.plan.steps:
        dumped.apply(step)
    full = meta(dumped.pair)
    (collection,) = full["collection_backups"]
    (partition,) = collection["partition_backups"]
    (segment,) = partition["segment_backups"]
    assert (full["name"], full["milvus_version"], full["id"]) == ("a_to_b", "v2.3.5", "run-1")
    assert collection["backup_timestamp"] == frozen_dump(dumped.ctx.ledger, BOOKS).cut_ts
    assert (segment["num_of_rows"], segment["group_id"]) == (3, segment["segment_id"])
    assert [len(part["binlogs"]) for part in segment["binlogs"]] == [1] * 5
    assert len(segment["deltalogs"][0]["binlogs"]) == 1
    size = sum(len(data) for data in dumped.pair.keys("backup/a_to_b/binlogs").values())
    assert {entry["size"] for entry in (full, collection, partition, segment)} == {size}
    assert meta(dumped.pair, "segment_meta") == {"infos": [segment]}
    partition.pop("segment_backups")
    assert meta(dumped.pair, "partition_meta") == {"infos": [partition]}
    assert meta(dumped.pair, "collection_meta") == {"infos": [collection]}
    del full["collection_backups"], full["database_backups"]
    assert meta(dumped.pair, "backup_meta") == full


def test_only_what_is_fully_copied_is_sealed(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair, BOOKS)
    fill(pair, FILMS)
    with a_stage(tmp_path, pair, collections="['*']") as stage:
        for step in stage.plan.steps:
            if step.kind == "flush" or step.collection == "books":
                stage.apply(step)
        with pytest.raises(RunError, match="lists 1 of 2 collections; not copied: films"):
            stage.apply(stage.step(SealDump))
        assert [entry["collection_name"] for entry in meta(pair)["collection_backups"]] == ["books"]
        for step in stage.plan.steps:
            if step.collection == "films":
                stage.apply(step)
        stage.apply(stage.step(SealDump))
        assert [entry["collection_name"] for entry in meta(pair)["collection_backups"]] == ["books", "films"]


def test_what_earlier_runs_sealed_stays(dumped: Stage) -> None:
    earlier = {"collection_id": 1, "collection_name": "older", "size": 7, "db_name": "db9", "partition_backups": []}
    dumped.pair.store.write("backup/a_to_b/meta/full_meta.json", json.dumps({"collection_backups": [earlier]}).encode())
    dumped.apply(dumped.step(CopySegments, earlier_runs=("run-0",)))
    dumped.apply(dumped.step(SealDump))
    full = meta(dumped.pair)
    assert [entry["collection_name"] for entry in full["collection_backups"]] == ["older", "books"]
    assert [entry["db_name"] for entry in full["database_backups"]] == ["db9", "default"]
    assert full["size"] == 7 + full["collection_backups"][1]["size"]
    first = dict(dumped.pair.keys("backup/a_to_b/meta").items())
    dumped.apply(dumped.step(SealDump))
    assert dumped.pair.keys("backup/a_to_b/meta") == first


def test_full_meta_is_the_last_to_be_written(dumped: Stage) -> None:
    dumped.apply(dumped.step(CopySegments))
    written: list[str] = []

    def write(key: str, parts: Any, **named: Any) -> None:  # noqa: ANN401 - as the port
        written.append(key.rpartition("/")[2])
        dumped.pair.store.write_stream(key, parts, **named)

    staging = cast("ObjectStore", Altered(dumped.pair.store, {"write_stream": write}))
    step = dumped.step(SealDump)
    step.apply(replace(dumped.ctx, staging=staging), step.probe(dumped.ctx.reading()))
    assert written == [
        "backup_meta.json",
        "collection_meta.json",
        "partition_meta.json",
        "segment_meta.json",
        "full_meta.json",
    ]
