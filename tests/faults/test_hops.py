"""A dump apart from both sides, on another S3 service: killed in the second hop, slowed down, stopped, given up."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import migrator.lab.s3_server
from migrator.adapters.objects import ObstoreStore, StoreEndpoint
from migrator.lab.ports import free_block
from tests.support import sources
from tests.support.arrivals import Pair, assert_arrived, target_names
from tests.support.cli import SECRET, Running, Shell
from tests.support.deaths import read_struck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bench import Bench

NAMES = ("hop_one", "hop_two")
IMPORTS = ".migrator/imports"
PLAN = """\
version: 1
name: {name}
clusters: {clusters}
source: a
target: b
staging:
  root_path: backup
  backup_name: {backup}
  storage:
    endpoint: {endpoint}
    bucket: dumps
    credentials: {{type: static, access_key_id: {{env: DEPOT_KEY}}, secret_access_key: {{env: DEPOT_SECRET}}}}
options: {{{options}}}
collections:
{mappings}"""


@dataclass(frozen=True, slots=True)
class Depot:
    """Another S3 service than the bench's, with one bucket."""

    endpoint: str

    def keys(self, prefix: str = "") -> list[str]:
        """What lies there."""
        keys = {"access_key_id": "depot", "secret_access_key": "depot"}
        store = ObstoreStore(StoreEndpoint(plan_field="x", endpoint=self.endpoint, bucket="dumps", **keys))  # type: ignore[arg-type]
        return [found.key for found in store.list_objects(prefix)]


@pytest.fixture(scope="module")
def depot() -> Iterator[Depot]:
    port = free_block(1)
    server = subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, str(Path(migrator.lab.s3_server.__file__)), "127.0.0.1", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        endpoint, ends_at = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while time.monotonic() < ends_at:
            with suppress(httpx.TransportError):
                httpx.put(f"{endpoint}/dumps").raise_for_status()
                break
            time.sleep(0.2)
        yield Depot(endpoint)
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """Collections at the source, read by all tests and changed by none."""
    for name in NAMES:
        sources.fill_small(bench.a.uri, name, rows=200, shards=2, deleted=11)
    return bench


@dataclass(frozen=True, slots=True)
class Hop:
    """A plan of its own, with targets of its own."""

    bench: Bench
    shell: Shell
    name: str
    pairs: tuple[Pair, ...]

    @classmethod
    def make(cls, bench: Bench, depot: Depot, folder: Path, name: str, *, options: str = "") -> Hop:
        """Write the plan file; targets end with its name."""
        pairs = tuple(Pair(source, f"{source}_{name}") for source in NAMES)
        shell = Shell(
            folder, bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET, "DEPOT_KEY": "depot", "DEPOT_SECRET": "depot"}
        )
        shell.write(
            "plan.yaml",
            PLAN.format(
                name=f"hop-{name}",
                clusters=bench.clusters_file,
                backup=f"hop_{name}",
                endpoint=depot.endpoint,
                options=options,
                mappings="".join(f"  - {{source: {pair.source}, target: {pair.target}}}\n" for pair in pairs),
            ),
        )
        return cls(bench, shell, name, pairs)

    def start(self, **variables: str) -> Running:
        """Apply the plan, or go on with it, told as JSON lines."""
        command = ("apply", "plan.yaml", "--resume", "--yes", "--format", "json")
        return self.shell.start(*command, program="tests.support.deaths", DEATHS_SETTLE_S="8", **variables)

    def imports(self) -> list[str]:
        """What lies in the target's bucket for imports."""
        return sorted(self.bench.bucket_keys(IMPORTS))

    def assert_done(self, depot: Depot) -> None:
        """Every row arrived once, the dump lies in the depot alone, and nothing is left in the target's bucket."""
        assert_arrived(self.bench, self.pairs)
        assert self.imports() == []
        assert f"backup/hop_{self.name}/meta/full_meta.json" in depot.keys("backup")
        assert not self.bench.bucket_keys(f"backup/hop_{self.name}")
        assert not self.bench.bucket_keys(".migrator/leases")
        assert not depot.keys(".migrator/leases")


@pytest.mark.timeout(900)
def test_killed_once_at_every_point_of_the_second_hop(filled: Bench, depot: Depot, tmp_path: Path) -> None:
    hop = Hop.make(filled, depot, tmp_path, "killed")
    struck = tmp_path / "struck.jsonl"
    kinds = "forward_segments,drop_forwarded"
    answer = hop.start(DEATHS_FILE=str(struck), DEATHS_KINDS=kinds).finish(within_s=800)
    assert answer.code == 0, answer.text
    points = read_struck(struck)
    assert {point.what for point in points if point.kind == "forward_segments"} >= {"write_stream", "started"}
    assert {point.what for point in points if point.kind == "drop_forwarded"} >= {"delete", "finished"}
    hop.assert_done(depot)


def test_given_up_in_an_import(filled: Bench, depot: Depot, tmp_path: Path) -> None:
    """What was brought for it goes with the rest, and not before."""
    hop = Hop.make(filled, depot, tmp_path, "abandoned")
    running = hop.start()
    running.wait_for_event("step_started", "import_segments")
    assert running.send(signal.SIGKILL).code == -signal.SIGKILL
    brought = hop.imports()
    assert brought
    cleaned = hop.shell.run("clean", "plan.yaml", "--yes")
    assert "is unfinished" in cleaned.text
    assert hop.imports() == brought
    (run_id,) = {key.split("/")[2] for key in brought}
    rolled = hop.shell.run("rollback", run_id, "--yes")
    assert rolled.code == 0, rolled.text
    assert "files for imports" in rolled.out
    assert hop.imports() == []
    assert not [key for key in depot.keys(".migrator") if "abandoned" in key or "/leases/" in key]
    assert target_names(filled, "hop_one_abandoned") == []
    assert not filled.bucket_keys(".migrator/leases")


def test_stopped_while_it_keeps_to_a_limit(filled: Bench, depot: Depot, tmp_path: Path) -> None:
    """A stop is heard at once where the limit is waited for, in either hop."""
    limit = 40_000
    hop = Hop.make(filled, depot, tmp_path, "slow", options=f"transfer: {{limit_bytes_per_s: {limit}}}")
    for step in ("copy_segments", "forward_segments"):
        running = hop.start()
        running.wait_for_event("step_started", step)
        time.sleep(1.0)
        asked = time.monotonic()
        answer = running.send(signal.SIGTERM)
        assert answer.code == 130, answer.text
        assert time.monotonic() - asked < 5
    assert hop.start().finish().code == 0
    hop.assert_done(depot)
