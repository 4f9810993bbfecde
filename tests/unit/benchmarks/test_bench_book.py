"""What benchmarks leave: results as JSON, tables between their markers, a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from benchmarks.bench import Bench, BenchmarkFailed, Contestant
from benchmarks.book import DATA, PAGE, PICTURE, Book, fill_page, to_markdown
from benchmarks.registry import BENCHMARKS
from benchmarks.result import Result, Run, result_from_json

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parents[3] / "docs"
MACHINE = {
    "processors": 2,
    "processor": "a fast one",
    "memory_gib": 24,
    "system": "Debian",
    "kernel": "6.1",
    "python": "3.11.7",
    "revision": "abc",
    "busy": 0.1,
}


def taking(*seconds: float) -> Callable[[int], Run]:
    """Work that takes so long, round by round."""
    return lambda number: Run(seconds=seconds[number], peak_bytes=1024**2 * (number + 1))


def test_a_ratio_is_the_median_of_those_within_a_round(tmp_path: Path) -> None:
    ours, theirs = Contestant(who="migrator", work=taking(1, 2, 4)), Contestant(who="other", work=taking(3, 4, 4))
    own, other = Bench(folder=tmp_path).side_by_side("a case", [ours, theirs])
    assert (own.median_s, own.ratio, own.peak_bytes) == (2, None, 3 * 1024**2)
    assert (other.ratio, other.ratios, other.baseline) == (2, (3, 2, 1), "migrator")


def test_who_fails_is_told_with_the_reason_and_the_others_go_on(tmp_path: Path) -> None:
    def lose_a_row(_: int) -> int:
        raise BenchmarkFailed("1 of 2 rows arrived")

    quick = Contestant(who="quick", work=taking(1, 1, 1), after=lose_a_row)
    slow = Contestant(who="slow", work=taking(5, 5, 5), after=lambda _: 2)
    absent = Contestant(who="absent", skipped="absent is not on this machine")
    lost, kept, skipped = Bench(folder=tmp_path).side_by_side("a case", [quick, slow, absent])
    assert (lost.runs, lost.skipped) == ((), "failed: BenchmarkFailed: 1 of 2 rows arrived")
    assert (len(kept.runs), kept.rows_compared, kept.ratio) == (3, 2, None)
    assert skipped.skipped == "absent is not on this machine"


def test_results_are_written_where_the_page_has_their_marker(tmp_path: Path) -> None:
    (tmp_path / PAGE).write_text("# Page\n\n<!-- bench: copies -->\nold\n<!-- /bench -->\n\nThe end.\n")
    results = [
        Result(case="a <case>", who="migrator", runs=(Run(seconds=0.25),), rows_compared=1234),
        Result(case="a <case>", who="other", runs=(Run(seconds=0.5),), baseline="migrator", ratios=(2.0,)),
        Result(case="a <case>", who="third", skipped="third is not on this machine"),
    ]
    (benchmark,) = [each for each in BENCHMARKS if each.name == "copies"]
    Book(tmp_path).write(benchmark, results, MACHINE)

    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "| other | 500 ms | 500 ms to 500 ms, 1 | 2.00 of migrator's |" in text
    assert "1,234" in text
    assert "third is not on this machine" in text
    assert "old" not in text
    assert text.endswith("The end.\n")
    entry = json.loads((tmp_path / DATA).read_text(encoding="utf-8"))["benchmarks"]["copies"]
    assert [result_from_json(each) for each in entry["results"]] == results
    assert ET.parse(tmp_path / PICTURE).getroot().tag.endswith("svg")  # noqa: S314 - made above


def test_figures_in_the_documentation_are_those_that_were_measured() -> None:
    """Whoever edits one by hand, or leaves a table behind, is told here."""
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    entries = Book(DOCS).read()
    assert fill_page(text, entries) == text
    for name, entry in entries.items():
        assert to_markdown(entry) in text, f"{name} has no place in {PAGE}"


@pytest.mark.parametrize("name", [each.name for each in BENCHMARKS])
def test_every_benchmark_has_a_place_on_the_page(name: str) -> None:
    assert f"<!-- bench: {name} -->\n" in (DOCS / PAGE).read_text(encoding="utf-8")
