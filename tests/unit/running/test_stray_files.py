"""What a plan says of files that belong to no segment: exactly where the source tells, else by uneven numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from migrator.model.capabilities import Capabilities, capabilities
from migrator.model.segment import Binlog, LogKind, Segment, SegmentLogs, StoredObject
from migrator.running.stray_files import StrayFiles
from tests.support.builders import a_collection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.ports.milvus import MilvusReader

SEGMENTS = [Segment(3, 2, 10), Segment(4, 2, 10)]


@dataclass
class Source:
    """Tells which files count, or does not."""

    version: str
    logs: dict[int, SegmentLogs] | None = None
    uri: str = "http://a"
    asked: list[Any] = field(default_factory=list)

    @property
    def capabilities(self) -> Capabilities:
        """Of its version."""
        return capabilities(self.version)

    def describe_segments(self, _: object, __: int, segment_ids: Sequence[int]) -> dict[int, SegmentLogs] | None:
        """All that it has."""
        self.asked.append(tuple(segment_ids))
        return self.logs


def a_log(segment_id: int, field_id: int | None, log_id: int) -> Binlog:
    kind = LogKind.DELTA if field_id is None else LogKind.INSERT
    key = "/".join(map(str, filter(None, (kind, 1, 2, segment_id, field_id, log_id))))
    return Binlog(
        kind=kind,
        collection_id=1,
        partition_id=2,
        segment_id=segment_id,
        field_id=field_id,
        log_id=log_id,
        source=StoredObject(key, 5),
    )


def looked_at(source: Source, *logs: Binlog) -> tuple[list[bool], list[str]]:
    strays = StrayFiles(cast("MilvusReader", source), a_collection())
    strays.begin(SEGMENTS)
    return [strays.counts(log) for log in logs], list(strays.notices())


def test_what_the_source_does_not_name_stays_out() -> None:
    logs = {
        3: SegmentLogs(inserts=frozenset({(100, 7)}), deltas=frozenset({9})),
        4: SegmentLogs(inserts=frozenset(), deltas=frozenset()),
    }
    source = Source("2.5.20", logs)
    counted, notices = looked_at(source, a_log(3, 100, 7), a_log(3, 100, 8), a_log(3, None, 9))
    assert counted == [True, False, True]
    assert notices == ["1 files that belong to no segment stay out"]
    assert source.asked == [(3, 4)]


def test_a_source_that_could_tell_and_does_not_is_named() -> None:
    counted, (notice,) = looked_at(Source("2.5.20"), a_log(3, 100, 7))
    assert counted == [True]
    assert notice.startswith("http://a does not tell over REST which files of its segments count")


def test_a_segment_that_went_meanwhile_is_left_to_the_run() -> None:
    counted, notices = looked_at(Source("2.5.20", {}), a_log(3, 100, 7), a_log(3, 100, 8))
    assert (counted, notices) == ([True, True], [])


def test_uneven_numbers_of_files_are_told_where_nobody_names_them() -> None:
    source = Source("2.3.5")
    even = (a_log(3, 100, 7), a_log(3, 101, 7), a_log(3, None, 8), a_log(4, 100, 7), a_log(4, 101, 7))
    assert looked_at(source, *even) == ([True] * 5, [])
    _, (notice,) = looked_at(source, *even, a_log(4, 101, 8))
    assert notice.startswith("of 1 segment some fields have more files than others")
    assert source.asked == []


def test_nothing_is_said_where_a_store_lists_in_no_order() -> None:
    _, notices = looked_at(Source("2.3.5"), a_log(4, 100, 7), a_log(3, 100, 7), a_log(4, 101, 7), a_log(4, 101, 8))
    assert notices == []
