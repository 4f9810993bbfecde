"""Kinds of index by type of field and by line of Milvus: what a target can build, and what it cannot any more.

2.3's are tested on a real server, whose own checks let others pass that it cannot build. Of later lines they are read
in the checks of the servers' source and in its manual; with which patch a kind came was not looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.model.capabilities import LINES, parse_version
from migrator.model.collection import AUTOINDEX, DataType
from migrator.planning.compatibility import OLDEST_TARGET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.capabilities import Line

_FLOAT = ("L2", "IP", "COSINE")
_BINARY = ("HAMMING", "JACCARD")
_HALF = (DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR)
_WHOLE = (DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64)
_NUMBERS = (*_WHOLE, DataType.FLOAT, DataType.DOUBLE)
_FLOAT_KINDS = (AUTOINDEX, "FLAT", "IVF_FLAT", "IVF_SQ8", "IVF_PQ", "HNSW", "SCANN", "DISKANN")
_PATH = ("json_path", "json_cast_type")
_OPEN_TYPES = frozenset({DataType.INT8_VECTOR, DataType.ARRAY_OF_VECTOR, DataType.TIMESTAMPTZ, DataType.TEXT})
"""Types of which not all kinds are known here: the server decides."""


@dataclass(frozen=True, slots=True)
class _Kinds:
    """From line `since` on, and before `until`, these kinds are built on these types, of vectors by these metrics."""

    since: Line
    names: tuple[str, ...]
    types: tuple[DataType, ...]
    metrics: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Parameters without which they are refused."""
    until: Line | None = None

    def is_of(self, line: Line) -> bool:
        return self.since <= line and (self.until is None or line < self.until)


_TABLE = (
    _Kinds((2, 3), (*_FLOAT_KINDS, "GPU_IVF_FLAT", "GPU_IVF_PQ"), (DataType.FLOAT_VECTOR,), _FLOAT),
    _Kinds((2, 3), (AUTOINDEX, "BIN_IVF_FLAT", "HNSW"), (DataType.BINARY_VECTOR,), _BINARY),
    _Kinds((2, 3), ("BIN_FLAT",), (DataType.BINARY_VECTOR,), (*_BINARY, "SUBSTRUCTURE", "SUPERSTRUCTURE")),
    _Kinds((2, 3), ("STL_SORT",), _NUMBERS),
    _Kinds((2, 3), ("Trie",), (DataType.VARCHAR,)),
    _Kinds((2, 4), _FLOAT_KINDS, _HALF, _FLOAT),
    _Kinds((2, 4), ("GPU_CAGRA", "GPU_BRUTE_FORCE"), (DataType.FLOAT_VECTOR,), _FLOAT),
    _Kinds((2, 4), (AUTOINDEX, "SPARSE_INVERTED_INDEX", "SPARSE_WAND"), (DataType.SPARSE_FLOAT_VECTOR,), ("IP",)),
    _Kinds((2, 4), ("INVERTED",), (*_NUMBERS, DataType.BOOL, DataType.VARCHAR, DataType.ARRAY)),
    _Kinds((2, 4), (AUTOINDEX,), (*_NUMBERS, DataType.BOOL, DataType.VARCHAR, DataType.ARRAY)),
    _Kinds((2, 5), ("HNSW_SQ", "HNSW_PQ", "HNSW_PRQ"), (DataType.FLOAT_VECTOR, *_HALF), _FLOAT),
    _Kinds((2, 5), (AUTOINDEX, "SPARSE_INVERTED_INDEX", "SPARSE_WAND"), (DataType.SPARSE_FLOAT_VECTOR,), ("BM25",)),
    _Kinds((2, 5), ("BITMAP", "HYBRID"), (*_WHOLE, DataType.BOOL, DataType.VARCHAR, DataType.ARRAY)),
    _Kinds((2, 5), ("INVERTED", AUTOINDEX), (DataType.JSON,), needs=_PATH),
    _Kinds((2, 6), ("IVF_RABITQ",), (DataType.FLOAT_VECTOR, *_HALF), _FLOAT),
    _Kinds((2, 6), ("HNSW", AUTOINDEX), (DataType.INT8_VECTOR,), _FLOAT),
    _Kinds((2, 6), ("MINHASH_LSH",), (DataType.BINARY_VECTOR,), ("MHJACCARD",)),
    _Kinds((2, 6), ("NGRAM",), (DataType.VARCHAR,), needs=("min_gram", "max_gram")),
    _Kinds((2, 6), ("NGRAM",), (DataType.JSON,), needs=("min_gram", "max_gram", *_PATH)),
    _Kinds((2, 6), ("RTREE", AUTOINDEX), (DataType.GEOMETRY,)),
    _Kinds((2, 6), ("STL_SORT",), (DataType.VARCHAR,)),
    _Kinds((3, 0), ("BITMAP", "STL_SORT"), (DataType.JSON,), needs=_PATH),
    # what sources of 2.2 may have, and no target takes
    _Kinds((2, 2), ("ANNOY",), (DataType.FLOAT_VECTOR,), ("L2", "IP"), until=(2, 3)),
    _Kinds((2, 2), ("BIN_FLAT", "BIN_IVF_FLAT"), (DataType.BINARY_VECTOR,), ("TANIMOTO",), until=(2, 3)),
)
_BY_DEFAULT_FROM = (2, 5)
"""From here on the servers have a value of their own for what vectors' kinds needed before."""
_NEEDED_BEFORE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("IVF_FLAT", "IVF_SQ8", "SCANN", "BIN_IVF_FLAT", "GPU_IVF_FLAT"), ("nlist",)),
    **dict.fromkeys(("IVF_PQ", "GPU_IVF_PQ"), ("nlist", "m")),
    "HNSW": ("M", "efConstruction"),
}


