"""Whether rows lie where their partition key says: a row in another partition is not found by its key."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from migrator.model import filters
from migrator.model.collection import DataType
from migrator.model.difference import Difference, DifferenceKind, show_key
from migrator.model.rows import print_of, show
from migrator.steps.expectation import why_not_readable
from migrator.steps.verification import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from migrator.model.collection import Collection, CollectionRef, FieldSchema
    from migrator.model.rows import Key, Value
    from migrator.ports.milvus import MilvusReader
    from migrator.ports.rows import RowSource
    from migrator.steps.comparing_values import RowCheck
    from migrator.steps.verification import Depth

_QUERIES = {Level.SAMPLE: 1_000, Level.FULL: 20_000}
"""Asked of the target at most, by level: each is for one value of the partition key and a batch of rows."""

_FEW_KEYS = 100


def routing_check(
    target: MilvusReader, found: Collection, depth: Depth, *, source: MilvusReader | None, source_is: Collection | None
) -> Callable[[RowSource], RowCheck] | None:
    """Makes the check of a collection with a partition key; None for any other, and where no filter can name the key.

    Rows that the source, where it can be asked, does not find by their key either are no difference: Milvus 2.3.5 puts
    rows of an upsert into other partitions than an insert does.
    """
    field = next((each for each in found.schema.fields if each.is_partition_key), None)
    if field is None or not filters.can_name(field.name):
        return None
    asked = None
    if source is not None and source_is is not None and not why_not_readable(source, source_is):
        asked = (source, source_is.ref)
    return lambda rows: _Routing(target, found, rows, field, asked, _QUERIES.get(depth.level, 0))


@dataclass(slots=True)
class _Routing:
    """Asks the target for rows by the value of their partition key, value by value: it looks in one partition then."""

    target: MilvusReader
    found: Collection
    source: RowSource
    field: FieldSchema
    asked: tuple[MilvusReader, CollectionRef] | None
    """The live source."""
    queries_left: int

    def __call__(self, prints: Mapping[Key, tuple[bytes, ...]]) -> tuple[int, list[Difference]]:
        """How many rows were asked for, and those that were not found."""
        if self.field.name not in self.source.field_names:  # a difference of the schema
            return 0, []
        groups = dict(islice(self._by_value(prints).items(), self.queries_left))
        self.queries_left -= len(groups)
        at_least_ts = self.target.allocate_timestamp() if groups else 0
        values = self._values([keys[0] for keys in groups.values()], at_least_ts)
        looked_at, lost = 0, []
        for fingerprint, keys in groups.items():
            value = values.get(keys[0])
            if value is not None and print_of(value) == fingerprint:  # another value is told of elsewhere
                looked_at += len(keys)
                lost += self._lost(keys, value, at_least_ts)
        return looked_at, lost

    def _by_value(self, prints: Mapping[Key, tuple[bytes, ...]]) -> dict[bytes, list[Key]]:
        """The keys, those with one value of the partition key together."""
        place = self.source.field_names.index(self.field.name)
        groups: dict[bytes, list[Key]] = {}
        for key, each in prints.items():
            groups.setdefault(each[place], []).append(key)
        return groups

    def _values(self, keys: list[Key], at_least_ts: int) -> dict[Key, Value]:
        """The partition key's value at the target, of rows wherever they lie."""
        ref, schema = self.found.ref, self.found.schema
        place = [field.name for field in schema.value_fields].index(self.field.name)
        found: dict[Key, Value] = {}
        for start in range(0, len(keys), _FEW_KEYS):
            rows = self.target.query_rows(ref, schema, keys[start : start + _FEW_KEYS], at_least_ts=at_least_ts)
            found |= {key: values[place] for key, values in rows.items()}
        return found

    def _lost(self, keys: list[Key], value: bytes, at_least_ts: int) -> list[Difference]:
        number = int.from_bytes(value, "little", signed=True)
        scalar = value.decode() if self.field.data_type is DataType.VARCHAR else number
        where = filters.equals(self.field.name, scalar)
        ref, schema = self.found.ref, self.found.schema
        unseen: list[Key] = []
        for start in range(0, len(keys), _FEW_KEYS):
            part = keys[start : start + _FEW_KEYS]
            seen = self.target.query_rows(ref, schema, part, where=where, at_least_ts=at_least_ts)
            unseen += [key for key in part if key not in seen]
        there = self._values(unseen, at_least_ts)
        if self.asked is not None and unseen:
            milvus, source_ref = self.asked
            seen = milvus.query_rows(source_ref, schema, unseen, where=where)
            unseen = [key for key in unseen if key in seen]
        return [
            Difference(
                kind=DifferenceKind.ROUTING, key=show_key(key), field=self.field.name, source=show(self.field, value)
            )
            for key in unseen
            if there.get(key) == value
        ]
