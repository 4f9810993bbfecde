"""What a collection is: its name, schema, partitions, indexes and load state, as plain values."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection as Names

DEFAULT_DATABASE = "default"
ROW_ID_FIELD = 0
TIMESTAMP_FIELD = 1
FIRST_USER_FIELD = 100
"""Field ids below 100 are the server's own: RowID 0 and Timestamp 1."""

DEFAULT_PARTITION = "_default"
"""Every collection without a partition key has it."""
DEFAULT_RESOURCE_GROUP = "__default_resource_group"
AUTOINDEX = "AUTOINDEX"

BM25 = 1
"""Milvus's number of the function whose output no query gives out."""
_MODEL_FUNCTIONS = frozenset({2, 3})
"""Those of functions that ask a service: text embeddings, reranking."""
RESERVED_PROPERTIES = frozenset({"max_field_id"})
"""Properties of the server's own: sent with a create request, Milvus 3.0 misplaces columns."""
_TEXT_VALUE = b"\x32"
"""How a default value begins that is a text (`ValueField.string_data`)."""

KeyValues = tuple[tuple[str, str], ...]
"""Key/value pairs in the order the server gave them."""


@dataclass(frozen=True, slots=True, order=True)
class CollectionRef:
    """A collection's full name."""

    database: str
    name: str

    @classmethod
    def parse(cls, text: str) -> CollectionRef:
        """Read `[database.]collection`; without a database it is `default`."""
        database, dot, name = text.partition(".")
        return cls(database, name) if dot else cls(DEFAULT_DATABASE, text)

    def __str__(self) -> str:
        return f"{self.database}.{self.name}"

    @property
    def short(self) -> str:
        """The name as a user would write it: without the database where that is `default`."""
        return self.name if self.database == DEFAULT_DATABASE else str(self)


class DataType(IntEnum):
    """Milvus's numbers of field types (schema.proto); a number that is not here is refused, never guessed."""

    BOOL = 1
    INT8 = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    FLOAT = 10
    DOUBLE = 11
    VARCHAR = 21
    ARRAY = 22
    JSON = 23
    GEOMETRY = 24
    TEXT = 25
    TIMESTAMPTZ = 26
    BINARY_VECTOR = 100
    FLOAT_VECTOR = 101
    FLOAT16_VECTOR = 102
    BFLOAT16_VECTOR = 103
    SPARSE_FLOAT_VECTOR = 104
    INT8_VECTOR = 105
    ARRAY_OF_VECTOR = 106
    ARRAY_OF_STRUCT = 200
    STRUCT = 201

    @property
    def is_vector(self) -> bool:
        """Whether fields of this type hold vectors."""
        return DataType.BINARY_VECTOR <= self < DataType.ARRAY_OF_STRUCT


_UNREAD = frozenset(
    {DataType.GEOMETRY, DataType.TEXT, DataType.TIMESTAMPTZ, DataType.ARRAY_OF_VECTOR, DataType.ARRAY_OF_STRUCT}
)


class ConsistencyLevel(IntEnum):
    """Milvus's numbers of consistency levels (common.proto)."""

    STRONG = 0
    SESSION = 1
    BOUNDED = 2
    EVENTUALLY = 3
    CUSTOMIZED = 4


class LoadState(StrEnum):
    """What a query node holds of a collection."""

    NOT_LOADED = "not loaded"
    LOADING = "loading"
    LOADED = "loaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSchema:
    """One field; ids are what Milvus matches binlogs by, names are not."""

    field_id: int
    name: str
    data_type: DataType
    description: str = ""
    is_primary_key: bool = False
    auto_id: bool = False
    is_partition_key: bool = False
    is_clustering_key: bool = False
    is_dynamic: bool = False
    is_function_output: bool = False
    nullable: bool = False
    element_type: DataType | None = None
    default_value_base64: str = ""
    type_params: KeyValues = ()
    index_params: KeyValues = ()

    @property
    def has_bare_time(self) -> bool:
        """Whether it is a TIMESTAMPTZ with a default value that is no text: servers differ in what they take it for."""
        default = base64.b64decode(self.default_value_base64)
        return self.data_type is DataType.TIMESTAMPTZ and bool(default) and not default.startswith(_TEXT_VALUE)


