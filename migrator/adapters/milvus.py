"""Milvus over gRPC, through the messages pymilvus generates.

The generated stub is used instead of pymilvus's client because a migration needs what the client hides: the cut of a
flush, import tasks with all their options, the status code of every reply, a deadline on every call.
"""

from __future__ import annotations

import base64
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import grpc

from migrator.adapters import milvus_rbac as rbac
from migrator.adapters import milvus_rows as rows
from migrator.adapters import milvus_values as values
from migrator.adapters.milvus_diagnosis import BUSY, PASSING, explain, login_hint, privilege_hint, require_listener
from migrator.adapters.milvus_imports import RestImports, bound_text
from migrator.adapters.milvus_messages import common_pb2, milvus_pb2, milvus_pb2_grpc
from migrator.adapters.milvus_segments import describe_segments
from migrator.adapters.milvus_snapshots import Snapshots
from migrator.adapters.milvus_tls import host_and_port, read_files
from migrator.errors import MilvusBusy, MilvusError, MilvusRefused, MilvusUnavailable, MilvusUnimplemented
from migrator.model import filters
from migrator.model.capabilities import ImportApi, capabilities, version_text
from migrator.model.collection import LoadState, ResourceGroup
from migrator.model.rbac import ROOT
from migrator.ports.milvus import FlushResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from migrator.adapters.milvus_rest import RestMilvus
    from migrator.adapters.milvus_values import Message
    from migrator.model.capabilities import Capabilities
    from migrator.model.collection import (
        Collection,
        CollectionRef,
        CollectionSchema,
        ConsistencyLevel,
        FieldSchema,
        Index,
        IndexProgress,
        KeyValues,
        Partition,
    )
    from migrator.model.import_job import ImportJob, ImportTag
    from migrator.model.rbac import Binding, Grant, Rbac
    from migrator.model.rows import Key, Value
    from migrator.model.segment import Compaction, Segment, SegmentBatch, SegmentLogs
    from migrator.model.snapshot import RestoreJob, Snapshot
    from migrator.ports.milvus import Hit

CALL_TIMEOUT_S = 30.0
HANDSHAKE_TIMEOUT_S = 15.0
IMPORT_CALL_TIMEOUT_S = 60.0
"""2.3 itself tries for about 50 s; what is heard of later is waited for by the step, see its settle time."""
SLOW_CALL_TIMEOUT_S = 120.0
"""For calls that wait for other nodes: flush, create, load."""
_METRICS_TIMEOUT_S = 5.0
_RECONNECT_MS = 2_000
"""The longest pause of gRPC itself: its own, two minutes, would outlast a server's restart by far."""

