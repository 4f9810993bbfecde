"""The calls that write and read rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

from tests.doubles import queries, values
from tests.doubles.calls import Call, Service
from tests.doubles.expressions import compile_filter
from tests.doubles.flushing import hash_of
from tests.doubles.state import (
    ALL_PARTITIONS,
    ROW_ID,
    TIMESTAMP,
    Collection,
    Columns,
    Key,
    Message,
    Refusal,
    require_partition,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_BM25 = 1
_KEYS = re.compile(r"\s*(\w+)\s+in\s+\[.*\]\s*", re.DOTALL)


class Rows(Service):
    """Insert, delete, upsert, query and search."""

    def Insert(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        columns = self._columns(collection, request)
        keys = columns[collection.key_field.fieldID]
        self._put(collection, request.partition_name, columns)
        return self._result(collection, keys, insert_cnt=len(keys))

    def Upsert(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        columns = self._columns(collection, request)
        keys = columns[collection.key_field.fieldID]
        self._forget(collection, keys, self._partition_id(collection, request.partition_name))
        columns[TIMESTAMP] = [self.cluster.clock.next()] * len(keys)  # later than the delete
        self._put(collection, request.partition_name, columns)
        return self._result(collection, keys, upsert_cnt=len(keys), insert_cnt=len(keys), delete_cnt=len(keys))

    def Delete(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        keys = self._keys(collection, request)
        self._forget(collection, keys, self._partition_id(collection, request.partition_name))
        return self._result(collection, keys, delete_cnt=len(keys))

    def Query(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        names, columns = queries.query(collection, request)
        return milvus_pb2.QueryResults(
            collection_name=collection.name,
            output_fields=names,
            fields_data=columns,
            session_ts=self.cluster.clock.next(),
            primary_field_name=collection.key_field.name,
        )

    def Search(self, request: Message, call: Call) -> Message:
        collection = self.collection(request, call)
        reply = milvus_pb2.SearchResults(collection_name=collection.name, session_ts=self.cluster.clock.next())
        reply.results.CopyFrom(queries.search(collection, request))
        return reply

    # -- writing

    def _columns(self, collection: Collection, request: Message) -> Columns:
        rows = request.num_rows
        columns: Columns = {}
        for field in collection.fields():
            data = _find(request.fields_data, field)
            if data is not None:
                columns[field.fieldID] = values.values_from(data, field, rows)
            elif field.is_primary_key and field.autoID:
                columns[field.fieldID] = [self._made_key(field) for _ in range(rows)]
            elif field.is_dynamic or field.nullable or field.HasField("default_value"):
                columns[field.fieldID] = [values.default_of(field)] * rows
            elif not field.is_function_output:
                raise Refusal(f"field {field.name} is missing: invalid parameter", code=1100)
        for function in collection.schema.functions:
            if function.type == _BM25:
                texts = columns[function.input_field_ids[0]]
                columns[function.output_field_ids[0]] = [values.words(text or "") for text in texts]
        self._fill_defaults(collection, columns)
        columns[ROW_ID] = [self.cluster.clock.next() for _ in range(rows)]
        columns[TIMESTAMP] = [self.cluster.clock.next()] * rows
        return columns

    @staticmethod
    def _fill_defaults(collection: Collection, columns: Columns) -> None:
        for field in collection.fields():
            if field.HasField("default_value"):
                column = columns[field.fieldID]
                columns[field.fieldID] = [values.default_of(field) if value is None else value for value in column]

    def _made_key(self, field: Message) -> Key:
        number = self.cluster.clock.next()
        return number if field.data_type == 5 else str(number)

    def _put(self, collection: Collection, partition_name: str, columns: Columns) -> None:
        key = next((field for field in collection.schema.fields if field.is_partition_key), None)
        if key is None:
            partition = require_partition(collection, partition_name or "_default")
            self.flushing.insert(collection, partition.id, columns)
            return
        if partition_name:
            raise Refusal("not support manually specifying the partition names if partition key mode is used")
        partitions = [collection.partitions[f"_default_{number}"] for number in range(collection.num_partitions)]
        for number, partition in enumerate(partitions):
            found = [
                row
                for row, value in enumerate(columns[key.fieldID])
                if hash_of(value) % collection.num_partitions == number
            ]
            if found:
                part = {field: [column[row] for row in found] for field, column in columns.items()}
                self.flushing.insert(collection, partition.id, part)

    def _forget(self, collection: Collection, keys: Iterable[Key], partition_id: int) -> None:
        ts = self.cluster.clock.next()
        for key in keys:
            collection.delete(key, ts, partition_id)
            collection.pending.append((key, ts, partition_id))

    @staticmethod
    def _partition_id(collection: Collection, name: str) -> int:
        return require_partition(collection, name).id if name else ALL_PARTITIONS

    def _keys(self, collection: Collection, request: Message) -> list[Key]:
        """Keys that are named are deleted unseen; any other condition is looked up, in what is loaded."""
        match = _KEYS.fullmatch(request.expr)
        name = collection.key_field.name
        if match and match.group(1) == name:
            listed = compile_filter(request.expr.partition(" in ")[2])({})
            return list(listed)
        ask = milvus_pb2.QueryRequest(expr=request.expr, output_fields=[name])
        ask.partition_names.extend([request.partition_name] if request.partition_name else [])
        _, columns = queries.query(collection, ask)
        found = next(each for each in columns if each.field_name == name)
        return list(found.scalars.long_data.data or found.scalars.string_data.data)

    def _result(self, collection: Collection, keys: Sequence[Any], **counts: int) -> Message:
        reply = milvus_pb2.MutationResult(
            acknowledged=True, timestamp=self.cluster.clock.next(), succ_index=range(len(keys)), **counts
        )
        ids = reply.IDs.int_id if collection.key_field.data_type == 5 else reply.IDs.str_id
        ids.data.extend(keys)
        return reply


def _find(fields_data: Sequence[Message], field: Message) -> Message | None:
    for data in fields_data:
        if data.field_name == field.name or (field.is_dynamic and data.is_dynamic):
            return data
        for sub in data.struct_arrays.fields:
            if sub.field_name in {field.name, f"{data.field_name}[{field.name}]"}:
                return sub
    return None
