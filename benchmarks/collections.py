"""Collections to migrate, filled quickly, and compared row by row."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

from benchmarks.bench import BenchmarkFailed
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIMENSION = 128
_BATCH = 10_000
_SEVEN_BITS = 0x7F
_INDEX = "lent"


def make(uri: str, name: str, *, shards: int = 1, dimension: int = DIMENSION) -> None:
    """A collection of keys, texts and vectors, without an index."""
    with connected(uri) as client:
        create_with(client, name, shards=shards, dimension=dimension)


def create_with(client: Any, name: str, *, shards: int = 1, dimension: int = DIMENSION) -> None:  # noqa: ANN401 - as below
    """The same by a client that is connected."""
    from pymilvus import DataType  # noqa: PLC0415 - slow to import

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("title", DataType.VARCHAR, max_length=64)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dimension)
    client.create_collection(name, schema=schema, num_shards=shards)


def fill(uri: str, name: str, *, rows: int, first: int = 0, dimension: int = DIMENSION, flush: bool = True) -> None:
    """Insert rows with the ids from `first` on; the same each time."""
    with connected(uri) as client, _requests(uri) as stub:
        for ids in _batches(first, rows):
            _insert(stub, name, ids, dimension)
        if flush:
            client.flush(name)


def _columns(ids: range, dimension: int) -> tuple[Any, ...]:
    """Ids, titles and vectors of a batch; the same each time."""
    import numpy as np  # noqa: PLC0415 - slow to import

    vectors = np.random.default_rng(ids.start).standard_normal((len(ids), dimension), dtype=np.float32)
    return np.array(ids), np.array([f"row {pk}" for pk in ids]), vectors


def _batches(first: int, rows: int) -> Iterator[range]:
    for start in range(first, first + rows, _BATCH):
        yield range(start, min(start + _BATCH, first + rows))


def _insert(stub: milvus_pb2_grpc.MilvusServiceStub, name: str, ids: range, dimension: int) -> None:
    _, names, vectors = _columns(ids, dimension)
    keys = schema_pb2.FieldData(field_name="id", type=schema_pb2.DataType.Int64)
    keys.scalars.long_data.data.extend(ids)
    titles = schema_pb2.FieldData(field_name="title", type=schema_pb2.DataType.VarChar)
    titles.scalars.string_data.data.extend(names.tolist())
    embedding = schema_pb2.FieldData(field_name="embedding", type=schema_pb2.DataType.FloatVector)
    embedding.vectors.dim = dimension
    embedding.vectors.float_vector.ParseFromString(_packed(vectors.tobytes()))
    answer = stub.Insert(
        milvus_pb2.InsertRequest(
            collection_name=name,
            partition_name="_default",
            fields_data=[keys, titles, embedding],
            num_rows=len(ids),
        )
    )
    if answer.status.code or answer.status.error_code:
        raise BenchmarkFailed(f"rows of {name} were refused: {answer.status.reason}")


def _packed(raw: bytes) -> bytes:
    """A message whose one field, the first, is packed numbers: copied as they are, and not one by one."""
    length, size = len(raw), bytearray()
    while length > _SEVEN_BITS:
        size.append(length & _SEVEN_BITS | (_SEVEN_BITS + 1))
        length >>= 7
    return b"\x0a" + bytes([*size, length]) + raw


@contextmanager
def _requests(uri: str) -> Iterator[milvus_pb2_grpc.MilvusServiceStub]:
    """The server's own interface: millions of values as Python objects would take longer than what is measured."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(uri.removeprefix("http://"), options=options) as channel:
        yield milvus_pb2_grpc.MilvusServiceStub(channel)


def drop(uri: str, names: Sequence[str]) -> None:
    """Whatever there is of them."""
    with connected(uri) as client:
        there = set(client.list_collections())
        for name in names:
            if name in there:
                client.drop_collection(name)


def compare(uri: str, name: str, rounds: Sequence[range], *, dimension: int = DIMENSION) -> int:
    """Hold all rows of a collection, with all values, against what was filled in, round by round; how many there were.

    Raises:
        BenchmarkFailed: A row is missing, is there twice, is of others, or has other values.
    """
    wanted = sum(map(len, rounds))
    with connected(uri) as client, _requests(uri) as stub, _readable(client, name):
        found = _count(client, name)
        if found != wanted:
            raise BenchmarkFailed(f"{name} has {found:,} rows, and {wanted:,} were filled in")
        for ids in (batch for each in rounds for batch in _batches(each.start, len(each))):
            if not _are_equal(_columns(ids, dimension), _rows(stub, name, ids)):
                raise BenchmarkFailed(f"rows of {name} are not those that were filled in")
    return wanted


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


def _rows(stub: milvus_pb2_grpc.MilvusServiceStub, name: str, ids: range) -> tuple[Any, ...]:
    """Columns of those with such ids, in the order of their ids."""
    import numpy as np  # noqa: PLC0415 - slow to import

    answer = stub.Query(
        milvus_pb2.QueryRequest(
            collection_name=name,
            expr=f"id >= {ids.start} and id < {ids.stop}",
            output_fields=["id", "title", "embedding"],
            consistency_level=common_pb2.ConsistencyLevel.Strong,
        )
    )
    if answer.status.code or answer.status.error_code:
        raise BenchmarkFailed(f"rows of {name} cannot be read: {answer.status.reason}")
    columns = {column.field_name: column for column in answer.fields_data}
    found = np.array(columns["id"].scalars.long_data.data)
    titles = np.array(columns["title"].scalars.string_data.data)
    vectors = columns["embedding"].vectors
    packed = vectors.float_vector.SerializeToString()
    values = np.frombuffer(packed[len(packed) - 4 * len(found) * vectors.dim :], "<f4").reshape(len(found), vectors.dim)
    order = np.argsort(found)
    return found[order], titles[order], values[order]


def _are_equal(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    import numpy as np  # noqa: PLC0415 - as above

    return all(np.array_equal(one, other) for one, other in zip(left, right, strict=True))
