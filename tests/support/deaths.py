"""A `migrator` that dies of SIGKILL at every point of its work, and is started again after each death.

    DEATHS_FILE=struck.jsonl python -m tests.support.deaths apply PLAN --resume --yes

Points lie before and after every call of a writer port, every transaction of the journal, and the writing of a run's
file. They are not listed anywhere: an attempt dies at the first point it passes that is not in DEATHS_FILE yet, after
adding it there. The program ends as the first attempt does that nothing kills. Each attempt is a process of its own,
forked before any connection is opened, because imports take longer than most attempts live.

DEATHS_KINDS names the kinds of steps to die in, with commas between; what no step does has the kind `run`, `lease` or
none. DEATHS_WHAT names the calls to die at, likewise. With DEATHS_JOURNAL=after nobody dies before a transaction of the
journal: nothing lasts between that point and the one that was passed before it. DEATHS_SETTLE_S shortens `settle_s` of
`sent_jobs`. Without DEATHS_FILE nothing else is done, and the command line runs in this process: for whoever kills it
himself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from migrator import workflow
from migrator.__main__ import main as run_migrator
from migrator.adapters.milvus import GrpcMilvus
from migrator.adapters.objects import ObstoreStore
from migrator.cli import watching
from migrator.ports.ledger import Ledger, LedgerReader
from migrator.running import runs
from migrator.running.journal import Journal
from migrator.steps import sent_jobs
from migrator.steps.registry import STEP_KINDS
from tests.support.mortality import WRITERS, Point

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from migrator.ports.milvus import MilvusReader

    _Wrapper: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

MOST_DEATHS = 400
LEASE, RUN = "lease", "run"
"""Kinds of what no step does: leases with their heartbeat, and the run as a whole."""
_LOADED = (workflow, watching)
"""Imported once, before the attempts are forked."""
_JOURNAL_WRITERS = {name for name in vars(Ledger).keys() - vars(LedgerReader).keys() if not name.startswith("_")} | {
    "add"
}

_AT_WORK: ContextVar[str] = ContextVar("_AT_WORK", default="")
_WRITING: ContextVar[_Write | None] = ContextVar("_WRITING", default=None)


@dataclass(slots=True)
class _Write:
    """A call of the journal; `is_one` where only its last transaction is durable."""

    what: str
    is_one: bool
    transactions: int = 0


def read_struck(path: Path) -> list[Point]:
    """The points at which somebody died so far, in order."""
    return [Point(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(slots=True)
class Deaths:
    """Which points were struck, and the striking."""

    path: Path
    kinds: frozenset[str] | None = None
    """To die in; None is all."""
    calls: frozenset[str] | None = None
    """To die at; None is all."""
    is_journal_whole: bool = True
    """Whether to die before its transactions too."""
    struck: set[Point] = field(default_factory=set)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def pass_point(self, kind: str, what: str, moment: str) -> None:
        """Die here, unless somebody has."""
        point = Point(kind, what, moment)
        with self.guard:
            is_meant = self.calls is None or what.partition(" ")[0] in self.calls
            if point not in self.struck and is_meant and (self.kinds is None or kind in self.kinds):
                self._die(point)

    def _die(self, point: Point) -> NoReturn:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(point)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.kill(os.getpid(), signal.SIGKILL)
        while True:
            signal.pause()

    # -- where the points are -----------------------------------------------------------------------------------------

    def arm(self) -> None:
        """Put points around everything that lasts."""
        for step in STEP_KINDS.values():
            _wrap(step, "apply", _at_work(step.kind))
        _wrap(ThreadPoolExecutor, "submit", _inheriting)
        for adapter in (GrpcMilvus, ObstoreStore):
            for name in WRITERS & vars(adapter).keys():
                _wrap(adapter, name, self._requesting(name, outside=LEASE if adapter is ObstoreStore else ""))
        for name in _JOURNAL_WRITERS:
            _wrap(Journal, name, self._writing(name))
        _wrap(Journal, "_transaction", self._transacting)
        _wrap(runs, "write_whole", self._requesting("run file", outside=RUN))

    def _requesting(self, what: str, *, outside: str) -> _Wrapper:
        def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
            def guarded(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - as the original
                kind = _AT_WORK.get() or outside
                said = _request_name(what, args, named, in_step=bool(_AT_WORK.get()))
                self.pass_point(kind, said, "before")
                result = call(*args, **named)
                self.pass_point(kind, said, "after")
                return result

            return guarded

        return wrap

    def _writing(self, name: str) -> _Wrapper:
        """A call of the journal: an entry belongs to the kind in its step's key, a listing to the step at work."""

        def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
            def guarded(journal: Journal, *args: Any, **named: Any) -> Any:  # noqa: ANN401 - as the original
                if _WRITING.get() is not None:
                    return call(journal, *args, **named)
                kind = _AT_WORK.get()
                if args and isinstance(args[0], str):
                    kind = args[0].partition(":")[0] or RUN
                write = _Write(_entry_name(name, args), is_one=name == "compare_staged")
                context = copy_context()
                context.run(_AT_WORK.set, kind)
                context.run(_WRITING.set, write)
                if write.is_one and self.is_journal_whole:
                    self.pass_point(kind, write.what, "before")
                result = context.run(call, journal, *args, **named)
                if write.is_one:
                    self.pass_point(kind, write.what, "after")
                return result

            return guarded

        return wrap

    def _transacting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def guarded(journal: Journal) -> Iterator[sqlite3.Connection]:
            write = _WRITING.get() or _Write("journal", is_one=False)
            if write.is_one:
                with call(journal) as db:
                    yield db
                return
            write.transactions += 1
            what = write.what if write.transactions == 1 else f"{write.what} {write.transactions}"
            kind = _AT_WORK.get() or RUN
            if self.is_journal_whole:
                self.pass_point(kind, what, "before")
            with call(journal) as db:
                yield db
            self.pass_point(kind, what, "after")

        return guarded


