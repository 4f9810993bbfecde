"""What a live Milvus from 2.4 on does where this project only read its source: one command, one file to send back.

`python -m tests.live.check_server PLAN` takes the target of a plan file. It makes a scratch collection there and a
folder `migrator_live` in its bucket, imports one row several times, removes both, and writes what it saw as JSON.
Neither addresses nor logins are in it.

Where the server has snapshots, it takes one of the scratch collection, restores it beside it, and removes both.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrator.adapters.binlog_writer import delta_log
from migrator.adapters.milvus import GrpcMilvus
from migrator.connections import connect
from migrator.errors import MigratorError
from migrator.model.collection import DEFAULT_DATABASE, CollectionRef, CollectionSchema, ConsistencyLevel, DataType
from migrator.model.segment import Segment
from migrator.model.snapshot import is_whole_uri
from migrator.model.timestamps import physical_ms
from migrator.running import canary
from migrator.spec.load import load_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.ports.store import ObjectStore

_JOBS = "/v2/vectordb/jobs/import"
_PATIENCE_S = 120.0
_SEEN_OF_A_JOB = 20
_IN_2000_MS = 946_684_800_000
_OVER = {"Completed", "Failed", "Uncommitted"}


class Check:
    """The server, a scratch collection, and what was seen."""

    def __init__(self, milvus: GrpcMilvus, store: ObjectStore, folder: str, patience_s: float = _PATIENCE_S) -> None:
        self._milvus = milvus
        self._store = store
        name = f"migrator_live_{secrets.token_hex(4)}"
        self._ref = CollectionRef(DEFAULT_DATABASE, name)
        self._restored = CollectionRef(DEFAULT_DATABASE, f"{name}_restored")
        self._folder = "/".join(part for part in (folder, name) if part)
        self._patience_s = patience_s
        self.seen: dict[str, Any] = {"version": milvus.version()}

    def run(self) -> None:
        """See all of it, and leave nothing behind."""
        try:
            self._make()
            for name, look in self._looks().items():
                self.seen[name] = self._seen(look)
        finally:
            self._milvus.drop_collection(self._ref)
            if self._milvus.capabilities.snapshots:
                self._milvus.drop_collection(self._restored)
            self._store.delete([found.key for found in self._store.list_objects(self._folder)])

    def _make(self) -> None:
        schema = CollectionSchema(description="", auto_id=False, enable_dynamic_field=False, fields=canary._FIELDS)
        how: dict[str, Any] = {"num_partitions": None, "consistency_level": ConsistencyLevel.STRONG, "properties": ()}
        self._milvus.create_collection(self._ref, schema, shards_num=1, **how)
        for field in canary._FILES:
            self._store.write(f"{self._folder}/insert_log/1/2/3/{field}/4", canary._segment_file(field))
        now = self._milvus.allocate_timestamp()
        deletes = Segment(segment_id=9, partition_id=2, num_rows=0)
        log = delta_log([(1, now)], deletes, collection_id=1, key_type=DataType.INT64, written_ts=now)
        self._store.write(f"{self._folder}/delta_log/1/2/9/5", log)

    def _looks(self) -> dict[str, Callable[[], object]]:
        return {**self._looks_at_imports(), **self._looks_at_snapshots()}

    def _looks_at_snapshots(self) -> dict[str, Callable[[], object]]:
        """In their order: each needs what the one before it left."""
        milvus, ref = self._milvus, self._ref
        if not milvus.capabilities.snapshots:
            return {}
        return {
            "restores snapshots of other clusters": milvus.restores_elsewhere,
            "snapshot taken": lambda: milvus.create_snapshot(ref, ref.name),
            "snapshot taken again": lambda: milvus.create_snapshot(ref, ref.name),
            "snapshot": self._snapshot,
            "restore": self._restore,
            "restore into a name that is taken": lambda: milvus.restore_snapshot(ref, ref.name, self._restored),
            "restores as listed": lambda: list(map(str, milvus.list_restores(self._restored))),
            "a restore that nobody asked for": lambda: str(milvus.find_restore(1)),
            "files of the restored": self._files_of_restored,
            "snapshot dropped": lambda: milvus.drop_snapshot(ref, ref.name),
        }

    def _snapshot(self) -> object:
        """How its place is told, without the place."""
        found = self._milvus.find_snapshot(self._ref, self._ref.name)
        if found is None:
            return None
        scheme, _, rest = found.location.rpartition("://")
        tail = "/".join(rest.split("/")[-4:])
        return {"scheme": scheme, "tail": tail, "is_whole": is_whole_uri(found.location)}

    def _restore(self) -> object:
        """Until it is over; and how young the collection is that came of it."""
        began_ts, began, told = self._milvus.allocate_timestamp(), time.monotonic(), list[str]()
        job_id = self._milvus.restore_snapshot(self._ref, self._ref.name, self._restored)
        while time.monotonic() - began < self._patience_s:
            job = self._milvus.find_restore(job_id)
            if job is None or str(job) not in told:
                told.append(str(job))
            if job is None or job.state.is_over:
                break
            time.sleep(0.2)
        made, own = self._milvus.find_collection(self._restored), self._milvus.find_collection(self._ref)
        return {
            "told": told,
            "is_younger": made is not None and made.created_ts > began_ts,
            "same_schema": made is not None and own is not None and made.schema == own.schema,
        }

    def _files_of_restored(self) -> object:
        """How many there are under its own id, below any root path of the bucket."""
        made = self._milvus.find_collection(self._restored)
        if made is None:
            return None
        return sum(f"/insert_log/{made.collection_id}/" in f"/{each.key}" for each in self._store.list_objects(""))

    def _looks_at_imports(self) -> dict[str, Callable[[], object]]:
        segment = self._store.server_path(f"{self._folder}/insert_log/1/2/3")
        deletes = self._store.server_path(f"{self._folder}/delta_log/1/2/9/")
        return {
            "segment without a slash": lambda: self._import(segment),
            "segment with a slash": lambda: self._import(f"{segment}/"),
            "folder of segments with a slash": lambda: self._import(f"{segment.rpartition('/')[0]}/"),
            "folder that is not there": lambda: self._import(f"{segment}0/"),
            "old bound in milliseconds": lambda: self._import(segment, end_ts=str(_IN_2000_MS)),
            "old bound, hybrid": lambda: self._import(segment, end_ts=str(_IN_2000_MS << 18)),
            "deletes by themselves": lambda: self._import(deletes, backup="", l0_import="true"),
            "option that nobody knows": lambda: self._import(segment, migrator_knows="nothing"),
            "partition that is not there": lambda: self._import(segment, partition="nowhere"),
            "job that waits to be committed": lambda: self._committed(segment),
            "jobs as listed": lambda: self._ask("list", collectionName=self._ref.name),
            "a job that nobody sent": lambda: self._ask(self._milvus.capabilities.describe_call, jobId="1"),
            "segments": lambda: [str(each) for each in self._milvus.list_segments(self._ref)],
        }

    def _ask(self, call: str, **body: object) -> Any:  # noqa: ANN401 - JSON
        return self._milvus.rest.ask(f"{_JOBS}/{call}", {"dbName": DEFAULT_DATABASE, **body})

    def _committed(self, path: str) -> object:
        """What was told before and after; servers before 3.0 do not wait, and know no commit."""
        seen = self._import(path, auto_commit="false")
        self._ask("commit", jobId=seen["id"])
        return {**seen, "after": self._ask(self._milvus.capabilities.describe_call, jobId=seen["id"])}

    def _import(self, path: str, *, partition: str = "_default", **options: str) -> dict[str, Any]:
        """What was told of the job, whenever that was something else."""
        body = {"collectionName": self._ref.name, "partitionName": partition, "files": [[path]]}
        wanted = {name: value for name, value in {"backup": "true", **options}.items() if value}
        job_id = str(self._ask("create", **body, options=wanted)["jobId"])
        ahead_ms = physical_ms(int(job_id)) - physical_ms(self._milvus.allocate_timestamp())
        began, told = time.monotonic(), list[Any]()
        while time.monotonic() - began < self._patience_s and len(told) < _SEEN_OF_A_JOB:
            job = self._ask(self._milvus.capabilities.describe_call, jobId=job_id)
            if not told or told[-1]["job"] != job:
                told.append({"after_s": round(time.monotonic() - began, 1), "job": job})
            if job["state"] in _OVER:
                break
            time.sleep(0.2)
        return {"id": job_id, "id_ahead_of_clock_ms": ahead_ms, "told": told}

    def _seen(self, look: Callable[[], object]) -> object:
        try:
            return look()
        except MigratorError as error:
            return {"refused": error.message.replace(self._milvus.rest.uri, "URI").replace(self._milvus.uri, "URI")}


def main() -> None:
    """Look, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path, help="a plan file; its target is looked at, and its source is not asked")
    parser.add_argument("--out", type=Path, default=Path("migrator-live.json"))
    arguments = parser.parse_args()
    loaded = load_plan(arguments.plan)
    with connect(loaded, patience_s=10, without_source=True) as clients:
        if not isinstance(clients.target, GrpcMilvus) or clients.target_store is None:
            sys.exit("the plan has no target")
        check = Check(clients.target, clients.target_store, "migrator_live")
        check.run()
    arguments.out.write_text(json.dumps(check.seen, indent=2), encoding="utf-8")
    sys.stdout.write(f"{arguments.out}: please send it back\n")


if __name__ == "__main__":
    main()
