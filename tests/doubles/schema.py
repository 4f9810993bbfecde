"""Collections: what a create request becomes (A.4), and what a description shows of it (A.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from tests.doubles.state import Cluster, Collection, Message, Partition, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.doubles.rules import Rules

META = "$meta"
_FIRST_FIELD = 100


# -- creating ---------------------------------------------------------------------------------------------------------


def collection_from(cluster: Cluster, rules: Rules, database: str, request: Message) -> Collection:
    """A new collection, with ids of the server's own.

    Raises:
        Refusal: The schema is not possible in this version.
    """
    given = schema_pb2.CollectionSchema.FromString(request.schema)
    if given.name != request.collection_name:
        told = f"collection name = {request.collection_name}, schema.Name={given.name}"
        raise _invalid(f"{told}: invalid parameter")
    schema = _known_schema(given, rules)
    _check(schema, rules)
    properties = {pair.key: pair.value for pair in request.properties}
    for pair in schema.properties:
        properties.setdefault(pair.key, pair.value)
    del schema.properties[:]
    _check_models(schema, rules, properties)
    number_fields(schema, rules)
    now = cluster.clock.next()
    collection = Collection(
        id=cluster.clock.next(),
        database=database,
        name=request.collection_name,
        schema=schema,
        shards=request.shards_num or 1,
        consistency_level=request.consistency_level,
        properties=properties,
        created_ts=now,
        updated_ts=now,
        broken_ids=rules.has("max_field_id") and "max_field_id" in properties,  # A.4: columns then read as NULL
    )
    _make_partitions(cluster, rules, collection, request.num_partitions)
    if rules.has("max_field_id"):
        properties["max_field_id"] = str(max(field.fieldID for field in collection.fields()))
    return collection


def _make_partitions(cluster: Cluster, rules: Rules, collection: Collection, wanted: int) -> None:
    has_key = any(field.is_partition_key for field in collection.schema.fields)
    if wanted and not has_key:
        raise _invalid("num_partitions should only be specified with partition key field enabled")
    names = ["_default"]
    if has_key:
        wanted = wanted or (16 if rules.has("sixteen_partitions") else 64)  # A.5
        names = [f"_default_{number}" for number in range(wanted)]
    for name in names:
        collection.partitions[name] = Partition(cluster.clock.next(), name, collection.created_ts)
    collection.num_partitions = len(names)


def _known_schema(given: Message, rules: Rules) -> Message:
    """Without what the version has never heard of: protobuf leaves out silently what a server does not know."""
    schema = schema_pb2.CollectionSchema()
    schema.CopyFrom(given)
    for field in schema.fields:
        _forget_unknown(field, rules)
    if not rules.has("functions"):
        del schema.functions[:]
    if not rules.has("struct_arrays"):
        del schema.struct_array_fields[:]
    if not rules.has("schema_properties"):
        del schema.properties[:]
    if not rules.has("external_collections"):
        for name in ("version", "external_source", "external_spec", "enable_namespace"):
            schema.ClearField(name)
    return schema


def _forget_unknown(field: Message, rules: Rules) -> None:
    field.is_function_output = False
    if not rules.has("nullable"):
        field.nullable = False


def _check(schema: Message, rules: Rules) -> None:
    keys = [field for field in schema.fields if field.is_primary_key]
    if len(keys) != 1 or keys[0].data_type not in {5, 21}:
        raise _invalid("there must be one primary key, of type int64 or varchar")
    names = [field.name for field in schema.fields]
    if len(set(names)) != len(names):
        raise _invalid("duplicated field name")
    for field in schema.fields:
        check_field(field, rules)
    for struct in schema.struct_array_fields:
        for field in struct.fields:
            check_field(field, rules)
    outputs = {name for function in schema.functions for name in function.output_field_names}
    for field in schema.fields:
        field.is_function_output = field.name in outputs


def _check_models(schema: Message, rules: Rules, properties: Mapping[str, str]) -> None:
    """E.6: no model is reachable from here, so their functions need `disable_func_runtime_check`."""
    is_off = rules.has("disable_func_runtime_check") and properties.get("disable_func_runtime_check") == "true"
    for function in schema.functions:
        if function.type in {2, 3} and not is_off:
            raise _invalid(f"check function {function.name} failed: its model cannot be reached")


def check_field(field: Message, rules: Rules) -> None:
    """Refuse a field that this version cannot have.

    Raises:
        Refusal: Its type is unknown, or it is declared against its kind.
    """
    if field.is_dynamic or field.name == META:
        raise _invalid("cannot explicitly set a field as a dynamic field")
    if not rules.has_type(field.data_type):
        raise _invalid(f"data type {field.data_type} of field {field.name} is not supported")
    if field.data_type == 22 and not rules.has_type(field.element_type):
        raise _invalid(f"element type {field.element_type} of field {field.name} is not supported")
    has_dim = any(pair.key == "dim" for pair in field.type_params)
    if field.data_type in {100, 101, 102, 103, 105} and not has_dim:
        raise _invalid(f"dimension is not defined in field type params of field {field.name}, check type param `dim`")
    if field.data_type == 21 and not any(pair.key == "max_length" for pair in field.type_params):
        raise _invalid(f"type param(max_length) should be specified for the field({field.name})")
    if field.nullable and (field.is_primary_key or field.is_partition_key):
        raise _invalid(f"field {field.name} cannot be nullable")


def number_fields(schema: Message, rules: Rules) -> None:
    """A.4: from 100 on in the order of the list, then `$meta`, then structs each before its sub-fields."""
    number = _FIRST_FIELD
    for field in schema.fields:
        field.fieldID = number
        number += 1
    if schema.enable_dynamic_field:
        schema.fields.append(dynamic_field(number, rules))
        number += 1
    for struct in schema.struct_array_fields:
        struct.fieldID = number
        number += 1
        for field in struct.fields:
            field.fieldID = number
            number += 1
    by_name = {field.name: field.fieldID for field in schema.fields}
    for position, function in enumerate(schema.functions):
        function.id = _FIRST_FIELD + position  # a sequence of its own
        function.input_field_ids[:] = [by_name[name] for name in function.input_field_names]
        function.output_field_ids[:] = [by_name[name] for name in function.output_field_names]


def dynamic_field(number: int, rules: Rules) -> Message:
    """`$meta`, nullable with default `{}` from 2.6.8 on (A.4)."""
    field = schema_pb2.FieldSchema(fieldID=number, name=META, data_type=23, is_dynamic=True)
    field.description = "dynamic schema"
    if rules.has("nullable_meta"):
        field.nullable = True
        field.default_value.bytes_data = b"{}"
    return field


def next_field_id(collection: Collection) -> int:
    """A.4: max+1, over all that were ever there."""
    numbers: list[int] = [field.fieldID for field in collection.fields()]
    numbers += [struct.fieldID for struct in collection.schema.struct_array_fields]
    return max(*numbers, int(collection.properties.get("max_field_id", 0))) + 1


def _invalid(reason: str) -> Refusal:
    return Refusal(f"{reason}: invalid parameter", code=1100, legacy=5)


# -- describing -------------------------------------------------------------------------------------------------------


def describe(cluster: Cluster, rules: Rules, collection: Collection, asked: str) -> Message:
    """A.2: `collection_name` echoes the request, and `schema.name` is the real name."""
    reply = milvus_pb2.DescribeCollectionResponse(
        collectionID=collection.id,
        collection_name=asked,
        db_name=collection.database,
        shards_num=collection.shards,
        num_partitions=collection.num_partitions,
        consistency_level=collection.consistency_level,
        aliases=sorted(name for (db, name), of in cluster.aliases.items() if (db, of) == _place(collection)),
        virtual_channel_names=collection.vchannels,
        physical_channel_names=[collection.pchannel(number) for number in range(collection.shards)],
        created_timestamp=collection.created_ts,
        created_utc_timestamp=collection.created_ts >> 18,
        update_timestamp=collection.updated_ts,
        properties=pairs(collection.properties.items()),
    )
    reply.schema.CopyFrom(_shown_schema(rules, collection))
    if rules.has("update_ts_text"):
        reply.update_timestamp_str = str(collection.updated_ts)
    if rules.has("database_id"):
        reply.db_id = cluster.database_ids[collection.database]
    return reply


def _place(collection: Collection) -> tuple[str, str]:
    return collection.database, collection.name


def pairs(items: Iterable[tuple[str, str]]) -> list[Message]:
    """Key-value pairs as messages."""
    return [common_pb2.KeyValuePair(key=key, value=value) for key, value in items]


def _shown_schema(rules: Rules, collection: Collection) -> Message:
    schema = schema_pb2.CollectionSchema()
    schema.CopyFrom(collection.schema)
    visible = [field for field in schema.fields if not field.is_dynamic]  # hidden in every version
    del schema.fields[:]
    schema.fields.extend(visible)
    schema.name = collection.name
    if rules.has("schema_properties"):
        schema.properties.extend(pairs(collection.properties.items()))
    if not rules.has("user_struct_names"):
        for struct in schema.struct_array_fields:
            for field in struct.fields:
                field.name = f"{struct.name}[{field.name}]"
    for field in schema.fields:
        if field.data_type == 26 and field.HasField("default_value") and rules.has("timestamptz_text"):
            _show_as_text(field)
    return schema


def _show_as_text(field: Message) -> None:
    kind = field.default_value.WhichOneof("data")
    if kind not in {None, "string_data"}:
        field.default_value.string_data = str(getattr(field.default_value, kind))
