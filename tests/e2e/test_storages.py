"""Migrations between storages of all kinds, on real services that check their keys; every row compared.

A migration mostly waits for the server's timers. So all that were asked for run side by side, and each test takes the
end of its own.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.support import sources
from tests.support.dask_cluster import dask_cluster
from tests.support.portraits import collections_of
from tests.support.storages import STRANGER, Storages, a_backup, a_move
from tests.support.storages import storages as storages  # noqa: PLC0414 - a fixture of this module
from tests.support.toxics import objects
from tests.support.toxics.wire import Wire
from tests.support.toxics.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.services.s3 import S3Service

    Scenario: TypeAlias = Callable[[Storages, Path], None]

STIRRED, KINDS, SMALL, WIDE = "stirred", "kinds", "small", "wide"
MEBIBYTE = 1024**2


def fill(storages: Storages) -> None:
    """Collections at two sources, one in a bucket and one in a directory; read by all tests, changed by none."""
    with ThreadPoolExecutor(5) as pool:
        jobs = [
            pool.submit(sources.fill_stirred, storages.a.uri, STIRRED),
            pool.submit(sources.fill_kinds, storages.a.uri, KINDS),
            pool.submit(sources.fill_small, storages.a.uri, SMALL),
            pool.submit(sources.fill_wide, storages.a.uri, WIDE),
            pool.submit(sources.fill_small, storages.d.uri, SMALL),
        ]
        for job in jobs:
            job.result()


def two_buckets(storages: Storages, folder: Path) -> None:
    """The service copies; nothing of an object comes through here, and nothing at the source is touched."""
    with Witness(storages.north.port) as witness:
        source, target = storages.a.through(witness.port), storages.c.through(witness.port)
        move = a_move(folder, "two-buckets", source, target, [STIRRED])
        before = storages.north.keys("north-one", "files_A/insert_log")
        move.shell.run("apply", move.plan, "--yes")
        move.assert_all_arrived()
        assert before.items() <= storages.north.keys("north-one", "files_A/insert_log").items()
        copied = storages.north.keys("north-two", "dumps/two_buckets/binlogs/")
        assert witness.methods("/north-two/dumps/two_buckets/binlogs/").count(objects.COPY) == len(copied) > 20
        assert "PUT" not in witness.methods("/north-two/dumps/two_buckets/binlogs/")


def two_services(storages: Storages, folder: Path) -> None:
    """Checked, killed, resumed, verified, rolled back, another one's keys in the environment: no key goes astray."""
    with Witness(storages.north.port) as north, Witness(storages.south.port) as south:
        source, target = storages.a.through(north.port), storages.b.through(south.port)
        move = a_move(folder, "two-services", source, target, [STIRRED, KINDS], environment=STRANGER)
        move.shell.run("check", move.plan, "--canary")
        move.shell.run("plan", move.plan)
        north.poison("GET", "insert_log", objects.delayed(0.1), times=None)
        running = move.shell.start("apply", move.plan, "--yes", "--format", "json")
        running.wait_for_event("step_started", "copy_segments:default.stirred")
        running.send(signal.SIGKILL)
        north.cure()
        move.shell.run("apply", "--resume")
        move.assert_all_arrived()
        move.shell.run("verify", move.plan, "--level", "full")
        move.shell.run("rollback", move.run_id(), "--yes", "--force")
        there = collections_of(storages.b.uri)["default"]
        assert not [name for name in there if "two_services" in name]
        assert_only_own_keys(north, storages.north, others=[storages.south])
        assert_only_own_keys(south, storages.south, others=[storages.north])
        assert not {"PUT", "DELETE", "POST", objects.COPY} & set(north.methods())


def assert_only_own_keys(witness: Witness, own: S3Service, *, others: list[S3Service]) -> None:
    """Every request was signed with this service's own temporary keys, and nothing held any other secret."""
    assert len(witness.seen) > 10
    assert witness.who() == {own.passing.access_key_id}
    assert witness.tokens() == {own.passing.session_token}
    pairs = [pair for service in others for pair in (service.passing, service.lasting)]
    foreign = [text for pair in pairs for text in (pair.access_key_id, pair.secret_access_key, pair.session_token)]
    never = [own.passing.secret_access_key, own.lasting.secret_access_key]
    assert witness.betrayed([*filter(None, foreign), *never, *STRANGER.values()]) == {}


