"""What a benchmark says: one `Result` for each case and each who took part."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured run: by the clock, of processor time, and the largest process's peak memory where it is known."""

    seconds: float
    processor_s: float | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How long somebody took for a case.

    `ratios` are run by run against the case's baseline, in the same round; empty for the baseline itself. `skipped`
    says why there are no runs, `detail` what a reader has to know, in a few words. `rows_compared` counts rows that
    were held against the source's after the last run, or objects where objects were moved.
    """

    case: str
    who: str
    runs: tuple[Run, ...] = ()
    baseline: str = ""
    ratios: tuple[float, ...] = ()
    rows_compared: int = 0
    skipped: str = ""
    detail: str = ""

    @property
    def median_s(self) -> float:
        """Of its runs by the clock."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def ratio(self) -> float | None:
        """The median of what was compared round by round; None for the baseline."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def peak_bytes(self) -> int | None:
        """The highest of all runs."""
        return max((run.peak_bytes for run in self.runs if run.peak_bytes is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        """For the file of results: its members, and what follows from them."""
        figures = {"median_s": self.median_s, "ratio": self.ratio, "peak_bytes": self.peak_bytes} if self.runs else {}
        return asdict(self) | figures


def result_from_json(value: Mapping[str, Any]) -> Result:
    """The same again."""
    members = {name: value[name] for name in Result.__slots__}
    return Result(**members | {"runs": tuple(Run(**run) for run in value["runs"]), "ratios": tuple(value["ratios"])})
