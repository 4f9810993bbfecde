"""Collections that each have one thing the plain ones of `sources` lack, or several in an awkward combination."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DIMENSION = 4
VECTOR = "vector"
FLAT: Mapping[str, Any] = {"index_type": "FLAT", "metric_type": "L2"}
LONG_NAME = "n" * 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One collection: how it is made, and what is done to it; `rows` is what is left in the end."""

    name: str
    rows: int
    stir: Callable[[Any, str], None]
    key: str = "INT64"
    auto_id: bool = False
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    vector: Mapping[str, Any] = field(default_factory=lambda: {"datatype": "FLOAT_VECTOR", "dim": DIMENSION})
    create: Mapping[str, Any] = field(default_factory=dict)
    dynamic: bool = False
    description: str = ""
    index: Mapping[str, Any] | None = field(default_factory=lambda: FLAT)
    more_indexes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    load: bool | tuple[str, ...] = True

    def make(self, uri: str) -> None:
        """Create it, fill it, and leave it as it shall be migrated."""
        from pymilvus import DataType  # noqa: PLC0415 - slow to import

        with connected(uri) as client:
            schema = client.create_schema(
                auto_id=self.auto_id, enable_dynamic_field=self.dynamic, description=self.description
            )
            length = {"max_length": 64} if self.key == "VARCHAR" else {}
            schema.add_field("key", DataType[self.key], is_primary=True, **length)
            for name, how in {**self.fields, VECTOR: self.vector}.items():
                kinds = {k: DataType[v] for k, v in how.items() if k in {"datatype", "element_type"}}
                schema.add_field(name, **{**how, **kinds})
            client.create_collection(self.name, schema=schema, **self.create)
            for name, how in {**({VECTOR: self.index} if self.index else {}), **self.more_indexes}.items():
                parameters = client.prepare_index_params()
                parameters.add_index(name, **how)
                client.create_index(self.name, parameters)
            self.stir(client, self.name)
            if self.load is True:
                client.load_collection(self.name)
            elif self.load:
                client.load_partitions(self.name, list(self.load))


def vectors(count: int, seed: int = 1) -> Any:  # noqa: ANN401 - numpy's own
    """Vectors, the same for a seed."""
    return np.random.default_rng(seed).standard_normal((count, DIMENSION), dtype=np.float32)


def rows(first: int, last: int, *, seed: int = 1, **more: Callable[[int], Any]) -> list[dict[str, Any]]:
    """Rows with integer keys, a vector, and `more` by key."""
    drawn = vectors(last, seed)
    return [{"key": n, VECTOR: drawn[n], **{name: make(n) for name, make in more.items()}} for n in range(first, last)]