DYNAMIC_FIELD = FieldSchema(field_id=-1, name="$meta", data_type=DataType.JSON, is_dynamic=True)
"""The hidden field of values outside the schema, as a query names it; its id is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSchema:
    """A function that computes fields from others, such as BM25; `kind` is Milvus's number.

    Servers number functions by themselves, and nothing goes by those numbers.
    """

    name: str
    kind: int
    function_id: int = field(default=0, compare=False)
    description: str = ""
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    params: KeyValues = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StructArrayField:
    """A field that is an array of structs; each of its own fields has an id too.

    They have the names that users gave them: Milvus 2.6.0 to 2.6.3 tells `struct[name]`.
    """

    field_id: int
    name: str
    description: str = ""
    nullable: bool = False
    type_params: KeyValues = ()
    fields: tuple[FieldSchema, ...] = ()


def name_inside(struct: str, told: str) -> str:
    """The name that a user gave a field of the array of structs `struct`."""
    return told[len(struct) + 1 : -1] if told.startswith(f"{struct}[") and told.endswith("]") else told


def merged_properties(*told: KeyValues) -> KeyValues:
    """All properties that were told, later ones over earlier ones, without the server's own.

    Milvus up to 2.5.17 tells them of the collection alone, later versions of its schema too.
    """
    found = {name: value for each in told for name, value in each}
    return tuple((name, value) for name, value in found.items() if name not in RESERVED_PROPERTIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSchema:
    """The fields of a collection, without the hidden ones (RowID, Timestamp, $meta)."""

    description: str
    auto_id: bool
    enable_dynamic_field: bool
    fields: tuple[FieldSchema, ...]
    functions: tuple[FunctionSchema, ...] = ()
    struct_array_fields: tuple[StructArrayField, ...] = ()

    @property
    def has_partition_key(self) -> bool:
        """Whether Milvus places rows into partitions by itself."""
        return any(field.is_partition_key for field in self.fields)

    @property
    def primary_field(self) -> FieldSchema:
        """The primary key."""
        return next(field for field in self.fields if field.is_primary_key)

    @property
    def value_fields(self) -> tuple[FieldSchema, ...]:
        """Every field but the primary key, `$meta` last where values outside the schema are allowed.

        `unread_fields` are left out.
        """
        unread = set(self.unread_fields)
        visible = tuple(each for each in self.fields if not each.is_primary_key and each.name not in unread)
        return (*visible, DYNAMIC_FIELD) if self.enable_dynamic_field else visible

    @property
    def asks_models(self) -> bool:
        """Whether some function needs a service beside Milvus."""
        return any(function.kind in _MODEL_FUNCTIONS for function in self.functions)

    @property
    def unread_fields(self) -> tuple[str, ...]:
        """The names of those whose values cannot be compared.

        What BM25 puts out no query gives out, arrays of structs come in a form of their own, and some types come as
        text in another form than they are stored in.
        """
        computed = {name for function in self.functions if function.kind == BM25 for name in function.output_names}
        fields = [each.name for each in self.fields if each.data_type in _UNREAD or each.name in computed]
        return (*fields, *(struct.name for struct in self.struct_array_fields))

    @property
    def all_fields(self) -> tuple[FieldSchema, ...]:
        """The visible fields that have files: those of struct arrays too, which themselves have none."""
        return (*self.fields, *(field for struct in self.struct_array_fields for field in struct.fields))

    @property
    def visible_ids(self) -> frozenset[int]:
        """The ids of all fields that a server shows, struct arrays and their fields included."""
        structs = {struct.field_id for struct in self.struct_array_fields}
        return frozenset(structs | {field.field_id for field in self.all_fields})

    @property
    def dynamic_field_id(self) -> int | None:
        """The id of the hidden `$meta`, which no server tells: the first that is free among the visible ones.

        Milvus numbers fields from 100 in the order of creation, then `$meta`, then struct arrays; fields that are added
        later come after all of them. None where there is no such field.
        """
        ids = self.visible_ids
        free = (number for number in range(FIRST_USER_FIELD, FIRST_USER_FIELD + len(ids) + 1) if number not in ids)
        return next(free) if self.enable_dynamic_field else None

    @property
    def added_fields(self) -> tuple[FieldSchema, ...]:
        """Those that came after `$meta` or an array of structs, in the order in which a new collection gets them."""
        structs = [struct.field_id for struct in self.struct_array_fields]
        first = min((number for number in (self.dynamic_field_id, *structs) if number is not None), default=None)
        added = () if first is None else (each for each in self.fields if each.field_id > first)
        return tuple(sorted(added, key=lambda each: each.field_id))

    @property
    def before_additions(self) -> CollectionSchema:
        """The schema that a collection has to be created with, so that all fields get their ids in the end."""
        added = set(self.added_fields)
        return replace(self, fields=tuple(each for each in self.fields if each not in added))

    @property
    def stored_field_ids(self) -> frozenset[int]:
        """The ids a segment has insert logs for, hidden fields included; see `may_lack_files`."""
        hidden = {ROW_ID_FIELD, TIMESTAMP_FIELD, self.dynamic_field_id}
        return frozenset({field.field_id for field in self.all_fields} | {each for each in hidden if each is not None})

    @property
    def may_lack_files(self) -> frozenset[int]:
        """Those that a segment from before an added field has no files of; an import fills them in."""
        added = {each.field_id for each in self.all_fields if each.nullable or each.default_value_base64}
        return frozenset(added if self.dynamic_field_id is None else added | {self.dynamic_field_id})

    @property
    def vector_field_ids(self) -> frozenset[int]:
        """The ids of vectors, which in storage v2 have files of their own."""
        return frozenset(field.field_id for field in self.all_fields if field.data_type.is_vector)


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """A partition; on partition-key collections a physical one, `_default_<i>`."""

    partition_id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index as `DescribeIndex` tells it."""

    field_name: str
    name: str
    params: KeyValues

    @property
    def index_type(self) -> str:
        """`HNSW`, `IVF_FLAT`, …; empty where the server chose."""
        return dict(self.params).get("index_type", "")

    @property
    def metric_type(self) -> str:
        """`COSINE`, `L2`, `IP`, …; empty for scalar indexes."""
        return dict(self.params).get("metric_type", "")

    @property
    def kind(self) -> str:
        """Type and metric: `HNSW L2`."""
        return " ".join(part for part in (self.index_type or "default", self.metric_type) if part)

    @property
    def flat_params(self) -> dict[str, str]:
        """All parameters by name, as text; those that Milvus keeps as JSON under `params` are among them."""
        flat = {name: value for name, value in self.params if name != "params"}
        nested = dict(self.params).get("params") or "{}"
        try:
            inner: Any = json.loads(nested)
        except ValueError:
            inner = None
        if not isinstance(inner, dict):  # nobody's form, and a difference all the same
            return flat | {"params": nested}
        return flat | {name: each if isinstance(each, str) else json.dumps(each) for name, each in inner.items()}

    def is_like(self, found: Index) -> bool:
        """Whether `found` is what a server makes of this one: told as asked for, or with what it chose by itself.

        Of AUTOINDEX newer servers tell the parameters they resolved it to; `marisa-trie` and `Trie` are one.
        """
        wanted, told = _by_one_name(self.flat_params), _by_one_name(found.flat_params)
        if self.field_name != found.field_name:
            return False
        if wanted.get("index_type") == AUTOINDEX:
            return wanted.get("metric_type") in (None, told.get("metric_type"))
        return wanted == told

    def __str__(self) -> str:
        return f"{self.kind} on {self.field_name}"


