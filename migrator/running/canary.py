"""The canary: one row is staged, imported into a scratch collection of the target, counted, and removed again.

It proves what no look can: that staging takes our writes and honours create-only ones, that what we write is what the
target reads, and that the target writes below the root path that the plan names. What it is about to make is first
written down beside the leases, so that `migrator clean` finds it after a `kill -9`.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING

from migrator.errors import (
    MigratorError,
    MilvusError,
    MilvusRefused,
    NothingToImport,
    PlanError,
    StoreError,
    StoreRefused,
)
from migrator.model.collection import (
    DEFAULT_DATABASE,
    CollectionRef,
    CollectionSchema,
    ConsistencyLevel,
    DataType,
    FieldSchema,
)
from migrator.model.import_job import ImportState, ImportTag
from migrator.model.segment import LogKind, SegmentBatch
from migrator.model.way import Choice, Way
from migrator.planning.places import canaries_folder, canary_imports_folder
from migrator.running.canary_marker import Marker, home, remove_folder, scratch_names
from migrator.running.preflight_stores import tell_cause
from migrator.running.roots import below, find_root_of, holds, insert_folder
from migrator.steps.transfer import choose_way

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from migrator.model.import_job import ImportJob
    from migrator.model.segment import StoredObject
    from migrator.ports.clock import Clock
    from migrator.ports.milvus import MilvusReader, MilvusTarget
    from migrator.ports.store import ObjectReader, ObjectStore
    from migrator.running.doors import Doors, StorePlace
    from migrator.running.findings import Findings
    from migrator.spec.loaded import LoadedPlan

SEGMENT_FOLDER = "canary_segment"
DEADLINE_S = 60.0
"""For the import; 2.3.5 takes two seconds for a job that waits for no other."""
_FILES = ("0", "1", "100", "101")
"""A binlog for each field: RowID, Timestamp, and those of the schema."""
_ROWS = 1
_IDS = (1, 2, 3)
_FIELDS = (
    FieldSchema(field_id=100, name="id", data_type=DataType.INT64, is_primary_key=True),
    FieldSchema(field_id=101, name="vector", data_type=DataType.FLOAT_VECTOR, type_params=(("dim", "2"),)),
)
_POLL_S = 0.1
_UNDER_WAY = {ImportState.PENDING, ImportState.RUNNING}
_SMALL_BYTES = 16 * 1024**2
_BETWEEN = "see what stands between this machine and the store"
_SHARDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Perch:
    """A store that the canary writes to, and the folder of its own there."""

    place: StorePlace
    store: ObjectStore
    folder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """All that the canary needs; None is a part that does not work, or that the plan does not have."""

    source_place: StorePlace
    source_store: ObjectReader | None
    staging_place: StorePlace
    staging: ObjectStore
    target_place: StorePlace | None
    target_store: ObjectStore | None
    target: MilvusTarget | None
    source: MilvusReader | None
    stages_at_target: bool
    """Whether staging is the bucket of the target: then it reads there what is staged."""
    database: str = DEFAULT_DATABASE
    """One that the target has."""
    shards: Sequence[tuple[str, int]] = ()


class Canary:
    """One flight; everything it made is removed when it ends, however it ends."""

    def __init__(
        self, loaded: LoadedPlan, around: Surroundings, findings: Findings, *, doors: Doors, clock: Clock
    ) -> None:
        self._loaded = loaded
        self._around = around
        self._findings = findings
        self._doors = doors
        self._clock = clock
        self._id = secrets.token_hex(6)
        self._database = around.database
        self._created: list[CollectionRef] = []
        staging_folder = below(around.staging_place.folder, f".migrator_canary_{self._id}")
        self._staged = Perch(place=around.staging_place, store=around.staging, folder=staging_folder)
        self._read_from = self._staged
        if around.target_place is not None and around.target_store is not None and not around.stages_at_target:
            folder = f"{canary_imports_folder(loaded)}/{self._id}"
            self._read_from = Perch(place=around.target_place, store=around.target_store, folder=folder)
        self._marker = Marker(
            canary_id=self._id,
            plan=loaded.name,
            home=home(),
            pid=os.getpid(),
            since=clock.now().isoformat(),
            database=self._database,
            staged=self._staged.folder,
            imported_from="" if self._read_from is self._staged else self._read_from.folder,
            target="" if around.target is None else around.target.uri,
        )

    def fly(self) -> None:
        """Write, copy, import, count; then remove all of it."""
        try:
            if self._leave_word() and self._stage() and self._around.target is not None:
                self._import(self._around.target)
        finally:
            self._remove()

    # -- staging ----------------------------------------------------------------------------------------------------

    def _leave_word(self) -> bool:
        """The marker, created and then once more: leases rest on it that a second one is refused."""
        if not self._creates_once(self._staged, self._marker_key):
            return False
        if self._read_from is self._staged:
            return True
        return self._creates_once(self._read_from, f"{self._read_from.folder}/created")  # the targets' leases lie there

    def _creates_once(self, perch: Perch, key: str) -> bool:
        store, content = perch.store, self._marker.to_json()
        try:
            store.write(key, content, create_only=True)
            is_refused = not store.write(key, content, create_only=True)
        except StoreError as error:
            tell_cause(perch.place, error, self._findings, self._doors, call="put")
            return False
        if not is_refused:
            message = (
                f"{store.place} overwrites an object where it was asked to create one: leases cannot be held there"
            )
            hint = "use a store that knows If-None-Match, or the provider that it is of"
            self._fail("canary.create_only", f"{perch.place.field}.provider", message, hint, kind=StoreError)
            return False
        self._findings.ok("canary.put", f"{store.place} takes what is written, and creates it once only")
        return True

    def _stage(self) -> bool:
        """The segment where the target is to read it; and one object of the source where dumps go."""
        perch = self._read_from
        try:
            for name in _FILES:
                perch.store.write(f"{self._insert_prefix}/{name}/4", _segment_file(name))
            if perch.store.read(f"{self._insert_prefix}/{_FILES[0]}/4") != _segment_file(_FILES[0]):
                message = f"{perch.store.place} gives back other bytes than were written"
                self._fail("canary.get", f"{perch.place.field}.endpoint", message, _BETWEEN, kind=StoreError)
                return False
        except StoreError as error:
            tell_cause(perch.place, error, self._findings, self._doors, call="put")
            return False
        self._copy_from_source()
        return True

    def _copy_from_source(self) -> None:
        """As a run will copy: by the service where staging shows the source's objects, else through us."""
        around = self._around
        if around.source_store is None:
            self._findings.skip("canary.copy", "source.storage", "no copy is tried: see what failed there")
            return
        try:
            found = _small_object(around.source_store, around.source_place.folder)
            if found is None:
                message = "nothing lies at the source yet that could be copied for a trial"
                self._findings.unknown("canary.copy", around.source_place.root_field, message)
                return
            data = around.source_store.read(found.key)
        except StoreError as error:
            tell_cause(around.source_place, error, self._findings, self._doors, call="get")
            return
        try:
            self._copy(found, data)
        except StoreError as error:
            tell_cause(self._staged.place, error, self._findings, self._doors, call="copy")

    def _copy(self, found: StoredObject, data: bytes) -> None:
        store, key = self._staged.store, f"{self._staged.folder}/copied"
        mode, bucket = self._loaded.options.transfer.mode, self._around.source_place.storage.bucket
        choice = Choice(Way.STREAM) if mode == "stream" else choose_way(store, bucket, found)
        try:
            if choice.way is not Way.STREAM:
                _copy_by_service(store, choice.way, bucket, found.key, key)
                self._findings.ok("canary.copy", "the service copies from the source into staging by itself")
                return
        except StoreRefused as error:
            choice = Choice(Way.STREAM, error.message)
        if mode == "server_side":
            message = f"the service cannot copy from the source into staging: {choice.reason}"
            self._fail("canary.copy", "options.transfer.mode", message, "set it to auto or stream", kind=StoreError)
            return
        store.write(key, data)
        if store.read(key) != data:
            message = f"{store.place} gives back other bytes than were written"
            self._fail("canary.copy", f"{self._staged.place.field}.endpoint", message, _BETWEEN, kind=StoreError)
            return
        why = f": {choice.reason}" if choice.reason else ""
        self._findings.ok("canary.copy", f"an object of the source was copied into staging through this machine{why}")

    # -- the target -------------------------------------------------------------------------------------------------

    def _import(self, target: MilvusTarget) -> None:
        ref = CollectionRef(self._database, scratch_names(self._id)[0])
        try:
            self._create(target, ref, _SHARDS)
            self._tell_same_milvus(ref)
            bound = target.allocate_timestamp()
            job = self._wait(target, ref, target.start_import(ref, self._batch(), end_ts=bound, tag=self._tag))
            if job is not None and self._is_counted(target, job):
                self._look_below_root(target, ref)
            self._try_shards(target)
        except NothingToImport:
            self._tell_unread(target, 0)
        except MilvusError as error:
            self._findings.error("canary.import", "target.milvus.username", error)

    def _create(self, target: MilvusTarget, ref: CollectionRef, shards_num: int) -> None:
        self._created.append(ref)
        schema = CollectionSchema(
            description=f"scratch collection of a preflight of the plan {self._loaded.name}",
            auto_id=False,
            enable_dynamic_field=False,
            fields=_FIELDS,
        )
        target.create_collection(
            ref,
            schema,
            shards_num=shards_num,
            num_partitions=None,
            consistency_level=ConsistencyLevel.STRONG,
            properties=(),
        )

    @property
    def _insert_prefix(self) -> str:
        return below(self._read_from.folder, LogKind.INSERT, *_IDS)

    @property
    def _tag(self) -> ImportTag:
        return ImportTag(run_id=f"canary-{self._id}", batch_key="canary", attempt=1)

    def _batch(self) -> SegmentBatch:
        return SegmentBatch(
            number=1,
            partition_id=_IDS[1],
            partition_name="_default",
            segment_ids=(_IDS[2],),
            rows=_ROWS,
            objects=len(_FILES),
            delta_objects=0,
            size_bytes=sum(len(_segment_file(name)) for name in _FILES),
            entries=((f"{self._read_from.store.server_path(self._insert_prefix.rpartition('/')[0])}/",),),
        )

    def _wait(self, target: MilvusTarget, ref: CollectionRef, job_id: int) -> ImportJob | None:
        """The job when it is over, and committed; None after the deadline."""
        began = self._clock.monotonic()
        while True:
            job = target.find_import_job(ref, job_id)
            if job is not None and job.state in {ImportState.COMPLETED, ImportState.FAILED}:
                return job
            if job is not None and job.state is ImportState.UNCOMMITTED:
                target.commit_import(ref, job_id)
            if self._clock.monotonic() - began > DEADLINE_S:
                state = "not known" if job is None else str(job.state)
                if others := self._others_under_way(target, job_id):
                    message = (
                        f"the import of one row waits behind {others} of others: what the target reads is not proven"
                    )
                    self._findings.warn("canary.import", "target.milvus.uri", message, "a run waits there too")
                    return None
                message = f"import job {job_id} at the target is {state} after {DEADLINE_S:.0f} s"
                hint = "see whether other imports are before it, and whether its data nodes are up"
                self._fail("canary.import", "target.milvus.uri", message, hint, kind=MilvusError)
                return None
            self._clock.sleep(_POLL_S)

    def _others_under_way(self, target: MilvusTarget, job_id: int) -> int:
        """How many jobs the target has to do beside ours."""
        with suppress(MilvusError):
            jobs = target.list_import_jobs(CollectionRef(self._database, scratch_names(self._id)[0]))
            return sum(job.job_id != job_id and job.state in _UNDER_WAY for job in jobs)
        return 0

    def _is_counted(self, target: MilvusTarget, job: ImportJob) -> bool:
        if job.state is ImportState.FAILED and not job.found_no_files:
            message = f"the target's import of one row failed: {job.failure}"
            hint = "see the log of the target's data node"
            self._fail("canary.import", "target.milvus.uri", message, hint, kind=MilvusError)
        elif job.rows != _ROWS:
            self._tell_unread(target, job.rows)
        else:
            self._findings.ok("canary.import", f"the target imported {_ROWS} row of what was written to {self._where}")
            return True
        return False

    @property
    def _where(self) -> str:
        return self._read_from.store.place

    def _tell_unread(self, target: MilvusTarget, rows: int) -> None:
        """The import found nothing: the target looks elsewhere than we write."""
        storage, field = self._read_from.place.storage, "target.storage"
        message = f"the target's import found {rows} of {_ROWS} rows: it does not read what is written to {self._where}"
        if storage.bucket is None:
            hint = "it has to run on this machine, or to see this directory under the same path"
            self._fail("canary.import", f"{field}.root_path", message, hint, kind=PlanError, value=storage.root_path)
            return
        own = target.told_bucket()
        if own and own != storage.bucket:
            message = f"{message}; it says itself that it uses the bucket {own}"
            self._fail(
                "canary.import", f"{field}.bucket", message, f"set it to {own}", kind=PlanError, value=storage.bucket
            )
        elif own:
            message = f"{message}, though its bucket has that name: it lies at another service"
            hint = "write the address in its milvus.yaml: minio.address and minio.port"
            self._fail("canary.import", f"{field}.endpoint", message, hint, kind=PlanError, value=storage.endpoint)
        else:
            hint = f"see minio.bucketName in its milvus.yaml, and minio.address, which is {field}.endpoint"
            self._fail("canary.import", f"{field}.bucket", message, hint, kind=PlanError, value=storage.bucket)

    def _look_below_root(self, target: MilvusTarget, ref: CollectionRef) -> None:
        """The target wrote the row below its root path."""
        place, store = self._around.target_place, self._around.target_store
        collection = target.find_collection(ref)
        if place is None or store is None or collection is None:
            return
        number = collection.collection_id
        try:
            if holds(store, insert_folder(place.folder, number)):
                message = f"the target wrote it below {place.place}"
                self._findings.ok("canary.root_path", message, place.root_field)
                return
        except StoreError as error:
            tell_cause(place, error, self._findings, self._doors, call="list")
            return
        is_local = place.storage.bucket is None
        found = find_root_of(store, number, place.folder.rpartition("/")[0] if is_local else "")
        hint = "see minio.rootPath in its milvus.yaml"
        if found is not None:
            hint = f"set it to {f'/{found}' if is_local else found or repr(found)}, where it wrote it"
        message = f"the target wrote the imported row elsewhere than below {place.place}"
        self._fail("canary.root_path", place.root_field, message, hint, kind=PlanError, value=place.storage.root_path)

    def _tell_same_milvus(self, ref: CollectionRef) -> None:
        """Whether the source shows the scratch collection: then both are one Milvus, which has one root path."""
        source, place, other = self._around.source, self._around.target_place, self._around.source_place
        if (
            source is None
            or place is None
            or (place.storage.bucket, place.folder) == (other.storage.bucket, other.folder)
        ):
            return
        with suppress(MilvusError):
            if ref.database in source.list_databases() and source.find_collection(ref) is not None:
                message = f"a collection made at the target is seen at the source: {source.uri} is the same Milvus"
                hint = "write the target's own address; or, to clone inside one Milvus, the source's storage too"
                self._fail("canary.place", "target.milvus.uri", message, hint, kind=PlanError, value=self._target_uri)

    @property
    def _target_uri(self) -> str:
        return "" if self._around.target is None else self._around.target.uri

    def _try_shards(self, target: MilvusTarget) -> None:
        """Whether the target takes as many shards as are asked for: it tells its limit to who breaks it."""
        for field, shards in self._around.shards:
            if shards <= _SHARDS:
                return
            ref = CollectionRef(self._database, scratch_names(self._id)[1])
            try:
                self._create(target, ref, shards)
            except MilvusRefused as error:
                hint = "set create.shards_num of the mapping to what it allows"
                self._fail("canary.shards_num", field, error.message, hint, kind=PlanError, value=str(shards))
                continue
            target.drop_collection(ref)
            self._findings.ok("canary.shards_num", f"the target takes {shards} shards", field)
            return  # the rest asks for fewer

    # -- the end ----------------------------------------------------------------------------------------------------

    def _remove(self) -> None:
        """All that was made; what cannot be removed is said, and left to `migrator clean`."""
        left = [*self._drop_collections(), *self._delete_objects()]
        if not left:
            with suppress(StoreError):
                self._around.staging.delete([self._marker_key])
            return
        what = "; ".join(left)
        self._findings.warn("canary.remove", "", f"the canary left something behind: {what}", "run migrator clean PLAN")

    def _drop_collections(self) -> Iterator[str]:
        target = self._around.target
        if target is None:
            return
        for ref in self._created:
            try:
                target.drop_collection(ref)
            except MilvusError as error:
                yield f"{ref.short} ({error.message})"

    def _delete_objects(self) -> Iterator[str]:
        for perch in {self._staged.folder: self._staged, self._read_from.folder: self._read_from}.values():
            try:
                remove_folder(perch.store, perch.folder)
            except StoreError as error:
                yield f"{perch.folder}/ in {perch.store.place} ({error.message})"

    @property
    def _marker_key(self) -> str:
        return f"{canaries_folder(self._loaded)}/{self._id}.json"

    def _fail(
        self, check: str, field: str, message: str, hint: str, *, kind: type[MigratorError], value: str | None = None
    ) -> None:
        self._findings.fail(check, field, message, hint, exit_code=kind.exit_code, value=value)


def _copy_by_service(store: ObjectStore, way: Way, bucket: str | None, source_key: str, key: str) -> None:
    if way is Way.ACROSS and bucket is not None:
        store.copy_from(bucket, source_key, key)
    else:
        store.copy_inside(source_key, key)


def _small_object(store: ObjectReader, folder: str) -> StoredObject | None:
    """The first that is small enough to be read at once, among the first thousand."""
    listed = islice(store.list_objects(folder), 1000)
    return next((found for found in listed if found.size_bytes <= _SMALL_BYTES), None)


def _segment_file(name: str) -> bytes:
    return (resources.files("migrator.running") / SEGMENT_FOLDER / name).read_bytes()
