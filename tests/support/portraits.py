"""All an outsider can see of a collection, to be held against another one."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN = {"collection_name", "collection_id", "created_timestamp", "update_timestamp", "aliases", "db_name"}
"""What differs from one collection to its copy."""
_LARGEST_INT64 = 2**63 - 1
_BATCH = 2_000
_READY_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Portrait:
    """A collection; `rows` by primary key, `partitions` with the keys in them (`*`: all, where keys place rows)."""

    description: dict[str, Any]
    partitions: dict[str, frozenset[Any]]
    indexes: dict[str, dict[str, Any]]
    aliases: frozenset[str]
    loaded_partitions: frozenset[str]
    count: int
    rows: dict[Any, dict[str, Any]]

    @property
    def is_loaded(self) -> bool:
        """Whether any of it is."""
        return bool(self.loaded_partitions)


@contextlib.contextmanager
def connected(uri: str, database: str = "default", **how: Any) -> Iterator[Any]:  # noqa: ANN401 - as pymilvus takes it
    """Open a client of its own; `how` is a token, certificates."""
    from pymilvus import MilvusClient  # noqa: PLC0415 - slow to import

    client = MilvusClient(uri, timeout=60, dedicated=True, db_name=database, **how)
    try:
        yield client
    finally:
        client.close()


def collections_of(uri: str, *, token: str = "") -> dict[str, list[str]]:
    """All collections by database, each with its row count and load state in words."""
    found = {}
    with connected(uri, token=token) as client:
        databases = client.list_databases()
    for database in sorted(databases):
        with connected(uri, database, token=token) as client:
            found[database] = [
                f"{name} {client.get_load_state(name)['state'].name} {client.list_partitions(name)}"
                f" {sorted(client.list_indexes(name))} {sorted(client.describe_collection(name)['aliases'])}"
                for name in sorted(client.list_collections())
            ]
    return found


def portray(uri: str, collection: str, database: str = "default", **how: Any) -> Portrait:  # noqa: ANN401 - as above
    """Look at a collection from all sides; it is loaded for that where it is not, and left as it was."""
    with connected(uri, database, **how) as client:
        described = client.describe_collection(collection)
        indexes = {name: client.describe_index(collection, name) for name in client.list_indexes(collection)}
        names = client.list_partitions(collection)
        loaded = frozenset(name for name in names if _is_loaded(client, collection, name))
        with _readable(client, described, indexes, set(names) - loaded):
            counted = client.query(collection, output_fields=["count(*)"], consistency_level="Strong")
            keyed = any(field.get("is_partition_key") for field in described["fields"])
            partitions = (
                {"*": frozenset(_keys(client, described)), **dict.fromkeys(names, frozenset())}
                if keyed
                else {name: frozenset(_keys(client, described, name)) for name in names}
            )
            return Portrait(
                description={key: value for key, value in described.items() if key not in _OWN},
                partitions=partitions,
                indexes={
                    name: {
                        key: value
                        for key, value in index.items()
                        if not key.endswith("_rows") and key not in {"state", "index_id"}
                    }
                    for name, index in indexes.items()
                },
                aliases=frozenset(described["aliases"]),
                loaded_partitions=loaded,
                count=int(counted[0]["count(*)"]),
                rows=_rows(client, described),
            )


def find_keys(uri: str, collection: str, condition: str, database: str = "default") -> set[Any]:
    """Return the primary keys of the rows that fulfil a condition; the collection is loaded."""
    with connected(uri, database) as client:
        described = client.describe_collection(collection)
        return set(_keys(client, described, condition=condition))


def wait_until_indexed(client: Any, collection: str) -> None:  # noqa: ANN401 - pymilvus has no types
    """Wait until every flushed row is in every index: a server builds them in the background."""
    ends_at = time.monotonic() + _READY_WITHIN_S
    for name in client.list_indexes(collection):
        while client.describe_index(collection, name)["pending_index_rows"]:
            assert time.monotonic() < ends_at, f"the index {name} of {collection} is never done"
            time.sleep(0.1)


def _is_loaded(client: Any, collection: str, partition: str) -> bool:  # noqa: ANN401 - pymilvus has no types
    return bool(client.get_load_state(collection, partition_name=partition)["state"].name == "Loaded")


@contextlib.contextmanager
def _readable(
    client: Any,  # noqa: ANN401 - pymilvus has no types
    described: dict[str, Any],
    indexes: dict[str, dict[str, Any]],
    unloaded: set[str],
) -> Iterator[None]:
    """Load what is not loaded, by an index for the time being where there is none; undo both."""
    name = described["collection_name"]
    if not unloaded:
        yield
        return
    if len(unloaded) < len(client.list_partitions(name)):
        client.release_collection(name)  # or a client takes the part that is loaded for the whole
        client.load_collection(name)
        yield
        client.release_partitions(name, sorted(unloaded))
        return
    vector = next(field["name"] for field in described["fields"] if "VECTOR" in field["type"].name)
    lent = vector not in {index["field_name"] for index in indexes.values()}
    if lent:
        parameters = client.prepare_index_params()
        parameters.add_index(vector, index_type="FLAT", metric_type="L2", index_name="lent")
        client.create_index(name, parameters)
    client.load_collection(name)
    yield
    client.release_collection(name)
    if lent:
        client.drop_index(name, "lent")


def _primary(described: dict[str, Any]) -> tuple[str, str]:
    """The primary field's name, and a condition that all rows fulfil."""
    field = next(field for field in described["fields"] if field.get("is_primary"))
    name = field["name"]
    return name, f"{name} <= {_LARGEST_INT64}" if field["type"].name == "INT64" else f'{name} >= ""'


def _keys(
    client: Any,  # noqa: ANN401 - pymilvus has no types
    described: dict[str, Any],
    partition: str | None = None,
    condition: str = "",
) -> list[Any]:
    name, every = _primary(described)
    found = client.query(
        described["collection_name"],
        filter=condition or every,
        output_fields=[name],
        partition_names=[partition] if partition else None,
        consistency_level="Strong",
    )
    return [row[name] for row in found]


def _rows(client: Any, described: dict[str, Any]) -> dict[Any, dict[str, Any]]:  # noqa: ANN401 - pymilvus has no types
    name, every = _primary(described)
    asked = {"output_fields": ["*"], "consistency_level": "Strong"}
    keys = _keys(client, described)
    if len(keys) <= _BATCH:  # by a condition, since a client writes no key with a quote in it
        return {row[name]: dict(row) for row in client.query(described["collection_name"], filter=every, **asked)}
    rows: dict[Any, dict[str, Any]] = {}
    for first in range(0, len(keys), _BATCH):
        found = client.query(described["collection_name"], ids=keys[first : first + _BATCH], **asked)
        rows.update((row[name], dict(row)) for row in found)
    return rows
