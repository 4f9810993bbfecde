"""Milvus servers that do not answer, answer too late, or say something else than they did: every row exactly once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from tests.support import sources
from tests.support.portraits import connected, portray
from tests.support.toxics import calls
from tests.support.toxics.detour import Detour, detour, events, plan_name, waits, with_collections

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.bench import Bench

PLAIN = "plain"
PARTLY, RESTING = "partly", "resting"
RESTING_KEYS = {*range(90)} - {4, 5, 6}
PARTLY_KEYS = RESTING_KEYS | {*range(1_000, 1_040)}
SOURCE_WRITERS = ("Flush",)
TARGET_WRITERS = (
    "CreateDatabase",
    "CreateCollection",
    "CreatePartition",
    "Import",
    "CreateIndex",
    "LoadCollection",
    "LoadPartitions",
    "ReleaseCollection",
    "CreateAlias",
)
READS = (
    "DescribeCollection",
    "ShowPartitions",
    "GetLoadState",
    "GetReplicas",
    "DescribeIndex",
    "AllocTimestamp",
    "GetPersistentSegmentInfo",
    "Query",
)


def fill_partly(uri: str, name: str) -> None:
    """Two partitions, one of them loaded, and an alias."""
    sources.fill_unloaded(uri, name, indexed=True)
    with connected(uri) as client:
        client.create_partition(name, "more")
        client.insert(name, sources.plain_rows(1_000, 1_040), partition_name="more")
        client.flush(name)
        client.load_partitions(name, ["more"])
        client.create_alias(name, f"{name}_live")


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """Collections at the source; read by all tests, changed by none."""
    uri = bench.a.uri
    with ThreadPoolExecutor() as pool:
        jobs = [
            pool.submit(sources.fill_small, uri, PLAIN, rows=200, shards=2, deleted=11),
            pool.submit(fill_partly, uri, PARTLY),
            pool.submit(sources.fill_unloaded, uri, RESTING, indexed=True),
        ]
        for job in jobs:
            job.result()
    return bench


@pytest.fixture
def way(filled: Bench, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Detour]:
    """A plan that moves the plain collection by way of proxies, not applied yet."""
    with detour(filled, tmp_path, plan_name(request.node.name), (PLAIN,)) as made:
        yield made


def wait_for_call(proxy: calls.MilvusProxy, method: str, within_s: float = 60) -> None:
    """Wait until the program has called it."""
    ends_at = time.monotonic() + within_s
    while method not in proxy.calls:
        assert time.monotonic() < ends_at, f"{method} was never called"
        time.sleep(0.01)


def assert_both_arrived(way: Detour, database: str) -> None:
    """The one that is loaded in part, and the one that is not loaded at all."""
    target = way.target_name(PARTLY)
    with connected(way.bench.b.uri, database) as client:
        states = {part: client.get_load_state(target, part)["state"].name for part in ("_default", "more")}
        assert states == {"_default": "NotLoad", "more": "Loaded"}
        assert client.describe_collection(target)["aliases"] == [f"{PARTLY}_live"]
        client.release_collection(target)
    with ThreadPoolExecutor() as pool:
        names = map(way.target_name, (PARTLY, RESTING))
        partly, resting = pool.map(partial(portray, way.bench.b.uri, database=database), names)
    for arrived, keys in ((partly, PARTLY_KEYS), (resting, RESTING_KEYS)):
        assert arrived.count == len(arrived.rows) == len(keys)
        assert arrived.rows.keys() == keys
        assert not arrived.is_loaded


def import_attempts(way: Detour) -> list[str]:
    """Of every import request of the plan that the target knows of, which attempt it was."""
    with connected(way.bench.b.uri) as client:
        reply = client._handler._stub.ListImportTasks(milvus_pb2.ListImportTasksRequest(), timeout=10)
    infos = [{pair.key: pair.value for pair in task.infos} for task in reply.tasks]
    mine = [info for info in infos if info.get("mig_run", "").startswith(way.name.replace("_", "-"))]
    return sorted(info["mig_attempt"] for info in mine)


# -- replies that do not come -----------------------------------------------------------------------------------------


def test_every_writing_call_loses_its_reply(way: Detour) -> None:
    """Done and not heard of: the run goes on by itself, and nothing is done twice."""
    way = with_collections(way, PARTLY, RESTING)
    way.write_plan(database="faulty")
    toxics = [way.source.calls.poison(method, calls.reply_lost) for method in SOURCE_WRITERS]
    toxics += [way.target.calls.poison(method, calls.reply_lost) for method in TARGET_WRITERS]

    answer = way.start().finish()
    assert answer.code == 0, answer.text
    assert {toxic.method: toxic.hits for toxic in toxics} == dict.fromkeys((*SOURCE_WRITERS, *TARGET_WRITERS), 1)
    assert all("Socket closed" in message for message in waits(answer))
    assert_both_arrived(way, "faulty")


@pytest.mark.exhaustive
def test_every_writing_call_loses_its_reply_again_and_again(way: Detour) -> None:
    """Three times each, told as gRPC tells it at other moments."""
    way = with_collections(way, PARTLY, RESTING)
    way.write_plan(database="faulty_again")
    way.source.calls.poison("Flush", calls.stream_removed, times=3)
    toxics = [way.target.calls.poison(method, calls.stream_removed, times=3) for method in TARGET_WRITERS]

    answer = way.start().finish()
    assert answer.code == 0, answer.text
    assert all(toxic.hits for toxic in toxics)
    assert_both_arrived(way, "faulty_again")


@pytest.mark.exhaustive
def test_every_call_is_refused_the_first_time(way: Detour) -> None:
    """Each request of every kind, reads among them: the run goes on by itself once it has begun."""
    way = with_collections(way, PARTLY, RESTING)
    way.write_plan(database="faulty_first")
    running = way.start()
    running.wait_for_event("run_started")
    toxics = [way.source.calls.poison(method, calls.refused) for method in (*READS, "GetFlushState", "Flush")]
    only = ("GetImportState", "ListImportTasks", "GetLoadingProgress", *(set(TARGET_WRITERS) - {"Import"}))
    toxics += [way.target.calls.poison(method, calls.refused) for method in (*READS, *only)]

    answer = running.finish()
    assert answer.code == 0, answer.text
    assert sum(toxic.hits for toxic in toxics) > 20
    assert_both_arrived(way, "faulty_first")


@pytest.mark.exhaustive
def test_import_requests_that_are_not_heard_of(way: Detour) -> None:
    """One is taken and its reply hangs; two never arrive: those may still turn up, and are sent again later."""
    way = with_collections(way, PLAIN, PARTLY, RESTING)
    way.write_plan()

    def of(collection: str) -> Callable[[bytes], bool]:
        name = way.target_name(collection)
        return lambda request: bool(milvus_pb2.ImportRequest.FromString(request).collection_name == name)

    limited = calls.rate_limited(milvus_pb2.ImportResponse)
    toxics = [
        way.target.calls.poison("Import", calls.reply_hangs, when=of(PLAIN)),
        way.target.calls.poison("Import", calls.refused, when=of(PARTLY)),
        way.target.calls.poison("Import", limited, when=of(RESTING)),
    ]
    answer = way.start().finish(within_s=300)
    assert answer.code == 0, answer.text
    assert [toxic.hits for toxic in toxics] == [1, 1, 1]
    assert import_attempts(way) == ["1", "1", "2", "2"]
    with_collections(way, PLAIN).assert_all_arrived()
    assert_both_arrived(way, "default")


# -- connections ------------------------------------------------------------------------------------------------------


def test_both_servers_are_away_for_a_while(way: Detour) -> None:
    """The source in the flush, the target while it imports: the run says what it waits for, and goes on."""
    running = way.start()
    running.wait_for_event("step_started", "flush")
    way.source.wire.down_for(3)
    running.wait_for_event("step_started", "import_segments")
    wait_for_call(way.target.calls, "GetImportState")
    way.target.wire.down_for(4)

    answer = running.finish()
    assert answer.code == 0, answer.text
    assert any(f":{way.target.wire.port}" in message for message in waits(answer, "import_segments"))
    assert import_attempts(way) == ["1"]
    way.assert_all_arrived()


@pytest.mark.exhaustive
@pytest.mark.parametrize("side", ["source", "target"])
def test_connections_that_break_all_the_time(way: Detour, side: str) -> None:
    """Cut again and again, at arbitrary moments."""
    wire = way.source.wire if side == "source" else way.target.wire
    running = way.start()
    running.wait_for_event("step_started")
    for _ in range(12):
        time.sleep(0.6)
        wire.cut()
    answer = running.finish()
    assert answer.code == 0, answer.text
    way.assert_all_arrived()


@pytest.mark.exhaustive
@pytest.mark.parametrize("after_bytes", [0, 3_000])
def test_connections_that_break_after_some_bytes(way: Detour, after_bytes: int) -> None:
    """In the middle of replies."""
    running = way.start()
    running.wait_for_event("step_started", "dump_meta")
    for wire in (way.source.wire, way.target.wire):
        wire.cut_after_bytes = after_bytes
        wire.cut()
    time.sleep(5)
    for wire in (way.source.wire, way.target.wire):
        wire.cut_after_bytes = None
    answer = running.finish()
    assert answer.code == 0, answer.text
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_a_connection_that_garbles(way: Detour) -> None:
    """What comes back makes no sense to gRPC."""
    running = way.start()
    running.wait_for_event("step_started", "import_segments")
    way.target.wire.garble_after_bytes = 0
    time.sleep(4)
    way.target.wire.garble_after_bytes = None
    way.target.wire.cut()
    answer = running.finish()
    assert answer.code == 0, answer.text
    assert import_attempts(way) == ["1"]
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_a_connection_that_falls_silent(way: Detour) -> None:
    """Packets are lost, and nobody is told: calls run into their deadlines, and a new connection is made."""
    running = way.start()
    wait_for_call(way.target.calls, "GetImportState")
    way.target.wire.silent_for(5)
    answer = running.finish(within_s=150)
    assert answer.code == 0, answer.text
    assert import_attempts(way) == ["1"]
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_slow_connections(way: Detour) -> None:
    """Every chunk is late."""
    way.source.wire.delay_s = way.target.wire.delay_s = 0.15
    answer = way.start().finish()
    assert answer.code == 0, answer.text
    way.assert_all_arrived()


# -- replies that say no ----------------------------------------------------------------------------------------------


def test_servers_that_are_too_busy(way: Detour) -> None:
    """Rate limits and servers that are not ready: each is asked again, and nothing is reported as failed."""
    source, target = way.source.calls, way.target.calls
    running = way.start()
    running.wait_for_event("run_started")  # planning does not wait for a server
    toxics = [
        source.poison("Flush", calls.rate_limited(milvus_pb2.FlushResponse), times=2),
        source.poison("GetPersistentSegmentInfo", calls.not_ready(milvus_pb2.GetPersistentSegmentInfoResponse)),
        target.poison("CreateCollection", calls.rate_limited(), times=2),
        target.poison("CreateIndex", calls.rate_limited(), times=2),
        target.poison("LoadCollection", calls.not_ready(), times=2),
        target.poison("Query", calls.not_ready(milvus_pb2.QueryResults), times=2),
    ]
    answer = running.finish()
    assert answer.code == 0, answer.text
    assert [toxic.hits for toxic in toxics] == [2, 1, 2, 2, 2, 2]
    assert any("rate limit exceeded" in message for message in waits(answer, "flush"))
    assert any("not ready" in message for message in waits(answer, "load_collection"))
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_an_import_job_that_fails(way: Detour) -> None:
    """Its reason is said once; a resume sends the batch again, once what it names is mended."""
    spoilt: dict[str, bytes] = {}

    def spoil_and_forward(call: calls.Call) -> bytes:
        prefix = milvus_pb2.ImportRequest.FromString(call.request).files[0]
        key = min(way.bench.bucket_keys(prefix.rstrip("/")))
        spoilt[key] = way.bench.read_object(key)
        way.bench.write_object(key, spoilt[key][:300])
        return call.forward()

    way.target.calls.poison("Import", spoil_and_forward)
    answer = way.start().finish()
    assert answer.code == 20, answer.text
    (failed,) = events(answer, "step_failed")
    assert "file is smaller than indicated metadata size" in failed["message"]
    assert "migrator apply --resume" in failed["hint"]

    for key, content in spoilt.items():
        way.bench.write_object(key, content)
    way.resume()
    assert import_attempts(way) == ["1", "2"]
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_an_import_job_that_hangs(way: Detour) -> None:
    """It ends the run after `stall_timeout`; a resume waits for the same job."""
    way.write_plan("import: {stall_timeout: 3s}")
    pending = calls.import_state(state=common_pb2.ImportState.ImportPending)
    way.target.calls.poison("GetImportState", pending, times=None)
    answer = way.shell.run("apply", "plan.yaml", "--yes", code=20)
    assert "has not moved" in answer.out
    assert "goes on waiting" in answer.out

    way.cure()
    way.resume()
    assert import_attempts(way) == ["1"]
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_an_import_job_that_is_forgotten(way: Detour) -> None:
    """A noted job that the target does not know any more is in doubt, and a person has to look."""
    unknown = milvus_pb2.GetImportStateResponse(
        status=common_pb2.Status(code=1000, error_code=1, reason="key not found")
    )
    way.target.calls.poison("GetImportState", calls.answered(unknown), times=None)
    answer = way.shell.run("apply", "plan.yaml", "--yes", code=22)
    assert "no longer remembers the import" in answer.out
    assert "hint: compare count(*)" in answer.out

    way.cure()  # it knew it all along
    way.resume()
    assert import_attempts(way) == ["1"]
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_a_refusal_is_not_repeated(way: Detour) -> None:
    """What the server means fails at once."""
    no = common_pb2.Status(code=1100, error_code=5, reason="invalid index type: FANCY")
    toxic = way.target.calls.poison("CreateIndex", calls.answered(no), times=None)
    answer = way.start().finish()
    assert answer.code == 20
    assert toxic.hits == 1
    assert not waits(answer)
    assert "FANCY" in events(answer, "step_failed")[0]["message"]

    way.cure()
    way.resume()
    way.assert_all_arrived()


# -- patience ---------------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_patience_that_is_spent(way: Detour) -> None:
    """The target stays away: the run ends, says why and how to go on, and does so."""
    way.write_plan(max_elapsed="3s")
    running = way.shell.start("apply", "plan.yaml", "--yes")
    wait_for_call(way.target.calls, "CreateIndex")
    way.target.wire.down()
    began = time.monotonic()
    answer = running.finish()
    assert answer.code == 20, answer.text
    assert time.monotonic() - began < 60
    assert f"http://127.0.0.1:{way.target.wire.port}" in answer.out
    assert "migrator apply --resume" in answer.out

    running = way.shell.start("apply", "--resume", "--format", "json")
    waiting = running.wait_for_event("run_waits")
    assert f"no Milvus answers at http://127.0.0.1:{way.target.wire.port}" in waiting["message"]
    way.target.wire.accept()
    answer = running.finish()
    assert answer.code == 0, answer.text
    way.assert_all_arrived()
