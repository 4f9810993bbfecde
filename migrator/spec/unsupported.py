"""What the format knows and this version cannot do yet: delete a line here when it can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migrator.spec.parts import Parts
    from migrator.spec.report import Report
    from migrator.spec.source_map import Path


@dataclass(frozen=True, slots=True)
class _Gap:
    """One departure from what works: where it is written, what it is, and how to do without."""

    path: Path
    what: str
    hint: str


def check_supported(parts: Parts, report: Report) -> None:
    """Complain about everything in the plan that this version cannot do yet."""
    for gap in _gaps(parts):
        report.add(gap.path, f"{gap.what} is not supported yet", gap.hint)


def _gaps(parts: Parts) -> Iterator[_Gap]:
    yield from _option_gaps(parts)


def _option_gaps(parts: Parts) -> Iterator[_Gap]:
    options = parts.options
    if options.transfer.mode == "in_place":
        yield _Gap(("options", "transfer", "mode"), "mode: in_place", "use auto, server_side or stream")
