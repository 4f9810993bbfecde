"""What a worker of an engine does: it opens what an assignment names, with its own credentials, and does the shard.

It writes no journal and holds no lease. That is the run's, which decides by the answers what was done.
"""

from __future__ import annotations

import json
import logging
import traceback
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from migrator import __version__
from migrator.connections import open_milvus, open_store
from migrator.errors import EngineRefused
from migrator.model.codec import from_plain, to_plain
from migrator.model.shard import CopyAnswer, ValuesAnswer, ValuesShard
from migrator.running.assignment import Assignment, StorePlace
from migrator.running.clock import SystemClock
from migrator.spec.document import Cluster
from migrator.spec.secrets import resolved_secrets
from migrator.steps.comparing_values import ValueComparison
from migrator.steps.milvus_rows import MilvusRows
from migrator.steps.routing import routing_check
from migrator.steps.sharding import copy_shard, failure_of
from migrator.steps.throttle import Throttle
from migrator.steps.verification import Depth, Level

if TYPE_CHECKING:
    from migrator.adapters.milvus import GrpcMilvus
    from migrator.adapters.objects import ObstoreStore
    from migrator.model.shard import StoreRole

_PATIENCE_S = 20.0
_MOST_KEPT = 16
_log = logging.getLogger(__name__)


def version() -> str:
    """Of the package that a worker has."""
    return __version__


def work(text: str) -> str:
    """The answer to an assignment; what goes wrong is in it, beside what had been done by then."""
    try:
        plain = json.loads(text)
        _require_same_version(plain["version"])
        assignment = Assignment.from_json(text)
        answer = _copied(assignment) if assignment.copy is not None else _compared(assignment)
    except Exception as error:  # noqa: BLE001 - an answer that tells of it is worth more than a traceback
        _log.error("a shard failed: %s", _without_secrets(traceback.format_exc()))
        return json.dumps({"failure": to_plain(failure_of(error))})
    return json.dumps(to_plain(answer))


def _without_secrets(text: str) -> str:
    for secret in resolved_secrets():
        text = text.replace(secret, "***")
    return text


def _require_same_version(theirs: str) -> None:
    if theirs != __version__:
        raise EngineRefused(
            f"a worker has migrator {__version__}, and the run {theirs}",
            hint="give the workers the version of the run, then run migrator apply --resume",
        )


def _copied(assignment: Assignment) -> CopyAnswer:
    shard = assignment.copy
    assert shard is not None  # noqa: S101 - for the types: its kind was looked at

    def store(role: StoreRole) -> ObstoreStore:
        return _store(assignment.attempt, json.dumps(to_plain(assignment.places.stores[role])))

    return copy_shard(
        shard,
        store(shard.origin),
        store(shard.destination),
        clock=SystemClock(),
        throttle=_throttle(assignment.attempt, shard.limit_bytes_per_s),
    )


@lru_cache(_MOST_KEPT)
def _store(_attempt: str, place: str) -> ObstoreStore:
    """Opened once for all shards of an attempt; its secrets are those of this process."""
    found = from_plain(StorePlace, json.loads(place))
    return open_store(found.storage, found.field, _PATIENCE_S)


@lru_cache(_MOST_KEPT)
def _throttle(_attempt: str, limit_bytes_per_s: int | None) -> Throttle:
    """Shared by all shards of this process, as is the memory that it bounds."""
    return Throttle(limit_bytes_per_s)


def _compared(assignment: Assignment) -> ValuesAnswer:
    shard = assignment.compare
    assert shard is not None  # noqa: S101 - see above
    pair = replace(shard, partition="", keys=(), named_before=0)
    servers = (assignment.places.source, assignment.places.target)
    comparison = _comparison(assignment.attempt, *(json.dumps(to_plain(each)) for each in (*servers, pair)))
    found = comparison.compare(shard.partition, shard.keys, shard.named_before)
    return ValuesAnswer(repeated=found.repeated, routed=found.routed, differences=found.differences)


@lru_cache(_MOST_KEPT)
def _comparison(attempt: str, source_cluster: str, target_cluster: str, pair: str) -> ValueComparison:
    """One for all shards of two collections: what may be asked of a server is bounded over all of them."""
    found = from_plain(ValuesShard, json.loads(pair))
    source, target = _milvus(attempt, "source", source_cluster), _milvus(attempt, "target", target_cluster)
    rows = MilvusRows(source, found.source_is)
    depth = Depth(level=Level(found.level))
    check = routing_check(target, found.target_is, depth, source=source, source_is=found.source_is)
    return ValueComparison(rows, MilvusRows(target, found.target_is), found.schema, check and check(rows))


@lru_cache(_MOST_KEPT)
def _milvus(_attempt: str, side: str, cluster: str) -> GrpcMilvus:
    """As a store is."""
    return open_milvus(from_plain(Cluster, json.loads(cluster)), side)
