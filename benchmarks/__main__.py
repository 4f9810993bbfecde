"""`python -m benchmarks`: run all or some, write the results as each ends."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import REPOSITORY, Bench
from benchmarks.book import Book, machine
from benchmarks.registry import BENCHMARKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.registry import Benchmark


_MEMORY = "/dev/shm"  # noqa: S108 - a folder of its own is made in it
"""Where servers write, so that no disk is measured, as the store's is none."""


def main(arguments: Sequence[str] | None = None) -> int:
    """1 where a benchmark failed; how long anything took is no reason."""
    wanted = _parse(arguments)
    book = Book(wanted.out)
    failed = []
    with tempfile.TemporaryDirectory(prefix="bench-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as folder:
        bench = Bench(folder=Path(folder), is_smoke=wanted.smoke)
        with bench.stack:
            failed = [each.name for each in wanted.benchmarks if not _run(each, bench, book)]
    sys.stderr.write(f"results: {book.file}\n" + "".join(f"failed: {name}\n" for name in failed))
    return 1 if failed else 0


def _run(benchmark: Benchmark, bench: Bench, book: Book) -> bool:
    """Whether it came to its end; what it measured before is kept."""
    sys.stderr.write(f"{benchmark.name}: {benchmark.title}\n")
    started, results, error = time.monotonic(), [], ""
    try:
        for result in benchmark.run(bench):
            results.append(result)
            book.write(benchmark, results, machine())
    except Exception as reason:  # noqa: BLE001 - the others go on
        sys.stderr.write(traceback.format_exc(limit=-2, chain=False))
        error = f"{type(reason).__name__}: {reason}"[:300]
    book.write(benchmark, results, machine(), error=error, took_s=time.monotonic() - started)
    return not error and not any(result.skipped.startswith("failed") for result in results)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = {each.name: each for each in BENCHMARKS}
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", default="", help=f"names with commas between: {', '.join(names)}")
    parser.add_argument("--smoke", action="store_true", help="the smallest sizes: it only proves that they run")
    parser.add_argument("--out", type=Path, help="where to write; docs/, or with --smoke a new folder")
    wanted = parser.parse_args(arguments)
    chosen = [name.strip() for name in wanted.only.split(",") if name.strip()]
    if strange := [name for name in chosen if name not in names]:
        parser.error(f"there is no benchmark {', '.join(strange)}; there are {', '.join(names)}")
    wanted.benchmarks = [names[name] for name in chosen or names]
    if wanted.out is None:
        wanted.out = Path(tempfile.mkdtemp(prefix="bench-smoke-")) if wanted.smoke else REPOSITORY / "docs"
    return wanted


if __name__ == "__main__":
    logging.disable()  # clients tell at length what their exceptions say
    sys.exit(main())
