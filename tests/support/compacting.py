"""The command line, with a source that is compacted at one moment of the run: `python -m tests.support.compacting`.

`COMPACT_BEFORE` names the moment: `list_segments`, `copy_inside` or `start_import`, before its first call;
`COMPACT_WHAT` the collections, `COMPACT_AT` the server. What came of it is added to the file `COMPACT_LOG`. With
`COMPACT_AND_COLLECT` set to the source's folder in the store, the files of the segments that are gone are removed
too, as its garbage collection does hours later.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint
from migrator.adapters.objects import ObstoreStore
from migrator.cli import main
from migrator.model.collection import CollectionRef
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE_S = 60.0
_COLLECTED = ("insert_log", "delta_log")


def compact_some(uri: str, names: list[str]) -> dict[str, list[int]]:
    """Compact until a segment of each collection is gone by it, however little the server finds to do at first.

    What its own compaction took up a moment before leaves nothing to a request: new segments are flushed until it does.
    """
    gone: dict[str, set[int]] = {name: set() for name in names}
    ends_at = time.monotonic() + _PATIENCE_S
    while time.monotonic() < ends_at:
        for name, segments in compact(uri, names).items():
            gone[name].update(segments)
        if all(gone.values()):
            break
        with connected(uri) as client:
            for name in names:
                client.flush(name)
    return {name: sorted(segments) for name, segments in gone.items()}


def compact(uri: str, names: list[str]) -> dict[str, list[int]]:
    """Compact collections to the end; the segments that are gone by it."""
    milvus = GrpcMilvus(MilvusEndpoint(uri=uri, plan_field="source.milvus"))
    before = {name: _segments(milvus, name) for name in names}
    with connected(uri) as client:
        jobs = [client.compact(name) for name in names]
        ends_at = time.monotonic() + _PATIENCE_S
        while any(client.get_compaction_state(job) != "Completed" for job in jobs) and time.monotonic() < ends_at:
            time.sleep(0.1)
    gone = {name: sorted(before[name] - _segments(milvus, name)) for name in names}
    milvus.close()
    return gone


def _segments(milvus: GrpcMilvus, name: str) -> set[int]:
    return {segment.segment_id for segment in milvus.list_segments(CollectionRef("default", name))}


class _Once:
    """What happens before the first call of a method, while other calls wait."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._happened = False
        self._busy = threading.local()

    def wrap(self, owner: type, name: str) -> None:
        plain: Callable[..., Any] = getattr(owner, name)

        def guarded(instance: Any, *args: Any, **named: Any) -> Any:  # noqa: ANN401 - as the original
            if not getattr(self._busy, "is_it", False):
                with self._guard:
                    if not self._happened:
                        self._busy.is_it, self._happened = True, True
                        self._happen(instance)
                        self._busy.is_it = False
            return plain(instance, *args, **named)

        setattr(owner, name, guarded)

    def _happen(self, instance: Any) -> None:  # noqa: ANN401 - a client
        gone = compact_some(os.environ["COMPACT_AT"], os.environ["COMPACT_WHAT"].split(","))
        lines = [f"{name} {len(segments)}\n" for name, segments in gone.items()]
        with Path(os.environ["COMPACT_LOG"]).open("a", encoding="utf-8") as log:
            log.writelines(lines)
        root = os.environ.get("COMPACT_AND_COLLECT")
        if root:
            dead = {str(segment) for segments in gone.values() for segment in segments}
            keys = [
                found.key
                for kind in _COLLECTED
                for found in instance.list_objects(f"{root}/{kind}")
                if dead & set(found.key.split("/"))
            ]
            instance.delete(keys)


if __name__ == "__main__":
    moment = os.environ["COMPACT_BEFORE"]
    _Once().wrap(GrpcMilvus if hasattr(GrpcMilvus, moment) else ObstoreStore, moment)
    main()
