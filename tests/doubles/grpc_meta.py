"""The calls about databases, collections, partitions, aliases, indexes and loading."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

from google.protobuf.message_factory import GetMessageClass
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from tests.doubles import schema
from tests.doubles.calls import Call, Service
from tests.doubles.queries import visible
from tests.doubles.state import (
    DROPPED,
    IMPORTING,
    Collection,
    Index,
    Message,
    Partition,
    Refusal,
    require_partition,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_INDEX_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_DEFAULT_GROUP = "__default_resource_group"
_REPLY = milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods_by_name["AlterCollectionSchema"].output_type
_NOT_LOADED, _INDEX_NOT_FOUND = 101, 700


class Databases(Service):
    """Server and databases."""

    def Connect(self, request: Message, call: Call) -> Message:
        """A.1: the version is in `server_info.build_tags`."""
        reply = milvus_pb2.ConnectResponse(identifier=self.cluster.clock.next())
        reply.server_info.build_tags = f"v{self.cluster.version}"
        reply.server_info.deploy_mode = "STANDALONE"
        return reply

    def GetVersion(self, request: Message, call: Call) -> Message:
        return milvus_pb2.GetVersionResponse(version=f"v{self.cluster.version}")

    def CheckHealth(self, request: Message, call: Call) -> Message:
        return milvus_pb2.CheckHealthResponse(isHealthy=True)

    def GetMetrics(self, request: Message, call: Call) -> Message:
        return milvus_pb2.GetMetricsResponse(response=json.dumps({"nodes_info": []}), component_name="proxy")

    def AllocTimestamp(self, request: Message, call: Call) -> Message:
        return milvus_pb2.AllocTimestampResponse(timestamp=self.cluster.clock.next())

    def ListDatabases(self, request: Message, call: Call) -> Message:
        names = list(self.cluster.databases)
        reply = milvus_pb2.ListDatabasesResponse(db_names=names, created_timestamp=[1] * len(names))
        if "db_ids" in reply.DESCRIPTOR.fields_by_name:
            reply.db_ids.extend(self.cluster.database_ids[name] for name in names)
        return reply

    def CreateDatabase(self, request: Message, call: Call) -> Message:
        if request.db_name in self.cluster.databases:
            raise Refusal(f"database already exist: {request.db_name}")
        self.cluster.databases[request.db_name] = {pair.key: pair.value for pair in request.properties}
        self.cluster.database_ids[request.db_name] = self.cluster.clock.next()
        return common_pb2.Status()

    def DropDatabase(self, request: Message, call: Call) -> Message:
        if request.db_name == "default":
            raise Refusal("can not drop default database")
        if any(database == request.db_name for database, _ in self.cluster.collections):
            raise Refusal("can not drop collection is not empty database")
        self.cluster.databases.pop(request.db_name, None)
        return common_pb2.Status()

    def DescribeDatabase(self, request: Message, call: Call) -> Message:
        name = self.cluster.require_database(request.db_name)
        return milvus_pb2.DescribeDatabaseResponse(
            db_name=name,
            dbID=self.cluster.database_ids[name],
            properties=schema.pairs(self.cluster.databases[name].items()),
        )

    def AlterDatabase(self, request: Message, call: Call) -> Message:
        name = self.cluster.require_database(request.db_name)
        self.cluster.databases[name].update({pair.key: pair.value for pair in request.properties})
        for key in request.delete_keys:
            self.cluster.databases[name].pop(key, None)
        return common_pb2.Status()

    def ListResourceGroups(self, request: Message, call: Call) -> Message:
        return milvus_pb2.ListResourceGroupsResponse(resource_groups=list(self.cluster.resource_groups))

    def DescribeResourceGroup(self, request: Message, call: Call) -> Message:
        name = request.resource_group
        if name not in self.cluster.resource_groups:
            raise Refusal(f"resource group not found[rg={name}]", code=300)
        nodes = self.cluster.resource_groups[name]
        reply = milvus_pb2.DescribeResourceGroupResponse()
        reply.resource_group.name = name
        reply.resource_group.capacity = reply.resource_group.num_available_node = nodes
        return reply


class Collections(Service):
    """Collections, partitions and aliases."""

    def CreateCollection(self, request: Message, call: Call) -> Message:
        database = self.cluster.require_database(call.database(request))
        if self.cluster.find_collection(database, request.collection_name) is not None:
            told = f"create duplicate collection with different parameters, collection: {request.collection_name}"
            raise Refusal(told)
        made = schema.collection_from(self.cluster, self.rules, database, request)
        self.cluster.collections[database, made.name] = made
        return common_pb2.Status()

    def HasCollection(self, request: Message, call: Call) -> Message:
        database = self.cluster.require_database(call.database(request))
        return milvus_pb2.BoolResponse(
            value=self.cluster.find_collection(database, request.collection_name) is not None
        )

    def DescribeCollection(self, request: Message, call: Call) -> Message:
        if request.collectionID and not request.collection_name:
            found = self.cluster.collection_by_id(request.collectionID)
            if found is None:
                raise Refusal(f"collection not found[collection={request.collectionID}]", code=100, legacy=4)
            return schema.describe(self.cluster, self.rules, found, found.name)
        collection = self.collection(request, call)
        return schema.describe(self.cluster, self.rules, collection, request.collection_name)

    def ShowCollections(self, request: Message, call: Call) -> Message:
        database = self.cluster.require_database(call.database(request))
        found = [each for (of, _), each in self.cluster.collections.items() if of == database]
        return milvus_pb2.ShowCollectionsResponse(
            collection_names=[each.name for each in found],
            collection_ids=[each.id for each in found],
            created_timestamps=[each.created_ts for each in found],
            created_utc_timestamps=[each.created_ts >> 18 for each in found],
        )

    def DropCollection(self, request: Message, call: Call) -> Message:
        database = self.cluster.require_database(call.database(request))
        name = request.collection_name
        if (database, name) in self.cluster.aliases:
            raise Refusal(f"cannot drop the collection via alias = {name}")
        aliases = [alias for (of, alias), real in self.cluster.aliases.items() if (of, real) == (database, name)]
        if aliases:
            told = f"unable to drop the collection [{name}] because it has associated aliases {aliases}"
            raise Refusal(told)
        self.cluster.collections.pop((database, name), None)
        return common_pb2.Status()

    def RenameCollection(self, request: Message, call: Call) -> Message:
        collection = self.cluster.require_collection(call.database(request), request.oldName)
        database = self.cluster.require_database(request.newDBName or collection.database)
        if self.cluster.find_collection(database, request.newName) is not None:
            raise Refusal(f"duplicated new collection name {request.newName} in database {database}")
        del self.cluster.collections[collection.database, collection.name]
        collection.database, collection.name = database, request.newName
        self.cluster.collections[database, request.newName] = collection
        self._touch(collection)
        return common_pb2.Status()

    def AlterCollection(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        for pair in request.properties:
            if pair.key == "dynamicfield.enabled" and self.rules.has("late_dynamic_field"):
                self._enable_dynamic(collection)
            collection.properties[pair.key] = pair.value
        for key in request.delete_keys:
            collection.properties.pop(key, None)
        self._touch(collection)
        return common_pb2.Status()

    def _enable_dynamic(self, collection: Collection) -> None:
        """A.4: `$meta` then comes late."""
        if not collection.schema.enable_dynamic_field:
            collection.schema.enable_dynamic_field = True
            self._append(collection, schema.dynamic_field(schema.next_field_id(collection), self.rules))

    def AddCollectionField(self, request: Message, call: Call) -> Message:
        """A.4: max+1, and nullable."""
        collection = self.collection(request, call)
        field = schema_pb2.FieldSchema.FromString(request.schema)
        schema.check_field(field, self.rules)
        if not field.nullable:
            raise Refusal(f"added field must be nullable, please check it, field name = {field.name}", code=1100)
        if any(known.name == field.name for known in collection.schema.fields):
            raise Refusal(f"duplicate field name: {field.name}: invalid parameter", code=1100)
        field.fieldID = schema.next_field_id(collection)
        self._append(collection, field)
        return common_pb2.Status()

    def AlterCollectionField(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        field = _field(collection, request.field_name)
        params = {pair.key: pair.value for pair in field.type_params}
        params |= {pair.key: pair.value for pair in request.properties}
        kept = {key: value for key, value in params.items() if key not in set(request.delete_keys)}
        del field.type_params[:]
        field.type_params.extend(schema.pairs(kept.items()))
        self._touch(collection)
        return common_pb2.Status()

    def AlterCollectionSchema(self, request: Message, call: Call) -> Message:
        """A.4: a dropped field leaves a gap for ever."""
        collection = self.collection(request, call)
        action = request.action
        for info in action.add_request.field_infos:
            schema.check_field(info.field_schema, self.rules)
            info.field_schema.fieldID = schema.next_field_id(collection)
            self._append(collection, info.field_schema)
        if action.HasField("drop_request"):
            dropped = action.drop_request
            gone = _field(collection, dropped.field_name) if dropped.field_name else None
            if gone is None or gone.is_primary_key or gone.is_partition_key:
                raise Refusal(f"the field {dropped.field_name} cannot be dropped: invalid parameter", code=1100)
            collection.schema.fields.remove(gone)
            self._touch(collection)
        return GetMessageClass(_REPLY)()

    def TruncateCollection(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        for segment in collection.segments.values():
            segment.state = DROPPED
        return milvus_pb2.TruncateCollectionResponse()

    def _append(self, collection: Collection, field: Message) -> None:
        collection.schema.fields.append(field)
        if self.rules.has("max_field_id"):
            collection.properties["max_field_id"] = str(field.fieldID)
        self._touch(collection)

    def _touch(self, collection: Collection) -> None:
        collection.updated_ts = self.cluster.clock.next()

    def GetCollectionStatistics(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        rows = sum(each.rows for each in collection.segments.values() if each.state not in {2, IMPORTING, DROPPED})
        return milvus_pb2.GetCollectionStatisticsResponse(stats=schema.pairs([("row_count", str(rows))]))

    # -- partitions

    def CreatePartition(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        self._require_no_key(collection)
        if request.partition_name not in collection.partitions:
            number, ts = self.cluster.clock.next(), self.cluster.clock.next()
            collection.partitions[request.partition_name] = Partition(number, request.partition_name, ts)
            collection.num_partitions = len(collection.partitions)
        return common_pb2.Status()

    def DropPartition(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        self._require_no_key(collection)
        gone = collection.partitions.pop(request.partition_name, None)
        if gone is not None:
            for segment in collection.segments.values():
                if segment.partition_id == gone.id:
                    segment.state = DROPPED
        return common_pb2.Status()

    @staticmethod
    def _require_no_key(collection: Collection) -> None:
        if any(field.is_partition_key for field in collection.schema.fields):
            raise Refusal("disable create partition if partition key mode is used")

    def HasPartition(self, request: Message, call: Call) -> Message:
        return milvus_pb2.BoolResponse(value=request.partition_name in self.collection(request, call).partitions)

    def ShowPartitions(self, request: Message, call: Call) -> Message:
        found = list(self.collection(request, call).partitions.values())
        return milvus_pb2.ShowPartitionsResponse(
            partition_names=[each.name for each in found],
            partitionIDs=[each.id for each in found],
            created_timestamps=[each.created_ts for each in found],
            created_utc_timestamps=[each.created_ts >> 18 for each in found],
        )

    # -- aliases

    def CreateAlias(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        place = (collection.database, request.alias)
        if place in self.cluster.aliases or place in self.cluster.collections:
            raise Refusal(f"alias already exist[database={collection.database}][alias={request.alias}]", code=1602)
        self.cluster.aliases[place] = collection.name
        return common_pb2.Status()

    def AlterAlias(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        self._require_alias(collection.database, request.alias)
        self.cluster.aliases[collection.database, request.alias] = collection.name
        return common_pb2.Status()

    def DropAlias(self, request: Message, call: Call) -> Message:
        self.cluster.aliases.pop((self.cluster.require_database(call.database(request)), request.alias), None)
        return common_pb2.Status()

    def DescribeAlias(self, request: Message, call: Call) -> Message:
        database = self.cluster.require_database(call.database(request))
        name = self._require_alias(database, request.alias)
        return milvus_pb2.DescribeAliasResponse(db_name=database, alias=request.alias, collection=name)

    def ListAliases(self, request: Message, call: Call) -> Message:
        database = self.cluster.require_database(call.database(request))
        found = [
            alias
            for (of, alias), name in self.cluster.aliases.items()
            if of == database and request.collection_name in {"", name}
        ]
        return milvus_pb2.ListAliasesResponse(
            db_name=database, collection_name=request.collection_name, aliases=sorted(found)
        )

    def _require_alias(self, database: str, alias: str) -> str:
        if (database, alias) not in self.cluster.aliases:
            raise Refusal(f"alias not found[database={database}][alias={alias}]", code=1600)
        return self.cluster.aliases[database, alias]


class Indexes(Service):
    """Indexes and loading."""

    def CreateIndex(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        if request.field_name not in collection.named_fields():
            raise Refusal(f"cannot create index on non-exist field: {request.field_name}: invalid parameter", code=1100)
        params = [(pair.key, pair.value) for pair in request.extra_params]
        path = _json_path(params)
        name = request.index_name or request.field_name + path  # A.5: unnamed, it is called as its field, and its path
        if request.index_name and not _INDEX_NAME.fullmatch(name):  # A.5: JSON paths make names that are refused
            raise Refusal(f"Invalid index name: {name}: invalid parameter", code=1100)
        if dict(params).get("index_type", "").lower() == "marisa-trie":  # A.5: it must be sent as Trie
            raise Refusal("invalid index type: marisa-trie: invalid parameter", code=1100)
        for known in collection.indexes.values():
            if (known.field_name, _json_path(known.params)) != (request.field_name, path):
                continue
            if (known.name, known.params) != (name, params):
                raise Refusal("at most one distinct index is allowed per field")
        collection.indexes.setdefault(name, Index(self.cluster.clock.next(), name, request.field_name, params))
        return common_pb2.Status()

    def DropIndex(self, request: Message, call: Call) -> Message:
        self.collection(request, call).indexes.pop(request.index_name or request.field_name, None)
        return common_pb2.Status()

    def DescribeIndex(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        wanted = {request.index_name, request.field_name} - {""}
        found = [each for each in collection.indexes.values() if not wanted or {each.name, each.field_name} & wanted]
        if not found:  # A.5
            raise Refusal(f"index not found[collection={collection.name}]", code=_INDEX_NOT_FOUND, legacy=25)
        rows = sum(1 for _ in visible(collection, {each.id for each in collection.partitions.values()}))
        reply = milvus_pb2.DescribeIndexResponse()
        for index in found:
            description = reply.index_descriptions.add(
                index_name=index.name, indexID=index.id, field_name=index.field_name, state=common_pb2.Finished
            )
            is_built = time.time() >= index.created_at + self.cluster.settings.index_s
            description.total_rows, description.indexed_rows = rows, rows if is_built else 0
            description.pending_index_rows = rows - description.indexed_rows
            description.params.extend(schema.pairs(self._shown(index)))
        return reply

    def _shown(self, index: Index) -> Iterable[tuple[str, str]]:
        """A.5: a Trie is called by another name, and AUTOINDEX tells what it chose."""
        params = dict(index.params)
        if params.get("index_type") == "Trie":
            params["index_type"] = "marisa-trie"
        if params.get("index_type") == "AUTOINDEX" and self.cluster.settings.autoindex_resolved:
            params |= {"index_type": "HNSW", "M": "18", "efConstruction": "240"}
            params.setdefault("metric_type", "COSINE")
        return params.items()

    def GetIndexState(self, request: Message, call: Call) -> Message:
        return milvus_pb2.GetIndexStateResponse(state=common_pb2.Finished)

    def LoadCollection(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        self._load(collection, collection.partitions.values(), request)
        return common_pb2.Status()

    def LoadPartitions(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        self._load(collection, [require_partition(collection, name) for name in request.partition_names], request)
        return common_pb2.Status()

    def _load(self, collection: Collection, partitions: Iterable[Partition], request: Message) -> None:
        indexed = {index.field_name for index in collection.indexes.values()}
        fields = collection.named_fields().items()
        missing = [name for name, field in fields if field.data_type >= 100 and name not in indexed]
        if missing:
            told = f"there is no vector index on field: [{' '.join(missing)}], please create index firstly"
            raise Refusal(told, code=_INDEX_NOT_FOUND, legacy=25)
        for name in request.resource_groups:
            if name not in self.cluster.resource_groups:
                raise Refusal(f"resource group not found[rg={name}]", code=300)
        collection.loaded |= {each.id for each in partitions}
        collection.loading_until = time.time() + self.cluster.settings.load_s
        groups = list(request.resource_groups) or [_DEFAULT_GROUP]
        wanted = request.replica_number or 1
        collection.replicas = [groups[number % len(groups)] for number in range(wanted)]

    def ReleaseCollection(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        collection.loaded.clear()
        collection.replicas.clear()
        return common_pb2.Status()

    def ReleasePartitions(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        collection.loaded -= {require_partition(collection, name).id for name in request.partition_names}
        return common_pb2.Status()

    def GetLoadState(self, request: Message, call: Call) -> Message:
        database = self.cluster.require_database(call.database(request))
        collection = self.cluster.find_collection(database, request.collection_name)
        if collection is None:
            return milvus_pb2.GetLoadStateResponse(state=0)
        wanted = {require_partition(collection, name).id for name in request.partition_names}
        is_loaded = wanted <= collection.loaded if wanted else collection.is_loaded
        state = 2 if collection.loading_until > time.time() else 3
        return milvus_pb2.GetLoadStateResponse(state=state if is_loaded else 1)

    def GetLoadingProgress(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        if not collection.is_loaded:  # A.5
            raise Refusal(f"collection not loaded[collection={collection.id}]", code=_NOT_LOADED)
        progress = 50 if collection.loading_until > time.time() else 100
        return milvus_pb2.GetLoadingProgressResponse(progress=progress, refresh_progress=progress)

    def GetReplicas(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        reply = milvus_pb2.GetReplicasResponse()
        for number, group in enumerate(collection.replicas):
            reply.replicas.add(
                replicaID=collection.id + number + 1,
                collectionID=collection.id,
                partition_ids=sorted(collection.loaded),
                resource_group_name=group,
            )
        return reply


def _field(collection: Collection, name: str) -> Message:
    found = next((field for field in collection.schema.fields if field.name == name), None)
    if found is None:
        raise Refusal(f"field not found[field={name}]: invalid parameter", code=1100)
    return found


def _json_path(params: Iterable[tuple[str, str]]) -> str:
    """`/a/b` of `meta["a"]["b"]`; empty where an index is of a whole field."""
    flat = dict(params)
    path = flat.get("json_path") or json.loads(flat.get("params") or "{}").get("json_path", "")
    return "".join(f"/{key}" for key in re.findall(r"""\[["']([^"']*)["']\]""", path))
