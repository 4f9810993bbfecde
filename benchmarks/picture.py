"""The results as a picture: a bar for each who took part, as long as its median, within each case."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from benchmarks.result import Result

_WIDTH, _LEFT, _LONGEST, _ROW = 900, 250, 480, 20
_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 } .case { font-weight: 600; fill: #57606a }
  .own { fill: #0b6bcb } .other { fill: #9aa4af } .range { stroke: #57606a; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .case { fill: #9da7b1 } .own { fill: #4aa3ff } .other { fill: #5c6670 }
    .range { stroke: #9da7b1 }
  }
"""


def draw(benchmarks: Mapping[str, tuple[str, Iterable[Result]]]) -> str:
    """One SVG of all that were measured; each case has its own scale, from nothing to its longest run."""
    parts, y = [], 10
    for title, results in benchmarks.values():
        measured = [result for result in results if result.runs]
        if not measured:
            continue
        y += 24
        parts.append(f'<text class="title" x="10" y="{y}">{escape(title)}</text>')
        for case, group in groupby(measured, key=lambda result: result.case):
            y += 24
            parts.append(f'<text class="case" x="10" y="{y}">{escape(case)}</text>')
            rows = list(group)
            parts.extend(_bars(rows, y + 8))
            y += 8 + _ROW * len(rows)
        y += 8
    box = f'viewBox="0 0 {_WIDTH} {y + 10}" width="{_WIDTH}" height="{y + 10}"'
    label = "Medians of all benchmarks; the tables have the same figures"
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{label}">\n'
        f"<style>{_STYLE}</style>\n{body}\n</svg>\n"
    )


def _bars(results: list[Result], y: int) -> Iterator[str]:
    longest = max(run.seconds for result in results for run in result.runs) or 1.0
    for number, result in enumerate(results):
        top = y + number * _ROW
        width = max(1.0, result.median_s / longest * _LONGEST)
        kind = "own" if result.who.startswith("migrator") else "other"
        ends = [_LEFT + find(run.seconds for run in result.runs) / longest * _LONGEST for find in (min, max)]
        middle = top + 7
        yield f'<text x="{_LEFT - 8}" y="{top + 11}" text-anchor="end">{escape(result.who)}</text>'
        yield f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{width:.1f}" height="14"/>'
        yield f'<line class="range" x1="{ends[0]:.1f}" y1="{middle}" x2="{ends[1]:.1f}" y2="{middle}"/>'
        yield f'<text x="{max(_LEFT + width, ends[1]) + 6:.1f}" y="{top + 11}">{_told(result.median_s)}</text>'


def _told(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
