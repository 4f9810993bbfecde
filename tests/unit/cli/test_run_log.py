"""The run log holds what happened, line by line, in its owner's file, and no secret."""

from __future__ import annotations

import json
import logging
import re
import stat
from typing import TYPE_CHECKING, cast

import pytest

from migrator.cli.options import LogFormat, LogLevel
from migrator.cli.run_log import LogSettings, LogWatcher, logging_as, logging_run, without_secrets
from migrator.errors import MilvusUnavailable
from migrator.spec.document import SecretRef
from migrator.spec.secrets import resolve_secret
from migrator.steps.base import Outcome
from tests.support.stage_of_lines import a_plan

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.running.runs import Run

SECRET = "pass:w0rd/with+signs"  # noqa: S105 - the test's own


class ARun:
    """As much of a run as the log asks for."""

    run_id = "a-to-b-1"

    def __init__(self, folder: Path) -> None:
        self.log_file = folder / "run.log"
        self.plan = a_plan(folder, 1)


def tell(run: ARun, settings: LogSettings) -> None:
    watcher, step = LogWatcher(), run.plan.steps[0]
    with logging_as(settings), logging_run(cast("Run", run)):
        watcher.step_started(step)
        watcher.step_waits(step, MilvusUnavailable(f"refused for {SECRET}\nand once more"), 4.0)
        watcher.step_finished(step, Outcome(rows=3))
        logging.getLogger("migrator.adapters").debug("sent with authorization: Bearer %s", SECRET)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ARun:
    monkeypatch.setenv("A_VARIABLE", SECRET)
    assert resolve_secret(SecretRef(env="A_VARIABLE")) == SECRET
    return ARun(tmp_path)


def test_a_line_tells_when_how_grave_which_run_and_which_step(run: ARun) -> None:
    tell(run, LogSettings())
    lines = run.log_file.read_text().splitlines()
    assert len(lines) == 3
    key = re.escape(run.plan.steps[0].key)
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z INFO    a-to-b-1 {key}  started: .+", lines[0])
    assert "WARNING" in lines[1]
    assert stat.S_IMODE(run.log_file.stat().st_mode) == 0o600


def test_no_secret_is_written_in_any_form(run: ARun) -> None:
    tell(run, LogSettings(level=LogLevel.DEBUG))
    text = run.log_file.read_text()
    assert "refused for ***" in text
    assert SECRET not in text
    assert "Bearer ***" in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://user:pw@host/x", "http://***@host/x"),
        ("?sig=abc%2F&se=1", "?sig=***&se=1"),
        ("secret_access_key='abcd' bucket=b", "secret_access_key='***' bucket=b"),
        ("account%3Aka%2Fb%2Bc", "account%3A***"),
        ("import job 4512 is at 40 %", "import job 4512 is at 40 %"),
    ],
)
def test_what_stands_where_a_secret_would_is_left_out(text: str, told: str) -> None:
    assert without_secrets(text, {"ka/b+c"}) == told


def test_as_json_it_has_the_same(run: ARun) -> None:
    tell(run, LogSettings(kind=LogFormat.JSON))
    first = json.loads(run.log_file.read_text().splitlines()[0])
    assert set(first) == {"at", "level", "run_id", "step", "logger", "message"}
    assert (first["level"], first["run_id"], first["step"]) == ("info", run.run_id, run.plan.steps[0].key)


def test_a_level_leaves_out_what_is_less_grave(run: ARun) -> None:
    tell(run, LogSettings(level=LogLevel.WARNING))
    assert [line.split()[1] for line in run.log_file.read_text().splitlines()] == ["WARNING"]


def test_another_file_or_stderr_can_be_named(run: ARun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell(run, LogSettings(file=tmp_path / "other.log"))
    assert (tmp_path / "other.log").exists()
    assert not run.log_file.exists()
    tell(run, LogSettings(file=type(tmp_path)("-")))
    assert run.log_file.exists()
    assert "started: " in capsys.readouterr().err


def test_a_disk_without_room_does_not_disturb(run: ARun, capsys: pytest.CaptureFixture[str]) -> None:
    run.log_file.symlink_to("/dev/full")
    tell(run, LogSettings())
    assert "Traceback" not in capsys.readouterr().err
