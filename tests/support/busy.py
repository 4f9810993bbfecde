"""Sources that are written to as fast as they can take it, while a plan moves them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.cli import SECRET, Answer, Shell
from tests.support.portraits import Portrait, connected, portray
from tests.support.writers import Kind, Writer, create

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.support.bench import Bench

KINDS = {
    "cut_shards": (Kind("cut_shards", shards=2), 3),
    "cut_words": (Kind("cut_words", words=True), 1),
    "cut_rooms": (Kind("cut_rooms", shards=2, partitions=("north", "south", "_default")), 1),
}
"""What is written to, and by how many at once."""
BEFORE = 150
"""Writes of each before it is flushed the first time."""


@contextmanager
def busy(bench: Bench, names: Sequence[str]) -> Iterator[dict[str, list[Writer]]]:
    """Fill collections, half of it flushed, and let writers write to them."""
    writers = {name: [Writer(bench.a.uri, KINDS[name][0], which) for which in range(KINDS[name][1])] for name in names}
    everyone = [writer for group in writers.values() for writer in group]
    with ThreadPoolExecutor(len(everyone)) as pool, connected(bench.a.uri) as client:
        for name in names:
            create(bench.a.uri, KINDS[name][0])
        for job in [pool.submit(writer.write, BEFORE) for writer in everyone]:
            job.result()
        for job in [pool.submit(client.flush, name) for name in names]:
            job.result()
    for writer in everyone:
        writer.start()
    try:
        time.sleep(1)
        yield writers
    finally:
        for writer in everyone:
            writer.end()


def move(bench: Bench, folder: Path, plan: str, names: Sequence[str], options: str = "{}") -> Shell:
    """A plan that moves the collections under names with the plan's own at the end."""
    shell = Shell(folder, bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
    shell.write(
        "plan.yaml",
        f"version: 1\nname: {plan}\nclusters: {bench.clusters_file}\nsource: a\ntarget: b\n"
        f"staging: {{root_path: backup, backup_name: {plan.replace('-', '_')}}}\noptions: {options}\n"
        f"collections: [{', '.join(f'{{source: {name}, target: {_target(name, plan)}}}' for name in names)}]\n",
    )
    return shell


def arrived(bench: Bench, plan: str, names: Sequence[str]) -> dict[str, Portrait]:
    """The targets by the names of their sources."""
    return {name: portray(bench.b.uri, _target(name, plan)) for name in names}


def apply(shell: Shell, *arguments: str) -> Answer:
    """Apply to its end; that the source has moved since may be told by the code."""
    answer = shell.start("apply", *arguments).finish()
    assert answer.code in {0, 51}, answer.text
    return answer


def done_before(writers: Mapping[str, Sequence[Writer]]) -> dict[str, list[int]]:
    """How many writes each has been told are done."""
    return {name: [len(writer.log) for writer in group] for name, group in writers.items()}


def drop(bench: Bench, names: Sequence[str]) -> None:
    """Remove what an earlier test left at the source."""
    with connected(bench.a.uri) as client:
        for name in names:
            client.drop_collection(name)


def _target(name: str, plan: str) -> str:
    return f"{name}_{plan}".replace("-", "_")
