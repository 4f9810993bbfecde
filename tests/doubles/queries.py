"""Rows as queries and searches see them: what is loaded, not deleted, not expired."""

from __future__ import annotations

import json
import re
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymilvus.grpc_gen import common_pb2, schema_pb2

from tests.doubles import values
from tests.doubles.expressions import Term, compile_filter
from tests.doubles.flushing import hash_of
from tests.doubles.rules import MAX_WINDOW
from tests.doubles.schema import META
from tests.doubles.state import (
    ALL_PARTITIONS,
    DROPPED,
    IMPORTING,
    TIMESTAMP,
    Collection,
    Key,
    Message,
    Refusal,
    Segment,
    require_partition,
)


@dataclass(frozen=True, slots=True)
class Place:
    """One row: a segment and a position in it."""

    segment: Segment
    row: int
    ts: int

    def value(self, field_id: int) -> Any:  # noqa: ANN401 - of any type
        """A value; None where the field came later."""
        column = self.segment.columns.get(field_id)
        return None if column is None else column[self.row]


class RowView(Mapping[str, Any]):
    """A row by the names that a filter may use: fields, keys of `$meta`, and `$meta` itself."""

    def __init__(self, fields: Mapping[str, Message], place: Place) -> None:
        """See one row."""
        self._fields, self._place = fields, place

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - of any type
        """A field's value, or one of a dynamic field."""
        field = self._fields.get(name)
        if field is None:
            meta = self._fields.get(META)
            return None if meta is None else values.dynamic(_value(self._place, meta)).get(name)
        value = _value(self._place, field)
        if value is None:
            return None
        if field.data_type == values.JSON:
            return json.loads(value)
        return values.elements(value) if field.data_type == values.ARRAY else value

    def __iter__(self) -> Iterator[str]:
        """The names of fields."""
        return iter(self._fields)

    def __len__(self) -> int:
        """How many fields."""
        return len(self._fields)


def _value(place: Place, field: Message) -> Any:  # noqa: ANN401 - of any type
    column = place.segment.columns.get(field.fieldID)
    return values.default_of(field) if column is None else column[place.row]


def visible(collection: Collection, partition_ids: set[int]) -> Iterator[Place]:
    """Every row of those partitions that is neither deleted nor expired, of segments that are no import's."""
    ttl_s = int(collection.properties.get("collection.ttl.seconds", 0) or 0)
    oldest = (int((time.time() - ttl_s) * 1000) << 18) if ttl_s > 0 else 0
    key_id = collection.key_field.fieldID
    everywhere = collection.deletes.get(ALL_PARTITIONS, {})
    for segment in collection.segments.values():
        if segment.is_l0 or segment.state in {IMPORTING, DROPPED} or segment.partition_id not in partition_ids:
            continue
        here = collection.deletes.get(segment.partition_id, {})
        keys = segment.columns.get(key_id, ())
        for row, own_ts in enumerate(segment.columns.get(TIMESTAMP, ())):
            ts = segment.commit_ts or own_ts  # E.6: 3.0 goes by the commit, for deletes and TTL
            key = keys[row]
            deleted_ts = max(here.get(key, 0), everywhere.get(key, 0), segment.killed.get(key, 0))
            if deleted_ts <= ts and ts >= oldest:
                yield Place(segment, row, ts)


def _meant(collection: Collection, expr: str) -> set[int]:
    """A filter by the partition key is looked for in the partitions of its values only: rows elsewhere are lost."""
    every = {each.id for each in collection.partitions.values()}
    key = next((field for field in collection.schema.fields if field.is_partition_key), None)
    if key is None or re.search(r"\b(or|not)\b|\|\||!", expr):
        return every
    match = re.search(rf"(?<![\w$]){re.escape(key.name)}\s*(?:==|\bin\b)\s*(\[[^]]*\]|\"[^\"]*\"|'[^']*'|-?\d+)", expr)
    if match is None:
        return every
    found = compile_filter(match.group(1))({})
    numbers = {hash_of(value) % collection.num_partitions for value in (found if isinstance(found, list) else [found])}
    return {collection.partitions[f"_default_{number}"].id for number in numbers}