_CIPHER = "cipher.enabled"
_COLLECTION_NOT_FOUND = {100}
_INDEX_NOT_FOUND = {700}
_SEGMENT_NOT_FOUND = {600}
_IMPORT_JOB_NOT_FOUND = {1000}
_NOT_LOADED = {101, 103}
_MODERN = {common_pb2.ErrorCode.CollectionNotExists: 100, common_pb2.ErrorCode.IndexNotExist: 700}
"""Codes for what old servers tell by the legacy code alone; its numbers mean other things among the new ones."""
_BROKEN = (
    "stream removed",
    "rst_stream",
    "goaway",
    "socket closed",
    "connection reset",
    "broken pipe",
    "deserializing response",
)
"""In details of gRPC's UNKNOWN and INTERNAL, lower case: the connection broke, or garbled the reply."""
_UNIMPLEMENTED = ("not implemented", "unimplemented")
"""In reasons, lower case: the call is there, and nothing behind it."""
_LISTING_TRIES = 20
_LISTING_PAUSE_S = 0.25
_UNREACHABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,  # this and the next: the connection was cut while the call ran
    grpc.StatusCode.ABORTED,
}
_REFUSED = {
    grpc.StatusCode.UNAUTHENTICATED: "the login was refused",
    grpc.StatusCode.PERMISSION_DENIED: "the user lacks a privilege",
    grpc.StatusCode.UNIMPLEMENTED: "this server does not know the call",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MilvusEndpoint:
    """How to reach one Milvus, secrets in clear: made when connecting, kept nowhere.

    `plan_field` is the dotted path of the cluster in the plan file, for hints.
    """

    uri: str
    plan_field: str
    uri_name: str = "uri"
    """Below `plan_field`, what `uri` was made of."""
    token: str | None = field(default=None, repr=False)
    """What is sent: `user:password`, or an API key."""
    login_fields: tuple[str, ...] = ("password", "username")
    """What `token` was made of, the likelier to be wrong first."""
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    server_name: str | None = None

    @property
    def uri_field(self) -> str:
        """The dotted path of the address."""
        return f"{self.plan_field}.{self.uri_name}"


class _StatusError(Exception):
    """A reply that says no; `code` is Milvus's own."""

    def __init__(self, code: int, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.retryable = retryable


def _require_good(reply: Message) -> None:
    """A reply is good only if both the new code and the legacy one say so: old servers set only the latter."""
    status: Message = getattr(reply, "status", reply)
    code = status.code or _MODERN.get(status.error_code, status.error_code)
    if not code:
        return
    reason = status.reason or status.detail or common_pb2.ErrorCode.Name(status.error_code)
    retryable = status.retriable or any(text in reason.lower() for text in PASSING)
    raise _StatusError(code, reason, retryable=retryable)


def _is_broken(code: grpc.StatusCode, detail: str) -> bool:
    """Whether a call failed on its way, so that the server's answer is not known."""
    if code in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}:
        return any(text in detail.lower() for text in _BROKEN)
    return code in _UNREACHABLE


def _in_short(detail: str) -> str:
    """What gRPC says of a connection, without the names of its layers."""
    return detail.rpartition(": ")[2] if detail.startswith("failed to connect to all addresses") else detail


def _consistency(at_least_ts: int) -> dict[str, Any]:
    """What makes a query see all up to that time, or up to now: which is asked for by Strong, and waited for."""
    level = common_pb2.ConsistencyLevel
    return {
        "guarantee_timestamp": at_least_ts,
        "consistency_level": level.Customized if at_least_ts else level.Strong,
        "use_default_consistency": False,
    }


def _credentials(endpoint: MilvusEndpoint) -> grpc.ChannelCredentials:
    files = read_files(endpoint)
    return grpc.ssl_channel_credentials(
        root_certificates=files.ca_cert, private_key=files.client_key, certificate_chain=files.client_cert
    )


def _channel(endpoint: MilvusEndpoint) -> grpc.Channel:
    host, port = host_and_port(endpoint.uri)
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.enable_retries", 0),  # we decide what may be sent again
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
    ]
    if endpoint.server_name:
        options.append(("grpc.ssl_target_name_override", endpoint.server_name))
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if endpoint.uri.startswith("https"):
        return grpc.secure_channel(target, _credentials(endpoint), options)
    return grpc.insecure_channel(target, options)


def _encoded(login: str) -> str:
    return base64.b64encode(login.encode()).decode()


