"""Every public method of the gRPC adapter, called once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from migrator.model.import_job import ImportTag
from migrator.model.rbac import Binding
from migrator.model.segment import SegmentBatch
from migrator.ports.milvus import FlushResult
from tests.support.builders import BOOKS, a_grant, a_schema, an_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.adapters.milvus import GrpcMilvus

TAG = ImportTag(run_id="run", batch_key="step", attempt=1)
BATCH = SegmentBatch(
    number=1,
    partition_id=2,
    partition_name="_default",
    segment_ids=(3,),
    rows=1,
    objects=1,
    delta_objects=0,
    size_bytes=1,
    entries=(("backup/books/insert_log/1/2/3/",),),
)
CREATE: dict[str, Any] = {
    "shards_num": 1,
    "num_partitions": None,
    "consistency_level": 2,
    "properties": (),
}
CALLS: dict[str, Callable[[GrpcMilvus], object]] = {
    "list_databases": lambda m: m.list_databases(),
    "list_collections": lambda m: m.list_collections("default"),
    "find_collection": lambda m: m.find_collection(BOOKS),
    "list_aliases": lambda m: m.list_aliases("default"),
    "find_alias": lambda m: m.find_alias(BOOKS),
    "list_resource_groups": lambda m: m.list_resource_groups(),
    "list_partitions": lambda m: m.list_partitions(BOOKS),
    "list_segments": lambda m: m.list_segments(BOOKS),
    "list_compactions": lambda m: m.list_compactions(),
    "index_progress": lambda m: m.index_progress(BOOKS),
    "load_state": lambda m: m.load_state(BOOKS),
    "load_progress": lambda m: m.load_progress(BOOKS),
    "count_rows": lambda m: m.count_rows(BOOKS),
    "query_keys": lambda m: m.query_keys(BOOKS, a_schema(), partition=None, after=None, limit=1, at_least_ts=1),
    "query_rows": lambda m: m.query_rows(BOOKS, a_schema(), [1]),
    "search": lambda m: m.search(BOOKS, a_schema().fields[2], [bytes(8)], metric_type="L2", params={}, limit=1),
    "allocate_timestamp": lambda m: m.allocate_timestamp(),
    "is_flushed": lambda m: m.is_flushed(BOOKS, FlushResult(cut_ts=1, segment_ids=())),
    "find_import_job": lambda m: m.find_import_job(BOOKS, 1),
    "list_import_jobs": lambda m: m.list_import_jobs(BOOKS),
    "find_snapshot": lambda m: m.find_snapshot(BOOKS, "s1"),
    "find_restore": lambda m: m.find_restore(1),
    "list_restores": lambda m: m.list_restores(BOOKS),
    "create_snapshot": lambda m: m.create_snapshot(BOOKS, "s1"),
    "drop_snapshot": lambda m: m.drop_snapshot(BOOKS, "s1"),
    "restore_snapshot": lambda m: m.restore_snapshot(BOOKS, "s1", BOOKS),
    "restore_elsewhere": lambda m: m.restore_elsewhere("s3://bucket/snapshots/1", BOOKS),
    "flush": lambda m: m.flush([BOOKS]),
    "create_database": lambda m: m.create_database("db1"),
    "create_collection": lambda m: m.create_collection(BOOKS, a_schema(), **CREATE),
    "add_field": lambda m: m.add_field(BOOKS, a_schema().fields[1]),
    "create_partition": lambda m: m.create_partition(BOOKS, "old"),
    "create_index": lambda m: m.create_index(BOOKS, an_index()),
    "load": lambda m: m.load(BOOKS, partitions=("old",), replica_number=1),
    "release": lambda m: m.release(BOOKS),
    "create_alias": lambda m: m.create_alias(BOOKS, "library"),
    "alter_alias": lambda m: m.alter_alias(BOOKS, "library"),
    "drop_alias": lambda m: m.drop_alias(BOOKS, "library"),
    "start_import": lambda m: m.start_import(BOOKS, BATCH, end_ts=1 << 18, tag=TAG),
    "drop_property": lambda m: m.drop_property(BOOKS, "mmap.enabled"),
    "rename_collection": lambda m: m.rename_collection(BOOKS, "tomes"),
    "drop_collection": lambda m: m.drop_collection(BOOKS),
    "drop_database": lambda m: m.drop_database("db1"),
    "read_rbac": lambda m: m.read_rbac(),
    "create_role": lambda m: m.create_role("reader"),
    "drop_role": lambda m: m.drop_role("reader"),
    "grant": lambda m: m.grant(a_grant()),
    "revoke": lambda m: m.revoke(a_grant()),
    "add_to_role": lambda m: m.add_to_role(Binding(role="reader", user="alice")),
    "remove_from_role": lambda m: m.remove_from_role(Binding(role="reader", user="alice")),
}
