"""The preflight on two servers in memory: what is broken is named, what follows from it is not, and nothing stays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.adapters.memory import MemoryMilvus, MemoryStore
from migrator.errors import Interrupted, MilvusRefused, MilvusUnavailable, StoreRefused, StoreUnavailable
from migrator.model.finding import Part, Status, exit_code_of
from migrator.model.import_job import ImportJob, ImportState
from migrator.planning.places import canaries_folder
from migrator.planning.planner import make_plan
from migrator.running.canary_marker import Marker, home, read_markers
from migrator.running.doors import Doors
from migrator.running.preflight import Preflight
from migrator.running.preflight_record import FRESH, PreflightRecord
from migrator.running.refresh import refresh
from tests.support.builders import Pair, a_loaded_plan, fill

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.model.collection import CollectionRef
    from migrator.model.finding import Finding
    from migrator.model.segment import SegmentBatch
    from migrator.spec.document import Storage
    from migrator.spec.loaded import LoadedPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a probe saw."""

    answer: str = "http1"
    service: str | None = "an S3 service"
    tls: None = None
    is_grpc: bool = False

    def __str__(self) -> str:
        return f"{self.service or 'nothing'} is there"


class CanaryMilvus(MemoryMilvus):
    """A server in memory whose import of the canary's segment, which holds no JSON, is told by the test."""

    brought = 1
    state = ImportState.COMPLETED
    root = "files_B"

    def start_import(self, ref: Any, batch: SegmentBatch, **_: Any) -> int:  # noqa: ANN401 - see the port
        """Write as much as was read."""
        collection = self.find_collection(ref)
        assert collection is not None
        self.read = [found.key for found in self._store.list_objects(batch.entries[0][0].strip("/"))]
        if self.brought:
            self._store.write(f"{self.root}/insert_log/{collection.collection_id}/1/2/100/3", b"row")
        return 1

    def find_import_job(self, ref: CollectionRef, job_id: int) -> ImportJob | None:  # noqa: ARG002 - see the port
        """As the test says."""
        return ImportJob(job_id=job_id, state=self.state, rows=self.brought, progress_percent=100, paths=())


@dataclass(slots=True)
class World:
    """A pair, and what opens its parts; a part that is an error does not open."""

    pair: Pair = field(default_factory=Pair)
    errors: dict[str, Exception] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)
    buckets: tuple[str, ...] = ()

    def doors(self) -> Doors:
        return Doors(
            open_source=lambda: self._open("source", self.pair.source),
            open_target=lambda: self._open("target", self.pair.target),
            open_store=self._open_store,
            find_buckets=lambda *_: self.buckets,
            look_at=lambda *_, **__: self.seen,
            endpoints=("http://one:9000",),
        )

    def _open(self, name: str, milvus: MemoryMilvus) -> MemoryMilvus:
        if name in self.errors:
            raise self.errors[name]
        return milvus

    def _open_store(self, _: Storage, name: str) -> MemoryStore:
        if name in self.errors:
            raise self.errors[name]
        return self.pair.store


@pytest.fixture
def world() -> World:
    pair = Pair()
    pair.target = CanaryMilvus("http://milvus_B:19530", pair.store, "files_B", pair.clock, number=1)
    fill(pair)
    return World(pair)


def look(world: World, loaded: LoadedPlan, *, canary: bool = True) -> tuple[Finding, ...]:
    preflight = Preflight(loaded, world.doors(), clock=world.pair.clock)
    preflight.look_at_parts()
    made = preflight.look_at_plan((), reads_dumps=True)
    if canary:
        preflight.fly_canary(made)
    return preflight.findings


def failures(findings: tuple[Finding, ...]) -> list[str]:
    return [found.field for found in findings if found.status is Status.FAILURE]


def of(world: World) -> CanaryMilvus:
    assert isinstance(world.pair.target, CanaryMilvus)
    return world.pair.target


def left_behind(world: World) -> list[str]:
    strangers = [key for key in world.pair.keys("") if not key.startswith(("files_A/", "files_B/"))]
    return [*strangers, *world.pair.target.list_collections("default")]


