"""A bug of ours is told by a traceback that shows no values, and can do nothing to a terminal."""

from __future__ import annotations

from typing import NoReturn

import pytest

from migrator import cli

SECRET = "hunter2-of-a-bug"  # noqa: S105 - planted


def test_a_traceback_holds_no_locals_and_no_escapes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        password = SECRET
        raise ZeroDivisionError(f"\x1b[31m{len(password)}\n✓ done")

    monkeypatch.setattr("migrator.spec.load.load_plan", fail)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(cli, "_end_at_a_second_signal", lambda: None)
    monkeypatch.setattr("sys.argv", ["migrator", "validate", "plan.yaml"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    assert ended.value.code == 1
    assert "Traceback (most recent call last)" in err
    assert "ZeroDivisionError: \\x1b[31m16" in err
    assert SECRET not in out + err
