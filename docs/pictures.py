"""The pictures of the first page, of runs that `make demo` left: what `plan` prints, and a run's report.

Run by `make pictures`. Nothing in them is drawn by hand, and they name no address of another host.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from migrator import workflow
from migrator.reports.plain import clean
from migrator.reports.to_html import run_html
from migrator.reports.to_text import plan_lines
from migrator.running.clock import SystemClock
from migrator.running.runs import Run, StateDirectory
from tests.support.chromium import chromium, find_chromium

PICTURES = Path(__file__).parent / "pictures"
PLANNED, REPORTED = "a-to-b", "once-more"
"""The demo's two runs: one that went through, one that was killed and resumed."""
_WIDTH = 116
_THEME = TerminalTheme(
    (22, 27, 34),
    (222, 228, 234),
    [
        *((72, 79, 88), (255, 123, 114), (126, 211, 133), (240, 190, 90)),
        *((121, 184, 255), (210, 168, 255), (110, 206, 214), (222, 228, 234)),
    ],
)
_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 -16 {terminal_width} {terminal_height}" role="img" style="background:#161b22">
<title>What migrator plan prints</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>{lines}</defs>
<g class="{unique_id}-matrix">
{matrix}
</g>
</svg>
"""  # noqa: E501 - as rich fills it in; its own form loads a font from elsewhere


def main(state_folder: str) -> None:
    """Write the pictures of the runs in a state directory."""
    state = StateDirectory(Path(state_folder), SystemClock())
    runs = {run.plan.name: run for run in state.runs()}
    missing = sorted({PLANNED, REPORTED} - {*runs})
    if missing:
        sys.exit(f"{state_folder} has no run of {', '.join(missing)}: make demo leaves them")
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "plan.svg").write_text(_terminal(runs[PLANNED]), encoding="utf-8")
    _photograph(run_html(workflow.report(runs[REPORTED], state)))


def _terminal(run: Run) -> str:
    """A terminal, as SVG, in which the plan was printed."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(Text("$ migrator plan a_to_b.yaml", style="dim"))
    for line in plan_lines(run.plan):
        console.print(Text(clean(line.text), style=line.style.value))
    console.print()  # room below; what is right of the longest line is room too
    text = console.export_svg(theme=_THEME, code_format=_SVG, unique_id="plan")
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def _photograph(page: str) -> None:
    """The upper part of the page, light and dark."""
    program = find_chromium()
    if program is None:
        sys.exit("no Chromium: make chromium installs it, as root on Debian")
    with tempfile.TemporaryDirectory() as folder, chromium(program) as browser:
        file = Path(folder) / "report.html"
        file.write_text(page, encoding="utf-8")
        for scheme in ("light", "dark"):
            tab = browser.open(file.as_uri(), size=(1120, 930), scheme=scheme, scale=1.5)
            tab.picture(PICTURES / f"report-{scheme}.webp")


if __name__ == "__main__":
    main(*sys.argv[1:])
