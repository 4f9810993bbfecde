"""A store that bears only so much: copies go on, fewer at a time, and none is lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from migrator.adapters.objects import ObstoreStore, StoreEndpoint
from migrator.running.clock import SystemClock
from migrator.steps.allowance import Allowance
from migrator.steps.flight import Flight
from tests.support.builders import Pair, a_context
from tests.support.recorder import Reply, Request, recording

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEARS = 6
LASTS_S = 0.02
KEY, SECRET = "a-key", "a-secret"
COPIED = b'<?xml version="1.0"?><CopyObjectResult><ETag>"a"</ETag></CopyObjectResult>'
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>reduce your request rate</Message></Error>"


class BusyStore:
    """Copies what it is asked to, and says no as soon as there are more requests inside than it bears."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._inside = 0
        self.copied: list[str] = []
        self.refused = 0

    def answer(self, request: Request) -> Reply:
        """One request."""
        with self._guard:
            self._inside += 1
            is_too_much = self._inside > BEARS
        time.sleep(0 if is_too_much else LASTS_S)
        with self._guard:
            self._inside -= 1
            if is_too_much:
                self.refused += 1
                return Reply(status=503, body=SLOW_DOWN)
            self.copied.append(request.path)
            return Reply(body=COPIED)


@contextmanager
def opened(store: BusyStore) -> Iterator[ObstoreStore]:
    with recording(store.answer) as recorder:
        yield ObstoreStore(
            StoreEndpoint(
                plan_field="staging.storage",
                provider="minio",
                endpoint=recorder.url,
                bucket="b",
                region="us-east-1",
                credentials="static",
                access_key_id=KEY,
                secret_access_key=SECRET,
                patience_s=20,
            )
        )


def test_copies_adapt_to_a_store_that_says_slow_down(tmp_path: Path) -> None:
    busy, copies = BusyStore(), Allowance(32)
    keys = [f"a/{number}" for number in range(300)]
    with (
        opened(busy) as store,
        a_context(Pair(), tmp_path) as ctx,
        ThreadPoolExecutor(32) as workers,
        copies.join() as share,
    ):
        flight: Flight[str] = Flight(
            ctx=replace(ctx, clock=SystemClock(), workers=workers),
            share=share,
            carry=lambda key: store.copy_inside(key, f"to/{key}"),
            most=32,
        )
        arrived = [key for group in flight.arrivals(iter(keys)) for key in group]
    assert sorted(arrived) == sorted(keys)
    assert sorted(set(busy.copied)) == sorted(f"/b/to/{key}" for key in keys)
    assert copies.limit < 32, "it has learned what the store bears"
    assert busy.refused > 0
