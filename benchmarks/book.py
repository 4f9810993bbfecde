"""The results as a file, and as tables and a picture in the documentation."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.picture import draw
from benchmarks.registry import BENCHMARKS
from benchmarks.result import Result, result_from_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.registry import Benchmark

PAGE, DATA, PICTURE = "performance.md", "performance.json", "pictures/performance.svg"
_MIB = 1024**2
_COLUMNS = "| who | median | shortest to longest, runs | time against | peak memory | compared | |"


@dataclass(frozen=True, slots=True)
class Book:
    """What was measured, in `folder`: benchmarks that did not run this time keep what they said before."""

    folder: Path

    @property
    def file(self) -> Path:
        """The results as JSON."""
        return self.folder / DATA

    def read(self) -> dict[str, Any]:
        """All entries by the benchmark's name."""
        if not self.file.is_file():
            return {}
        entries: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))["benchmarks"]
        return entries

    def write(
        self,
        benchmark: Benchmark,
        results: Sequence[Result],
        machine_is: Mapping[str, Any],
        *,
        error: str = "",
        took_s: float = 0.0,
    ) -> None:
        """Put a benchmark's results in the place of its earlier ones, here and in the documentation."""
        entry = {
            "title": benchmark.title,
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "took_s": round(took_s, 1),
            "machine": dict(machine_is),
            "error": error,
            "results": [result.to_json() for result in results],
        }
        entries = self.read() | {benchmark.name: entry}
        ordered = {each.name: entries[each.name] for each in BENCHMARKS if each.name in entries}
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps({"version": 1, "benchmarks": ordered}, indent=1) + "\n", encoding="utf-8")
        self._write_page(ordered)

    def _write_page(self, entries: Mapping[str, Any]) -> None:
        picture = self.folder / PICTURE
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(draw({name: (entry["title"], _results(entry)) for name, entry in entries.items()}))
        page = self.folder / PAGE
        text = page.read_text(encoding="utf-8") if page.is_file() else _empty_page()
        page.write_text(fill_page(text, entries), encoding="utf-8")


def fill_page(text: str, entries: Mapping[str, Any]) -> str:
    """The page with each table between its markers written anew."""
    for name, entry in entries.items():
        mark = re.compile(rf"(<!-- bench: {name} -->\n).*?(<!-- /bench -->)", re.DOTALL)
        table = to_markdown(entry)
        text = mark.sub(partial(_filled, table), text)
    return text


def _filled(table: str, found: re.Match[str]) -> str:
    return f"{found[1]}\n{table}\n{found[2]}"


def _empty_page() -> str:
    return "".join(f"## {each.title}\n\n<!-- bench: {each.name} -->\n<!-- /bench -->\n\n" for each in BENCHMARKS)


def _results(entry: Mapping[str, Any]) -> list[Result]:
    return [result_from_json(value) for value in entry["results"]]


def to_markdown(entry: Mapping[str, Any]) -> str:
    """The machine, and a table per case."""
    lines = [f"Measured {entry['measured_at'][:10]} on {machine_in_words(entry['machine'])}.", ""]
    if entry["error"]:
        lines += [f"It ended early: {entry['error']}", ""]
    for case, results in groupby(_results(entry), key=lambda result: result.case):
        lines += [f"**{case}**", "", _COLUMNS, "|---|--:|--:|--:|--:|--:|---|", *map(_row, results), ""]
    return "\n".join(lines)


def _row(result: Result) -> str:
    if not result.runs:
        return f"| {result.who} | | | | | | {_cell(result.skipped)} |"
    all_s = sorted(run.seconds for run in result.runs)
    cells = [
        result.who,
        seconds_in_words(result.median_s),
        f"{seconds_in_words(all_s[0])} to {seconds_in_words(all_s[-1])}, {len(all_s)}",
        "" if result.ratio is None else f"{result.ratio:.2f} of {result.baseline}'s",
        "" if result.peak_bytes is None else f"{result.peak_bytes / _MIB:.0f} MiB",
        f"{result.rows_compared:,}" if result.rows_compared else "",
        _cell(result.detail),
    ]
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """One line that ends no cell, and is not long."""
    return " ".join(text.split()).replace("|", "\\|")[:200]


def seconds_in_words(seconds: float) -> str:
    """With as many places as mean something."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


# -- the machine ------------------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """What has to be known of it to read the figures; `busy` is how many processes wanted to run when it was asked."""
    return {
        "processors": os.cpu_count(),
        "processor": _first("/proc/cpuinfo", r"model name\s*:\s*(.+)"),
        "memory_gib": round(int(_first("/proc/meminfo", r"MemTotal:\s*(\d+)") or 0) / 1024**2),
        "system": _first("/etc/os-release", r'PRETTY_NAME="(.+)"') or platform.system(),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "revision": _revision(),
        "busy": round(os.getloadavg()[0], 1),
    }


def machine_in_words(machine_is: Mapping[str, Any]) -> str:
    """One sentence's end."""
    it = machine_is
    return (
        f"{it['processors']} processors ({it['processor'] or 'unknown'}), {it['memory_gib']} GiB, {it['system']}, "
        f"Linux {it['kernel']}, Python {it['python']}; load {it['busy']}"
    )


def _first(path: str, pattern: str) -> str:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"))
    except OSError:
        return ""
    return found[1].strip() if found else ""


def _revision() -> str:
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    return done.stdout.strip()
