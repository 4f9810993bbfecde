"""A collection worth migrating, the same each time, and what a demo or a test reads back of it.

It has what goes wrong in migrations: several shards, partitions and segments, rows deleted and replaced after
they were flushed, rows not flushed at all, values outside the schema, an index, an alias.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

PARTITIONS = ("classics", "modern", "recent")
DIMENSION = 128
_ROUNDS = 2  # one flush after each, so that every partition has several segments in each shard
_BATCH = 5_000
_LARGEST_INT64 = 2**63 - 1
_SEED = 20_240_131
_COLOURS = ("amber", "azure", "crimson", "grey", "ivory", "jade", "silver", "umber")
_NOUNS = ("harbour", "lantern", "meadow", "mirror", "orchard", "river", "staircase", "window")
_LANGUAGES = ("de", "en", "fr", "ja", "zh")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSummary:
    """What `fill_demo` left behind."""

    collection: str
    alias: str
    rows: int
    """Rows a strong read finds, deletes and upserts considered."""

    deleted: tuple[int, ...]
    """Ids that were inserted and flushed, and then deleted."""

    upserted: tuple[int, ...]
    """Ids that were inserted and flushed, and then replaced: other vectors, titles end in `(2nd ed.)`."""


def fill_demo(uri: str, collection: str = "coll", *, rows: int = 60_000, token: str = "") -> DemoSummary:
    """Make `collection` with its alias `<collection>_live`, and load it.

    The last deletes and upserts are not flushed: they are in the server's log, and not yet in its storage.
    The index of the last segments may still be in the making; a search finds their rows all the same.

    Args:
        uri: A Milvus 2.3 server that has neither the collection nor the alias.
        collection: Its name.
        rows: Inserted in all, ids 0 to `rows` - 1, in two rounds and three partitions; `_default` is empty.
        token: `user:password`, where the server asks for it.

    Returns:
        What is there now; the same for the same `rows`.

    Raises:
        pymilvus.MilvusException: The server refused something, or does not answer.
    """
    vectors = _vectors(rows, seed=_SEED)
    deleted = tuple(range(0, rows, 97))
    upserted = tuple(pk for pk in range(1, rows, 89) if pk % 97)
    with _connected(uri, token) as client:
        _create(client, collection)
        for start, end in _ranges(rows, -(-rows // _ROUNDS)):
            for first, last in _ranges(end - start, _BATCH):
                _write(
                    client.insert,
                    collection,
                    [_row(pk, vectors[pk]) for pk in range(start + first, start + last)],
                )
            client.flush(collection)
        client.load_collection(collection)
        for first, last in _ranges(len(deleted), _BATCH):
            client.delete(collection, ids=list(deleted[first:last]))
        others = _vectors(len(upserted), seed=_SEED + 1)
        replaced = [_row(pk, vector, edition=" (2nd ed.)") for pk, vector in zip(upserted, others, strict=True)]
        _write(client.upsert, collection, replaced)
    return DemoSummary(
        collection=collection,
        alias=f"{collection}_live",
        rows=rows - len(deleted),
        deleted=deleted,
        upserted=upserted,
    )


def count(uri: str, collection: str, *, token: str = "") -> int:
    """Return the rows of a loaded collection by `count(*)`, everything written before the call included."""
    with _connected(uri, token) as client:
        found = client.query(collection, output_fields=["count(*)"], consistency_level="Strong")
    return int(found[0]["count(*)"])


def sample_rows(uri: str, collection: str, ids: Sequence[int], *, token: str = "") -> list[dict[str, Any]]:
    """Return the rows of these ids that exist, by id, with every field, dynamic ones included."""
    with _connected(uri, token) as client:
        found = client.query(collection, ids=list(ids), output_fields=["*"], consistency_level="Strong")
    return sorted((dict(row) for row in found), key=lambda row: int(row["id"]))


def search(
    uri: str, collection: str, vector: Sequence[float], limit: int = 5, *, token: str = ""
) -> list[dict[str, Any]]:
    """Return the nearest rows, best first: `id`, `score` (cosine, 1 is identical), `title`, `year`."""
    with _connected(uri, token) as client:
        found = client.search(
            collection,
            data=[list(vector)],
            limit=limit,
            search_params={"params": {"ef": 512}},  # wide enough to find the true neighbours, so that sides compare
            output_fields=["title", "year"],
            consistency_level="Strong",
        )
    return [{"id": hit["id"], "score": hit["distance"], **hit["entity"]} for hit in found[0]]


def all_rows(
    uri: str, collection: str, *, partitions: Sequence[str] = (), batch_size: int = 2_000, token: str = ""
) -> dict[Any, dict[str, Any]]:
    """Return every row of a loaded collection by its primary key, with dynamic fields and vectors.

    Everything written before the call is included. That is why it is no query iterator: on Milvus 2.3.5 with
    pymilvus 3.0.2 one started right after deletes and upserts did not see them, `Strong` or not.

    Args:
        uri: Where the server is.
        collection: Its name, or an alias.
        partitions: Only these; none given is all of them.
        batch_size: Rows per request; an answer may have 64 MB.
        token: `user:password`, where the server asks for it.
    """
    rows: dict[Any, dict[str, Any]] = {}
    with _connected(uri, token) as client:
        fields = client.describe_collection(collection)["fields"]
        primary = next(field for field in fields if field.get("is_primary"))
        pk, is_number = primary["name"], primary["type"].name == "INT64"
        options = {"partition_names": list(partitions) or None, "consistency_level": "Strong"}
        every = f"{pk} <= {_LARGEST_INT64}" if is_number else f'{pk} >= ""'
        found = client.query(collection, filter=every, output_fields=[pk], **options)
        ids = [row[pk] for row in found]
        for first, last in _ranges(len(ids), batch_size):
            batch = client.query(collection, ids=ids[first:last], output_fields=["*"], **options)
            rows.update((row[pk], dict(row)) for row in batch)
    return rows


@contextlib.contextmanager
def _connected(uri: str, token: str) -> Iterator[Any]:
    from pymilvus import MilvusClient  # noqa: PLC0415 - slow to import, and the command line imports this module

    client = MilvusClient(uri, token=token, timeout=60, dedicated=True)
    try:
        yield client
    finally:
        client.close()


def _create(client: Any, collection: str) -> None:  # noqa: ANN401 - pymilvus has no types
    from pymilvus import DataType  # noqa: PLC0415 - as above

    schema = client.create_schema(auto_id=False, enable_dynamic_field=True, description="Books of a small library")
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("title", DataType.VARCHAR, max_length=200)
    schema.add_field("year", DataType.INT32)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=4, max_length=20)
    schema.add_field("about", DataType.JSON)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=DIMENSION)
    client.create_collection(collection, schema=schema, num_shards=2)
    for partition in PARTITIONS:
        client.create_partition(collection, partition)
    index = client.prepare_index_params()
    index.add_index("embedding", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
    client.create_index(collection, index)  # while it is empty: segments are then indexed as the next ones are filled
    client.create_alias(collection, f"{collection}_live")


def _write(call: Any, collection: str, rows: Sequence[dict[str, Any]]) -> None:  # noqa: ANN401 - pymilvus has no types
    for number, partition in enumerate(PARTITIONS):
        call(
            collection,
            [row for row in rows if row["id"] % len(PARTITIONS) == number],
            partition_name=partition,
        )


def _row(pk: int, vector: NDArray[np.float32], *, edition: str = "") -> dict[str, Any]:
    colour = _COLOURS[pk % len(_COLOURS)]
    noun = _NOUNS[pk // len(_COLOURS) % len(_NOUNS)]
    row: dict[str, Any] = {
        "id": pk,
        "title": f"The {colour} {noun}, vol. {pk}{edition}",
        "year": 1900 + 41 * (pk % len(PARTITIONS)) + pk % 41,
        "tags": [colour, noun][: pk % 3],
        "about": {
            "language": _LANGUAGES[pk % len(_LANGUAGES)],
            "pages": 80 + pk % 700,
            "loans": {"total": pk % 13},
        },
        "embedding": vector,
        "shelf": f"{noun[0].upper()}{pk % 40}",  # this and the next are not in the schema
    }
    if pk % 2:
        row["rating"] = (pk % 50) / 10
    return row


def _vectors(count: int, *, seed: int) -> NDArray[np.float32]:
    import numpy as np  # noqa: PLC0415 - comes with pymilvus, and is as slow to import

    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION), dtype=np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _ranges(total: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, total, size):
        yield start, min(start + size, total)
