"""A plan whose every connection leads through proxies that a test can poison."""

from __future__ import annotations

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.support.cli import SECRET, Answer, Running, Shell
from tests.support.portraits import portray
from tests.support.toxics.calls import MilvusProxy
from tests.support.toxics.objects import StoreProxy
from tests.support.toxics.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.lab import Instance
    from tests.support.bench import Bench

CLUSTER = """\
{name}:
  milvus: {{uri: "http://127.0.0.1:{milvus}"}}
  storage:
    provider: minio
    endpoint: http://127.0.0.1:{store}
    bucket: {bucket}
    root_path: {root_path}
    credentials:
      type: static
      access_key_id: {{env: S3_ACCESS_KEY_ID}}
      secret_access_key: {{env: S3_SECRET_ACCESS_KEY}}
"""
"""As the lab writes its clusters, with ports of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the program reaches one Milvus: the wire leads to the proxy, that to the server."""

    wire: Wire
    calls: MilvusProxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Detour:
    """A plan for `collections` of the source, applied from a folder of its own."""

    bench: Bench
    shell: Shell
    name: str
    collections: tuple[str, ...]
    source: Way
    target: Way
    store_wire: Wire
    store: StoreProxy

    def target_name(self, collection: str) -> str:
        """Where a collection goes."""
        return f"{collection}_{self.name}"

    def write_plan(self, *options: str, database: str = "default", max_elapsed: str = "5m") -> None:
        """Write the plan; each of `options` is a line below `options:`."""
        moves = "".join(
            f'  - {{source: {name}, target: "{database}.{self.target_name(name)}"}}\n' for name in self.collections
        )
        self.shell.write(
            "plan.yaml",
            f"version: 1\nname: {self.name.replace('_', '-')}\nclusters: clusters.yaml\nsource: a\ntarget: b\n"
            f"staging: {{root_path: backup, backup_name: {self.name}}}\n"
            f"collections:\n{moves}options:\n  retry: {{max_backoff: 2s, max_elapsed: {max_elapsed}}}\n"
            + "".join(f"  {option}\n" for option in options),
        )

    def start(self, *arguments: str) -> Running:
        """Apply the plan, or go on with it, told as JSON lines."""
        return self.shell.start("apply", *(arguments or ("plan.yaml", "--yes")), "--format", "json")

    def resume(self, code: int = 0) -> Answer:
        """Go on with the run."""
        return self.shell.run("apply", "--resume", code=code)

    def cure(self) -> None:
        """Let everything through from now on."""
        for proxy in (self.source.calls, self.target.calls, self.store):
            proxy.cure()

    def assert_all_arrived(self, *, database: str = "default", count: int | None = None) -> None:
        """Counted and compared key by key: nothing lost, nothing twice."""
        with ThreadPoolExecutor() as pool:
            left = list(pool.map(partial(portray, self.bench.a.uri), self.collections))
            names = map(self.target_name, self.collections)
            right = list(pool.map(partial(portray, self.bench.b.uri, database=database), names))
        for ours, theirs in zip(left, right, strict=True):
            assert theirs.count == len(theirs.rows) == (len(ours.rows) if count is None else count)
            assert theirs.rows == ours.rows
            assert theirs.partitions == ours.partitions
            assert theirs.indexes == ours.indexes
            assert theirs.is_loaded == ours.is_loaded


def waits(answer: Answer, step: str = "") -> list[str]:
    """What the steps whose keys begin so said that they wait for."""
    return [e["message"] for e in answer.events if e["event"] == "step_waits" and e["step"].startswith(step)]


def events(answer: Answer, event: str, step: str = "") -> list[dict[str, Any]]:
    """The events of one kind, of steps whose keys begin so."""
    return [e for e in answer.events if e["event"] == event and e.get("step", "").startswith(step)]


def plan_name(test: str) -> str:
    """A plan's name by a test's, usable in names of collections."""
    return re.sub(r"\W+", "_", test.removeprefix("test_").lower())[:60].strip("_")


@contextlib.contextmanager
def detour(bench: Bench, folder: Path, name: str, collections: tuple[str, ...]) -> Iterator[Detour]:
    """Proxies in front of both Milvus servers and of the store, and a plan that knows no other way."""
    with contextlib.ExitStack() as stack:
        ways = [_way(stack, instance) for instance in (bench.a, bench.b)]
        store = stack.enter_context(StoreProxy(urlsplit(bench.state.s3_endpoint).port or 0))
        store_wire = stack.enter_context(Wire(store.port))
        shell = Shell(folder, bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
        shell.write(
            "clusters.yaml",
            "".join(
                CLUSTER.format(
                    name=instance.cluster,
                    milvus=way.wire.port,
                    store=store_wire.port,
                    bucket=bench.state.bucket,
                    root_path=instance.root_path,
                )
                for instance, way in zip((bench.a, bench.b), ways, strict=True)
            ),
        )
        made = Detour(
            bench=bench,
            shell=shell,
            name=name,
            collections=collections,
            source=ways[0],
            target=ways[1],
            store_wire=store_wire,
            store=store,
        )
        made.write_plan()
        yield made


def with_collections(detour: Detour, *collections: str) -> Detour:
    """The same way for other collections."""
    changed = replace(detour, collections=collections)
    changed.write_plan()
    return changed


def _way(stack: contextlib.ExitStack, instance: Instance) -> Way:
    calls = stack.enter_context(MilvusProxy(instance.first_port))
    return Way(wire=stack.enter_context(Wire(calls.port)), calls=calls)
