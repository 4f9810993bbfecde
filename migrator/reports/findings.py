"""Findings of a preflight as lines of text, and as JSON."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from migrator.model.finding import Part, Status, exit_code_of
from migrator.reports.plain import clean
from migrator.reports.to_text import Line, Style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from migrator.model.finding import Finding

FINDINGS_FORMAT_VERSION = 1
_SIGNS = {
    Status.OK: ("✓", Style.NEW),
    Status.WARNING: ("~", Style.CHANGED),
    Status.FAILURE: ("✗", Style.CONFLICT),
    Status.UNKNOWN: ("?", Style.FAINT),
    Status.SKIPPED: ("-", Style.FAINT),
}
_COUNTED = {
    Status.FAILURE: ("failure", "failures"),
    Status.WARNING: ("warning", "warnings"),
    Status.UNKNOWN: ("unknown", "unknown"),
    Status.SKIPPED: ("not looked at", "not looked at"),
    Status.OK: ("ok", "ok"),
}
_WIDTH = 80


def finding_lines(findings: Sequence[Finding]) -> Iterator[Line]:
    """Part by part, a paragraph each; what is not ok names its field, and how to put it right. Then the counts."""
    for part in Part:
        of_part = [found for found in findings if found.part is part]
        if of_part:
            yield Line(str(part), Style.TITLE)
        for found in of_part:
            yield from one_finding(found)
    yield Line(f"{counts(findings)}.", Style.TITLE)


def one_finding(found: Finding) -> Iterator[Line]:
    """A paragraph of lines of 80 columns, as far as its words allow."""
    sign, style = _SIGNS[found.status]
    if found.status is Status.OK:
        yield from _wrapped(f"  {sign} ", found.message, style)
        return
    value = "" if found.value is None else f" (got {found.value})"
    head = f"{found.field}{value}: " if found.field else ""
    skipped = "not looked at: " if found.status is Status.SKIPPED else ""
    yield from _wrapped(f"  {sign} ", f"{head}{skipped}{found.message}", style)
    if found.hint:
        yield from _wrapped("      hint: ", found.hint, Style.FAINT)
    if found.position:
        yield Line(f"      at {clean(found.position)}", Style.FAINT)


def counts(findings: Iterable[Finding]) -> str:
    """`2 failures, 1 warning, 9 ok`; what there is none of is left out."""
    statuses = [found.status for found in findings]
    told = [(statuses.count(status), names) for status, names in _COUNTED.items()]
    return ", ".join(f"{number} {one if number == 1 else many}" for number, (one, many) in told if number)


def findings_to_plain(findings: Sequence[Finding], *, plan: str, canary: bool) -> dict[str, Any]:
    """As JSON, in the form of `docs/check.md`."""
    return {
        "format_version": FINDINGS_FORMAT_VERSION,
        "plan": plan,
        "canary": canary,
        "exit_code": exit_code_of(findings),
        "findings": [finding_to_plain(found) for found in findings],
    }


def finding_to_plain(found: Finding) -> dict[str, Any]:
    """One of them; what is empty is there all the same."""
    return {
        "part": str(found.part),
        "check": found.check,
        "status": str(found.status),
        "field": found.field,
        "value": found.value,
        "message": found.message,
        "hint": found.hint,
        "position": found.position,
        "exit_code": found.exit_code,
    }


def _wrapped(head: str, text: str, style: Style) -> Iterator[Line]:
    indent = " " * (6 if head.startswith("   ") else 4)
    lines = textwrap.wrap(
        clean(text).replace("\n", " "),
        _WIDTH,
        initial_indent=head,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield from (Line(line, style) for line in lines or [head.rstrip()])