def line_of(version: str) -> Line:
    """The line of a target; older ones than there are count as the oldest, what cannot be read as the newest."""
    parsed = parse_version(version)
    return max(parsed[:2], OLDEST_TARGET[:2]) if parsed else LINES[-1]


def kinds_of(data_type: DataType, line: Line) -> dict[str, tuple[str, ...]]:
    """The kinds that a server of that line builds on that type, each with its metrics, none for what is no vector."""
    found: dict[str, tuple[str, ...]] = {}
    for row in _rows(data_type):
        if row.is_of(line):
            found |= {name: (*found.get(name, ()), *row.metrics) for name in row.names}
    return found


def is_decided_by_server(data_type: DataType, kind: str, line: Line) -> bool:
    """Whether nothing is known here of a kind, so that it may well exist."""
    is_named = any(kind in row.names for row in _TABLE)
    return data_type in _OPEN_TYPES or (line == LINES[-1] and not is_named)


def needed_params(data_type: DataType, kind: str, line: Line) -> tuple[str, ...]:
    """The parameters without which a server of that line refuses the kind."""
    if line < _BY_DEFAULT_FROM and kind in _NEEDED_BEFORE:
        return _NEEDED_BEFORE[kind]
    return next((row.needs for row in _rows(data_type) if row.is_of(line) and kind in row.names and row.needs), ())


def why_not(data_type: DataType, kind: str, metric: str, line: Line) -> str:
    """Why a target of that line cannot build what a source has, or an empty text where it can, or nobody knows here."""
    rows = [row for row in _rows(data_type) if kind in row.names and (not row.metrics or metric in row.metrics)]
    if not rows or any(row.is_of(line) for row in rows):
        return ""
    later = [row.since for row in rows if row.since > line]
    if later:
        return "comes with Milvus {}.{}".format(*min(later))
    return "is gone since Milvus {}.{}".format(*max(row.until for row in rows if row.until))


def _rows(data_type: DataType) -> Iterator[_Kinds]:
    return (row for row in _TABLE if data_type in row.types)
