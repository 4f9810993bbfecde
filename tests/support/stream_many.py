"""Streams one file many times at once, as a run does, and tells how much memory that took.

As a program, with a JSON document on standard input: `python -m tests.support.stream_many`. It prints bytes.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from migrator.running.clock import SystemClock
from migrator.steps.streaming import Streamer
from migrator.steps.throttle import Throttle
from tests.support.services.depot import LOCAL, Depot


def main(order: dict[str, Any]) -> None:
    """Stream `file` to `count` keys by as many workers."""
    clock, origin = SystemClock(), LOCAL.open()
    streamer = Streamer(
        origin=origin,
        destination=Depot(**order["depot"]).open(),
        part_size=order["part_bytes"],
        multipart_threshold=order["part_bytes"],
        throttle=Throttle(buffered_bytes=order["buffered_bytes"]),
        clock=clock,
        pause=clock.sleep,
    )
    found = origin.find_object(order["file"].lstrip("/"))
    assert found is not None
    send = partial(streamer.send, found, require=lambda _: None)
    send("once")  # what is imported and opened for the first one, is not the streams'
    before = _peak_bytes()
    with ThreadPoolExecutor(order["count"]) as pool:
        list(pool.map(send, map(str, range(order["count"]))))
    sys.stdout.write(str(_peak_bytes() - before))


def _peak_bytes() -> int:
    """Of this program alone: what `getrusage` tells begins with its parent's."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(json.load(sys.stdin))