def _partitions(collection: Collection, names: Sequence[str], expr: str) -> set[int]:
    if not collection.is_loaded:
        raise Refusal(f"collection not loaded[collection={collection.id}]", code=101)
    if names and any(field.is_partition_key for field in collection.schema.fields):
        raise Refusal("not support manually specifying the partition names if partition key mode is used")
    if collection.loading_until > time.time():
        raise Refusal(f"collection not fully loaded[collection={collection.id}]", code=103)
    if not names:
        return collection.loaded & _meant(collection, expr)
    wanted = {require_partition(collection, name).id for name in names}
    if missing := wanted - collection.loaded:
        raise Refusal(f"partition not loaded[partition={min(missing)}]", code=201)
    return wanted


def _matching(collection: Collection, partition_ids: set[int], wanted: Term) -> Iterator[Place]:
    fields = {field.name: field for field in collection.schema.fields}
    return (place for place in visible(collection, partition_ids) if wanted(RowView(fields, place)))


# -- query ------------------------------------------------------------------------------------------------------------


def query(collection: Collection, request: Message) -> tuple[list[str], list[Message]]:
    """The names of the output fields, and the data of each.

    Raises:
        Refusal: It is not loaded, or the filter or the window cannot be.
    """
    params = {pair.key: pair.value for pair in request.query_params}
    limit, offset = int(params.get("limit", 0)), int(params.get("offset", 0))
    if limit + offset > MAX_WINDOW:
        told = f"(offset+limit) should be in range [1, {MAX_WINDOW}], but got {limit + offset}"
        raise Refusal(f"invalid max query result window, {told}")
    wanted = compile_filter(request.expr)
    partition_ids = _partitions(collection, request.partition_names, request.expr)
    places = _matching(collection, partition_ids, wanted)
    if list(request.output_fields) == ["count(*)"]:
        return ["count(*)"], [_count(sum(1 for _ in places))]
    if not request.expr.strip() and not limit:
        raise Refusal("empty expression should be used with limit: invalid parameter", code=1100)
    found = _distinct(collection, places)
    found = found[offset : offset + limit] if limit else found
    return _output(collection, request.output_fields, found)


def _count(number: int) -> Message:
    told = schema_pb2.FieldData(type=5, field_name="count(*)")
    told.scalars.long_data.data.append(number)
    return told


def _distinct(collection: Collection, places: Iterator[Place]) -> list[Place]:
    """A query shows each key once, its newest row; keys in order."""
    key_id = collection.key_field.fieldID
    newest: dict[Key, Place] = {}
    for place in places:
        key = place.value(key_id)
        if key not in newest or newest[key].ts <= place.ts:
            newest[key] = place
    return [newest[key] for key in sorted(newest)]


def _output(collection: Collection, names: Sequence[str], places: Sequence[Place]) -> tuple[list[str], list[Message]]:
    fields = _output_fields(collection, names)
    columns = [_column(collection, field, places) for field in fields]
    structs = [each for each in collection.schema.struct_array_fields if each.name in names or "*" in names]
    columns += [_struct(collection, each, places) for each in structs]
    return [column.field_name for column in columns], columns


def _struct(collection: Collection, struct_field: Message, places: Sequence[Place]) -> Message:
    told = schema_pb2.FieldData(type=200, field_name=struct_field.name, field_id=struct_field.fieldID)
    told.struct_arrays.fields.extend(_column(collection, field, places) for field in struct_field.fields)
    return told


def _output_fields(collection: Collection, names: Sequence[str]) -> list[Message]:
    known = {field.name: field for field in collection.schema.fields}
    wanted = {collection.key_field.name}
    structs = {each.name for each in collection.schema.struct_array_fields}
    hidden = {name for each in collection.schema.functions if each.type == 1 for name in each.output_field_names}
    if forbidden := sorted(hidden & set(names)):  # what BM25 made is for searches only, from its first release on
        raise Refusal(f"not allowed to retrieve raw data of field {forbidden[0]}: invalid parameter", code=1100)
    for name in set(names) - structs:
        if name == "*":
            wanted |= {each for each, field in known.items() if not field.is_function_output}
        elif name in known:
            wanted.add(name)
        elif META in known:
            wanted.add(META)
        else:
            raise Refusal(f"field {name} not exist: invalid parameter", code=1100)
    return [field for name, field in known.items() if name in wanted]


def _column(collection: Collection, field: Message, places: Sequence[Place]) -> Message:
    found = [_value(place, field) for place in places]
    if collection.broken_ids and not field.is_primary_key:  # A.4: `max_field_id` was replayed
        field = _nullable(field)
        found = [None] * len(found)
    return values.field_data(field, found)


def _nullable(field: Message) -> Message:
    copy = schema_pb2.FieldSchema()
    copy.CopyFrom(field)
    copy.nullable = True
    return copy