def dump_in_a_third_service(storages: Storages, folder: Path) -> None:
    """Source, dump and target apart, the dump in Azure: each gets its own keys, and the second hop is removed."""
    with ExitStack() as stack:
        ports = (storages.north.port, storages.south.port, storages.azure.port)
        north, south, azure = (stack.enter_context(Witness(port)) for port in ports)
        depot = storages.azure.depot("apart")
        source, target = storages.a.through(north.port), storages.b.through(south.port)
        move = a_move(folder, "third", source, target, [SMALL], staging=depot.through(azure.port), environment=STRANGER)
        move.shell.run("apply", move.plan, "--yes")
        move.assert_all_arrived()
        assert_only_own_keys(north, storages.north, others=[storages.south])
        assert_only_own_keys(south, storages.south, others=[storages.north])
        assert north.betrayed(depot.secrets) == south.betrayed(depot.secrets) == {}
        services = (storages.north, storages.south)
        keys = [text for each in services for text in (each.passing.access_key_id, each.passing.session_token)]
        assert azure.betrayed([*keys, *STRANGER.values()]) == {}
        assert any("full_meta.json" in request.target for request in azure.seen)
        left = [key for key in storages.south.keys("south_One") if "third" in key and "/.migrator/" not in f"/{key}"]
        assert left == []


def dump_in_google(storages: Storages, folder: Path) -> None:
    """Source and target in buckets of one service, and the dump elsewhere."""
    depot = storages.google.depot("apart")
    move = a_move(folder, "by-google", storages.a, storages.c, [SMALL], staging=depot)
    move.shell.run("apply", move.plan, "--yes")
    move.assert_all_arrived()


def dump_in_another_bucket(storages: Storages, folder: Path) -> None:
    """The dump beside the target's bucket: the second hop is the service's own."""
    depot = storages.south.depot("south-dumps")
    with Witness(storages.south.port) as witness:
        target, staging = storages.b.through(witness.port), depot.through(witness.port)
        move = a_move(folder, "beside", storages.d, target, [SMALL], staging=staging)
        move.shell.run("apply", move.plan, "--yes")
        move.assert_all_arrived()
        assert objects.COPY in witness.methods("/south_One/")


def from_a_directory(storages: Storages, folder: Path) -> None:
    """Local → S3."""
    move = a_move(folder, "upwards", storages.d, storages.b, [SMALL])
    move.shell.run("apply", move.plan, "--yes")
    move.assert_all_arrived()


def to_a_directory(storages: Storages, folder: Path) -> None:
    """S3 → local."""
    move = a_move(folder, "downwards", storages.a, storages.d, [SMALL])
    move.shell.run("apply", move.plan, "--yes")
    move.assert_all_arrived()
    assert not list((folder / "dumps").rglob("*#*"))


def over_workers(storages: Storages, folder: Path) -> None:
    """Three processes stream, one is killed in mid-shard: that shard is done again, and no key is ever sent to them."""
    with ExitStack() as stack:
        south = stack.enter_context(Witness(storages.south.port))
        target = storages.b.through(south.port)
        move = a_move(folder, "over-workers", storages.a, target, [STIRRED])
        cluster = stack.enter_context(dask_cluster(folder / "dask", *[move.shell.environment] * 3))
        wire = stack.enter_context(Wire(cluster.port, heard=bytearray()))
        shared = ("--engine", "dask", "--scheduler", f"tcp://127.0.0.1:{wire.port}")
        written = south.poison("PUT", "/dumps/over_workers/binlogs/", objects.delayed(5), times=None)
        running = move.shell.start("apply", move.plan, "--yes", "--format", "json", *shared)
        wait_until(lambda: written.hits > 3)
        time.sleep(1.5)  # in which all three are at it
        cluster.workers[0].kill()
        south.cure()
        answer = running.finish()
        assert answer.code == 0, answer.text
        move.assert_all_arrived()
        names = [request.target for request in south.seen if request.method == "PUT"]
        times = Counter(name for name in names if "/dumps/over_workers/binlogs/" in name)
        again = [name for name, count in times.items() if count > 1]
        assert again, "it was killed before its shard was over"
        assert len(again) <= len(times) / 3, "what other workers did was done once"
        (copied,) = [each for each in answer.events if each["event"] == "step_finished" and "copy_seg" in each["step"]]
        assert f"streamed through the workers of {shared[-1]}" in copied["detail"]
        assert wire.heard is not None
        assert b"SOUTH_SECRET" in wire.heard
        secrets = {*storages.a.depot.secrets, *storages.b.depot.secrets}
        assert not [secret for secret in secrets if secret.encode() in wire.heard]
        wire.heard.clear()
        compared = move.shell.run("verify", move.plan, "--level", "full", *shared).out
        assert "source and target are equal: every value of" in compared
        assert b"named_before" in wire.heard
        assert not [secret for secret in secrets if secret.encode() in wire.heard]
        away = ("--engine", "dask", "--scheduler", "tcp://127.0.0.1:9")
        again_named = move.shell.run("apply", move.plan, "--yes", *away, code=20).err
        assert "no Dask scheduler answers at tcp://127.0.0.1:9 (--scheduler)" in again_named


