"""The rows of a loaded collection, read from its Milvus page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from migrator.model import filters
from migrator.model.collection import Collection, DataType, FieldSchema
from migrator.model.rows import Key, Value, print_of
from migrator.ports.milvus import MilvusReader
from migrator.steps.counting import WHOLE

MOST_KEYS = 16_384
"""Milvus takes no larger limit."""
MOST_ROWS = 2_048
_COUNTED_KEYS = 500
REPLY_BYTES = 2 * 1024 * 1024
"""About what a reply may have: the server has other clients."""
_GROWTH = 4
_JSON_BYTES = 65_536
_WIDTHS = {
    DataType.BOOL: 8,
    DataType.INT8: 8,
    DataType.INT16: 8,
    DataType.INT32: 8,
    DataType.INT64: 8,
    DataType.FLOAT: 4,
    DataType.DOUBLE: 8,
    DataType.JSON: _JSON_BYTES,
    DataType.SPARSE_FLOAT_VECTOR: _JSON_BYTES,
}
_BITS = {
    DataType.BINARY_VECTOR: 1,
    DataType.FLOAT_VECTOR: 32,
    DataType.FLOAT16_VECTOR: 16,
    DataType.BFLOAT16_VECTOR: 16,
}


def largest_bytes(field: FieldSchema) -> int:
    """The most that a value of the field can have."""
    params = dict(field.type_params)
    if bits := _BITS.get(field.data_type):
        return int(params.get("dim", "1")) * bits // 8
    text = int(params.get("max_length", "65535")) * 4  # a newer Milvus counts characters
    if field.data_type is DataType.ARRAY:
        element = _WIDTHS.get(field.element_type or DataType.VARCHAR, text)
        return int(params.get("max_capacity", "4096")) * element
    return _WIDTHS.get(field.data_type, text)


@dataclass(slots=True)
class _Pages:
    """How many to ask for: few where they could be large, and more as they turn out to be small."""

    most: int
    size: int

    @classmethod
    def of(cls, fields: Sequence[FieldSchema], most: int) -> _Pages:
        row_bytes = sum(map(largest_bytes, fields))
        return cls(most, max(1, min(most, REPLY_BYTES // max(1, row_bytes))))

    def learn(self, count: int, size_bytes: int) -> None:
        """Take in what a reply had."""
        fitting = REPLY_BYTES * count // max(1, size_bytes)
        self.size = max(1, min(self.most, self.size * _GROWTH, fitting)) if count else self.size


class MilvusRows:
    """Rows of one collection as its Milvus gives them out; all is seen that was written before the first look."""

    def __init__(self, milvus: MilvusReader, collection: Collection) -> None:
        self._milvus = milvus
        self._ref = collection.ref
        self._schema = collection.schema
        self._key_pages = _Pages.of([self._schema.primary_field], MOST_KEYS)
        self._row_pages = _Pages.of([self._schema.primary_field, *self._schema.value_fields], MOST_ROWS)
        self._first_look_ts = 0

    @property
    def place(self) -> str:
        """Where the rows are read, for a person."""
        return f"{self._ref.short} at {self._milvus.uri}"

    @property
    def field_names(self) -> tuple[str, ...]:
        """Every field but the primary key, `$meta` last where the schema is dynamic."""
        return tuple(field.name for field in self._schema.value_fields)

    def keys(self, partition: str, *, after: Key | None = None) -> Iterator[Sequence[Key]]:
        """Pages of keys in ascending order, from behind `after` on, each once."""
        while page := self._next_keys(partition, after):
            yield page
            after = page[-1]

    def prints(self, partition: str, keys: Sequence[Key]) -> Mapping[Key, tuple[bytes, ...]]:
        """Fingerprints of the values of those of `keys` that are there."""
        return {key: tuple(map(print_of, row)) for page in self._pages(partition, keys) for key, row in page.items()}

    def values(self, partition: str, keys: Sequence[Key]) -> Mapping[Key, tuple[Value, ...]]:
        """The values themselves."""
        return {key: row for page in self._pages(partition, keys) for key, row in page.items()}

    def copies(self, partition: str, keys: Sequence[Key]) -> Mapping[Key, int]:
        """How often each of `keys` is there, by one count for each; once, as a server says that cannot count."""
        if not self._milvus.can_count:
            return dict.fromkeys(self.values(partition, keys), 1)
        name = self._schema.primary_field.name
        counts = {key: self._count(partition, filters.equals(name, key)) for key in keys}
        return {key: count for key, count in counts.items() if count}

    def count(self, partition: str, keys: Sequence[Key]) -> int:
        """How many rows have one of `keys`, by a count for some hundreds of them; see `copies`."""
        if not self._milvus.can_count:
            return sum(map(len, self._pages(partition, keys)))
        name, size = self._schema.primary_field.name, min(_COUNTED_KEYS, self._key_pages.size)
        parts = (keys[start : start + size] for start in range(0, len(keys), size))
        return sum(self._count(partition, filters.one_of(name, part)) for part in parts)

    def _next_keys(self, partition: str, after: Key | None) -> Sequence[Key]:
        page = self._milvus.query_keys(
            self._ref,
            self._schema,
            partition=_name(partition),
            after=after,
            limit=self._key_pages.size,
            at_least_ts=self._since(),
        )
        self._key_pages.learn(len(page), sum(map(_key_bytes, page)))
        return page

    def _pages(self, partition: str, keys: Sequence[Key]) -> Iterator[Mapping[Key, tuple[Value, ...]]]:
        start = 0
        while start < len(keys):
            wanted = keys[start : start + self._row_pages.size]
            page = self._milvus.query_rows(
                self._ref, self._schema, wanted, partition=_name(partition), at_least_ts=self._since()
            )
            self._row_pages.learn(len(page), sum(_key_bytes(key) + _row_bytes(row) for key, row in page.items()))
            yield page
            start += len(wanted)

    def _count(self, partition: str, where: str) -> int:
        return self._milvus.count_rows(self._ref, _name(partition), where, at_least_ts=self._since())

    def _since(self) -> int:
        """The time of the first look: to see all up to now, each query would wait for the server's next time tick."""
        self._first_look_ts = self._first_look_ts or self._milvus.allocate_timestamp()
        return self._first_look_ts


def _name(partition: str) -> str | None:
    return None if partition == WHOLE else partition


def _key_bytes(key: Key) -> int:
    return 8 if isinstance(key, int) else len(key.encode())


def _row_bytes(row: tuple[Value, ...]) -> int:
    return sum(len(value) for value in row if value is not None)
