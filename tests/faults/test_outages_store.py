"""An object store that throttles, fails, lies, loses replies or is away: every row exactly once, in the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support import sources
from tests.support.toxics import objects
from tests.support.toxics.detour import Detour, detour, events, plan_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bench import Bench

PLAIN = "plain_stored"
STREAM = "transfer: {mode: stream}"


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """A collection at the source; read by all tests, changed by none."""
    sources.fill_small(bench.a.uri, PLAIN, rows=200, shards=2, deleted=11)
    return bench


@pytest.fixture
def way(filled: Bench, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Detour]:
    """A plan that moves it by way of proxies, not applied yet."""
    with detour(filled, tmp_path, plan_name(request.node.name), (PLAIN,)) as made:
        yield made


def dump(way: Detour) -> str:
    """A part of every key in the dump, and of no other."""
    return f"backup/{way.name}/"


# -- answers that are none --------------------------------------------------------------------------------------------


def test_a_store_that_throttles_and_fails(way: Detour) -> None:
    """503, 500 and bodies cut short, while objects stream through: each request is made again."""
    way.write_plan(STREAM)
    running = way.start()
    running.wait_for_event("run_started")
    store = way.store
    toxics = [
        store.poison("GET", "files_A/insert_log", objects.slow_down, times=2),
        store.poison("GET", "files_A/insert_log", objects.truncated, times=2),
        store.poison("PUT", dump(way), objects.internal_error, times=2),
        store.poison("PUT", dump(way), objects.reply_lost),
        store.poison(objects.LIST, "", objects.internal_error, times=2),
    ]
    answer = running.finish()
    assert answer.code == 0, answer.text
    assert [toxic.hits for toxic in toxics] == [2, 2, 2, 1, 2]
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_copies_whose_reply_is_lost(way: Detour) -> None:
    """Made by the store and not heard of, or throttled: they are made again."""
    lost = way.store.poison(objects.COPY, dump(way), objects.reply_lost, times=4)
    slow = way.store.poison(objects.COPY, dump(way), objects.slow_down, times=3)
    answer = way.start().finish()
    assert answer.code == 0, answer.text
    assert (lost.hits, slow.hits) == (4, 3)
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_bytes_that_are_not_the_objects(way: Detour) -> None:
    """A body of the right length with other bytes, on the way out or in, is noticed before anything is imported."""
    way.write_plan(STREAM)
    garbled = [
        way.store.poison("GET", "files_A/insert_log", objects.garbled),
        way.store.poison("PUT", f"{dump(way)}binlogs/insert_log", objects.garbled_on_the_way_in),
    ]
    answer = way.start().finish()
    assert [toxic.hits for toxic in garbled] == [1, 1]
    assert answer.code in {0, 20}, answer.text
    if answer.code == 20:
        assert not events(answer, "step_started", "import_segments")
        way.resume()
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_copies_that_the_store_refuses(way: Detour) -> None:
    """Without the permission to copy, the objects stream through."""
    refused = way.store.poison(objects.COPY, dump(way), objects.denied, times=None)
    answer = way.start().finish()
    assert answer.code == 0, answer.text
    assert refused.hits > 1
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_every_write_loses_its_reply(way: Detour) -> None:
    """Leases, heartbeats, streamed objects and meta files: each first write of a key is done and not heard of.

    Of a lease's numbers only the first: whoever did not hear that he holds one takes the next.
    """
    way.write_plan(STREAM)
    seen: set[tuple[str, str]] = set()

    def lose_first(request: objects.Request) -> objects.Reply | None:
        reply = request.forward()
        place = request.target.rpartition("/")[0] if "/.migrator/leases/" in request.target else request.target
        if (request.method, place) in seen:
            return reply
        seen.add((request.method, place))
        return None

    for method in ("PUT", "POST", "DELETE"):
        way.store.poison(method, "", lose_first, times=None)
    answer = way.start().finish(60)
    assert answer.code == 0, answer.text
    assert any(method == "PUT" and "/.migrator/leases/" in place for method, place in seen)
    assert any(f"/{dump(way)}meta/full_meta.json" in place for _, place in seen)
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_a_store_that_is_slow(way: Detour) -> None:
    """Each request takes most of a second."""
    for method in ("GET", "PUT", "HEAD", "DELETE", objects.LIST, objects.COPY):
        way.store.poison(method, "", objects.delayed(0.7), times=None)
    answer = way.start().finish()
    assert answer.code == 0, answer.text
    way.assert_all_arrived()


# -- a store that is away ---------------------------------------------------------------------------------------------


def test_a_store_that_is_away_for_a_while(way: Detour) -> None:
    """Ten seconds without any store, from the copies on."""
    way.store.poison(objects.COPY, dump(way), objects.delayed(0.5), times=None)
    running = way.start()
    running.wait_for_event("step_started", "copy_segments")
    way.store_wire.down_for(10)
    answer = running.finish()
    assert answer.code == 0, answer.text
    way.assert_all_arrived()


@pytest.mark.exhaustive
@pytest.mark.parametrize("step", ["copy_segments", "import_segments"])
def test_a_store_that_is_away_for_longer_than_a_lease_lasts(way: Detour, step: str) -> None:
    """Nobody took the lease over meanwhile, so the run goes on with it."""
    running = way.start()
    running.wait_for_event("step_started", step)
    way.store_wire.down_for(40)
    answer = running.finish()
    assert answer.code == 0, answer.text
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_a_store_that_falls_silent(way: Detour) -> None:
    """Packets are lost and connections stay open: the run finds out by itself, and does not wait for minutes."""
    running = way.start()
    running.wait_for_event("step_started", "import_segments")
    way.store_wire.silent_for(12)
    answer = running.finish(within_s=100)
    assert answer.code == 0, answer.text
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_a_store_that_stays_away(way: Detour) -> None:
    """The budget is spent: the run ends with the cause, and a resume goes on."""
    way.write_plan(max_elapsed="3s")
    running = way.start()
    running.wait_for_event("step_started", "copy_segments")
    way.store_wire.down()
    began = time.monotonic()
    answer = running.finish()
    assert answer.code == 20, answer.text
    assert time.monotonic() - began < 150
    (failed,) = {event["message"] for event in events(answer, "step_failed", "copy_segments")}
    assert "no connection" in failed
    assert f"http://127.0.0.1:{way.store_wire.port}/" in failed

    way.store_wire.accept()
    way.resume()
    way.assert_all_arrived()


@pytest.mark.exhaustive
def test_connections_that_are_cut(way: Detour) -> None:
    """Again and again, while objects stream through."""
    way.write_plan(STREAM)
    for method in ("GET", "PUT"):
        way.store.poison(method, "", objects.delayed(0.2), times=None)
    running = way.start()
    running.wait_for_event("step_started", "copy_segments")
    for _ in range(20):
        time.sleep(0.25)
        way.store_wire.cut()
    answer = running.finish()
    assert answer.code == 0, answer.text
    way.assert_all_arrived()
