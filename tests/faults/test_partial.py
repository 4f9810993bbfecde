"""One collection of many that cannot come: all others arrive, and what did not is named."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support import sources
from tests.support.arrivals import Pair, assert_arrived, assert_dumped, dump_lists, target_names
from tests.support.cli import SECRET, Shell
from tests.support.portraits import connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bench import Bench


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many small collections, each of another size; one loses an object, the target's name of one is taken."""

    bench: Bench
    count: int

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in order."""
        return tuple(f"crowd_{self.count}_{number:02d}" for number in range(self.count))

    @property
    def poisoned(self) -> str:
        """The one of which an object is gone."""
        return self.names[1]

    @property
    def taken(self) -> str:
        """The one whose target somebody else makes in mid-run."""
        return self.names[-2]

    def rows(self, name: str) -> int:
        """How many rows of a collection come along."""
        return 50 + self.names.index(name)

    def fill(self) -> None:
        """Make them."""
        with ThreadPoolExecutor(6) as pool:
            fill = partial(sources.fill_small, self.bench.a.uri, deleted=2)
            for job in [pool.submit(fill, name, rows=self.rows(name) + 2) for name in self.names]:
                job.result()

    def pairs(self, *without: str) -> list[Pair]:
        """Where they go."""
        return [Pair(name, f"{name}_part") for name in self.names if name not in without]

    @contextmanager
    def poison(self) -> Iterator[None]:
        """An object of one collection is gone for a while."""
        with connected(self.bench.a.uri) as client:
            collection_id = client.describe_collection(self.poisoned)["collection_id"]
        key = min(self.bench.bucket_keys(f"files_A/insert_log/{collection_id}"))
        content = self.bench.read_object(key)
        self.bench.delete_object(key)
        try:
            yield
        finally:
            self.bench.write_object(key, content)

    def take(self) -> None:
        """Somebody creates a collection of their own under a target's name."""
        with connected(self.bench.b.uri) as client:
            client.create_collection(f"{self.taken}_part", dimension=4)

    def give_back(self) -> None:
        """Their collection is as they made it, and they drop it."""
        with connected(self.bench.b.uri) as client:
            assert len(client.describe_collection(f"{self.taken}_part")["fields"]) == 2
            client.drop_collection(f"{self.taken}_part")

    # -- what is said of them -----------------------------------------------------------------------------------------

    def said_done(self, text: str) -> list[str]:
        """The collections that a summary calls done, with the right number of rows."""
        return [name for name in self.names if f"{name} → {name}_part  {self.rows(name)} rows  done" in text]

    def said_failed(self, text: str) -> list[str]:
        """The collections that a summary calls failed."""
        return [name for name in self.names if f"{name} → {name}_part  failed" in text]


@pytest.mark.parametrize("count", [6, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_what_can_come_comes(count: int, bench: Bench, tmp_path: Path) -> None:
    """Two of many fail, then one, then none; what had come is not touched again."""
    crowd = Crowd(bench, count)
    crowd.fill()
    shell = Shell(tmp_path, bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
    shell.write(
        "plan.yaml",
        f"version: 1\nname: crowd-{count}\nclusters: {bench.clusters_file}\nsource: a\ntarget: b\n"
        f"staging: {{root_path: backup, backup_name: crowd_{count}}}\n"
        f'collections: [{{source: "crowd_{count}_*", target: "{{{{ collection }}}}_part"}}]\n',
    )
    arrived = crowd.pairs(crowd.poisoned, crowd.taken)
    with crowd.poison():
        running = shell.start("apply", "plan.yaml", "--yes")
        running.wait_for(lambda line: "✓ flush" in line)
        running.process.send_signal(signal.SIGSTOP)  # for a moment, so that somebody else is faster
        crowd.take()
        running.process.send_signal(signal.SIGCONT)
        answer = running.finish()
        assert answer.code == 22, answer.text
        assert crowd.said_done(answer.out) == [pair.source for pair in arrived]
        assert crowd.said_failed(answer.out) == [crowd.poisoned, crowd.taken]
        assert "migrator apply --resume" in answer.out
        assert_arrived(bench, arrived)

        crowd.give_back()
        again = shell.run("apply", "--resume", code=20)
        assert crowd.said_failed(again.out) == crowd.said_failed(shell.run("status").out) == [crowd.poisoned]
        status = json.loads(shell.run("status", "--format", "json").out)
        assert {c["source"]: c["rows"] for c in status["collections"] if c["state"] == "done"} == {
            pair.source: crowd.rows(pair.source) for pair in crowd.pairs(crowd.poisoned)
        }
        assert dump_lists(bench, f"crowd_{count}") == sorted({*crowd.names} - {crowd.poisoned})

    shell.run("apply", "--resume")
    assert target_names(bench, f"crowd_{count}_") == [pair.target for pair in crowd.pairs()]
    assert_arrived(bench, crowd.pairs())
    assert_dumped(bench, f"crowd_{count}", crowd.pairs())
