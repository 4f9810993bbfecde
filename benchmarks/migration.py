"""Whole migrations of one collection, for each way its files may go, against the target's import alone."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import milvus_backup
from benchmarks.bench import Contestant
from benchmarks.collections import compare, drop, fill, make
from benchmarks.import_alone import import_alone
from migrator.errors import SpecError
from migrator.spec.load import load_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.result import Result, Run

MODES = ("in_place", "server_side", "stream")
BASELINE = "import alone"
_LARGE = 1_500_000
_OF_LARGE = ("in_place",)
_AROUND = "from the flush to the last comparison of counts; no index is built, nothing loaded"


def run(bench: Bench) -> Iterator[Result]:
    """A small collection, in which what a run costs at all is seen, and a large one, in which it hardly is."""
    for rows, modes in bench.pick(((20_000, MODES), (_LARGE, _OF_LARGE)), ((500, MODES),)):
        seed = Seed(bench=bench, name=f"seed{rows}", rows=rows, modes=modes)
        seed.make()
        case = f"{rows:,} rows of 128 floats, {bench.servers.store_is}"
        yield from bench.side_by_side(case, list(seed.contestants()), within_s=70.0)
        seed.drop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A collection of the first server, on its way to the second."""

    bench: Bench
    name: str
    rows: int
    modes: Sequence[str]
    """Ways that its files go."""

    def make(self) -> None:
        """Fill it in two rounds, so that it has several segments."""
        uri = self.bench.servers.sides[0].uri
        make(uri, self.name, shards=2)
        for ids in self._rounds:
            fill(uri, self.name, rows=len(ids), first=ids.start)

    @property
    def _rounds(self) -> Sequence[range]:
        return range(self.rows // 2), range(self.rows // 2, self.rows)

    def drop(self) -> None:
        """At the source."""
        drop(self.bench.servers.sides[0].uri, [self.name])

    def contestants(self) -> Iterator[Contestant]:
        """The target by itself, the program by each of its ways, and milvus-backup where it is."""
        yield self._contestant(
            BASELINE,
            self._import,
            before=self._make_target,
            detail="of the source's files, a request a partition",
        )
        for mode in self.modes:
            yield self._by(mode)
        program = shutil.which(milvus_backup.PROGRAM)
        if program is None:
            yield Contestant(who="milvus-backup", skipped=f"{milvus_backup.PROGRAM} is not on this machine")
        else:
            yield self._contestant("milvus-backup", self._with_milvus_backup, detail="create, then restore")

    # -- who takes part ---------------------------------------------------------------------------------------------

    def _contestant(
        self, who: str, work: Callable[[int], Run], *, before: Callable[[int], None] | None = None, detail: str = ""
    ) -> Contestant:
        return Contestant(who=who, work=work, before=before or self._clear, after=self._compare, detail=detail)

    def _by(self, mode: str) -> Contestant:
        who = f"migrator, {mode}"
        try:
            load_plan(self._plan(mode, 0))
        except SpecError as error:
            return Contestant(who=who, skipped=error.message)
        return self._contestant(who, partial(self._migrate, mode), detail=_AROUND)

    def _plan(self, mode: str, number: int) -> Path:
        name = f"{self.name}-{mode.replace('_', '-')}-{number}"
        return self.bench.servers.plan(
            self.bench.folder / name,
            name,
            [self.name],
            target_of={self.name: self._target},
            options={"transfer": {"mode": mode}, "verify": "counts"},
            indexes="none",
            load="never",
        )

    def _migrate(self, mode: str, number: int) -> Run:
        plan = self._plan(mode, number)
        return self.bench.migrator(
            "apply", plan.name, "--yes", folder=plan.parent, environment=self.bench.servers.environment
        )

    def _import(self, _: int) -> Run:
        requests = [(self._target, prefix) for prefix in self.bench.servers.partitions(self.name)]
        return import_alone(self.bench.servers.sides[1].uri, requests, rows=self.rows)

    def _with_milvus_backup(self, number: int) -> Run:
        command = milvus_backup.commands(self.bench, self.name, number)
        return self.bench.measure(["/bin/sh", "-c", command])

    # -- what is there ----------------------------------------------------------------------------------------------

    @property
    def _target(self) -> str:
        return f"{self.name}{milvus_backup.SUFFIX}"

    def _clear(self, _: int) -> None:
        drop(self.bench.servers.sides[1].uri, [self._target])

    def _make_target(self, number: int) -> None:
        self._clear(number)
        make(self.bench.servers.sides[1].uri, self._target, shards=2)

    def _compare(self, _: int) -> int:
        return compare(self.bench.servers.sides[1].uri, self._target, self._rounds)
