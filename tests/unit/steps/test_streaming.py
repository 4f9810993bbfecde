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


class Bending(MemoryStore):
    """A store to which other bytes come than were sent, as many of them."""

    def write_stream(self, key: str, parts: Iterable[bytes], *, multipart: bool, part_size: int) -> str | None:
        """Turn the first byte over."""
        content = b"".join(parts)
        return super().write_stream(
            key, [bytes([content[0] ^ 1]), content[1:]], multipart=multipart, part_size=part_size
        )


def test_bent_bytes_are_deleted_again() -> None:
    origin, destination, clock = MemoryStore("one"), Bending("two"), FakeClock()
    origin.write("a/1", b"as it was")
    found = origin.find_object("a/1")
    assert found is not None
    assert found.etag is not None
    assert hashlib.md5(b"as it was", usedforsecurity=False).hexdigest() in found.etag
    streamer = Streamer(
        origin=origin,
        destination=destination,
        part_size=1024,
        multipart_threshold=1024,
        throttle=Throttle(None),
        clock=clock,
        pause=clock.sleep,
    )
    with pytest.raises(StoreUnavailable, match="holds other bytes of b/1"):
        streamer.send(found, "b/1", require=lambda _: None)
    assert destination.find_object("b/1") is None