# -- search -----------------------------------------------------------------------------------------------------------


def search(collection: Collection, request: Message) -> Message:
    """The nearest rows of each vector, best first, by brute force.

    Raises:
        Refusal: It is not loaded, or has no such vector field.
    """
    params = {pair.key: pair.value for pair in request.search_params}
    inner = json.loads(params.get("params") or "{}")
    name = params.get("anns_field") or next(f.name for f in collection.schema.fields if f.data_type >= 100)
    field = next((each for each in collection.schema.fields if each.name == name), None)
    if field is None or field.data_type < 100:
        raise Refusal(f"failed to search: field {name} is no vector field: invalid parameter", code=1100)
    metric = params.get("metric_type") or inner.get("metric_type") or _metric(collection, name)
    limit = int(params.get("topk") or params.get("limit") or 10)
    wanted = compile_filter(request.dsl)
    partition_ids = _partitions(collection, request.partition_names, request.dsl)
    matching = _matching(collection, partition_ids, wanted)
    places = [place for place in _distinct(collection, matching) if _value(place, field) is not None]
    group = common_pb2.PlaceholderGroup.FromString(request.placeholder_group)
    return _results(collection, request, field, metric, limit, places, list(group.placeholders[0].values))


def _metric(collection: Collection, field_name: str) -> str:
    params = [dict(index.params) for index in collection.indexes.values() if index.field_name == field_name]
    return params[0].get("metric_type", "COSINE") if params else "COSINE"


def _results(  # noqa: PLR0917 - what a search has found out
    collection: Collection,
    request: Message,
    field: Message,
    metric: str,
    limit: int,
    places: Sequence[Place],
    vectors: Sequence[bytes],
) -> Message:
    results = schema_pb2.SearchResultData(num_queries=len(vectors), top_k=limit)
    chosen: list[Place] = []
    scores = [_scores(field, metric, vector, places) for vector in vectors]
    for found in scores:
        sign = 1 if metric in {"L2", "HAMMING", "JACCARD"} else -1
        best = sorted(range(len(places)), key=lambda at, found=found, sign=sign: (sign * found[at], at))[:limit]  # type: ignore[misc]
        chosen += [places[at] for at in best]
        results.scores.extend(float(found[at]) for at in best)
        results.topks.append(len(best))
    key_field = collection.key_field
    keys = [place.value(key_field.fieldID) for place in chosen]
    (results.ids.int_id if key_field.data_type == 5 else results.ids.str_id).data.extend(keys)
    names, columns = _output(collection, request.output_fields, chosen)
    results.output_fields.extend(names)
    results.fields_data.extend(columns)
    results.primary_field_name = key_field.name
    return results


def _scores(field: Message, metric: str, vector: bytes, places: Sequence[Place]) -> Sequence[float]:
    if field.data_type == values.SPARSE:
        wanted = _sparse(vector)
        return [_dot(wanted, _sparse(_value(place, field))) for place in places]
    asked = _numbers(field, vector)
    stored = [_numbers(field, _value(place, field)) for place in places]
    return [float(_score(metric, asked, each)) for each in stored]


def _score(metric: str, asked: Any, stored: Any) -> Any:  # noqa: ANN401 - numpy's own
    if metric == "L2":
        return np.sum((asked - stored) ** 2)
    if metric == "HAMMING":
        return np.sum(asked != stored)
    if metric == "JACCARD":
        either = np.sum(np.logical_or(asked, stored))
        return 1 - np.sum(np.logical_and(asked, stored)) / either if either else 0.0
    product = np.dot(asked, stored)
    if metric == "IP":
        return product
    length = np.linalg.norm(asked) * np.linalg.norm(stored)
    return product / length if length else 0.0


def _numbers(field: Message, vector: bytes) -> Any:  # noqa: ANN401 - numpy's own
    if field.data_type == 100:
        return np.unpackbits(np.frombuffer(vector, np.uint8)).astype(np.int8)
    if field.data_type == 103:  # the upper half of a float
        return (np.frombuffer(vector, np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    kinds: dict[int, Any] = {101: np.float32, 102: np.float16, 105: np.int8}
    return np.frombuffer(vector, kinds[field.data_type]).astype(np.float64)


def _sparse(value: bytes) -> dict[int, float]:
    return dict(struct.iter_unpack("<If", value))


def _dot(left: Mapping[int, float], right: Mapping[int, float]) -> float:
    return sum(value * right.get(at, 0.0) for at, value in left.items())
