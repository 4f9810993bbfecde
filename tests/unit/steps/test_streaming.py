"""What was bent on its way does not stay where it would be taken for whole."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from migrator.adapters.memory import MemoryStore
from migrator.errors import StoreUnavailable
from migrator.steps.streaming import Streamer
from migrator.steps.throttle import Throttle
from tests.support.builders import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    from migrator.model.segment import StoredObject


class Bending(MemoryStore):
    """A store to which other bytes come than were sent, as many of them, as long as it is to bend them."""

    is_bending = True

    def write_stream(self, key: str, parts: Iterable[Buffer], *, multipart: bool, part_size: int) -> str | None:
        """Turn the first byte over."""
        content = b"".join(parts)
        bent = [bytes([content[0] ^ self.is_bending]), content[1:]]
        return super().write_stream(key, bent, multipart=multipart, part_size=part_size)


class Encrypting(MemoryStore):
    """A store whose ETags look like an MD5, and are of something else."""

    def write_stream(self, key: str, parts: Iterable[Buffer], *, multipart: bool, part_size: int) -> str | None:
        """As it is, under an ETag of its own."""
        super().write_stream(key, parts, multipart=multipart, part_size=part_size)
        return f'"{"0" * 32}"'


def _streamer(origin: MemoryStore, destination: MemoryStore) -> Streamer:
    clock = FakeClock()
    return Streamer(
        origin=origin,
        destination=destination,
        part_size=1024,
        multipart_threshold=1024,
        throttle=Throttle(None),
        clock=clock,
        pause=clock.sleep,
    )


def _written(store: MemoryStore, key: str, content: bytes) -> StoredObject:
    store.write(key, content)
    found = store.find_object(key)
    assert found is not None
    assert found.etag is not None
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() in found.etag
    return found


def test_bent_bytes_are_deleted_again() -> None:
    origin, destination = MemoryStore("one"), Bending("two")
    found = _written(origin, "a/1", b"as it was")
    with pytest.raises(StoreUnavailable, match="holds other bytes of b/1"):
        _streamer(origin, destination).send(found, "b/1", require=lambda _: None)
    assert destination.find_object("b/1") is None


def test_bent_bytes_are_noticed_without_hashing() -> None:
    origin, destination = MemoryStore("one"), Bending("two")
    first, second = _written(origin, "a/1", b"as it was"), _written(origin, "a/2", b"as it was too")
    streamer, destination.is_bending = _streamer(origin, destination), False
    streamer.send(first, "b/1", require=lambda _: None)
    assert streamer.etags.are_md5
    destination.is_bending = True
    with pytest.raises(StoreUnavailable, match="holds other bytes of b/2"):
        streamer.send(second, "b/2", require=lambda _: None)
    assert destination.read("b/1") == b"as it was"
    assert destination.find_object("b/2") is None


def test_an_etag_that_is_no_md5_is_not_trusted_and_its_object_is_hashed() -> None:
    origin, destination = MemoryStore("one"), Encrypting("two")
    first, second = _written(origin, "a/1", b"as it was"), _written(origin, "a/2", b"as it was too")
    streamer = _streamer(origin, destination)
    streamer.send(first, "b/1", require=lambda _: None)
    assert not streamer.etags.are_md5
    streamer.etags.are_md5 = True  # as another object showed it
    streamer.send(second, "b/2", require=lambda _: None)
    assert destination.read("b/2") == b"as it was too"
    assert not streamer.etags.are_md5