def _wrap(owner: object, name: str, wrapper: _Wrapper) -> None:
    setattr(owner, name, wrapper(getattr(owner, name)))


def _at_work(kind: str) -> _Wrapper:
    """Know, in this thread and in those it gives work to, which kind of step is at work."""

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - as the original
            context = copy_context()
            context.run(_AT_WORK.set, kind)
            return context.run(call, *args, **named)

        return guarded

    return wrap


def _inheriting(submit: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(pool: ThreadPoolExecutor, call: Callable[..., Any], /, *args: Any, **named: Any) -> Any:  # noqa: ANN401 - as the original
        return submit(pool, copy_context().run, call, *args, **named)

    return guarded


def _request_name(name: str, args: tuple[Any, ...], named: dict[str, Any], *, in_step: bool) -> str:
    """Each JSON file of a dump by itself, and each rename; of what no step does, each thread and way of writing."""
    key = args[1] if len(args) > 1 else None
    if name == "rename_collection":
        name = f"{name} {'away' if '_retired_' in args[2] else 'in' if '_mig_' in args[1].name else 'back'}"
    if isinstance(key, str) and key.endswith("_meta.json"):
        return f"{name} {key.rpartition('/')[2]}"
    return name if in_step else " ".join((name, *named, threading.current_thread().name))


def _entry_name(method: str, args: tuple[Any, ...]) -> str:
    """What of a step is noted, or which event is added; of other calls their name."""
    if method == "note":
        return "note " + ",".join(args[1])
    return str(args[1]) if method == "add" else method


def _attempt() -> int:
    """Run the command line in a process of its own; how that ended."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        run_migrator()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def brief(target: MilvusReader) -> float:  # noqa: ARG001 - in the place of `sent_jobs.settle_s`
    """As the environment says."""
    return float(os.environ["DEATHS_SETTLE_S"])


def _names(variable: str) -> frozenset[str] | None:
    said = os.environ.get(variable)
    return None if said is None else frozenset(said.split(","))


def main() -> NoReturn:
    """Die, and go on, until an attempt lives."""
    if "DEATHS_SETTLE_S" in os.environ:
        sent_jobs.settle_s = brief
    if "DEATHS_FILE" not in os.environ:
        run_migrator()
    deaths = Deaths(
        Path(os.environ["DEATHS_FILE"]),
        _names("DEATHS_KINDS"),
        _names("DEATHS_WHAT"),
        is_journal_whole=os.environ.get("DEATHS_JOURNAL") != "after",
    )
    deaths.path.touch()
    deaths.arm()
    for number in range(MOST_DEATHS):
        deaths.struck = set(read_struck(deaths.path))
        began = time.monotonic()
        code = _attempt()
        lasted_s = time.monotonic() - began
        if code != -signal.SIGKILL:
            sys.exit(code)
        point = read_struck(deaths.path)[-1]
        print(f"death {number + 1} after {lasted_s:.1f} s: {point.kind}, {point.moment} {point.what}", flush=True)  # noqa: T201 - a program
    sys.exit(f"it dies for ever: {deaths.path}")


if __name__ == "__main__":
    main()
