"""Import jobs: what their requests are refused for, and how they go on by themselves (E.3 to E.7)."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.doubles.flushing import vchannel_of, write_segment
from tests.doubles.reading import IMPORT_FAILED, Bounds, Reader, expand, sizes
from tests.doubles.state import (
    ALL_PARTITIONS,
    DROPPED,
    FLUSHED,
    IMPORTING,
    L0,
    TIMESTAMP,
    Cluster,
    Collection,
    Columns,
    FileEntry,
    Job,
    Key,
    Refusal,
    Segment,
    is_true,
    require_partition,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.doubles.bucket import Bucket
    from tests.doubles.rules import Rules

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "ns": 1e-9}
_PLAUSIBLE_MS = range(946_684_800_000, 4_102_444_800_000)  # the years 2000 to 2099
# E.3: what happens inside, with the percent that are done when it begins; the ones between all show as Importing
_PHASES = {"Pending": 0, "PreImporting": 10, "Importing": 40, "Sorting": 70, "IndexBuilding": 80}


@dataclass(frozen=True, slots=True)
class Request:
    """One import as it was asked for."""

    database: str
    collection_name: str
    partition_name: str
    files: list[list[str]]
    options: dict[str, str]


@dataclass
class Jobs:
    """The import jobs of a cluster; `tick` moves them on."""

    cluster: Cluster
    rules: Rules
    bucket: Bucket
    fail_next: list[str] = field(default_factory=list)  # reasons of jobs to come
    _columns: dict[int, list[Columns]] = field(default_factory=dict)  # what pre-imports have read

    # -- requests

    def create(self, request: Request, *, exists_in_s: float = 0.0) -> Job:
        """Register a job, which is there after `exists_in_s` seconds.

        Raises:
            Refusal: As E.7 lists them.
        """
        cluster = self.cluster
        options = {key.lower(): value for key, value in request.options.items()}  # B.5: in any case of letters
        if not request.files:
            raise Refusal("import request is empty: invalid parameter", code=1100)
        collection = cluster.require_collection(request.database, request.collection_name)
        partition_ids = self._partitions(collection, request.partition_name, options)
        self._bounds(options)
        timeout_s = _duration(options.get("timeout", ""))
        self._require_possible(collection, options, request.files)
        files = self._expand(request.files, options)
        self._require_room(files, options)
        now = time.time()
        with cluster.lock:
            job = Job(
                id=cluster.clock.next(),
                database=collection.database,
                collection_id=collection.id,
                collection_name=collection.name,
                partition_ids=partition_ids,
                files=files,
                options=options,
                created_at=now,
                visible_at=now + exists_in_s,
                entered_at=now + exists_in_s,
                fails_with=self.fail_next.pop(0) if self.fail_next else "",
                auto_commit=not self.rules.has("auto_commit") or options.get("auto_commit", "").lower() != "false",
                timeout_s=timeout_s,
            )
            cluster.jobs[job.id] = job
        return job

    def get(self, job_id: int) -> Job:
        """One that the server remembers.

        Raises:
            Refusal: It does not.
        """
        job = self.cluster.jobs.get(job_id)
        if job is None or job.visible_at > time.time():
            reason = f"import job does not exist, jobID={job_id}: importing data failed"  # E.7
            raise Refusal(reason, code=IMPORT_FAILED)
        return job

    def all(self, database: str, collection_name: str = "") -> list[Job]:
        """Those of a database, or of a collection of it."""
        wanted = self.cluster.require_collection(database, collection_name).id if collection_name else None
        return [
            job
            for job in list(self.cluster.jobs.values())
            if job.visible_at <= time.time()
            and job.database == (database or "default")
            and wanted in {None, job.collection_id}
        ]

    def commit(self, job_id: int) -> None:
        """E.8.6: of one that is Committing or Completed already it is a success.

        Raises:
            Refusal: The job waits for no commit.
        """
        job = self.get(job_id)
        if job.state in {"Committing", "Completed"}:
            return
        if job.state != "Uncommitted":
            raise Refusal(f"import job {job_id} is {self.shown(job)}, not Uncommitted", code=IMPORT_FAILED)
        self._enter(job, "Committing")

    def abort(self, job_id: int) -> None:
        """E.7: works on Uncommitted jobs, and is idempotent.

        Raises:
            Refusal: It is neither Uncommitted nor aborted.
        """
        job = self.get(job_id)
        if job.state == "Failed":
            return
        if job.state != "Uncommitted":
            raise Refusal(f"import job {job_id} is {self.shown(job)}, not Uncommitted", code=IMPORT_FAILED)
        self._fail(job, "aborted")

    def forget(self, job_id: int | None = None) -> None:
        """Drop the records of jobs that have ended, or of one."""
        with self.cluster.lock:
            for job in list(self.cluster.jobs.values()):
                if job.id == job_id or (job_id is None and job.has_ended):
                    del self.cluster.jobs[job.id]

    @staticmethod
    def shown(job: Job) -> str:
        """The state as clients are told it."""
        return job.state if job.state not in _PHASES or job.state == "Pending" else "Importing"

    # -- what requests are refused for

    def _partitions(self, collection: Collection, name: str, options: Mapping[str, str]) -> list[int]:
        if name:
            return [require_partition(collection, name).id]
        if is_true(options.get("backup")):  # E.6: required in every version
            raise Refusal("partition not specified: invalid parameter", code=1100)
        return [ALL_PARTITIONS]

    def _bounds(self, options: Mapping[str, str]) -> Bounds:
        """B.5: in milliseconds, or hybrid."""
        start = self._bound(options, "start_ts", "startts", 0)
        end = self._bound(options, "end_ts", "endts", 2**64 - 1)
        if start > end:
            raise _failed("start_ts shouldn't be larger than end_ts")
        return Bounds(start, end)

    def _bound(self, options: Mapping[str, str], name: str, other: str, default: int) -> int:
        text = options.get(name, options.get(other))
        if text is None:
            return default
        if not text.isascii() or not text.isdigit():
            raise _failed(f'parse {name} failed, value={text}, err=strconv.ParseUint: parsing "{text}": invalid syntax')
        value = int(text)
        if not self.rules.has("hybrid_bounds"):
            return value << 18  # a hybrid value becomes no bound at all, seconds a tiny one
        if value >> 18 not in _PLAUSIBLE_MS and value != default:
            raise _failed(f"{name} is not a plausible hybrid timestamp, value={text}")
        return value

    def _require_possible(self, collection: Collection, options: Mapping[str, str], files: Sequence[object]) -> None:
        settings = self.cluster.settings
        in_two_steps = self.rules.has("auto_commit") and options.get("auto_commit", "").lower() == "false"
        if settings.is_replicating and not (in_two_steps and settings.enable_in_replicating):  # E.6
            raise _failed("import in replicating cluster is not supported yet")
        if self.rules.has("l0_import") and is_true(options.get("l0_import")):
            if self.rules.has("l0_import_off") and not settings.enable_l0_import:  # E.5, E.6
                raise _failed("l0 import is disabled, see dataCoord.import.enableL0Import")
            if collection.is_loaded:
                raise _failed("for l0 import, collection cannot be loaded, please release it first")
            if len(files) > 1 and not self.rules.has("several_l0_segments"):  # D.3.7
                raise _failed(f"there should be one l0 segment in a job, but got {len(files)}")
        self._require_few(len(files))

    def _require_few(self, files: int) -> None:
        if files > self.cluster.settings.max_files:  # E.5
            most = self.cluster.settings.max_files
            raise _failed(f"The max number of import files should not exceed {most}, but got {files}")

    def _expand(self, files: Sequence[list[str]], options: Mapping[str, str]) -> list[FileEntry]:
        is_l0 = self.rules.has("l0_import") and is_true(options.get("l0_import"))
        if is_true(options.get("backup")):
            self._note_sins(files, is_l0=is_l0)
            found = [segment for entry in files for segment in expand(self.bucket, entry)]
        elif is_l0:
            found = [FileEntry(list(entry)) for entry in files]
            if not all(entry.paths and entry.paths[0] for entry in found):
                raise _failed("the path of an l0 segment is empty")
            if not any(self.bucket.list_all(entry.paths[0]) for entry in found):  # 0.2.8
                found = []
        else:  # ordinary data files are none of the double's
            raise _failed(f"unexpected file type, files={[path for entry in files for path in entry]}")
        if not found:
            raise _failed(f"no binlog to import, input={files}")
        self._require_few(len(found))  # D.3.2: the expanded list again
        return found

    def _note_sins(self, files: Sequence[list[str]], *, is_l0: bool) -> None:
        sins = self.cluster.sins
        if is_l0:
            sins.append("backup and l0_import in one request (E.4)")
        sins += [f"an empty second path lists the bucket: {entry} (D.3.6)" for entry in files if entry[1:] == [""]]
        sins += [f"a path begins with a slash: {entry} (D.5)" for entry in files if entry[0].startswith("/")]

    def _require_room(self, files: Sequence[FileEntry], options: Mapping[str, str]) -> None:
        settings = self.cluster.settings
        running = sum(not job.has_ended for job in list(self.cluster.jobs.values()))
        if self.rules.has("limits_jobs") and running >= settings.max_jobs:  # E.5
            raise _failed(f"The number of jobs has reached the limit, limit={settings.max_jobs}")
        skips = self.rules.has("skip_disk_quota_check") and is_true(options.get("skip_disk_quota_check"))
        if settings.disk_quota_bytes and not skips and sizes(self.bucket, files) > settings.disk_quota_bytes:
            raise Refusal(f"disk quota exceeded[quota={settings.disk_quota_bytes}]: quota exceeded", code=9, legacy=54)

    # -- going on

    def tick(self) -> None:
        """Move every job on whose time has come."""
        for job in list(self.cluster.jobs.values()):
            now = time.time()
            if job.has_ended:
                if now > job.completed_at + self.cluster.settings.retention_s:
                    self.forget(job.id)
            elif now >= job.visible_at:
                self._advance(job, now)

    def _advance(self, job: Job, now: float) -> None:
        collection = self.cluster.collection_by_id(job.collection_id)
        if collection is None:  # E.7
            self._fail(job, f"collection {job.collection_id} dropped")
        elif job.timeout_s and now > job.created_at + job.timeout_s:
            self._fail(job, f"import timeout, timeout={job.timeout_s}s")
        elif job.state != "Uncommitted" and now >= job.entered_at + self._phase_s(job):
            try:
                self._leave(job, collection)
            except Refusal as refusal:
                self._fail(job, refusal.reason)
            except Exception as error:
                self._fail(job, f"the double has a bug: {error!r}")
                raise

    def _phase_s(self, job: Job) -> float:
        settings = self.cluster.settings
        return settings.job_s + (settings.index_s if job.state == "IndexBuilding" else 0)

    def _leave(self, job: Job, collection: Collection) -> None:
        """Do what its phase is for, and enter the next one."""
        if job.state == "Pending":
            self._enter(job, "PreImporting")
            job.has_details = True  # E.3: details exist once there are tasks
        elif job.state == "PreImporting":
            self._pre_import(job, collection)
            self._enter(job, "Importing")
        elif job.state == "Importing":
            self._import(job, collection)
            self._enter(job, "Sorting")
        elif job.state == "Sorting":
            self._enter(job, "IndexBuilding" if collection.indexes else self._last(job))
        elif job.state == "IndexBuilding":
            self._enter(job, self._last(job))
        else:
            self._complete(job, collection)
        if job.state == "Completing":
            self._complete(job, collection)

    @staticmethod
    def _last(job: Job) -> str:
        return "Completing" if job.auto_commit else "Uncommitted"

    def _enter(self, job: Job, state: str) -> None:
        with self.cluster.lock:
            job.state, job.entered_at = state, time.time()
            job.progress = _PHASES.get(state, 100 if state == "Completed" else 90)

    def _reader(self, job: Job, collection: Collection) -> Reader:
        version = job.options.get("storage_version", "") if self.rules.has("storage_version") else ""
        bounds = self._bounds(job.options)
        return Reader(self.bucket, self.rules, collection, version, bounds)

    def _pre_import(self, job: Job, collection: Collection) -> None:
        if job.fails_with:
            raise Refusal(job.fails_with)
        for entry in job.files:
            entry.size_bytes = int(sizes(self.bucket, [entry]))
        if not job.is_l0:
            self._columns[job.id] = self._read(job, collection)
            for entry, columns in zip(job.files, self._columns[job.id], strict=True):
                entry.rows = len(columns[TIMESTAMP])

    def _read(self, job: Job, collection: Collection) -> list[Columns]:
        reader = self._reader(job, collection)
        return [reader.segment(entry) for entry in job.files]

    def _import(self, job: Job, collection: Collection) -> None:
        if job.is_l0:
            reader = self._reader(job, collection)
            for entry in job.files:
                deletes = reader.l0(entry)
                entry.imported = len(deletes)
                self._put_deletes(job, collection, deletes)
            return
        shards: dict[str, Columns] = defaultdict(dict)
        found = self._columns.pop(job.id, None)
        if found is None or int(sizes(self.bucket, job.files)) != sum(entry.size_bytes for entry in job.files):
            found = self._read(job, collection)  # D.7: files that have vanished make it fail
        for entry, columns in zip(job.files, found, strict=True):
            entry.imported = len(columns[TIMESTAMP])
            _share_out(collection, columns, shards)
        for vchannel, columns in shards.items():
            kept = {number: column[self.cluster.settings.lost_rows :] for number, column in columns.items()}
            self._put_rows(job, collection, vchannel, kept)

    def _put_rows(self, job: Job, collection: Collection, vchannel: str, columns: Columns) -> None:
        if not self.rules.has("keeps_row_ts"):  # E.6: before 2.4.5 the time of the import
            columns[TIMESTAMP] = [self.cluster.clock.next()] * len(columns[TIMESTAMP])
        segment = Segment(
            id=self.cluster.clock.next(),
            partition_id=job.partition_ids[0],
            vchannel=vchannel,
            state=IMPORTING,
            columns=columns,
            storage_version=2 if self.rules.has("writes_v2") and not self.cluster.settings.uses_v1 else 0,
            is_sorted=self.rules.has("tells_sorted"),
        )
        if self.cluster.settings.writes_imports:
            write_segment(self.cluster, self.rules, self.bucket, collection, segment)
        with self.cluster.lock:
            collection.segments[segment.id] = segment
            job.segments.append(segment.id)

    def _put_deletes(self, job: Job, collection: Collection, deletes: list[tuple[Key, int]]) -> None:
        segment = Segment(
            id=self.cluster.clock.next(),
            partition_id=job.partition_ids[0],
            vchannel=collection.vchannels[0],
            state=IMPORTING,
            level=L0,
            deletes=deletes,
        )
        write_segment(self.cluster, self.rules, self.bucket, collection, segment)
        with self.cluster.lock:
            collection.segments[segment.id] = segment
            job.segments.append(segment.id)

    def _complete(self, job: Job, collection: Collection) -> None:
        """All segments become visible together (E.7)."""
        with self.cluster.lock:
            commit_ts = self.cluster.clock.next()
            for number in job.segments:
                segment = collection.segments[number]
                segment.state = FLUSHED
                if segment.is_l0:
                    _apply(collection, segment)
                elif self.rules.has("commit_ts"):
                    segment.commit_ts = commit_ts
            self._enter(job, "Completed")
            job.completed_at = time.time()

    def _fail(self, job: Job, reason: str) -> None:
        self._columns.pop(job.id, None)
        with self.cluster.lock:
            collection = self.cluster.collection_by_id(job.collection_id)
            for number in job.segments:
                if collection is not None:
                    collection.segments[number].state = DROPPED
            job.state, job.reason, job.completed_at = "Failed", reason, time.time()


def _apply(collection: Collection, l0: Segment) -> None:
    """Deletes of an L0 import reach the rows that are there: 0.2.9, they come after the data."""
    newest: dict[Key, int] = {}
    for key, ts in l0.deletes:
        newest[key] = max(ts, newest.get(key, 0))
    for segment in collection.segments.values():
        reached = l0.partition_id in {ALL_PARTITIONS, segment.partition_id}
        if reached and not segment.is_l0 and segment.state == FLUSHED:
            for key, ts in newest.items():
                segment.killed[key] = max(ts, segment.killed.get(key, 0))


def _share_out(collection: Collection, columns: Columns, shards: dict[str, Columns]) -> None:
    """E.6: rows go to the vchannels of the target by their keys."""
    keys = columns[collection.key_field.fieldID]
    rows: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows[vchannel_of(collection, key)].append(row)
    for vchannel, found in rows.items():
        shard = shards[vchannel]
        for number, values in columns.items():
            shard.setdefault(number, []).extend(values[row] for row in found)


def _duration(text: str) -> float:
    """Seconds of a duration as Go writes it, `2h45m`; 0 without one."""
    parts = re.findall(r"([\d.]+)(h|ms|us|ns|m|s)", text)
    if text and "".join(number + unit for number, unit in parts) != text:
        raise _failed(f'parse timeout failed, err=time: invalid duration "{text}"')
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _failed(reason: str) -> Refusal:
    return Refusal(f"{reason}: importing data failed", code=IMPORT_FAILED)
