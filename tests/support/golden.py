"""How plans look in every format, as `tests/golden/` holds it; run as a module, it writes those files anew.

Digests are left out: they change with every word of a step, and are tested elsewhere.
"""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch

from migrator.cli.console import print_lines
from migrator.planning.changes import changes
from migrator.planning.plan import plan_to_plain
from migrator.reports.beside import Against, beside, beside_to_plain
from migrator.reports.plain import to_json
from migrator.reports.to_html import plan_html
from migrator.reports.to_markdown import plan_markdown
from migrator.reports.to_mermaid import plan_mermaid
from migrator.reports.to_text import plan_lines
from tests.support.sample_plans import SAMPLES, risky, simple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from migrator.planning.plan import Plan
    from migrator.reports.beside import Beside

GOLDEN = Path(__file__).parents[1] / "golden"
TERMINAL = {"TERM": "xterm-256color", "COLUMNS": "80"}
_LONG_JSON = {"many"}
"""Files of thousands of lines, of which nobody would read a change."""
_FOLDED_HTML = {"risky"}
"""One page is enough: what else can be on it is seen by the tests in a browser."""


class Terminal(StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        """It is."""
        return True


def _text(plan: Plan, told: Beside) -> str:
    return "".join(f"{line.text}\n" for line in plan_lines(plan, told))


def on_terminal(plan: Plan, told: Beside, environment: Mapping[str, str] = TERMINAL, *, verbose: bool = False) -> str:
    """As a terminal of that kind shows it, its colours as escapes."""
    stream = Terminal()
    with patch.dict("os.environ", environment, clear=True):
        print_lines(plan_lines(plan, told, verbose=verbose), stream)
    return stream.getvalue()


def _json(plan: Plan, told: Beside) -> str:
    return to_json(plan_to_plain(plan) | beside_to_plain(told), indent=2) + "\n"


def _html(plan: Plan, told: Beside) -> str:
    """Without what is the same for all pages."""
    page = re.sub(r"(<(style|script)\b[^>]*>).*?(</\2>)", r"\1…\3", plan_html(plan, told), flags=re.DOTALL)
    page = re.sub(r"sha256-[\w+/=]+", "sha256-…", page)
    return re.sub(r"migrator \d[\w.]*", "migrator …", page)


def _renderers(name: str) -> Iterator[tuple[str, Callable[[Plan, Beside], str]]]:
    yield "txt", _text
    yield "terminal.txt", on_terminal
    yield "md", plan_markdown
    yield "mmd", lambda plan, _: plan_mermaid(plan)
    if name not in _LONG_JSON:
        yield "json", _json
    if name in _FOLDED_HTML:
        yield "html", _html


def rendered(folder: Path) -> dict[str, str]:
    """The text of each file by its name; plan files are written into `folder` meanwhile."""
    found: dict[str, str] = {}
    for name, make in SAMPLES.items():
        plan = make(folder)
        told = beside(plan)
        found |= {f"{name}.{ending}": render(plan, told) for ending, render in _renderers(name)}
    before, now = simple(folder), risky(folder)
    told = beside(now, against=Against(origin="run 1", changes=changes(before, now)))
    found |= {"against.txt": _text(now, told), "against.md": plan_markdown(now, told)}
    found["against.json"] = to_json(beside_to_plain(told)["against"], indent=2) + "\n"
    return {name: re.sub(r"\b[0-9a-f]{64}\b", "<digest>", text) for name, text in found.items()}


def _write() -> None:
    GOLDEN.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        texts = rendered(Path(folder))
    for path in GOLDEN.iterdir():
        path.unlink()
    for name, text in texts.items():
        (GOLDEN / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write()
