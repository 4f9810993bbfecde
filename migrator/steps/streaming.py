"""An object read here and written there, through this machine; bytes that a network bent on the way are noticed."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migrator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Buffer

    from migrator.model.segment import StoredObject
    from migrator.ports.clock import Clock
    from migrator.ports.store import Fetched, ObjectReader, ObjectStore
    from migrator.steps.throttle import Throttle

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
"""An ETag of this form is the content's MD5 at most stores; at some, or encrypted, it is not."""
PARTS_AT_ONCE = 3
"""Of one object, on their way side by side."""
_PARTS_HELD = PARTS_AT_ONCE + 1
"""Of a stream in parts, in memory at a time: those that are sent, one that is filled."""
_SMALLEST_PART_BYTES = 8 * 1024**2
_MOST_PARTS = 9_000
"""S3 takes 10,000."""


@dataclass(slots=True)
class EtagEvidence:
    """Whether an object's ETags at origin and destination are its MD5, as the last one showed that was hashed.

    Where they are, two equal ones prove a copy, and nothing has to be hashed here: that took more of the processor than
    all the rest of a stream.
    """

    are_md5: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamer:
    """Streams objects from one store to another within the limits of the run.

    `part_size` and `multipart_threshold` are bytes. `pause` waits so many seconds, and raises once nobody wants the
    stream any more; it is asked at every piece. `etags` is what all streams between the two stores have seen.
    """

    origin: ObjectReader
    destination: ObjectStore
    part_size: int
    multipart_threshold: int
    throttle: Throttle
    clock: Clock
    pause: Callable[[float], None]
    etags: EtagEvidence = field(default_factory=EtagEvidence)

    def send(self, listed: StoredObject, key: str, *, require: Callable[[StoredObject], None]) -> None:
        """Bring the object `listed` to `key`, if it is what `require` lets pass, which is told what is read.

        Raises:
            StoreUnavailable: Bytes were lost or bent on the way: it is worth another try.
            ObjectMissing: It is not there to be read.
        """
        in_parts = listed.size_bytes >= min(self.multipart_threshold, self.part_size)
        part_size = _fitting(listed.size_bytes, self.part_size)
        held_bytes = min(listed.size_bytes, _PARTS_HELD * part_size) if in_parts else listed.size_bytes
        with self.throttle.stream(held_bytes, pause=self.pause):
            fetched = self._fetch(listed.key, require)
            try:
                if not self._send(fetched, key, part_size if in_parts else None):
                    self._send(self._fetch(listed.key, require), key, None, is_hashed=True)
            except StoreUnavailable:
                self.destination.delete([key])  # by its size alone nobody would take it for a wrong one
                raise

    def _fetch(self, origin_key: str, require: Callable[[StoredObject], None]) -> Fetched:
        fetched = self.origin.fetch(origin_key, part_size=self.throttle.piece_bytes)
        require(fetched.found)
        return fetched

    def _send(self, fetched: Fetched, key: str, part_size: int | None, *, is_hashed: bool = False) -> bool:
        """Whether it is known to have arrived, in parts of that size or as a whole; False is to be hashed."""
        found, is_whole = fetched.found, part_size is None
        is_hashed = is_hashed or not (is_whole and self.etags.are_md5 and _MD5.fullmatch(found.etag or ""))
        read = _Passing(self._paced(fetched.parts), is_hashed=is_hashed)
        etag = self.destination.write_stream(key, read, multipart=not is_whole, part_size=part_size or self.part_size)
        if read.size_bytes != found.size_bytes:
            raise StoreUnavailable(
                f"{self.origin.place} sent {read.size_bytes:,} of {found.size_bytes:,} bytes of {found.key}"
            )
        if not is_hashed:
            self.etags.are_md5 = _are_same_md5(found.etag, etag)
            return self.etags.are_md5
        if _may_differ(found.etag, read) and read.md5 != _md5_of(self._read(self.origin, found.key)):
            raise StoreUnavailable(f"{self.origin.place} sent other bytes of {found.key} when asked again")
        if not _is_md5(etag, read):  # whoever answers with the content's MD5 holds just that
            self._require_arrived(key, read)
        if is_whole and _MD5.fullmatch(found.etag or ""):
            self.etags.are_md5 = _is_md5(found.etag, read) and _is_md5(etag, read)
        return True

    def _read(self, store: ObjectReader, key: str) -> Iterator[Buffer]:
        return self._paced(store.stream(key, part_size=self.throttle.piece_bytes))

    def _paced(self, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
        for piece in pieces:
            self.pause(0)
            self.throttle.take(memoryview(piece).nbytes, now=self.clock.monotonic(), pause=self.pause)
            yield piece

    def _require_arrived(self, key: str, sent: _Passing) -> None:
        arrived = self.destination.find_object(key)
        if arrived is None or arrived.size_bytes != sent.size_bytes:
            raise StoreUnavailable(f"{self.destination.place} does not hold {key} as it was written")
        if _may_differ(arrived.etag, sent) and sent.md5 != _md5_of(self._read(self.destination, key)):
            raise StoreUnavailable(f"{self.destination.place} holds other bytes of {key} than were written")


class _Passing:
    """Pieces that pass by, with their length and, where they are hashed, their MD5."""

    def __init__(self, pieces: Iterable[Buffer], *, is_hashed: bool = True) -> None:
        self._pieces = pieces
        self._md5 = hashlib.md5(usedforsecurity=False) if is_hashed else None
        self.size_bytes = 0

    def __iter__(self) -> Iterator[Buffer]:
        for piece in self._pieces:
            if self._md5 is not None:
                self._md5.update(piece)
            self.size_bytes += memoryview(piece).nbytes
            yield piece

    @property
    def md5(self) -> str | None:
        """In hex, of what has passed so far; None where nothing is hashed."""
        return self._md5.hexdigest() if self._md5 is not None else None


def _md5_of(pieces: Iterable[Buffer]) -> str | None:
    hashed = _Passing(pieces)
    for _ in hashed:
        pass
    return hashed.md5


def _are_same_md5(listed: str | None, written: str | None) -> bool:
    one, other = _MD5.fullmatch(listed or ""), _MD5.fullmatch(written or "")
    return one is not None and other is not None and one[1] == other[1]


def _may_differ(etag: str | None, content: _Passing) -> bool:
    """Whether the ETag looks like an MD5 and is not the content's: bent bytes, or a store with ETags of its own."""
    return _MD5.fullmatch(etag or "") is not None and not _is_md5(etag, content)


def _is_md5(etag: str | None, content: _Passing) -> bool:
    found = _MD5.fullmatch(etag or "")
    return found is not None and found[1] == content.md5


def _fitting(size_bytes: int, part_size: int) -> int:
    """Parts no larger than `part_size`, and no larger than they have to be: what is held in memory is theirs."""
    return min(part_size, max(_SMALLEST_PART_BYTES, -(-size_bytes // _MOST_PARTS)))