def _nothing(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    """Leave it empty."""


def _never_flushed(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    client.insert(name, rows(0, 40))
    client.delete(name, ids=[0, 1])


def _one_row(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    client.insert(name, rows(7, 8))


def _only_deletes(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    client.delete(name, ids=[1, 2, 3])


def _deleted_everywhere(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    """Deletes before and after the flush, and rows that came back: in the same segment, and in another."""
    client.insert(name, rows(0, 50))
    client.delete(name, ids=[0, 1, 2])
    client.insert(name, rows(2, 3, seed=2))
    client.flush(name)
    client.delete(name, ids=[10, 11, 12])
    client.insert(name, rows(11, 12, seed=3))
    client.delete(name, ids=[20])
    client.flush(name)
    client.insert(name, rows(20, 21, seed=4))
    client.delete(name, ids=[20])
    client.insert(name, rows(12, 13, seed=5))


def _upserted(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    client.insert(name, rows(0, 40))
    client.upsert(name, rows(0, 10, seed=2))
    client.flush(name)
    client.upsert(name, rows(5, 15, seed=3))
    client.upsert(name, rows(5, 15, seed=4))
    client.flush(name)
    client.upsert(name, rows(30, 45, seed=5))


def _generated(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    drawn = vectors(60)
    keys = client.insert(name, [{VECTOR: vector} for vector in drawn[:30]])["ids"]
    client.flush(name)
    client.insert(name, [{VECTOR: vector} for vector in drawn[30:]])
    client.delete(name, ids=list(keys[:4]))


def _odd_keys(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    keys = [
        "plain",
        "with space",
        "quo'te",
        'dou"ble',
        "back\\slash",
        "tab\tand\nline",
        "ünïcødé 漢字 🙂",
        "%_*?",
        "null",
    ]
    drawn = vectors(len(keys))
    client.insert(name, [{"key": key, VECTOR: drawn[n]} for n, key in enumerate(keys)])
    client.flush(name)
    client.delete(name, ids=["plain"])


def _extreme_keys(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    keys = [-(2**63), -(2**62), -1, 0, 1, 2**53 + 1, 2**63 - 2, 2**63 - 1]
    drawn = vectors(len(keys))
    client.insert(name, [{"key": key, VECTOR: drawn[n]} for n, key in enumerate(keys)])


def _by_number(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    """A partition key of integers, with dynamic fields, over shards."""
    client.insert(name, rows(0, 200, room=lambda n: n % 40 - 20, note=lambda n: {"n": n}))
    client.flush(name)
    client.delete(name, ids=list(range(0, 200, 25)))
    client.upsert(name, rows(1, 9, seed=2, room=lambda n: n % 40 - 20))


def _partitioned(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    for number, partition in enumerate(("first", "_second", "p3", "empty")):
        client.create_partition(name, partition)
        if partition != "empty":
            client.insert(name, rows(number * 100, number * 100 + 30), partition_name=partition)
    client.flush(name)
    client.delete(name, filter="key in [0, 1]", partition_name="first")
    client.insert(name, rows(900, 905))


def _many_segments(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    for part in range(6):
        client.insert(name, rows(part * 20, part * 20 + 20))
        client.flush(name)
    client.delete(name, ids=[0, 25, 50])


def _doubled(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    """Keys that are there twice, with equal rows: Milvus does not look."""
    client.insert(name, rows(0, 20))
    client.flush(name)
    client.insert(name, rows(0, 20))


def _awkward_values(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    """Vectors and numbers at the edges of their types, text that looks like something else."""
    edge = [0.0, -0.0, float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)]
    client.insert(
        name,
        [
            {
                "key": n,
                VECTOR: edge[n % 4 :] + edge[: n % 4],
                "text": ["", "0", "null", '{"a": 1}', "a" * 200][n % 5],
                "number": [1e-310, -0.0, 1.7976931348623157e308, 0.1][n % 4],
                "data": [{}, {"a": None}, {"deep": {"er": [[], {}]}}, {"text": "ü\\\"'"}][n % 4],
            }
            for n in range(20)
        ],
    )


def _small(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    client.insert(name, rows(0, 64))
    client.flush(name)


def _with_scalars(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    client.insert(name, rows(0, 64, year=lambda n: 1990 + n % 9, word=lambda n: f"w{n % 5}"))
    client.flush(name)


def _defaulted(client: Any, name: str) -> None:  # noqa: ANN401 - pymilvus has no types
    """Rows with values of their own, and rows that the server gave the default."""
    client.insert(name, rows(0, 10, word=lambda n: f"w{n}", year=lambda n: 1990 + n))
    client.insert(name, rows(10, 20))


_SCALARS: Mapping[str, Mapping[str, Any]] = {
    "year": {"datatype": "INT16"},
    "word": {"datatype": "VARCHAR", "max_length": 30, "description": "Größe < 30"},
}

FEATURES = (
    Feature(name="f_empty", rows=0, stir=_nothing),
    Feature(name="f_empty_bare", rows=0, stir=_nothing, index=None, load=False),
    Feature(name="f_never_flushed", rows=38, stir=_never_flushed),
    Feature(name="f_one_row", rows=1, stir=_one_row),
    Feature(name="f_only_deletes", rows=0, stir=_only_deletes),
    Feature(name="f_deleted_everywhere", rows=46, stir=_deleted_everywhere),
    Feature(name="f_deleted_in_shards", rows=46, stir=_deleted_everywhere, create={"num_shards": 3}),
    Feature(name="f_upserted", rows=45, stir=_upserted),
    Feature(name="f_upserted_dynamic", rows=45, stir=_upserted, dynamic=True, create={"num_shards": 2}),
    Feature(name="f_auto_int", rows=56, stir=_generated, auto_id=True),
    Feature(name="f_auto_text", rows=56, stir=_generated, auto_id=True, key="VARCHAR", dynamic=True),
    Feature(name="f_odd_keys", rows=8, stir=_odd_keys, key="VARCHAR"),
    Feature(name="f_extreme_keys", rows=8, stir=_extreme_keys),
    Feature(
        name="f_by_number",
        rows=192,
        stir=_by_number,
        dynamic=True,
        fields={"room": {"datatype": "INT64", "is_partition_key": True}},
        create={"num_partitions": 5, "num_shards": 2},
    ),
    Feature(name="f_partitioned", rows=93, stir=_partitioned, load=("first", "p3")),
    Feature(name="f_many_segments", rows=117, stir=_many_segments, create={"num_shards": 2}),
    Feature(name="f_doubled", rows=40, stir=_doubled),
    Feature(
        name="f_awkward_values",
        rows=20,
        stir=_awkward_values,
        fields={
            "text": {"datatype": "VARCHAR", "max_length": 200},
            "number": {"datatype": "DOUBLE"},
            "data": {"datatype": "JSON"},
        },
    ),
    Feature(
        name="f_ttl",
        rows=64,
        stir=_small,
        create={"properties": {"collection.ttl.seconds": 86_400, "mmap.enabled": "true"}, "consistency_level": 3},
        description="Zeit läuft; 'quoted' \"twice\" \\ and\nmore",
    ),
    Feature(
        name="f_defaults",
        rows=20,
        stir=_defaulted,
        fields={
            "word": {"datatype": "VARCHAR", "max_length": 20, "default_value": "ü 'none'"},
            "year": {"datatype": "INT64", "default_value": -1},
        },
    ),
    Feature(name=LONG_NAME, rows=64, stir=_small),
    Feature(name="_f_odd_name_1", rows=64, stir=_small, dynamic=True),
    Feature(
        name="f_ivf_sq8",
        rows=64,
        stir=_small,
        index={"index_type": "IVF_SQ8", "metric_type": "IP", "params": {"nlist": 7}},
    ),
    Feature(
        name="f_ivf_pq",
        rows=64,
        stir=_small,
        index={"index_type": "IVF_PQ", "metric_type": "COSINE", "params": {"nlist": 4, "m": 2, "nbits": 8}},
    ),
    Feature(
        name="f_auto_index",
        rows=64,
        stir=_with_scalars,
        fields=_SCALARS,
        index={"index_type": "AUTOINDEX", "metric_type": "COSINE", "index_name": "an_index_of_its_own"},
        more_indexes={"word": {"index_type": "Trie"}, "year": {}},
    ),
)
"""By one name each; all of them are small."""
BY_NAME = {feature.name: feature for feature in FEATURES}