class GrpcMilvus:
    """One Milvus over gRPC, and from 2.4 on its imports over REST: reader, source and target in one."""

    def __init__(self, endpoint: MilvusEndpoint, rest_endpoint: MilvusEndpoint | None = None) -> None:
        self._endpoint = endpoint
        self._rest_endpoint = rest_endpoint or endpoint
        token = endpoint.token
        self._metadata = [("authorization", _encoded(token))] if token is not None else []
        require_listener(endpoint)
        self._channel = _channel(endpoint)
        self._stub = milvus_pb2_grpc.MilvusServiceStub(self._channel)
        try:
            self._version = self._connect()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the connections back."""
        self._channel.close()
        if "rest" in self.__dict__:
            self.rest.close()

    @cached_property
    def rest(self) -> RestMilvus:
        """Its REST interface; nothing is sent before it is used."""
        from migrator.adapters.milvus_rest import RestMilvus  # noqa: PLC0415 - its HTTP client is slow to import

        return RestMilvus(self._rest_endpoint)

    @cached_property
    def _imports(self) -> RestImports | None:
        """Where import jobs are asked for and looked at; None where that is gRPC."""
        server = self.capabilities
        return RestImports(self.rest, server) if server.import_api is ImportApi.REST else None

    @cached_property
    def _snapshots(self) -> Snapshots:
        """Those that it keeps, and makes collections of."""
        return Snapshots(self._call)

    @property
    def uri(self) -> str:
        """The address, as the plan file names it."""
        return self._endpoint.uri

    # -- calling ----------------------------------------------------------------------------------------------------

    def _send(
        self,
        method: str,
        request: Message,
        timeout_s: float = CALL_TIMEOUT_S,
        metadata: list[tuple[str, str]] | None = None,
    ) -> Message:
        reply = getattr(self._stub, method)(request, timeout=timeout_s, metadata=metadata or self._metadata)
        _require_good(reply)
        return reply

    def _call(self, method: str, request: Message, what: str = "", timeout_s: float = CALL_TIMEOUT_S) -> Message:
        with self._translated(method, what):
            return self._send(method, request, timeout_s)

    def _call_named(self, method: str, request: Message, what: str) -> Message:
        """Like `_call`, and never without a user: a server without authorization still wants to know who grants."""
        with self._translated(method, what):
            return self._send(method, request, metadata=self._metadata or [("authorization", _encoded(f"{ROOT}:"))])

    def _call_unless(self, absent: set[int], method: str, request: Message, what: str = "") -> Message | None:
        """Like `_call`; None where the reply's code is one of `absent`."""
        with self._translated(method, what):
            try:
                return self._send(method, request)
            except _StatusError as error:
                if error.code in absent:
                    return None
                raise

    @contextmanager
    def _translated(self, method: str, what: str) -> Iterator[None]:
        """Turn foreign errors into ours; the only place that does."""
        of = f"{method} of {what}" if what else method
        try:
            yield
        except _StatusError as error:
            kind = MilvusUnavailable if error.retryable else MilvusRefused
            kind = MilvusBusy if any(text in error.reason.lower() for text in BUSY) else kind
            kind = MilvusUnimplemented if any(text in error.reason.lower() for text in _UNIMPLEMENTED) else kind
            raise kind(f"{of} was refused by {self.uri}: {error.reason.strip()}") from error
        except grpc.RpcError as error:
            code = error.code()
            detail = error.details() or code.name
            if _is_broken(code, detail):
                raise MilvusUnavailable(
                    f"{of} got no answer from {self.uri}: {_in_short(detail)}", hint="see whether the server is up"
                ) from error
            reason = _REFUSED.get(code, code.name.lower().replace("_", " "))
            refused = MilvusUnimplemented if code is grpc.StatusCode.UNIMPLEMENTED else MilvusRefused
            raise refused(
                f"{of} was refused by {self.uri}: {reason} ({detail})", hint=self._refusal_hint(code, detail)
            ) from error

    def _refusal_hint(self, code: grpc.StatusCode, detail: str) -> str:
        if code is grpc.StatusCode.UNAUTHENTICATED:
            return login_hint(self._endpoint)
        if code is grpc.StatusCode.PERMISSION_DENIED:
            return privilege_hint(self._endpoint, detail)
        return f"see that {self._endpoint.uri_field} is the address of a Milvus's gRPC port"

    def _connect(self) -> str:
        """Shake hands, and return the server's version."""
        client = common_pb2.ClientInfo(sdk_type="migrator")
        request = milvus_pb2.ConnectRequest(client_info=client)
        try:
            reply = self._call("Connect", request, timeout_s=HANDSHAKE_TIMEOUT_S)
        except MilvusUnavailable as error:
            raise explain(self._endpoint, error) from error
        build = reply.server_info.build_tags
        if not build:
            build = self._call("GetVersion", milvus_pb2.GetVersionRequest()).version
        return version_text(str(build))

    # -- reading ----------------------------------------------------------------------------------------------------

    def version(self) -> str:
        """Three numbers, `2.3.5`."""
        return self._version

    @cached_property
    def capabilities(self) -> Capabilities:
        """What a server of its version can do."""
        return capabilities(self._version)

    @property
    def can_count(self) -> bool:
        """Whether it answers `count(*)`: 2.2 calls the empty condition an error."""
        return self.capabilities.can_count

    @property
    def writes_deletes_at_flush(self) -> bool:
        """Whether a flush writes the deletes of flushed rows too: 2.2 keeps them for its sync period.

        Whether the first of 2.3 do too is not known; their flush does not tell its cut either.
        """
        return self.capabilities.writes_deletes_at_flush

    def told_bucket(self) -> str:
        """Of 2.3 an index node tells it, among its metrics; empty where none does, or the login may not see them."""
        request = milvus_pb2.GetMetricsRequest(request='{"metric_type": "system_info"}')
        try:
            reply = self._call("GetMetrics", request, timeout_s=_METRICS_TIMEOUT_S)
        except MilvusError:
            return ""
        return values.bucket_from(reply.response)

    def list_databases(self) -> tuple[str, ...]:
        """All databases the login may see."""
        return tuple(sorted(self._call("ListDatabases", milvus_pb2.ListDatabasesRequest()).db_names))

    def is_encrypted(self, database: str) -> bool:
        """Whether it has a cipher; one that the login may not describe is taken for one that has none."""
        if not self.capabilities.describes_databases:
            return False
        try:
            reply = self._call("DescribeDatabase", milvus_pb2.DescribeDatabaseRequest(db_name=database), database)
        except MilvusRefused:
            return False
        return dict(values.pairs(reply.properties)).get(_CIPHER, "").lower() == "true"

    def list_collections(self, database: str) -> tuple[str, ...]:
        """The names of a database's collections, aliases not among them."""
        request = milvus_pb2.ShowCollectionsRequest(db_name=database)
        return tuple(sorted(self._call("ShowCollections", request, database).collection_names))

    def find_collection(self, ref: CollectionRef) -> Collection | None:
        """Everything but rows and segments; None where there is none of that name, or only an alias."""
        request = milvus_pb2.DescribeCollectionRequest(db_name=ref.database, collection_name=ref.name)
        reply = self._call_unless(_COLLECTION_NOT_FOUND, "DescribeCollection", request, ref.short)
        if reply is None or reply.schema.name != ref.name:  # asked by alias, the reply names the alias
            return None
        partitions = self.list_partitions(ref)
        state = self.load_state(ref)
        loaded = self._loaded_partitions(ref, partitions) if state is LoadState.LOADED else ()
        return values.collection_from(
            reply,
            ref,
            partitions=partitions,
            indexes=tuple(progress.index for progress in self.index_progress(ref)),
            load_state=state,
            loaded_partitions=loaded,
            resource_groups=self._replica_groups(ref, reply.collectionID) if state is LoadState.LOADED else (),
        )

    def _loaded_partitions(self, ref: CollectionRef, partitions: tuple[Partition, ...]) -> tuple[str, ...]:
        return tuple(p.name for p in partitions if self._load_state(ref, p.name) is LoadState.LOADED)

    def _replica_groups(self, ref: CollectionRef, collection_id: int) -> tuple[str, ...]:
        request = milvus_pb2.GetReplicasRequest(
            db_name=ref.database, collection_name=ref.name, collectionID=collection_id
        )
        replicas = self._call("GetReplicas", request, ref.short).replicas
        return tuple(sorted(replica.resource_group_name for replica in replicas))

    def list_aliases(self, database: str) -> tuple[str, ...]:
        """All aliases of a database's collections."""
        reply = self._call("ListAliases", milvus_pb2.ListAliasesRequest(db_name=database), database)
        return tuple(sorted(reply.aliases))

    def find_alias(self, ref: CollectionRef) -> str | None:
        """The name of the collection that the alias points at: asked by an alias, the schema's name is the real one."""
        request = milvus_pb2.DescribeCollectionRequest(db_name=ref.database, collection_name=ref.name)
        reply = self._call_unless(_COLLECTION_NOT_FOUND, "DescribeCollection", request, ref.short)
        return None if reply is None or reply.schema.name == ref.name else str(reply.schema.name)

    def list_resource_groups(self) -> tuple[ResourceGroup, ...]:
        """All groups by name, each with the query nodes that are up."""
        names = self._call("ListResourceGroups", milvus_pb2.ListResourceGroupsRequest()).resource_groups
        return tuple(sorted(self._resource_group(name) for name in names))

    def _resource_group(self, name: str) -> ResourceGroup:
        request = milvus_pb2.DescribeResourceGroupRequest(resource_group=name)
        reply = self._call("DescribeResourceGroup", request, f"resource group {name}")
        return ResourceGroup(name, reply.resource_group.num_available_node)

    def list_partitions(self, ref: CollectionRef) -> tuple[Partition, ...]:
        """Partitions by id."""
        request = milvus_pb2.ShowPartitionsRequest(db_name=ref.database, collection_name=ref.name)
        return values.partitions_from(self._call("ShowPartitions", request, ref.short))

    def list_segments(self, ref: CollectionRef) -> tuple[Segment, ...]:
        """Persistent segments by id.

        While compaction ends, 2.3 answers code 600 "segment not found"; that passes, so it is worth another try.
        """
        request = milvus_pb2.GetPersistentSegmentInfoRequest(dbName=ref.database, collectionName=ref.name)
        for _ in range(_LISTING_TRIES):
            reply = self._call_unless(_SEGMENT_NOT_FOUND, "GetPersistentSegmentInfo", request, ref.short)
            if reply is not None:
                return tuple(sorted(values.segment_from(info) for info in reply.infos))
            time.sleep(_LISTING_PAUSE_S)
        raise MilvusUnavailable(f"the segments of {ref.short} are changing at {self.uri} (compaction)")

    def describe_segments(
        self, ref: CollectionRef, collection_id: int, segment_ids: Sequence[int]
    ) -> Mapping[int, SegmentLogs] | None:
        """Their valid logs, over REST; None where the version has no such call, or something refuses it."""
        if not self.capabilities.segments_describe:
            return None
        try:
            return describe_segments(self.rest.ask, ref, collection_id, segment_ids)
        except MilvusRefused:  # a load balancer may let gRPC through alone
            return None

    def list_compactions(self) -> tuple[Compaction, ...]:
        """All that the server remembers: compaction 0, which 2.3 takes for every one."""
        request = milvus_pb2.GetCompactionPlansRequest(compactionID=0)
        reply = self._call("GetCompactionStateWithPlans", request)
        return tuple(values.compaction_from(info) for info in reply.mergeInfos)

    def index_progress(self, ref: CollectionRef) -> tuple[IndexProgress, ...]:
        """All indexes by name, with how far they are."""
        request = milvus_pb2.DescribeIndexRequest(db_name=ref.database, collection_name=ref.name)
        reply = self._call_unless(_INDEX_NOT_FOUND, "DescribeIndex", request, ref.short)
        if reply is None:
            return ()
        found = (values.index_progress_from(description) for description in reply.index_descriptions)
        return tuple(sorted(found, key=lambda progress: progress.index.name))

    def load_state(self, ref: CollectionRef) -> LoadState:
        """Of the collection as a whole: loaded as soon as one partition is."""
        return self._load_state(ref)

    def _load_state(self, ref: CollectionRef, *partitions: str) -> LoadState:
        request = milvus_pb2.GetLoadStateRequest(
            db_name=ref.database, collection_name=ref.name, partition_names=partitions
        )
        reply = self._call_unless(_NOT_LOADED, "GetLoadState", request, ref.short)
        return LoadState.NOT_LOADED if reply is None else values.load_state_from(reply.state)

    def load_progress(self, ref: CollectionRef) -> int:
        """Percent; 0 where nothing loads."""
        request = milvus_pb2.GetLoadingProgressRequest(db_name=ref.database, collection_name=ref.name)
        reply = self._call_unless(_NOT_LOADED, "GetLoadingProgress", request, ref.short)
        return 0 if reply is None else reply.progress

    def _query(
        self,
        ref: CollectionRef,
        outputs: Sequence[str],
        where: str,
        partition: str | None,
        at_least_ts: int,
        *,
        limit: int | None = None,
    ) -> Message:
        request = milvus_pb2.QueryRequest(
            db_name=ref.database,
            collection_name=ref.name,
            expr=where,
            output_fields=outputs,
            partition_names=[] if partition is None else [partition],
            query_params=values.pair_messages([("limit", str(limit))] if limit else []),
            **_consistency(at_least_ts),
        )
        return self._call("Query", request, ref.short, SLOW_CALL_TIMEOUT_S)

    def count_rows(
        self, ref: CollectionRef, partition: str | None = None, where: str = "", *, at_least_ts: int = 0
    ) -> int:
        """`count(*)`: a primary key counts as often as it is there."""
        reply = self._query(ref, ["count(*)"], where, partition, at_least_ts)
        return int(reply.fields_data[0].scalars.long_data.data[0])

    def query_keys(
        self,
        ref: CollectionRef,
        schema: CollectionSchema,
        *,
        partition: str | None,
        after: Key | None,
        limit: int,
        at_least_ts: int = 0,
    ) -> Sequence[Key]:
        """The next primary keys behind `after`; each page costs a query and a count."""
        ts = at_least_ts or self.allocate_timestamp()
        primary = schema.primary_field

        def read(where: str, most: int) -> list[Key]:
            return rows.keys_from(self._query(ref, [primary.name], where, partition, ts, limit=most), schema)

        def count(where: str) -> int:
            if not self.can_count:
                return len(read(where, rows.LARGEST_LIMIT))
            return self.count_rows(ref, partition, where, at_least_ts=ts)

        return rows.next_keys(primary, after, limit, read, count)

    def query_rows(
        self,
        ref: CollectionRef,
        schema: CollectionSchema,
        keys: Sequence[Key],
        *,
        partition: str | None = None,
        where: str = "",
        at_least_ts: int = 0,
    ) -> Mapping[Key, tuple[Value, ...]]:
        """The `value_fields` of those of `keys` that are there; 2.3 never gives out the row of the largest number."""
        if filters.LARGEST_INT64 in keys:
            raise MilvusRefused(
                f"the row {filters.LARGEST_INT64} of {ref.short} cannot be read from {self.uri}: "
                "Milvus counts a row of this key, and never gives it out"
            )
        names = [schema.primary_field.name, *(field.name for field in schema.value_fields)]
        condition = filters.both(filters.one_of(schema.primary_field.name, keys), where)
        reply = self._query(ref, names, condition, partition, at_least_ts, limit=rows.LARGEST_LIMIT)
        found = rows.rows_from(reply, schema)
        if len(found) == len(keys) or len(keys) == 1 or not self.can_count:  # which shows each key once
            return found
        if self.count_rows(ref, partition, condition, at_least_ts=at_least_ts) <= rows.LARGEST_LIMIT:
            return found
        half = len(keys) // 2  # so many copies that they may have left no room for a key
        how: dict[str, Any] = {"partition": partition, "where": where, "at_least_ts": at_least_ts}
        first, second = (self.query_rows(ref, schema, part, **how) for part in (keys[:half], keys[half:]))
        return {**first, **second}

    def search(
        self,
        ref: CollectionRef,
        field: FieldSchema,
        vectors: Sequence[bytes],
        *,
        metric_type: str,
        params: Mapping[str, Any],
        limit: int,
        partitions: Sequence[str] = (),
        at_least_ts: int = 0,
    ) -> Sequence[Sequence[Hit]]:
        """The nearest rows of each of `vectors`, best first."""
        request = milvus_pb2.SearchRequest(
            db_name=ref.database,
            collection_name=ref.name,
            partition_names=partitions,
            placeholder_group=rows.placeholders(field, vectors),
            dsl_type=common_pb2.DslType.BoolExprV1,
            nq=len(vectors),
            search_params=values.pair_messages(rows.search_params(field, metric_type, params, limit).items()),
            **_consistency(at_least_ts),
        )
        return rows.hits_from(self._call("Search", request, ref.short, SLOW_CALL_TIMEOUT_S))

    def allocate_timestamp(self) -> int:
        """The server's clock, as a hybrid timestamp."""
        return int(self._call("AllocTimestamp", milvus_pb2.AllocTimestampRequest()).timestamp)

    def is_flushed(self, ref: CollectionRef, flush: FlushResult) -> bool:
        """Whether all that the flush sealed, and every delete up to its cut, is in object storage."""
        request = milvus_pb2.GetFlushStateRequest(
            segmentIDs=flush.segment_ids,
            flush_ts=flush.cut_ts,
            db_name=ref.database,
            collection_name=ref.name,
        )
        return bool(self._call("GetFlushState", request, ref.short).flushed)

    def find_import_job(self, ref: CollectionRef, job_id: int) -> ImportJob | None:
        """One import task, or None once the server has forgotten it."""
        if self._imports is not None:
            return self._imports.find(ref, job_id)
        request = milvus_pb2.GetImportStateRequest(task=job_id)
        reply = self._call_unless(_IMPORT_JOB_NOT_FOUND, "GetImportState", request, f"job {job_id}")
        return None if reply is None else values.import_job_from(reply)

    def list_import_jobs(self, ref: CollectionRef) -> tuple[ImportJob, ...]:
        """All tasks the server remembers: of 2.3 in the collection's database, since it lists by id, and names move.

        The deadline is long, because 2.3.5 dies of a client that breaks the call off.
        """
        if self._imports is not None:
            return self._imports.list(ref)
        request = milvus_pb2.ListImportTasksRequest(db_name=ref.database)
        reply = self._call("ListImportTasks", request, ref.short, SLOW_CALL_TIMEOUT_S)
        return tuple(values.import_job_from(task) for task in reply.tasks)

    def takes_snapshots(self, ref: CollectionRef) -> bool:
        """Whether it has snapshots at all; asked only of those whose version says so."""
        return self.capabilities.snapshots and self._snapshots.are_there(ref)

    def restores_elsewhere(self) -> bool:
        """Whether it restores snapshots of other clusters."""
        return self.capabilities.snapshots and self._snapshots.restores_elsewhere()

    def find_snapshot(self, ref: CollectionRef, name: str) -> Snapshot | None:
        """The collection's snapshot of that name."""
        return self._snapshots.find(ref, name)

    def find_restore(self, job_id: int) -> RestoreJob | None:
        """A restore, or None once it is forgotten."""
        return self._snapshots.find_restore(job_id)

    def list_restores(self, ref: CollectionRef) -> tuple[RestoreJob, ...]:
        """Those into a collection of that name."""
        return self._snapshots.list_restores(ref)

    # -- writing ----------------------------------------------------------------------------------------------------

    def create_snapshot(self, ref: CollectionRef, name: str) -> None:
        """Take a snapshot of what is flushed."""
        self._snapshots.create(ref, name)

    def drop_snapshot(self, ref: CollectionRef, name: str) -> None:
        """Drop it."""
        self._snapshots.drop(ref, name)

    def restore_snapshot(self, source: CollectionRef, name: str, ref: CollectionRef) -> int:
        """Make a collection of this server's own snapshot of `source`."""
        return self._snapshots.restore(source, name, ref)

    def restore_elsewhere(self, location: str, ref: CollectionRef) -> int:
        """Make a collection of another cluster's snapshot."""
        return self._snapshots.restore_elsewhere(location, ref)

    def flush(self, refs: Sequence[CollectionRef]) -> Mapping[CollectionRef, FlushResult]:
        """Seal what is growing in collections of one database, by one request."""
        names = {ref.name: ref for ref in refs}
        began = self.allocate_timestamp()
        request = milvus_pb2.FlushRequest(db_name=refs[0].database, collection_names=list(names))
        reply = self._call("Flush", request, ", ".join(names), SLOW_CALL_TIMEOUT_S)
        results = {}
        for name, ref in names.items():
            sealed, before = reply.coll_segIDs[name].data, reply.flush_coll_segIDs[name].data
            results[ref] = FlushResult(
                cut_ts=reply.coll_flush_ts[name] or began,  # servers before 2.3.2 do not tell it
                segment_ids=tuple(sorted({*sealed, *before})),
                sealed_ids=tuple(sorted(sealed)),
            )
        return results

    def create_database(self, name: str) -> None:
        """Create it; refused where it exists."""
        self._call("CreateDatabase", milvus_pb2.CreateDatabaseRequest(db_name=name), name, SLOW_CALL_TIMEOUT_S)

    def create_collection(
        self,
        ref: CollectionRef,
        schema: CollectionSchema,
        *,
        shards_num: int,
        num_partitions: int | None,
        consistency_level: ConsistencyLevel,
        properties: KeyValues,
    ) -> None:
        """Create it; refused where another one has the name.

        Milvus 2.3 says yes, and does nothing, where an equal one has it: look before, and compare afterwards.
        """
        request = milvus_pb2.CreateCollectionRequest(
            db_name=ref.database,
            collection_name=ref.name,
            schema=values.schema_message(schema, ref.name).SerializeToString(),
            shards_num=shards_num,
            num_partitions=num_partitions or 0,
            consistency_level=int(consistency_level),
            properties=values.pair_messages(properties),
        )
        self._call("CreateCollection", request, ref.short, SLOW_CALL_TIMEOUT_S)

    def add_field(self, ref: CollectionRef, field: FieldSchema) -> None:
        """Add a field to the collection."""
        request = milvus_pb2.AddCollectionFieldRequest(
            db_name=ref.database, collection_name=ref.name, schema=values.field_message(field).SerializeToString()
        )
        self._call("AddCollectionField", request, ref.short, SLOW_CALL_TIMEOUT_S)

    def create_partition(self, ref: CollectionRef, name: str) -> None:
        """Create it; one that is there already is left alone."""
        request = milvus_pb2.CreatePartitionRequest(db_name=ref.database, collection_name=ref.name, partition_name=name)
        self._call("CreatePartition", request, f"{ref.short}/{name}", SLOW_CALL_TIMEOUT_S)

    def start_import(self, ref: CollectionRef, batch: SegmentBatch, *, end_ts: int, tag: ImportTag) -> int:
        """Request one import; on 2.3 a request is a pair of prefixes, the second of which may be empty."""
        if self._imports is not None:
            return self._imports.start(ref, batch, end_ts=end_ts, tag=tag)
        options = {"backup": "true", "end_ts": bound_text(end_ts, self.capabilities.end_ts_unit), **tag.as_options()}
        ((insert_prefix, *delta_prefix),) = batch.entries
        request = milvus_pb2.ImportRequest(
            db_name=ref.database,
            collection_name=ref.name,
            partition_name=batch.partition_name,
            files=[insert_prefix, *(delta_prefix or [""])],
            options=values.pair_messages(options.items()),
        )
        return int(self._call("Import", request, ref.short, IMPORT_CALL_TIMEOUT_S).tasks[0])

    def commit_import(self, ref: CollectionRef, job_id: int) -> None:
        """Let the rows of an uncommitted job be seen."""
        if self._imports is not None:
            self._imports.commit(ref, job_id)

    def abort_import(self, ref: CollectionRef, job_id: int) -> None:
        """Throw away what an uncommitted job brought."""
        if self._imports is not None:
            self._imports.abort(ref, job_id)

    def create_index(self, ref: CollectionRef, index: Index) -> None:
        """Create it with the parameters as they were described, in the words that servers take."""
        request = milvus_pb2.CreateIndexRequest(
            db_name=ref.database,
            collection_name=ref.name,
            field_name=index.field_name,
            index_name=values.index_name_sent(index),
            extra_params=values.index_params_sent(index),
        )
        self._call("CreateIndex", request, f"{ref.short}/{index.name}", SLOW_CALL_TIMEOUT_S)

    def load(
        self,
        ref: CollectionRef,
        *,
        partitions: tuple[str, ...],
        replica_number: int,
        resource_groups: tuple[str, ...] = (),
    ) -> None:
        """Start loading the whole collection, or the named partitions of it; without groups on the default one."""
        common = {
            "db_name": ref.database,
            "collection_name": ref.name,
            "replica_number": replica_number,
            "resource_groups": resource_groups,
        }
        if partitions:
            request = milvus_pb2.LoadPartitionsRequest(**common, partition_names=partitions)
            self._call("LoadPartitions", request, ref.short, SLOW_CALL_TIMEOUT_S)
        else:
            self._call("LoadCollection", milvus_pb2.LoadCollectionRequest(**common), ref.short, SLOW_CALL_TIMEOUT_S)

    def release(self, ref: CollectionRef) -> None:
        """Let the query nodes go of it."""
        request = milvus_pb2.ReleaseCollectionRequest(db_name=ref.database, collection_name=ref.name)
        self._call("ReleaseCollection", request, ref.short, SLOW_CALL_TIMEOUT_S)

    def create_alias(self, ref: CollectionRef, alias: str) -> None:
        """Create it; refused where it exists."""
        request = milvus_pb2.CreateAliasRequest(db_name=ref.database, collection_name=ref.name, alias=alias)
        self._call("CreateAlias", request, f"{ref.short}/{alias}")

    def alter_alias(self, ref: CollectionRef, alias: str) -> None:
        """Move it to the collection, where it may be already; refused where there is no such alias."""
        request = milvus_pb2.AlterAliasRequest(db_name=ref.database, collection_name=ref.name, alias=alias)
        self._call("AlterAlias", request, f"{ref.short}/{alias}")

    def drop_alias(self, ref: CollectionRef, alias: str) -> None:
        """Drop it where it points at the collection."""
        request = milvus_pb2.DescribeCollectionRequest(db_name=ref.database, collection_name=ref.name)
        found = self._call_unless(_COLLECTION_NOT_FOUND, "DescribeCollection", request, ref.short)
        if found is not None and found.schema.name == ref.name and alias in found.aliases:
            dropped = milvus_pb2.DropAliasRequest(db_name=ref.database, alias=alias)
            self._call("DropAlias", dropped, f"{ref.short}/{alias}")

    def drop_property(self, ref: CollectionRef, name: str) -> None:
        """Take a property from the collection."""
        request = milvus_pb2.AlterCollectionRequest(db_name=ref.database, collection_name=ref.name, delete_keys=[name])
        self._call("AlterCollection", request, ref.short)

    def rename_collection(self, ref: CollectionRef, name: str) -> None:
        """Give it another name; without a new database's name 2.3 would move it into `default`."""
        request = milvus_pb2.RenameCollectionRequest(
            db_name=ref.database, oldName=ref.name, newName=name, newDBName=ref.database
        )
        self._call("RenameCollection", request, ref.short, SLOW_CALL_TIMEOUT_S)

    def drop_collection(self, ref: CollectionRef) -> None:
        """Drop it; its name and rows are gone at once, its files when the server collects its garbage."""
        if ref.name in self.list_collections(ref.database):  # 2.3 takes an alias for the name, and refuses
            request = milvus_pb2.DropCollectionRequest(db_name=ref.database, collection_name=ref.name)
            self._call("DropCollection", request, ref.short, SLOW_CALL_TIMEOUT_S)

    def drop_database(self, name: str) -> None:
        """Drop it; refused where it holds a collection."""
        if name in self.list_databases():
            self._call("DropDatabase", milvus_pb2.DropDatabaseRequest(db_name=name), name, SLOW_CALL_TIMEOUT_S)

    # -- users, roles and grants ------------------------------------------------------------------------------------

    def read_rbac(self) -> Rbac:
        """All users, roles and grants, passwords not among them; needs the privilege SelectOwnership."""
        return rbac.read_rbac(self._call, self.list_databases())

    def create_role(self, role: str) -> None:
        """Create it; refused where it exists."""
        rbac.create_role(self._call, role)

    def drop_role(self, role: str) -> None:
        """Drop it, whoever has it; refused where it has grants, or is not there.

        Milvus 2.3 looks for grants in `default` and in all databases; others stay, for a role of that name to come.
        """
        rbac.drop_role(self._call, role)

    def grant(self, grant: Grant) -> None:
        """Grant it; one that is there already is left alone."""
        rbac.operate_privilege(self._call_named, grant, milvus_pb2.OperatePrivilegeType.Grant)

    def revoke(self, grant: Grant) -> None:
        """Revoke it; one that is not there counts as revoked."""
        rbac.operate_privilege(self._call_named, grant, milvus_pb2.OperatePrivilegeType.Revoke)

    def add_to_role(self, binding: Binding) -> None:
        """Give the user the role; refused where either is not there."""
        rbac.operate_user_role(self._call, binding, milvus_pb2.OperateUserRoleType.AddUserToRole)

    def remove_from_role(self, binding: Binding) -> None:
        """Take the role from the user; one that has it not counts as done."""
        rbac.operate_user_role(self._call, binding, milvus_pb2.OperateUserRoleType.RemoveUserFromRole)