def test_a_sound_plan_is_green_and_leaves_nothing(tmp_path: Path, world: World) -> None:
    findings = look(world, a_loaded_plan(tmp_path))

    assert failures(findings) == []
    assert {found.check for found in findings if found.part is Part.CANARY} == {
        "canary.put",
        "canary.copy",
        "canary.import",
        "canary.root_path",
    }
    assert [key.rsplit("/", 2)[-2] for key in of(world).read] == ["0", "1", "100", "101"]
    assert left_behind(world) == []


def test_without_the_canary_nothing_is_written(tmp_path: Path, world: World) -> None:
    before = world.pair.keys("")

    findings = look(world, a_loaded_plan(tmp_path), canary=False)

    assert failures(findings) == []
    assert world.pair.keys("") == before
    assert not hasattr(of(world), "read")


@dataclass(frozen=True, slots=True)
class Broken:
    """A part that does not open, what is seen at its address, and the setting that is to be named."""

    part: str
    error: Exception
    setting: str
    seen: Seen = field(default_factory=Seen)


DENIED = {
    "InvalidAccessKeyId (HTTP 403)": "credentials.access_key_id",
    "SignatureDoesNotMatch (HTTP 403)": "credentials.secret_access_key",
    "AccessDenied (HTTP 403)": "credentials",
    "AuthorizationHeaderMalformed; expecting 'eu-1'": "region",
    "the bucket 'x' does not exist at y": "bucket",
}
NOBODY = Seen(answer="refused", service=None)
A_MILVUS = Seen(service=None, is_grpc=True, answer="http2")
NOT_SET = "source.storage.credentials.secret_access_key cannot be read: the environment variable S is not set"


@pytest.mark.parametrize(
    "broken",
    [
        Broken("source", MilvusUnavailable("no", hint="correct source.milvus.uri"), "milvus.uri", NOBODY),
        Broken("target", MilvusRefused("no", hint="correct target.milvus.password"), "milvus.password"),
        Broken("source.storage", StoreUnavailable("no"), "endpoint", NOBODY),
        Broken("source.storage", StoreUnavailable("no"), "endpoint", A_MILVUS),
        Broken("source.storage", StoreRefused(NOT_SET, hint="set it"), "credentials.secret_access_key"),
        *(Broken("source.storage", StoreRefused(text), setting) for text, setting in DENIED.items()),
        *(Broken("target.storage", StoreRefused(text), setting) for text, setting in DENIED.items()),
    ],
    ids=lambda broken: f"{broken.part} {broken.error}",
)
def test_one_broken_part_is_one_failure_and_what_stands_on_it_is_not_looked_at(
    tmp_path: Path, world: World, broken: Broken
) -> None:
    world.errors[broken.part], world.seen = broken.error, broken.seen

    findings = look(world, a_loaded_plan(tmp_path))

    assert failures(findings) == [f"{broken.part}.{broken.setting}"]
    assert any(found.status is Status.SKIPPED for found in findings)
    assert all(found.position for found in findings if found.status is Status.FAILURE)
    assert left_behind(world) == []


def test_several_broken_parts_are_all_told(tmp_path: Path, world: World) -> None:
    world.errors = {"source": MilvusRefused("no"), "target.storage": StoreRefused("AccessDenied")}

    findings = look(world, a_loaded_plan(tmp_path))

    assert failures(findings) == ["source.milvus.uri", "target.storage.credentials"]
    assert exit_code_of(findings) == 30


def test_a_bucket_that_is_not_there_is_named_after_the_one_that_is_like_it(tmp_path: Path, world: World) -> None:
    world.errors["source.storage"] = StoreRefused("the bucket 'bucket_A' does not exist at http://one:9000")
    world.buckets = ("logs", "bucket-A", "images")

    (failure,) = (found for found in look(world, a_loaded_plan(tmp_path)) if found.status is Status.FAILURE)

    assert (failure.field, failure.hint) == ("source.storage.bucket", "set it to bucket-A, which is there")


# -- what only the canary finds out -----------------------------------------------------------------------------------


