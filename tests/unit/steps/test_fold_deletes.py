"""Deletes of L0 segments that come as delta logs of the segments they apply to, whatever happens in between."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.errors import DumpDamaged, RunError
from migrator.model.segment import LogKind
from migrator.steps.copy_segments import CopySegments, are_deletes_folded, require_staged_exactly
from migrator.steps.dump_meta import DumpMeta, frozen_dump
from migrator.steps.flush import Flush
from migrator.steps.fold_deletes import DeletesWay
from tests.support.builders import BOOKS, Pair, create, flush, some_rows
from tests.support.stage import Stage, a_stage
from tests.unit.steps.test_dump_steps import Altered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from migrator.steps.base import StepContext


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Two segments in two partitions, of which key 1 is in both, and deletes of 1, 4 and 99; frozen."""
    pair = Pair(versions=("2.5.20", "3.0.0"))
    create(pair.source)
    pair.source.create_partition(BOOKS, "east")
    pair.source.insert(BOOKS, some_rows(3), "_default")
    pair.source.insert(BOOKS, some_rows(4, start=1), "east")
    flush(pair.source)
    pair.source.delete(BOOKS, [1, 4, 99])
    flush(pair.source)
    with a_stage(tmp_path, pair) as stage:
        stage.apply(stage.step(Flush))
        stage.apply(stage.step(DumpMeta))
        yield stage


def staged_deltas(stage: Stage) -> dict[str, Any]:
    """The delta logs of the dump by partition, L0 segments' apart."""
    names = {p.partition_id: p.name for p in stage.step(DumpMeta).planned.partitions}
    found = {}
    for key, content in stage.pair.keys(f"backup/a_to_b/binlogs/{LogKind.DELTA}").items():
        partition_id = int(key.split("/")[5])
        if partition_id in names:
            found[names[partition_id]] = [pk for pk, _ in json.loads(content)]
    return found


def fold(stage: Stage, ctx: StepContext | None = None, way: DeletesWay = DeletesWay.FOLDED) -> None:
    step = stage.step(CopySegments, deletes=way)
    context = ctx or stage.ctx
    step.apply(context, step.probe(context.reading()))


def test_each_segment_gets_the_deletes_of_its_keys(stage: Stage) -> None:
    fold(stage)
    assert staged_deltas(stage) == {"_default": [1], "east": [1, 4]}
    assert are_deletes_folded(stage.ctx.ledger, BOOKS)


def test_without_need_nothing_is_folded(stage: Stage) -> None:
    for way in (DeletesWay.AS_THEY_ARE, DeletesWay.FOLDED_IF_LATE):
        fold(stage, way=way)
        assert (staged_deltas(stage), are_deletes_folded(stage.ctx.ledger, BOOKS)) == ({}, False)


def test_a_delete_after_the_cut_stays_out_and_makes_all_fold(stage: Stage) -> None:
    (key,) = stage.pair.keys("files_A/delta_log")
    cut_ts = frozen_dump(stage.ctx.ledger, BOOKS).cut_ts
    late = json.dumps([*json.loads(stage.pair.store.read(key)), [0, cut_ts + 1], [2, cut_ts]])
    stage.pair.store.write(key, late.encode())
    step = stage.step(DumpMeta)
    step.apply(stage.ctx, step.probe(stage.ctx.reading()))
    fold(stage, way=DeletesWay.FOLDED_IF_LATE)
    assert staged_deltas(stage) == {"_default": [1, 2], "east": [1, 4, 2]}


@pytest.mark.parametrize("died_at", range(5))
def test_a_kill_while_folding_leaves_no_strangers_and_no_twins(stage: Stage, died_at: int) -> None:
    class Killed(BaseException):
        pass

    left = [died_at]

    def dying(method: str) -> Any:  # noqa: ANN401 - any method
        def call(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - of any method
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return getattr(stage.pair.staging, method)(*given, **named)

        return call

    staging = Altered(stage.pair.staging, {"write": dying("write")})
    ledger_calls = ("note_folding", "note_folded")
    ledger = Altered(
        stage.ctx.ledger, {name: _counted(left, getattr(stage.ctx.ledger, name), Killed) for name in ledger_calls}
    )
    with pytest.raises(Killed):
        fold(stage, replace(stage.ctx, staging=staging, ledger=ledger))
    fold(stage)
    fold(stage)
    assert staged_deltas(stage) == {"_default": [1], "east": [1, 4]}
    planned = stage.step(DumpMeta).planned
    require_staged_exactly(stage.ctx, BOOKS, stage.step(CopySegments).dump_prefix, planned.collection_id)


def _counted(left: list[int], call: Any, death: type[BaseException]) -> Any:  # noqa: ANN401 - any method
    def counted(*given: Any) -> Any:  # noqa: ANN401 - of any method
        left[0] -= 1
        if left[0] < 0:
            raise death
        return call(*given)

    return counted


def test_a_folded_file_that_is_gone_is_made_again(stage: Stage) -> None:
    fold(stage)
    planned = stage.step(DumpMeta).planned
    dump_prefix = stage.step(CopySegments).dump_prefix
    (binlog,) = [b for b in stage.ctx.ledger.binlogs(planned.collection_id) if not b.source.key][:1]
    stage.pair.store.delete([f"{dump_prefix}/binlogs/{binlog.staged_suffix}"])
    with pytest.raises(DumpDamaged):
        require_staged_exactly(stage.ctx, BOOKS, dump_prefix, planned.collection_id)
    fold(stage)
    assert staged_deltas(stage) == {"_default": [1], "east": [1, 4]}


def test_a_new_listing_forgets_what_was_folded(stage: Stage) -> None:
    fold(stage)
    step = stage.step(DumpMeta)
    step.apply(stage.ctx, step.probe(stage.ctx.reading()))
    fold(stage, way=DeletesWay.AS_THEY_ARE)
    assert staged_deltas(stage) == {}


def test_without_what_reads_binlogs_it_is_said_so(stage: Stage) -> None:
    reader = Altered(stage.ctx.dump_reader, {"missing": "binlogs cannot be read without pyarrow"})
    with pytest.raises(RunError, match=r"books has deletes in L0 segments, .* without pyarrow"):
        fold(stage, replace(stage.ctx, dump_reader=reader))
