"""All benchmarks, in the order in which they run and stand in the documentation."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.result import Result


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark by its name, which is its module's."""

    name: str
    title: str

    def run(self, bench: Bench) -> Iterator[Result]:
        """Measure; a result comes as soon as there is one."""
        yield from importlib.import_module(f"benchmarks.{self.name}").run(bench)


BENCHMARKS = (
    Benchmark("copies", "Copying objects, beside rclone and aws s3"),
    Benchmark("migration", "A collection from server to server, beside its import alone"),
    Benchmark("small_segments", "Many small segments"),
    Benchmark("many_collections", "Many collections"),
    Benchmark("planning", "Planning"),
    Benchmark("memory", "What a run holds"),
    Benchmark("resume", "Resuming"),
    Benchmark("startup", "Start-up"),
    Benchmark("dask_workers", "Streaming by the workers of a Dask cluster"),
)
