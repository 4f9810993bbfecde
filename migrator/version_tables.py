"""The tables of `docs/compatibility.md`, made of `model.capabilities`; run as a module, it writes them there."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from migrator.model.capabilities import LINES, Capabilities, Proof
from migrator.model.collection import DataType
from migrator.planning.compatibility import unsupported_pair, unsupported_source, unsupported_target
from migrator.planning.index_kinds import kinds_of

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
    **{(old, new): _INTO_DOUBLE for old in LINES[:2] for new in LINES[2:]},
    **{(old, new): _DOUBLES for old in LINES[2:] for new in LINES[2:] if old <= new},
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
    (
        "a server that answers GetExportSnapshotState restores snapshots of other clusters (3.0.1 and later)",
        "UNIMPLEMENTED at the restore itself ends the step (20); `options.transfer.format: binlogs` does without",
    ),
    (
        "`s3_location` of a snapshot is the complete URI that a restore elsewhere takes",
        "another form ends the step before anything is sent to the target",
    ),
    (
        "a restored collection is created after the request, with the ids, schema and shards of the source",
        "an older one leaves the run in doubt (22), another schema ends the step",
    ),
    (
        "restores are listed with the names of the collections they make, until they are over and longer",
        "a collection without a job in the list leaves the run in doubt (22); nothing is restored into a taken name",
    ),
    (
        "a restore copies files below the target's own root path, so that the snapshot is not needed any more",
        "the snapshot is dropped only once such files are seen there",
    ),
    (
        "a restored collection has all indexes built",
        "they are waited for as those of an import are",
    ),
    ("files of storage v3 cannot be imported by prefix", "they go by a snapshot, or are refused in the plan"),
    (
        "an older patch of a line reads what a newer one of it wrote",
        "features are held against the line, `$meta` against 2.6.8; what an import refuses ends the step unseen",
    ),
    (
        "which of 2.4's patches first know `jobs/import/describe`, and which of any line know an option",
        "`get_progress` is asked before 2.4.13; servers pass over options that they do not know, and rows are compared",
    ),
    (
        "an import into 2.3 from Azure sees the first 5,000 files under a prefix only, as 2.4 does",
        "collections with more are refused in the plan, unless each request is for one segment",
    ),
    (
        "a job has one of the states that are known (2.4 and later)",
        "any other ends the step with its name; nothing is sent again",
    ),
    (
        "a list of segments and the files found for it are of one moment",
        "a segment that is gone meanwhile has the list taken anew; a delete that came after it is later than the cut",
    ),
    (
        "deletes folded into a segment do no harm where its rows are not theirs, or are newer",
        "only keys that the segment has are written; rows are compared",
    ),
    (
        "which kinds of index a line of 2.4 and later builds, and by which metrics",
        "what a line surely lacks is refused in the plan; of anything else `create_index` ends with the server's words",
    ),
    (
        "an index on a path of a JSON gets its name anew by the same rule",
        "it is looked for by what it is; a name that differs is told by the comparison",
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
    yield "\nKinds of index that a target is given. *A line* in a cell: from there on. What 2.3 has is tested, and what"
    yield "later lines have is read in the servers' source; of other types of fields the server decides.\n"
    yield _row("on fields of type", "kinds, by line")
    yield _row("---", "---")
    types: dict[str, list[str]] = {}
    for data_type in DataType:
        types.setdefault("; ".join(_new_kinds(data_type)), []).append(data_type.name.lower())
    yield from (_row(", ".join(names), told) for told, names in types.items() if told)


def _new_kinds(data_type: DataType) -> Iterator[str]:
    """Those that come with each line, by the metrics of vectors."""
    known: dict[str, tuple[str, ...]] = {}
    for line in LINES[1:]:
        kinds, new = kinds_of(data_type, line), dict[str, list[str]]()
        for name, metrics in kinds.items():
            if name not in known or metrics != known[name]:
                more = ", ".join(each for each in metrics if each not in known.get(name, ()))
                new.setdefault(more, []).append(name)
        known = kinds
        told = (f"{', '.join(names)}{f' by {metrics}' if metrics else ''}" for metrics, names in new.items())
        if new:
            yield f"{_text(line)}: {', '.join(told)}"


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