def slow_line(storages: Storages, folder: Path) -> None:
    """Every connection of both services is slow, and cut again and again: the rows arrive all the same."""
    with Wire(storages.north.port) as one, Wire(storages.south.port) as other:
        for wire in (one, other):
            wire.delay_s = 0.02
            wire.cut_after_bytes = 60_000
        move = a_move(folder, "slow-line", storages.a.through(one.port), storages.b.through(other.port), [SMALL])
        move.shell.run("apply", move.plan, "--yes")
        assert one.connections > 5
        move.assert_all_arrived()
        assert storages.south.unfinished_uploads("south_One", "dumps/slow_line/") == []


def large_objects(storages: Storages, folder: Path) -> None:
    """Killed amid an object that is written in parts: resumed, and no part is left over."""
    with Witness(storages.south.port) as witness:
        small_parts = {"transfer": {"part_size": "5MiB", "multipart_threshold": "5MiB"}}
        target = storages.b.through(witness.port)
        move = a_move(folder, "in-parts", storages.a, target, [WIDE], options=small_parts)
        second = witness.poison("PUT", "partNumber=2", objects.delayed(600), times=1)
        running = move.shell.start("apply", move.plan, "--yes", "--format", "json")
        wait_until(lambda: second.hits == 1)
        running.send(signal.SIGKILL)
        (begun,) = storages.south.unfinished_uploads("south_One", "dumps/in_parts/")
        move.shell.run("apply", "--resume")
        move.assert_all_arrived()
        assert storages.south.unfinished_uploads("south_One", "dumps/in_parts/") == []
        assert storages.south.keys("south_One", begun)[begun] > 2 * 5 * MEBIBYTE


def wait_until(is_it: Callable[[], bool], within_s: float = 120) -> None:
    ends_at = time.monotonic() + within_s
    while not is_it():
        assert time.monotonic() < ends_at
        time.sleep(0.05)


def backup_in_azure(storages: Storages, folder: Path) -> None:
    """Made, listed, shown, restored, verified and deleted."""
    move = a_backup(folder, storages.a, storages.c, [SMALL, KINDS], storages.azure.depot("parcels"))
    run = move.shell.run
    run("apply", "backup.yaml", "--yes")
    (listed,) = json.loads(run("backup", "list", "backup.yaml", "--format", "json").out)["backups"]
    assert (listed["name"], listed["collections"], listed["problem"]) == ("parcel", 2, "")
    assert "code (varchar, primary key)" in run("backup", "show", "backup.yaml").out
    run("apply", move.plan, "--yes")
    move.assert_all_arrived()
    assert "equal" in run("verify", move.plan).out
    run("backup", "delete", "backup.yaml", "parcel", "--yes")
    assert json.loads(run("backup", "list", "backup.yaml", "--format", "json").out)["backups"] == []


def backup_in_google(storages: Storages, folder: Path) -> None:
    """Made, listed, restored and deleted."""
    move = a_backup(folder, storages.a, storages.c, [SMALL], storages.google.depot("parcels"))
    move.shell.run("apply", "backup.yaml", "--yes")
    assert "parcel" in move.shell.run("backup", "list", "backup.yaml").out
    move.shell.run("apply", move.plan, "--yes")
    move.assert_all_arrived()
    move.shell.run("backup", "delete", "backup.yaml", "parcel", "--yes")


SCENARIOS: tuple[Scenario, ...] = (
    over_workers,
    two_services,
    dump_in_a_third_service,
    large_objects,
    backup_in_azure,
    backup_in_google,
    two_buckets,
    slow_line,
    dump_in_another_bucket,
    from_a_directory,
    to_a_directory,
    dump_in_google,
)
"""The longest first."""
_SELDOM = {dump_in_google}


@pytest.fixture(scope="module")
def under_way(
    storages: Storages, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Scenario, Future[None]]]:
    """Those scenarios that were chosen."""
    fill(storages)
    chosen = {item.callspec.params.get("scenario") for item in request.session.items if hasattr(item, "callspec")}
    with ThreadPoolExecutor(5) as pool:
        yield {
            scenario: pool.submit(scenario, storages, tmp_path_factory.mktemp(scenario.__name__))
            for scenario in SCENARIOS
            if scenario in chosen
        }


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(each, marks=[pytest.mark.exhaustive] if each in _SELDOM else []) for each in SCENARIOS],
    ids=lambda scenario: scenario.__name__,
)
def test_rows_arrive(under_way: dict[Scenario, Future[None]], scenario: Scenario) -> None:
    """Each as its scenario tells."""
    under_way[scenario].result()