def test_a_target_that_reads_another_bucket(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    of(world).brought = 0
    monkeypatch.setattr(
        MemoryMilvus, "told_bucket", lambda milvus: "" if milvus.uri.endswith("A:19530") else "bucket_A"
    )

    findings = look(world, a_loaded_plan(tmp_path))

    assert failures(findings) == ["target.storage.endpoint"]
    assert exit_code_of(findings) == 11
    assert left_behind(world) == []


def test_a_target_that_writes_below_another_root(tmp_path: Path, world: World) -> None:
    of(world).root = "elsewhere/files"

    (failure,) = (found for found in look(world, a_loaded_plan(tmp_path)) if found.status is Status.FAILURE)

    assert failure.field == "target.storage.root_path"
    assert "set it to elsewhere/files" in failure.hint


def test_a_target_that_never_gets_to_the_import(tmp_path: Path, world: World) -> None:
    of(world).state = ImportState.PENDING

    findings = look(world, a_loaded_plan(tmp_path))

    assert failures(findings) == ["target.milvus.uri"]
    assert "60 s" in next(found.message for found in findings if found.exit_code)
    assert left_behind(world) == []


def test_a_store_that_creates_twice(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    write = MemoryStore.write
    monkeypatch.setattr(MemoryStore, "write", lambda store, key, data, **_: write(store, key, data) or True)

    findings = look(world, a_loaded_plan(tmp_path))

    assert failures(findings) == ["target.storage.provider"]
    assert left_behind(world) == []


def test_whatever_happens_the_canary_is_removed(tmp_path: Path, world: World) -> None:
    of(world).state = ImportState.PENDING
    world.pair.clock.error = Interrupted("stopped")

    with pytest.raises(Interrupted):
        look(world, a_loaded_plan(tmp_path))

    assert left_behind(world) == []


def test_what_cannot_be_removed_is_told_and_can_be_found_again(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MilvusRefused("not now")

    loaded = a_loaded_plan(tmp_path)
    monkeypatch.setattr(MemoryMilvus, "drop_collection", refuse)

    findings = look(world, loaded)

    (warning,) = (found for found in findings if found.status is Status.WARNING)
    assert "_migrator_canary_" in warning.message
    assert "migrator clean" in warning.hint
    ((_, marker),) = read_markers(world.pair.store, canaries_folder(loaded))
    assert marker.plan == "a-to-b"
    assert not marker.is_over(world.pair.clock.now())
    assert replace(marker, pid=2**22 + 1).is_over(world.pair.clock.now())
    elsewhere = replace(marker, home="elsewhere/1")
    assert not elsewhere.is_over(world.pair.clock.now())
    assert elsewhere.is_over(world.pair.clock.now() + 2 * FRESH)
    assert Marker.from_json(marker.to_json()) == marker
    assert marker.home == home()


# -- remembering ------------------------------------------------------------------------------------------------------


def test_a_green_preflight_is_remembered_for_an_hour_and_until_anything_is_edited(tmp_path: Path, world: World) -> None:
    loaded, clock = a_loaded_plan(tmp_path), world.pair.clock
    record = PreflightRecord(tmp_path / "state", loaded, clock)
    assert record.green_at() is None

    record.note(is_green=True)

    assert record.green_at() is not None
    edited = a_loaded_plan(tmp_path, more="vars: {a: b}\n")
    assert PreflightRecord(tmp_path / "state", edited, clock).green_at() is None
    record.note(is_green=False)
    assert record.green_at() is None
    record.note(is_green=True)
    clock.sleep(FRESH.total_seconds() + 1)
    assert record.green_at() is None


def test_a_plan_is_what_the_canary_asks_shards_for(tmp_path: Path, world: World) -> None:
    loaded = a_loaded_plan(tmp_path, collections="[{source: books, create: {shards_num: 20}}]")
    made = make_plan(loaded, refresh(loaded, world.pair.readers(), ()))
    preflight = Preflight(loaded, world.doors(), clock=world.pair.clock)
    preflight.look_at_parts()

    preflight.fly_canary(made)

    tried = [found for found in preflight.findings if found.check == "canary.shards_num"]
    assert [found.field for found in tried] == ["collections[0].create.shards_num"]
    assert left_behind(world) == []
