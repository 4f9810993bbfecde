"""How long commands take that ask no server, and what `migrator plan` brings with it before it asks one."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.bench import REPOSITORY, Contestant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.result import Result, Run

_IMPORTS = """
import gc, migrator.__main__
gc.set_threshold(migrator.__main__.LOOK_AFTER)  # as every command does
import migrator.workflow, migrator.adapters.milvus, migrator.adapters.objects, migrator.adapters.dump_rows
"""


def run(bench: Bench) -> Iterator[Result]:
    """Each beside an interpreter that does nothing; compiled modules are made by a first run, as installers do."""
    python = Contestant(who="python -c pass", work=partial(_python, bench, "pass"))
    plans = REPOSITORY / "plans"
    commands = {
        "migrator --help": partial(_migrator, bench, "--help"),
        "migrator validate a_to_b.yaml": partial(_migrator, bench, "validate", str(plans / "a_to_b.yaml")),
        "migrator plan, before it connects": partial(_python, bench, _IMPORTS),
    }
    partakers = [python, *(Contestant(who=who, work=work) for who, work in commands.items())]
    for each in partakers:
        if each.work is not None:
            each.work(0)
    yield from bench.side_by_side("start-up", partakers, rounds=11, within_s=60.0)


def _migrator(bench: Bench, *arguments_and_round: object) -> Run:
    *arguments, _ = map(str, arguments_and_round)
    return bench.migrator(*arguments, folder=bench.folder, environment=_compiled(bench))


def _python(bench: Bench, code: str, _: int) -> Run:
    return bench.measure([sys.executable, "-c", code], environment=_compiled(bench))


def _compiled(bench: Bench) -> dict[str, str]:
    """Compiled modules are kept, wherever the packages lie."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(bench.folder / "compiled")}
