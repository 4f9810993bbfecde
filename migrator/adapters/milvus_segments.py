"""REST segments/describe of Milvus from 2.5.8 on: the only call that names the valid log ids of a segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from migrator.errors import MilvusRefused
from migrator.model.segment import SegmentLogs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from migrator.model.collection import CollectionRef

PATH = "/v2/vectordb/segments/describe"


class Asks(Protocol):
    """Posts a body to a path, and returns the `data` of the answer; errors are ours already."""

    def __call__(self, path: str, body: dict[str, object], /) -> Any: ...  # noqa: ANN401 - JSON


def describe_segments(
    ask: Asks, ref: CollectionRef, collection_id: int, segment_ids: Sequence[int]
) -> dict[int, SegmentLogs]:
    """The logs of the segments that the server knows, dropped ones among them.

    Raises:
        MilvusRefused: The answer has not the form that is known.
    """
    body = {"dbName": ref.database, "collectionID": collection_id, "segmentIDs": list(segment_ids)}
    told = ask(PATH, body)
    try:
        infos = told["segmentInfos"] or []
        return {_number(info["segmentID"]): _logs(info) for info in infos}
    except (KeyError, TypeError, ValueError):
        raise MilvusRefused(
            f"{PATH} of {ref.short} answers in a form that this version of migrator does not know",
            hint="use a newer migrator",
        ) from None


def _logs(info: Mapping[str, Any]) -> SegmentLogs:
    """Ids above 2**53 come as JSON numbers, which Python reads exactly."""
    return SegmentLogs(
        inserts=frozenset(_pairs(info.get("insertLogs"))),
        deltas=frozenset(log_id for _, log_id in _pairs(info.get("deltaLogs"))),
        vchannel=str(info.get("vChannel") or ""),
    )


def _pairs(logs: Iterable[Mapping[str, Any]] | None) -> Iterable[tuple[int, int]]:
    for each in logs or ():
        for log_id in each.get("logIDs") or ():
            yield _number(each.get("fieldID") or 0), _number(log_id)


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(value)
    return int(value)
