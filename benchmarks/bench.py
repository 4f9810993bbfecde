"""What a benchmark is given: a folder, measured processes, servers that are started when they are asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchmarks.result import Result, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.servers import Servers

REPOSITORY = Path(__file__).parents[1]
_LAUNCHER = Path(__file__).with_name("launch.py")
_LONGEST_S = 600
_ALL_OF_A_RUN = (
    "migrator.cli.apply",
    "migrator.cli.plan",
    "migrator.cli.validate",
    "migrator.cli.watching",
    "migrator.workflow",
    "migrator.adapters.milvus",
    "migrator.adapters.milvus_rest",
    "migrator.adapters.objects",
    "migrator.adapters.dump_rows",
    "migrator.reports.to_html",
)
T = TypeVar("T")


class BenchmarkFailed(Exception):
    """A command ended otherwise than it should, or what it made is not right; the others go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Who takes part in a case.

    `work` is one measured run and gets the round's number; `before` prepares it and is not measured, `after` looks at
    what was made and says how many rows or objects it compared. With `skipped` there is nothing to run.
    """

    who: str
    work: Callable[[int], Run] | None = None
    before: Callable[[int], None] | None = None
    after: Callable[[int], int] | None = None
    detail: str = ""
    skipped: str = ""
    most_rounds: int | None = None
    """For who is so slow that the others would get no further round."""


@dataclass(kw_only=True)
class Bench:
    """One run of the benchmarks; `is_smoke` only proves that they run."""

    folder: Path
    is_smoke: bool = False
    stack: ExitStack = field(default_factory=ExitStack)
    _reports: int = 0
    _is_compiled: bool = False

    def pick(self, full: T, smoke: T) -> T:
        """The size for this run."""
        return smoke if self.is_smoke else full

    @cached_property
    def servers(self) -> Servers:
        """The object store and the two Milvus servers that benchmarks share, started at the first use."""
        from benchmarks.servers import start_servers  # noqa: PLC0415 - not every benchmark needs them

        return start_servers(self.stack, self.folder / "servers", is_smoke=self.is_smoke)

    # -- measuring --------------------------------------------------------------------------------------------------

    def measure(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        codes: Sequence[int] = (0,),
    ) -> Run:
        """Run a command to its end: its seconds, processor time and peak memory, as the system accounts them.

        Raises:
            BenchmarkFailed: Its exit code is not one of `codes`; the message has the end of what it said.
        """
        self._reports += 1
        report = self.folder / f"run-{self._reports}.json"
        done = subprocess.run(  # noqa: S603 - the benchmark's own command, no shell
            [sys.executable, "-IS", str(_LAUNCHER), str(report), *command],
            cwd=folder or self.folder,
            env={**_clean_environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
        if done.returncode not in codes:
            said = (done.stdout + done.stderr)[-1500:]
            raise BenchmarkFailed(f"{' '.join(command)[:200]} ended with {done.returncode}: {said}")
        return Run(**json.loads(report.read_text(encoding="utf-8")))

    def migrator(
        self, *arguments: str, folder: Path, environment: Mapping[str, str] | None = None, codes: Sequence[int] = (0,)
    ) -> Run:
        """The program as a user runs it, measured; its modules are compiled already, as installers do that."""
        compiled = {"PYTHONPYCACHEPREFIX": str(self.folder / "compiled")}
        if not self._is_compiled:
            self._is_compiled = True
            self.measure([sys.executable, "-c", f"import {', '.join(_ALL_OF_A_RUN)}"], environment=compiled)
        return self.measure(
            [sys.executable, "-m", "migrator", *arguments],
            environment={**compiled, **(environment or {})},
            folder=folder,
            codes=codes,
        )

    # -- comparing --------------------------------------------------------------------------------------------------

    def side_by_side(
        self,
        case: str,
        contestants: Sequence[Contestant],
        *,
        rounds: int = 3,
        within_s: float = 60.0,
        baseline: str = "",
    ) -> Iterator[Result]:
        """Let all take part in turn, A B A B …; each round begins with another one.

        No further round begins when the last one would not fit into `within_s`. Who fails is told with the reason, and
        takes no part any more. `baseline` is whom the others are compared with: the first, if nobody is named.
        """
        partakers = [each for each in contestants if each.work is not None]
        tables = {each.who: _Table() for each in partakers}
        began = time.monotonic()
        for number in range(1 if self.is_smoke else rounds):
            started = time.monotonic()
            first = number % max(len(partakers), 1)
            for each in partakers[first:] + partakers[:first]:
                tables[each.who].add(each, number)
            now = time.monotonic()
            if now - began + (now - started) > within_s:
                break
        base = baseline or (contestants[0].who if contestants else "")
        for each in contestants:
            yield _result(case, each, tables, base)


@dataclass(slots=True)
class _Table:
    """The runs of one contestant by round."""

    runs: dict[int, Run] = field(default_factory=dict)
    compared: int = 0
    failed: str = ""

    def add(self, who: Contestant, number: int) -> None:
        if self.failed or who.work is None or len(self.runs) == who.most_rounds:
            return
        try:
            if who.before is not None:
                who.before(number)
            run = who.work(number)
            if who.after is not None:
                self.compared = who.after(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            self.failed = f"failed: {type(error).__name__}: {error}"[:300]
            sys.stderr.write(f"  {who.who} {self.failed}\n")
        else:
            self.runs[number] = run
            sys.stderr.write(f"  {who.who}: {run.seconds:.2f} s\n")


def _result(case: str, who: Contestant, tables: Mapping[str, _Table], baseline: str) -> Result:
    table = tables.get(who.who, _Table())
    if who.work is None or table.failed:
        return Result(case=case, who=who.who, skipped=who.skipped or table.failed, detail=who.detail)
    base = tables[baseline].runs if baseline in tables and baseline != who.who else {}
    ratios = [run.seconds / base[number].seconds for number, run in table.runs.items() if number in base]
    return Result(
        case=case,
        who=who.who,
        runs=tuple(table.runs.values()),
        baseline=baseline if ratios else "",
        ratios=tuple(ratios),
        rows_compared=table.compared,
        detail=who.detail,
    )


def _clean_environment() -> dict[str, str]:
    """This one without what would set a command otherwise than the benchmark says; compiled modules are kept."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MIGRATOR_", "S3_", "AWS_", "RCLONE_", "PYTHONDONTWRITEBYTECODE"))
    }
    return own | {"PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1"}
