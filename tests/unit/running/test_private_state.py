"""What a run keeps is its owner's alone, and nothing from a bucket finds another place in it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from migrator.errors import RunError
from migrator.planning.planner import make_plan
from migrator.running.journal import StepEvent
from migrator.running.mirror import adopt
from migrator.running.refresh import refresh
from migrator.running.runs import Run, StateDirectory
from tests.support.builders import Pair, a_loaded_plan, fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = ".migrator/runs/a-to-b"


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    fill(pair)
    return pair


@pytest.fixture
def _open_umask() -> Iterator[None]:
    former = os.umask(0)
    yield
    os.umask(former)


def begin(folder: Path, pair: Pair) -> tuple[StateDirectory, Run]:
    state = StateDirectory(folder / "deep" / "state", pair.clock)
    loaded = a_loaded_plan(folder)
    return state, state.begin(loaded, make_plan(loaded, refresh(loaded, pair.readers(), ())))


@pytest.mark.usefixtures("_open_umask")
def test_files_and_folders_are_private_whatever_the_umask(tmp_path: Path, pair: Pair) -> None:
    state, run = begin(tmp_path, pair)
    with state.exclusive("a-to-b", timeout_s=0), state.journal(run, read_only=False) as journal:
        journal.add("", StepEvent.STARTED)
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep").rglob("*")}
    kinds = {(path.is_dir(), mode) for path, mode in modes.items()}
    assert kinds == {(True, 0o700), (False, 0o600)}
    assert {path.name for path in modes} >= {"state", "runs", "locks", "a-to-b.lock", "run.json", "journal.db-wal"}
    assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700


@pytest.mark.parametrize("run_id", ["..", "../../elsewhere", "a-to-b", "-", "a-to-b-20260101T000000Z-12345"])
def test_a_folder_of_another_name_is_nobodys_run(tmp_path: Path, pair: Pair, run_id: str) -> None:
    state, run = begin(tmp_path, pair)
    pair.store.write(f"{FOLDER}/{run_id}/run.json", run.file.read_bytes())
    pair.store.write(f"{FOLDER}/{run_id}/entries/0000000001", b"{}")
    before = sorted(tmp_path.rglob("*"))
    adopt(pair.store, FOLDER, state, known=state)
    with pytest.raises(RunError):
        state.adopt(run_id, run.file.read_bytes())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_file_of_another_run_is_refused(tmp_path: Path, pair: Pair) -> None:
    state, run = begin(tmp_path, pair)
    with pytest.raises(RunError, match="is not the file of that run"):
        state.adopt("a-to-b-20260101T000000Z-abcd", run.file.read_bytes())
