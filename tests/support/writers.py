"""Applications that write to a source all the while, and what of it a clean cut must have brought."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.portraits import Portrait

DIMENSION = 8
_KEYS_AT_ONCE = 6
_FEW_KEYS = 400


@dataclass(frozen=True, slots=True)
class Kind:
    """What a collection is like."""

    name: str
    shards: int = 1
    words: bool = False
    """Its primary key is a varchar."""
    partitions: tuple[str, ...] = ("_default",)
    """Where rows go, by their keys; `_default` is there anyway."""

    @property
    def key_field(self) -> str:
        """The primary field."""
        return "word" if self.words else "id"

    def key(self, number: int) -> int | str:
        """The primary key of that number."""
        return f"w-{number:09d}" if self.words else number

    def partition(self, number: int) -> str:
        """Where the row of that number is."""
        return self.partitions[number % len(self.partitions)]


@dataclass(frozen=True, slots=True)
class Operation:
    """One write of one application; `rows` is None for a deletion. The server tells no time of deletions."""

    numbers: tuple[int, ...]
    rows: tuple[dict[str, Any], ...] | None
    ts: int | None


@dataclass(slots=True)
class Writer:
    """One application that does one write after the other, to keys nobody else writes to: `log` is the truth."""

    uri: str
    kind: Kind
    which: int
    log: list[Operation] = field(default_factory=list)
    error: Exception | None = None
    _alive: set[int] = field(default_factory=set)
    _random: np.random.Generator = field(init=False)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        """The same keys in the same order each time."""
        self._random = np.random.default_rng(self.which)

    def start(self) -> None:
        """As fast as it can, until `end`."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """End after the write at hand."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(60)
        if self.error is not None:
            raise self.error

    def write(self, operations: int) -> None:
        """So many writes, and then no more."""
        with connected(self.uri) as client:
            while len(self.log) < operations:
                self._write(client._get_connection())

    def _run(self) -> None:
        try:
            with connected(self.uri) as client:
                while not self._ended.is_set():
                    self._write(client._get_connection())
        except Exception as error:  # noqa: BLE001 - told to who ends it
            self.error = error

    def _write(self, connection: Any) -> None:  # noqa: ANN401 - pymilvus has no types
        """Insert, replace or delete a few keys, old and new ones."""
        random = self._random
        turn = int(random.integers(len(self.kind.partitions)))
        mine = [n for n in self._keys(random) if n % len(self.kind.partitions) == turn]
        dead = [n for n in mine if n not in self._alive]
        alive = [n for n in mine if n in self._alive]
        partition = self.kind.partition(turn)
        choice = random.random()
        if dead and choice < 0.4:
            self._put(connection.insert_rows, dead, partition, random)
            self._alive.update(dead)
        elif alive and choice < 0.85:
            self._put(connection.upsert_rows, alive, partition, random)
        elif alive:
            keys = [self.kind.key(number) for number in alive]
            connection.delete(self.kind.name, f"{self.kind.key_field} in {keys}", partition)
            self.log.append(Operation(tuple(alive), None, None))
            self._alive.difference_update(alive)

    def _keys(self, random: np.random.Generator) -> list[int]:
        """Some from a few that are written again and again, and some from as many as there are writes."""
        few = random.integers(0, _FEW_KEYS, _KEYS_AT_ONCE)
        many = random.integers(_FEW_KEYS, _FEW_KEYS + 3 * len(self.log) + 3, _KEYS_AT_ONCE)
        return sorted({int(n) + self.which * 10_000_000 for n in (*few, *many)})

    def _put(self, call: Any, numbers: list[int], partition: str, random: np.random.Generator) -> None:  # noqa: ANN401 - as above
        vectors = random.standard_normal((len(numbers), DIMENSION), dtype=np.float32).tolist()
        rows = tuple(
            {
                self.kind.key_field: self.kind.key(number),
                "version": len(self.log),
                "text": f"{number} as of {len(self.log)}",
                "vector": vector,
                "beyond": {"the schema": number},
            }
            for number, vector in zip(numbers, vectors, strict=True)
        )
        done = call(self.kind.name, list(rows), partition_name=partition)
        self.log.append(Operation(tuple(numbers), rows, done.timestamp))


