"""Collections to migrate, filled quickly, and compared row by row."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from benchmarks.bench import BenchmarkFailed
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Sequence

DIMENSION = 128
_BATCH = 10_000
_INDEX = "lent"


def make(uri: str, name: str, *, shards: int = 1, dimension: int = DIMENSION) -> None:
    """A collection of keys, texts and vectors, without an index."""
    from pymilvus import DataType  # noqa: PLC0415 - slow to import

    with connected(uri) as client:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("title", DataType.VARCHAR, max_length=64)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dimension)
        client.create_collection(name, schema=schema, num_shards=shards)


def fill(uri: str, name: str, *, rows: int, first: int = 0, dimension: int = DIMENSION, flush: bool = True) -> None:
    """Insert rows with the ids from `first` on; the same each time."""
    import numpy as np  # noqa: PLC0415 - as above

    with connected(uri) as client:
        for start in range(first, first + rows, _BATCH):
            ids = range(start, min(start + _BATCH, first + rows))
            vectors = np.random.default_rng(start).standard_normal((len(ids), dimension), dtype=np.float32)
            data = [
                {"id": pk, "title": f"row {pk}", "embedding": vector} for pk, vector in zip(ids, vectors, strict=True)
            ]
            for part in range(0, len(data), 5_000):
                client.insert(name, data[part : part + 5_000])
        if flush:
            client.flush(name)


def drop(uri: str, names: Sequence[str]) -> None:
    """Whatever there is of them."""
    with connected(uri) as client:
        there = set(client.list_collections())
        for name in names:
            if name in there:
                client.drop_collection(name)


def compare(source_uri: str, target_uri: str, pairs: dict[str, str], *, batch: int = _BATCH) -> int:
    """Hold all rows of targets against their sources', with all values; how many there were.

    Raises:
        BenchmarkFailed: A row is missing, is there twice, or has other values.
    """
    compared = 0
    with connected(source_uri) as source, connected(target_uri) as target:
        for left_name, right_name in pairs.items():
            with _readable(source, left_name), _readable(target, right_name):
                counts = _count(source, left_name), _count(target, right_name)
                if counts[0] != counts[1]:
                    raise BenchmarkFailed(f"{right_name} has {counts[1]:,} rows, {left_name} {counts[0]:,}")
                for first in range(0, counts[0], batch):
                    left = _rows(source, left_name, first, batch)
                    if left != _rows(target, right_name, first, batch):
                        raise BenchmarkFailed(f"rows of {right_name} are not those of {left_name}")
                    compared += len(left)
    return compared


class _readable:  # noqa: N801 - reads as a function
    """Loaded, by an index for the time being; undone at the end."""

    def __init__(self, client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
        self._client, self._name = client, name

    def __enter__(self) -> None:
        parameters = self._client.prepare_index_params()
        parameters.add_index("embedding", index_type="FLAT", metric_type="L2", index_name=_INDEX)
        self._client.create_index(self._name, parameters)
        self._client.load_collection(self._name)

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):  # what it was lent for has come to its end
            self._client.release_collection(self._name)
            self._client.drop_index(self._name, _INDEX)


def _count(client: Any, name: str) -> int:  # noqa: ANN401 - as above
    found = client.query(name, output_fields=["count(*)"], consistency_level="Strong")
    return int(found[0]["count(*)"])


def _rows(client: Any, name: str, first: int, batch: int) -> dict[int, dict[str, Any]]:  # noqa: ANN401 - as above
    """By ids, which count from 0."""
    condition = f"id >= {first} and id < {first + batch}"
    found = client.query(name, filter=condition, output_fields=["*"], consistency_level="Strong")
    return {row["id"]: dict(row) for row in found}
