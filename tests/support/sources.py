"""Collections with what goes wrong in migrations, each made by one call, the same each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DIMENSION = 8
TENANTS = ("acme", "bolt", "core", "dune", "echo")


def fill_small(
    uri: str, name: str, *, rows: int = 300, database: str = "default", shards: int = 1, deleted: int = 7
) -> None:
    """A plain collection: ids from 0, the first `deleted` ids deleted after the flush, loaded."""
    with connected(uri, database) as client:
        _create(client, name, num_shards=shards)
        client.insert(name, plain_rows(0, rows))
        client.flush(name)
        if deleted:
            client.delete(name, ids=list(range(deleted)))


def fill_stirred(uri: str, name: str) -> None:
    """Dynamic fields, 2 shards, partitions (one empty), deletes and upserts after the flush, growing rows, an alias."""
    with connected(uri) as client:
        _create(client, name, num_shards=2, dynamic=True)
        for partition in ("north", "south", "nobody"):
            client.create_partition(name, partition)
        for first, last in ((0, 400), (400, 800)):
            for partition, remainder in (("north", 0), ("south", 1), ("_default", 2)):
                rows = [row for row in dynamic_rows(first, last) if row["id"] % 3 == remainder]
                client.insert(name, rows, partition_name=partition)
            client.flush(name)
        client.delete(name, ids=list(range(0, 800, 10)))
        again = dynamic_rows(1, 800, seed=2, label="second")
        client.upsert(name, [r for r in again if r["id"] % 30 == 3], partition_name="north")
        client.upsert(name, [r for r in again if r["id"] % 30 == 7], partition_name="south")
        client.insert(name, dynamic_rows(800, 850), partition_name="south")
        client.create_alias(name, f"{name}_live")
        client.create_alias(name, f"{name}_second")


def fill_wide(uri: str, name: str) -> None:
    """Vectors that fill an object of 12 MB."""
    dimension, random = 1024, np.random.default_rng(11)
    with connected(uri) as client:
        client.create_collection(name, dimension=dimension, metric_type="L2", consistency_level="Strong")
        for first in range(0, 3000, 500):
            vectors = random.random((500, dimension), dtype=np.float32)
            client.insert(name, [{"id": first + n, "vector": vector} for n, vector in enumerate(vectors)])
        client.flush(name)


def fill_kinds(uri: str, name: str) -> None:
    """A varchar key and a field of every scalar type, JSON and arrays among them; a dynamic field."""
    from pymilvus import DataType  # noqa: PLC0415 - slow to import

    with connected(uri) as client:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=True, description="All kinds: <äöü> & 'x'")
        schema.add_field("code", DataType.VARCHAR, is_primary=True, max_length=40, description="the key")
        for kind in ("BOOL", "INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE", "JSON"):
            schema.add_field(f"a_{kind.lower()}", DataType[kind])
        for kind in ("BOOL", "INT8", "INT32", "INT64", "FLOAT", "DOUBLE"):
            schema.add_field(f"many_{kind.lower()}", DataType.ARRAY, element_type=DataType[kind], max_capacity=5)
        schema.add_field("many_words", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=4, max_length=30)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
        client.create_collection(name, schema=schema)
        _index(client, name, "vector", index_type="HNSW", metric_type="IP", params={"M": 8, "efConstruction": 64})
        vectors = _vectors(200, seed=5)
        client.insert(name, [_kinds_row(number, vectors[number]) for number in range(200)])
        client.flush(name)
        client.delete(name, ids=[_code(number) for number in range(0, 200, 9)])
        client.load_collection(name)


def fill_binary(uri: str, name: str) -> None:
    """Keys given by the server, and binary vectors."""
    from pymilvus import DataType  # noqa: PLC0415 - slow to import

    with connected(uri) as client:
        schema = client.create_schema(auto_id=True)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("title", DataType.VARCHAR, max_length=50)
        schema.add_field("bits", DataType.BINARY_VECTOR, dim=64)
        client.create_collection(name, schema=schema, consistency_level="Session")
        _index(client, name, "bits", index_type="BIN_IVF_FLAT", metric_type="JACCARD", params={"nlist": 16})
        random = np.random.default_rng(6)
        rows = [{"title": f"row {n}", "bits": random.bytes(8)} for n in range(150)]
        ids = client.insert(name, rows)["ids"]
        client.flush(name)
        client.delete(name, ids=list(ids[:5]))
        client.load_collection(name)


def fill_by_tenant(uri: str, name: str) -> None:
    """A partition key with 7 partitions."""
    from pymilvus import DataType  # noqa: PLC0415 - slow to import

    with connected(uri) as client:
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("tenant", DataType.VARCHAR, max_length=20, is_partition_key=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
        client.create_collection(name, schema=schema, num_partitions=7)
        _index(client, name, "vector", index_type="FLAT", metric_type="L2")
        vectors = _vectors(300, seed=7)
        rows = [{"id": n, "tenant": TENANTS[n % len(TENANTS)], "vector": vectors[n]} for n in range(300)]
        client.insert(name, rows)
        client.flush(name)
        client.delete(name, ids=[1, 2, 3])
        client.load_collection(name)


def fill_empty(uri: str, name: str) -> None:
    """Not a single row."""
    with connected(uri) as client:
        _create(client, name)


def fill_wiped(uri: str, name: str) -> None:
    """Rows that were flushed and then all deleted."""
    with connected(uri) as client:
        _create(client, name)
        client.insert(name, plain_rows(0, 60))
        client.flush(name)
        client.delete(name, ids=list(range(60)))


def fill_unloaded(uri: str, name: str, *, indexed: bool) -> None:
    """Not loaded, with an index or without any."""
    with connected(uri) as client:
        _create(client, name, indexed=indexed, load=False)
        client.insert(name, plain_rows(0, 90))
        client.flush(name)
        client.delete(name, ids=[4, 5, 6])


def fill_tiny_segments(uri: str, name: str) -> None:
    """24 segments or so: 8 shards flushed 3 times."""
    with connected(uri) as client:
        _create(client, name, num_shards=8)
        for first in range(0, 240, 80):
            client.insert(name, plain_rows(first, first + 80))
            client.flush(name)
        client.delete(name, ids=[10, 100, 200])


def fill_tuned(uri: str, name: str) -> None:
    """Properties, a consistency level, descriptions, and several indexes with names of their own."""
    from pymilvus import DataType  # noqa: PLC0415 - slow to import

    with connected(uri) as client:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False, description="Fine tuned")
        schema.add_field("id", DataType.INT64, is_primary=True, description="the key")
        schema.add_field("year", DataType.INT32, description="of publication")
        schema.add_field("word", DataType.VARCHAR, max_length=30, description="what it says")
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION, description="what it means")
        client.create_collection(
            name,
            schema=schema,
            consistency_level="Eventually",
            properties={"collection.ttl.seconds": 864_000, "mmap.enabled": True},
        )
        _index(
            client,
            name,
            "vector",
            index_name="by_meaning",
            index_type="IVF_FLAT",
            metric_type="L2",
            params={"nlist": 32},
        )
        _index(client, name, "year", index_name="by_year", index_type="STL_SORT")
        _index(client, name, "word", index_name="by_word", index_type="Trie")
        vectors = _vectors(120, seed=8)
        client.insert(
            name, [{"id": n, "year": 1900 + n % 99, "word": f"word {n}", "vector": vectors[n]} for n in range(120)]
        )
        client.flush(name)
        client.load_collection(name)


def fill_shop(uri: str) -> None:
    """The database `shop_eu`: `order_lines_2023`, `order_heads`, `tmp_a` and `tmp_b`."""
    with connected(uri) as client:
        client.create_database("shop_eu")
    fill_small(uri, "order_lines_2023", rows=100, database="shop_eu", deleted=2)
    fill_small(uri, "order_heads", rows=40, database="shop_eu", deleted=2)
    with connected(uri, "shop_eu") as client:
        for name in ("tmp_a", "tmp_b"):
            _create(client, name, load=False)


def plain_rows(first: int, last: int) -> list[dict[str, Any]]:
    """Rows with an id and a vector."""
    vectors = _vectors(last, seed=1)
    return [{"id": n, "vector": vectors[n]} for n in range(first, last)]


def dynamic_rows(first: int, last: int, *, seed: int = 1, label: str = "first") -> list[dict[str, Any]]:
    """Rows with more than the schema knows; not each has the same."""
    vectors = _vectors(last, seed=seed)
    rows: list[dict[str, Any]] = []
    for n in range(first, last):
        row: dict[str, Any] = {"id": n, "vector": vectors[n], "label": label, "nested": {"n": n, "even": n % 2 == 0}}
        if n % 4 == 0:
            row["sometimes"] = [n, "x", None, 0.5]
        rows.append(row)
    return rows


def _create(
    client: Any,  # noqa: ANN401 - pymilvus has no types
    name: str,
    *,
    num_shards: int = 1,
    dynamic: bool = False,
    indexed: bool = True,
    load: bool = True,
) -> None:
    from pymilvus import DataType  # noqa: PLC0415 - slow to import

    schema = client.create_schema(auto_id=False, enable_dynamic_field=dynamic)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
    client.create_collection(name, schema=schema, num_shards=num_shards)
    if indexed:
        _index(client, name, "vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 100})
    if indexed and load:
        client.load_collection(name)


def _index(client: Any, name: str, field: str, **how: Any) -> None:  # noqa: ANN401 - pymilvus has no types
    parameters = client.prepare_index_params()
    parameters.add_index(field, **how)
    client.create_index(name, parameters)


def _code(number: int) -> str:
    return f"key-{number:04d}-{'äß漢'[number % 3]}"


def _kinds_row(number: int, vector: Sequence[float]) -> Mapping[str, Any]:
    return {
        "code": _code(number),
        "a_bool": number % 2 == 0,
        "a_int8": number % 256 - 128,
        "a_int16": 32_767 - number,
        "a_int32": -(2**31) + number,
        "a_int64": 2**62 + number,
        "a_float": number / 7,
        "a_double": number / 7,
        "a_json": {"n": number, "list": [1, "two", None], "text": "ü<&>"},
        "many_bool": [True, False][: number % 3],
        "many_int8": [-128, 127][: number % 3],
        "many_int32": list(range(number % 5)),
        "many_int64": [2**62, -(2**62)][: number % 3],
        "many_float": [number / 3] * (number % 4),
        "many_double": [number / 3] * (number % 4),
        "many_words": ["", "ä", "word"][: number % 4],
        "vector": vector,
        "beyond": {"the": ["schema", number]},
    }


def _vectors(count: int, *, seed: int) -> Any:  # noqa: ANN401 - numpy's own
    return np.random.default_rng(seed).standard_normal((count, DIMENSION), dtype=np.float32)
