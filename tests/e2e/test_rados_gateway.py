"""Migrations on Ceph's RADOS gateway, an S3 service as people run it."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support import sources
from tests.support.services.rgw import rados_gateway
from tests.support.storages import Side, a_move, place_in, started
from tests.support.toxics import objects
from tests.support.toxics.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.rgw
NAMES = ["stirred", "kinds"]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    """A source, a server in the same bucket, and one in another."""
    with ExitStack() as stack:
        service = stack.enter_context(rados_gateway("rgw"))
        buckets = ("bucket-one", "bucket-one", "bucket-two")
        depots = [service.depot(bucket) for bucket in buckets]
        places = tuple(place_in(service, bucket) for bucket in buckets)
        state = started(stack, tmp_path_factory.mktemp("rgw"), places)
        sides = [Side(instance=each, depot=depot) for each, depot in zip(state.instances, depots, strict=True)]
        sources.fill_stirred(sides[0].uri, "stirred")
        sources.fill_kinds(sides[0].uri, "kinds")
        yield sides


def test_in_one_bucket(sides: list[Side], tmp_path: Path) -> None:
    move = a_move(tmp_path, "one-bucket", sides[0], sides[1], NAMES)
    move.shell.run("apply", move.plan, "--yes")
    move.assert_all_arrived()
    move.shell.run("verify", move.plan, "--level", "full")


def test_in_two_buckets_killed_and_resumed(sides: list[Side], tmp_path: Path) -> None:
    with Witness(sides[0].depot.port) as witness:
        source, target = sides[0].through(witness.port), sides[2].through(witness.port)
        move = a_move(tmp_path, "two-buckets", source, target, NAMES)
        witness.poison(objects.COPY, "binlogs", objects.delayed(0.5), times=None)
        running = move.shell.start("apply", move.plan, "--yes", "--format", "json")
        running.wait_for_event("step_started", "copy_segments:default.stirred")
        running.send(signal.SIGKILL)
        witness.cure()
        move.shell.run("apply", "--resume")
        move.assert_all_arrived()
        assert "PUT" not in witness.methods("/bucket-two/dumps/two_buckets/binlogs/")


@pytest.mark.exhaustive
def test_streamed_in_parts(sides: list[Side], tmp_path: Path) -> None:
    """Objects come through here; the dump goes with the collections that were made."""
    options = {"transfer": {"mode": "stream", "part_size": "5MiB"}}
    move = a_move(tmp_path, "streamed", sides[0], sides[2], NAMES, options=options)
    move.shell.run("apply", move.plan, "--yes")
    move.assert_all_arrived()
    move.shell.run("rollback", move.run_id(), "--yes", "--force")