def _by_one_name(params: dict[str, str]) -> dict[str, str]:
    return params | {"index_type": "Trie"} if params.get("index_type") == "marisa-trie" else params


@dataclass(frozen=True, slots=True, order=True)
class ResourceGroup:
    """A group of query nodes, and how many are in it now."""

    name: str
    nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexProgress:
    """How far a build is; `state` of the server is left out because 2.3 says Finished too early."""

    index: Index
    indexed_rows: int
    total_rows: int
    pending_rows: int
    failure: str = ""

    @property
    def is_built(self) -> bool:
        """Whether every row that the index shall hold is in it."""
        return self.pending_rows == 0 and self.indexed_rows >= self.total_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Everything Milvus tells of one collection, rows apart."""

    ref: CollectionRef
    collection_id: int
    created_ts: int
    schema: CollectionSchema
    shards_num: int
    num_partitions: int
    consistency_level: ConsistencyLevel
    properties: KeyValues
    partitions: tuple[Partition, ...]
    indexes: tuple[Index, ...]
    aliases: tuple[str, ...]
    load_state: LoadState
    loaded_partitions: tuple[str, ...]
    replica_number: int
    resource_groups: tuple[str, ...] = ()
    """Of each replica, where it is loaded."""

    def only(self, names: Names[str]) -> Collection:
        """The collection as it would be with no other partitions than the named ones."""
        loaded = tuple(name for name in self.loaded_partitions if name in names)
        is_loaded = bool(loaded) or self.load_state is LoadState.LOADING  # which of them is not known yet
        return replace(
            self,
            partitions=tuple(partition for partition in self.partitions if partition.name in names),
            loaded_partitions=loaded,
            load_state=self.load_state if is_loaded else LoadState.NOT_LOADED,
        )

    def partition_name(self, partition_id: int) -> str | None:
        """The name of a partition by its id, or None."""
        return next((p.name for p in self.partitions if p.partition_id == partition_id), None)
