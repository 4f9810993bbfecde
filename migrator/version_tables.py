"""The tables of `docs/compatibility.md`, made of `model.capabilities`; run as a module, it writes them there."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from migrator.model.capabilities import LINES, Capabilities, Proof
from migrator.planning.compatibility import unsupported_pair, unsupported_source, unsupported_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.model.capabilities import Line, Step

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "compatibility.md"
BEGIN: Final = "<!-- made by `make schemas` from migrator/model/capabilities.py: begin -->"
END: Final = "<!-- made by `make schemas`: end -->"
_MEANINGS: Final = {
    Proof.TESTED: "seen on a real 2.2.16 or 2.3.5",
    Proof.DOUBLE: "read in the server's source, and run against the double",
    Proof.SOURCE: "read in the server's source",
    Proof.INFERRED: "follows from what was read; to be checked on a live server",
}
_REAL, _INTO_DOUBLE, _DOUBLES = "run: real servers", "run: real into double", "run: doubles"
_RUN: Final[dict[tuple[Line, Line], str]] = {
    ((2, 2), (2, 3)): _REAL,
    ((2, 3), (2, 3)): _REAL,
    **{((2, 3), line): _INTO_DOUBLE for line in LINES if line > (2, 3)},
    ((2, 4), (2, 4)): _DOUBLES,
    ((2, 4), (2, 5)): _DOUBLES,
    ((2, 5), (2, 5)): _DOUBLES,
    ((2, 5), (2, 6)): _DOUBLES,
    ((2, 6), (2, 6)): _DOUBLES,
    ((2, 6), (3, 0)): _DOUBLES,
}
"""Whole migrations of the tests, every row compared."""
_TO_BE_CHECKED: Final = (
    (
        "a prefix of a staged segment, as this tool sends it, is one segment of a job (2.4 and later)",
        "the rows of a job are held against those of its segments; a job that sees no files ends the step",
    ),
    (
        "a job tells its files in the form `[insert/prefix/ delta/prefix/]`, once it has tasks (2.4 and later)",
        "a job in our collection that brought rows, and names no file that we asked for, leaves the run in doubt",
    ),
    (
        "job ids are timestamps of their creation",
        "what was created before a request is left out with two seconds to spare; paths decide about the rest",
    ),
    (
        "a request whose reply was lost is a job within 5 minutes (2.4 and later), and remembered for 3 hours",
        "the search goes on for so long; after nine tenths of the time it is remembered, the run is in doubt (22)",
    ),
    (
        "an L0 segment of 2.4.0 to 2.4.6, which do not tell the level, has delta logs and no insert logs",
        "a segment with rows and without insert logs ends the step",
    ),
    (
        "a delete later than the cut is not yet applied by a compaction when segments are listed",
        "segments are listed right after the flush; rows are counted at the source at that moment and compared",
    ),
    ("files of storage v3 cannot be imported by prefix", "they are refused in the plan, or when they are listed"),
    (
        "an older patch of a line reads what a newer one of it wrote",
        "features are held against the line; what an import refuses ends the step before anything is seen",
    ),
)


def page_with_tables(page: str) -> str:
    """The page's text with the tables as they are now."""
    before, _, rest = page.partition(BEGIN)
    tables = "\n".join(_lines())
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{rest.partition(END)[2]}"


def _lines() -> Iterator[str]:
    yield "Where data goes, by line of the source (rows) and of the target (columns):\n"
    yield _row("from \\ to", *(_text(line) for line in LINES))
    yield _row(*["---"] * (len(LINES) + 1))
    for line in LINES:
        yield _row(f"**{_text(line)}**", *(_way(line, other) for other in LINES))
    yield "\nWhat each release can do. *A release* in a cell: from there on, in its line and all later ones.\n"
    yield _row("what", "by release", "verified")
    yield _row("---", "---", "---")
    for row in Capabilities.rows():
        told = "; ".join(_step(step) for step in row.steps)
        proofs = dict.fromkeys(step.proof for step in row.steps)
        yield _row(row.meaning, told, ", ".join(proofs))
    yield ""
    yield from (f"- **{proof}**: {_MEANINGS[proof]}." for proof in Proof)
    yield "\nTo be checked on a live server, and what happens meanwhile where it is otherwise:\n"
    yield _row("what is believed", "what guards it")
    yield _row("---", "---")
    yield from (_row(*each) for each in _TO_BE_CHECKED)


def _way(source: Line, target: Line) -> str:
    """What the newest of both lines say of one another."""
    old, new = (f"{_text(line)}.9999" for line in (source, target))
    if unsupported_target(new):
        return "not a target"
    if unsupported_source(old) or unsupported_pair(old, new):
        return "older line"
    return _RUN.get((source, target), "accepted")


def _step(step: Step) -> str:
    since = "" if step.since[:2] == LINES[0] else f"{'.'.join(map(str, step.since))}: "
    return f"{since}{_value(step.value)}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, frozenset):
        names = [each.name.lower() if isinstance(each, Enum) else str(each) for each in sorted(value)]
        return f"{len(names)} types, up to {names[-1]}" if len(names) > 3 else ", ".join(names)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _text(line: Line) -> str:
    return ".".join(map(str, line))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write them, and say where."""
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
