"""The script for people with a live server, at the double."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from tests.contract.test_moves_between_doubles import a_plan
from tests.support.cli import Shell
from tests.support.double_cases import bed, double_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.support.double import Double
    from tests.support.double_cases import Bed

__all__ = ["bed", "double_of"]


def test_it_sees_what_a_server_does_with_snapshots(
    bed: Bed, double_of: Callable[[str], Double], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.live.check_server import main  # noqa: PLC0415 - it is a program

    target, out = double_of("3.0.x"), tmp_path / "seen.json"
    plan = a_plan(Shell(tmp_path, {}), bed, target, target, "nothing")
    for name, value in (("KEY", "key"), ("SECRET", "secret")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["check_server", plan, "--out", str(out)])
    main()
    seen = json.loads(out.read_text())
    assert seen["snapshot"]["is_whole"]
    assert seen["restore"]["is_younger"]
    assert seen["restore"]["same_schema"]
    assert "already exists" in seen["restore into a name that is taken"]["refused"]
    assert seen["files of the restored"] > 0
    assert seen["restores snapshots of other clusters"] is True
    with target.client() as client:
        assert client.list_collections() == []
    assert target.uri not in out.read_text()
    assert bed.bucket not in out.read_text()


def test_what_it_sees_is_what_the_facts_say(
    bed: Bed, double_of: Callable[[str], Double], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.live.check_server import main  # noqa: PLC0415 - it is a program

    target, out = double_of("2.5.20"), tmp_path / "seen.json"
    plan = a_plan(Shell(tmp_path, {}), bed, target, target, "nothing")
    for name, value in (("KEY", "key"), ("SECRET", "secret")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["check_server", plan, "--out", str(out)])
    main()
    seen = json.loads(out.read_text())
    states = {name: told["told"][-1]["job"]["state"] for name, told in seen.items() if "told" in told}
    assert states["segment without a slash"] == states["folder of segments with a slash"] == "Completed"
    assert states["segment with a slash"] == "Failed"
    assert "no binlog to import" in seen["folder that is not there"]["refused"]
    assert "does not exist" in seen["a job that nobody sent"]["refused"]
    assert states["deletes by themselves"] == states["option that nobody knows"] == "Completed"
    assert "partition not found" in seen["partition that is not there"]["refused"].lower()
    assert "HTTP 404" in seen["job that waits to be committed"]["refused"]
    assert target.uri not in out.read_text()