def create(uri: str, kind: Kind) -> None:
    """An empty collection of that kind, loaded."""
    from pymilvus import DataType  # noqa: PLC0415 - slow to import

    with connected(uri) as client:
        schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
        if kind.words:
            schema.add_field("word", DataType.VARCHAR, is_primary=True, max_length=20)
        else:
            schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("version", DataType.INT64)
        schema.add_field("text", DataType.VARCHAR, max_length=60)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIMENSION)
        client.create_collection(kind.name, schema=schema, num_shards=kind.shards)
        for partition in set(kind.partitions) - {"_default"}:
            client.create_partition(kind.name, partition)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        client.create_index(kind.name, index)
        client.load_collection(kind.name)


def assert_cut(writers: Sequence[Writer], at_least: Sequence[int], found: Portrait) -> list[range]:
    """Hold a target against the logs of all who wrote to its source.

    There has to be a moment such that the target holds just what was written up to it: for each writer the state
    after its first k writes, k at least what it had been told was done when the run began; and across writers no write
    that came along is later than one that did not.

    Returns:
        The possible k by writer.
    """
    kind = writers[0].kind
    rows = {key: plain(row) for key, row in found.rows.items()}
    assert found.count == len(rows), "a row is there twice"
    ours = {kind.key(n) for writer in writers for operation in writer.log for n in operation.numbers}
    assert rows.keys() <= ours, "a row that nobody wrote"
    for name, keys in found.partitions.items():
        assert all(kind.partition(_number(key)) == name for key in keys), f"rows in the wrong partition {name}"
    cuts = [_possible_cuts(writer, rows) for writer in writers]
    latest, earliest = 0, 1 << 63
    for writer, cut, least in zip(writers, cuts, at_least, strict=True):
        assert cut.stop > least, f"writer {writer.which}: {least} writes were done before, and {cut} are there"
        latest = max(latest, *(operation.ts or 0 for operation in writer.log[: cut.start]), 0)
        earliest = min(earliest, *(operation.ts or 1 << 63 for operation in writer.log[cut.stop - 1 :]), 1 << 63)
    assert latest < earliest, f"a write of {latest} came along, and one of {earliest} did not"
    return cuts


def _possible_cuts(writer: Writer, rows: dict[Any, dict[str, Any]]) -> range:
    """Every k for which the state after the first k writes equals what is there."""
    history: dict[int, list[tuple[int, dict[str, Any] | None]]] = {}
    for index, operation in enumerate(writer.log):
        for place, number in enumerate(operation.numbers):
            row = None if operation.rows is None else operation.rows[place]
            history.setdefault(number, [(0, None)]).append((index + 1, row))
    others = np.zeros(len(writer.log) + 2, dtype=np.int64)  # how many keys are otherwise than there, by differences
    for number, versions in history.items():
        there = rows.get(writer.kind.key(number))
        ends = [begin for begin, _ in versions[1:]] + [len(writer.log) + 1]
        assert any(row == there for _, row in versions), f"nobody ever wrote {there} to key {number}"
        for (begin, row), end in zip(versions, ends, strict=True):
            if row != there:
                others[begin] += 1
                others[end] -= 1
    differing = np.cumsum(others)[:-1]
    possible = np.flatnonzero(differing == 0).tolist()
    assert possible, (
        f"writer {writer.which} of {writer.kind.name}: no moment fits; "
        f"after {differing.argmin()} writes only {differing.min()} keys differ"
    )
    return range(possible[0], possible[-1] + 1)


def _number(key: int | str) -> int:
    return int(key.removeprefix("w-")) if isinstance(key, str) else key


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it was written."""
    return {**row, "vector": [float(value) for value in row["vector"]]}
