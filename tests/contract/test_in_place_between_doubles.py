"""Migrations that read in place between doubles of newer lines: deletes in L0 segments, storage v2, orphans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.test_double_sources import _EXPECTED, _fill, _make, _told
from tests.contract.test_moves_between_doubles import KEYS, a_cluster
from tests.support.cli import Shell
from tests.support.double_cases import bed, double_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.double import Double
    from tests.support.double_cases import Bed

    DoubleOf = Callable[[str], Double]

__all__ = ["KEYS", "bed", "double_of"]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"KEY": "key", "SECRET": "secret"})


def a_plan(shell: Shell, bed: Bed, source: Double, target: Double, collection: str) -> str:
    text = (
        f"version: 1\nname: {collection.replace('_', '-')}\nsource: {a_cluster(source, bed)}\n"
        f"target: {a_cluster(target, bed)}\nstaging: {{root_path: staged}}\n"
        f"collections: [{{source: {collection}, target: {collection}_moved}}]\n"
        "options: {verify: full, transfer: {mode: in_place}}\n"
    )
    return str(shell.write(f"{collection}.yaml", text))


@pytest.mark.parametrize("new", ["2.6.12", "3.0.0"])
def test_deletes_in_segments_of_their_own(bed: Bed, double_of: DoubleOf, shell: Shell, new: str) -> None:
    """3.0 would get them wrong: they are folded into files of their own, and all is copied."""
    source, target, is_read = double_of("2.6.12"), double_of(new), new != "3.0.0"
    name = f"in_place_into_{new}".replace(".", "_")
    _make(source, name)
    _fill(source, name)
    plan = a_plan(shell, bed, source, target, name)
    planned = shell.run("plan", plan).out
    assert ("with deletes in segments of their own is copied" in " ".join(planned.split())) != is_read
    answer = shell.run("apply", plan, "--yes")
    assert _told(target, f"{name}_moved") == _EXPECTED
    assert (bed.keys(f"staged/{name}/binlogs/") == []) == is_read, answer.text
    shell.run("verify", plan)


def test_a_segment_with_orphans_is_copied(bed: Bed, double_of: DoubleOf, shell: Shell) -> None:
    source, target, name = double_of("2.5.20"), double_of("2.6.12"), "in_place_orphans"
    _make(source, name)
    _fill(source, name)
    segment = next(each for each in source.ask("segments", collection=name) if each["level"] == 2)
    orphan = source.ask("orphan", collection=name, segment_id=segment["id"], field_id=101)
    shell.run("apply", a_plan(shell, bed, source, target, name), "--yes")
    assert _told(target, f"{name}_moved") == _EXPECTED
    staged = bed.keys(f"staged/{name}/binlogs/")
    assert {key.split("/")[6] for key in staged} == {str(segment["id"])}, staged
    assert not [key for key in staged if key.endswith(orphan.rpartition("/")[2])]
