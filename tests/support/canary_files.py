"""The canary's segment, made anew: `python -m tests.support.canary_files` writes the files that the package ships."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pyarrow as pa

from migrator.model.collection import DataType
from migrator.model.segment import LogKind
from migrator.running import canary
from tests.support.binlog_files import a_binlog_file, a_parquet

WRITTEN_TS = 1_577_836_800_000 << 18
"""The row is from 2020: older than any target's clock."""
KEY = 7
VECTOR = struct.pack("<2f", 1.0, 2.0)

COLUMNS: dict[int, tuple[DataType, list[Any], Any]] = {
    0: (DataType.INT64, [1], pa.int64()),
    1: (DataType.INT64, [WRITTEN_TS], pa.int64()),
    100: (DataType.INT64, [KEY], pa.int64()),
    101: (DataType.FLOAT_VECTOR, [VECTOR], pa.binary(8)),
}
"""By field id: RowID, Timestamp, the key, the vector."""


def files() -> dict[str, bytes]:
    """A binlog for each field, by the field's id."""
    return {
        str(field_id): a_binlog_file(LogKind.INSERT, int(data_type), a_parquet(values, arrow_type))
        for field_id, (data_type, values, arrow_type) in COLUMNS.items()
    }


if __name__ == "__main__":
    for name, content in files().items():
        (Path(canary.__file__).parent / canary.SEGMENT_FOLDER / name).write_bytes(content)
