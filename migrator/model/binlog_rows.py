"""How many rows a binlog holds, told by its frame alone: no value is read, and no Parquet library is needed.

A binlog (Milvus storage v1) is a magic number, a descriptor event, and data events; each data event ends with a Parquet
file, whose footer counts the rows. In storage v2 it is a Parquet file and nothing else.
"""

from __future__ import annotations

import struct
from typing import Final

_MAGIC: Final = 0xFFFABC
_HEADER: Final = struct.Struct("<qbii")
"""Of an event: timestamp, type, length of the event, position of the next."""
_DESCRIPTOR: Final = 0
_TIMES_BYTES: Final = 16
"""Start and end timestamp, before the Parquet file of a data event."""
_PARQUET: Final = b"PAR1"
_NUM_ROWS: Final = 3
"""The member of Parquet's FileMetaData."""


class NoBinlog(ValueError):
    """The bytes are no binlog, or not a whole one."""


def count_rows(content: bytes) -> int:
    """The rows of an insert log, or the deletes of a delta log.

    Raises:
        NoBinlog: They cannot be told.
    """
    try:
        if content.startswith(_PARQUET):  # storage v2 has no frame
            return _parquet_rows(content)
        return sum(_parquet_rows(part) for part in _payloads(content))
    except (struct.error, IndexError) as error:
        raise NoBinlog(str(error)) from None


def _payloads(content: bytes) -> list[bytes]:
    if struct.unpack_from("<i", content)[0] != _MAGIC:
        raise NoBinlog("no magic number")
    position, found = 4, []
    while position < len(content):
        _, kind, length, following = _HEADER.unpack_from(content, position)
        if following != position + length or length < _HEADER.size or following > len(content):
            raise NoBinlog("an event is cut off")
        if kind != _DESCRIPTOR:
            found.append(content[position + _HEADER.size + _TIMES_BYTES : following])
        position = following
    return found


def _parquet_rows(parquet: bytes) -> int:
    if not parquet.endswith(_PARQUET):
        raise NoBinlog("an event holds no Parquet file")
    (length,) = struct.unpack_from("<i", parquet, len(parquet) - 8)
    return _Thrift(parquet[len(parquet) - 8 - length : -8]).member(_NUM_ROWS)


class _Thrift:
    """Just enough of Thrift's compact protocol to skip to one number of a struct."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def member(self, wanted: int) -> int:
        """The whole number that is member `wanted` of the struct."""
        number = 0
        while head := self._byte():
            number = self._number_after(number, head)
            if number == wanted:
                return self._signed()
            self._skip(head & 0x0F)
        raise NoBinlog("the Parquet footer counts no rows")

    def _number_after(self, number: int, head: int) -> int:
        return number + (head >> 4) if head >> 4 else self._signed()

    def _byte(self) -> int:
        self._at += 1
        return self._content[self._at - 1]

    def _unsigned(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, kind: int) -> None:
        if kind in {3, 7}:  # a byte, a double
            self._at += 1 if kind == 3 else 8
        elif kind in {4, 5, 6}:  # whole numbers
            self._unsigned()
        elif kind == 8:  # bytes
            length = self._unsigned()  # by itself: it moves the position too
            self._at += length
        elif kind in {9, 10}:  # a list, a set
            self._skip_list()
        elif kind == 12:  # a struct
            number = 0
            while head := self._byte():
                number = self._number_after(number, head)
                self._skip(head & 0x0F)
        elif kind not in {1, 2}:  # truth values have no bytes
            raise NoBinlog("the Parquet footer has a member of a kind that it should not have")

    def _skip_list(self) -> None:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._unsigned()
        for _ in range(count):
            if head & 0x0F in {1, 2}:  # truth values in a list have one each
                self._at += 1
            else:
                self._skip(head & 0x0F)
