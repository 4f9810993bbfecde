"""What an import reads of its files, and what it refuses: D.3, D.4, E.6."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from tests.doubles import binlogs
from tests.doubles.state import ROW_ID, TIMESTAMP, Collection, Columns, FileEntry, Key, Message, Refusal
from tests.doubles.values import default_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.doubles.bucket import Bucket
    from tests.doubles.rules import Rules

IMPORT_FAILED = 2100
_FIELDS_OF_A_ROW = {ROW_ID: 5, TIMESTAMP: 5}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Hybrid timestamps, both inclusive (B.5)."""

    start: int = 0
    end: int = 2**64 - 1

    def hold(self, ts: int) -> bool:
        """Whether it lies between them."""
        return self.start <= ts <= self.end


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the files of one job."""

    bucket: Bucket
    rules: Rules
    collection: Collection
    storage_version: str
    bounds: Bounds

    def segment(self, entry: FileEntry) -> Columns:
        """Every row of a segment path that its bounds hold and no delete beside it has reached."""
        columns = self._columns(entry.paths[0])
        deletes = self._deletes(entry.paths[1]) if len(entry.paths) > 1 else {}
        return _select(columns, self._kept(columns, deletes))

    def l0(self, entry: FileEntry) -> list[tuple[Key, int]]:
        """The deletes below one prefix.

        Raises:
            Refusal: It holds more than one L0 segment, or not exactly one prefix (D.3.7).
        """
        if len(entry.paths) != 1:
            raise _failed(f"there should be one prefix, but got {entry.paths}")
        keys = sorted(self.bucket.list_all(entry.paths[0]))
        if len({posixpath.dirname(key) for key in keys}) > 1:
            raise _failed(f"the prefix {entry.paths[0]} holds more than one l0 segment")
        found = [pair for key in keys for pair in self.deletes_of(key)]
        if self.rules.has("l0_bounds"):  # B.5: before, all deletes of the segment apply
            found = [(key, ts) for key, ts in found if self.bounds.hold(ts)]
        return found

    # -- insert logs

    def _columns(self, path: str) -> Columns:
        files = {number: sorted(key for key, _ in found) for number, found in self._files(path).items()}
        self._verify(files)
        columns = self._read_v2(files) if self.storage_version == "2" else self._read_v1(files)
        self._check_values(columns)
        return self._filled(columns)

    def _files(self, path: str) -> dict[int, list[tuple[str, int]]]:
        """D.3.3: the parent directory of each key is its field, or its column group."""
        files: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for key, size in self.bucket.list_all(path).items():
            name = posixpath.basename(posixpath.dirname(key))
            try:
                files[int(name)].append((key, size))
            except ValueError as error:
                raise _failed(f'strconv.ParseInt: parsing "{name}": invalid syntax, file {key}') from error
        return dict(files)

    def _verify(self, files: dict[int, list[str]]) -> None:
        """D.3.5."""
        if self.storage_version == "3":
            raise _failed("no manifest was given: segments of storage version 3 cannot be read by prefix")
        first = files.get(0)
        if first is None:
            raise _failed("no binlog for field:RowID")
        for number, found in sorted(files.items()):
            if len(found) != len(first):
                raise _failed(f"misaligned binlog count, field{number}:{len(found)}, field0:{len(first)}")
        if self.storage_version == "2":
            self._verify_groups(files)
        else:
            self._verify_fields(files)

    def _verify_fields(self, files: dict[int, list[str]]) -> None:
        if TIMESTAMP not in files:
            raise _failed("no binlog for field:Timestamp")
        wholly_lost = self._wholly_lost(files)
        for field in self.collection.fields():
            if field.fieldID not in files and field.fieldID not in wholly_lost and not self._may_be_missing(field):
                raise _failed(f"no binlog for field:{field.name}")
        known = {field.fieldID for field in self.collection.fields()} | {ROW_ID, TIMESTAMP}
        if not self.rules.has("ignores_extra") and (extra := sorted(set(files) - known)):
            raise _failed(f"field not found[field={extra[0]}]")

    def _verify_groups(self, files: dict[int, list[str]]) -> None:
        for field in self.collection.fields():
            if field.data_type >= 100 and field.fieldID not in files:
                raise _failed(f"no binlog for field:{field.name}")

    def _wholly_lost(self, files: dict[int, list[str]]) -> set[int]:
        if not self.rules.has("lost_struct_allowed"):
            return set()
        structs = self.collection.schema.struct_array_fields
        return {
            sub.fieldID
            for struct in structs
            if getattr(struct, "nullable", False) and not any(sub.fieldID in files for sub in struct.fields)
            for sub in struct.fields
        }

    def _may_be_missing(self, field: Message) -> bool:
        if field.is_function_output or not self.rules.has("fills_missing"):
            return False
        return bool(field.is_dynamic or field.nullable or field.HasField("default_value"))

    def _read_v1(self, files: dict[int, list[str]]) -> Columns:
        types = _FIELDS_OF_A_ROW | {field.fieldID: field.data_type for field in self.collection.fields()}
        columns: Columns = {}
        for number, keys in files.items():
            if number not in types:
                continue
            columns[number] = []
            for key in keys:
                payload_type, values = binlogs.read_v1(self._read(key))
                if payload_type != types[number]:
                    raise _failed(f"field {number} is of type {types[number]}, its binlog {key} of {payload_type}")
                columns[number] += values
        return columns

    def _read_v2(self, files: dict[int, list[str]]) -> Columns:
        known = {field.fieldID for field in self.collection.fields()} | {ROW_ID, TIMESTAMP}
        columns: Columns = defaultdict(list)
        for keys in files.values():
            for key in keys:
                for number, values in binlogs.read_v2(self._read(key)).items():
                    if number in known:
                        columns[number] += values
        missing = [
            field.name
            for field in self.collection.fields()
            if field.fieldID not in columns and not self._may_be_missing(field)
        ]
        if missing:
            raise _failed(f"no binlog for field:{missing[0]}")
        return dict(columns)

    def _check_values(self, columns: Columns) -> None:
        rows = len(columns[TIMESTAMP])
        for field in self.collection.fields():
            values = columns.get(field.fieldID)
            if values is None:
                continue
            if len(values) != rows:
                raise _failed(f"field {field.name} has {len(values)} rows, the timestamps {rows}")
            length = binlogs.vector_length(field)
            for value in values:
                if value is None:
                    if not field.nullable:
                        raise _failed(f"field {field.name} is not nullable, and a NULL is in its binlog")
                elif length is not None and len(value) != length:
                    raise _failed(f"field {field.name} has {length} bytes per vector, its binlog {len(value)}")

    def _filled(self, columns: Columns) -> Columns:
        rows = len(columns[TIMESTAMP])
        for field in self.collection.fields():
            if field.fieldID not in columns:
                columns[field.fieldID] = [default_of(field)] * rows
        return columns

    # -- deletes and bounds

    def _deletes(self, path: str) -> dict[Key, int]:
        """D.3.4: all files below, the newest of each key; the bounds hold for them too."""
        newest: dict[Key, int] = {}
        for log in self.bucket.list_all(path):
            for key, ts in self.deletes_of(log):
                if self.bounds.hold(ts):
                    newest[key] = max(ts, newest.get(key, 0))
        return newest

    def _kept(self, columns: Columns, deletes: dict[Key, int]) -> list[int]:
        keys = columns[self.collection.key_field.fieldID]
        return [
            row
            for row, ts in enumerate(columns[TIMESTAMP])
            if self.bounds.hold(ts) and not deletes.get(keys[row], 0) > ts
        ]

    def deletes_of(self, key: str) -> list[tuple[Key, int]]:
        """What one delta log holds."""
        return binlogs.read_deltas(self._read(key), plain_too=self.rules.has("reads_plain_deltas"))

    def _read(self, key: str) -> bytes:
        try:
            return self.bucket.read(key)
        except ClientError as error:
            raise _failed(f"the specified key does not exist, key {key}") from error


def _select(columns: Columns, rows: Sequence[int]) -> Columns:
    return {number: [values[row] for row in rows] for number, values in columns.items()}


def _failed(reason: str) -> Refusal:
    return Refusal(f"{reason}: importing data failed", code=IMPORT_FAILED)


def expand(bucket: Bucket, entry: list[str]) -> list[FileEntry]:
    """The segments that one entry of a request means: one level below its prefixes, paired by name (D.3.1).

    Raises:
        Refusal: It has no path, or more than two.
    """
    if not entry or not entry[0]:
        raise _failed("no insert binlogs to import: the path is empty")
    if len(entry) > 2:
        raise _failed(f"too many input paths for binlog import. paths:{entry}")
    segments = [FileEntry([found]) for found in bucket.list_level(entry[0])]
    if len(entry) == 2:
        deltas = {_name(found): found for found in bucket.list_level(entry[1])}  # D.3.6: "" is the whole bucket's root
        for segment in segments:
            if found := deltas.get(_name(segment.paths[0])):
                segment.paths.append(found)
    return segments


def _name(path: str) -> str:
    return posixpath.basename(path.rstrip("/"))


def text_of(entry: FileEntry) -> str:
    """As Go prints a list: E.3, `fileName`."""
    return f"[{' '.join(entry.paths)}]"


def sizes(bucket: Bucket, entries: Sequence[FileEntry]) -> Any:  # noqa: ANN401 - a sum of integers
    """Bytes of all files of a job."""
    return sum(size for entry in entries for path in entry.paths for size in bucket.list_all(path).values())
