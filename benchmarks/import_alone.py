"""What the target itself needs: the same import requests for files that lie there already, and nothing around them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from benchmarks.bench import BenchmarkFailed
from benchmarks.result import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMPLETED, _FAILED = 6, {1, 7}
_LOOK_S = 0.1
_WITHIN_S = 600.0


def import_alone(uri: str, requests: Sequence[tuple[str, str]], *, rows: int) -> Run:
    """Request all, each a collection that is there and a prefix, and wait until every task is completed.

    Raises:
        BenchmarkFailed: A task failed, or brought another number of rows in all.
    """
    with grpc.insecure_channel(uri.removeprefix("http://")) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        grpc.channel_ready_future(channel).result(timeout=10)
        started = time.monotonic()
        tasks = [task for collection, prefix in requests for task in _request(stub, collection, prefix)]
        imported = sum(_wait(stub, task, started + _WITHIN_S) for task in tasks)
        took_s = time.monotonic() - started
    if imported != rows:
        raise BenchmarkFailed(f"{imported:,} of {rows:,} rows were imported")
    return Run(seconds=took_s)


def _request(stub: milvus_pb2_grpc.MilvusServiceStub, collection: str, prefix: str) -> list[int]:
    answer = stub.Import(
        milvus_pb2.ImportRequest(
            collection_name=collection,
            partition_name="_default",
            files=[f"{prefix}/", ""],
            options=[{"key": "backup", "value": "true"}],
        )
    )
    if answer.status.code or answer.status.error_code:
        raise BenchmarkFailed(f"the import of {prefix} was refused: {answer.status.reason}")
    return list(answer.tasks)


def _wait(stub: milvus_pb2_grpc.MilvusServiceStub, task: int, deadline: float) -> int:
    while time.monotonic() < deadline:
        answer = stub.GetImportState(milvus_pb2.GetImportStateRequest(task=task))
        if answer.state == _COMPLETED:
            return int(answer.row_count)
        if answer.state in _FAILED:
            raise BenchmarkFailed(f"import task {task} failed: {answer.infos}")
        time.sleep(_LOOK_S)
    raise BenchmarkFailed(f"import task {task} is not completed after {_WITHIN_S:.0f} s")
