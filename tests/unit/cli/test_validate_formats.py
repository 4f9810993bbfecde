"""`migrator validate --format github`: complaints that a pull request shows beside the line they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.testing import CliRunner

from migrator.cli import app
from tests.support.spec_cases import plan_text

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_each_complaint_is_an_annotation_of_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "plans, new"
    folder.mkdir()
    path = folder / "plan.yaml"
    path.write_text(plan_text(collections="[coll, coll]", more="oops: 100%\n"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    result = CliRunner().invoke(app, ["validate", "plans, new/plan.yaml", "--format", "github"])
    assert result.exit_code == 10
    lines = result.output.splitlines()
    assert all(line.startswith("::error file=plans%2C new/plan.yaml,line=") for line in lines)
    oops = next(line for line in lines if "title=oops" in line)
    assert ",line=6,col=1," in oops
    assert "%0Ahint: " in oops
    assert "100%25" in oops or "100%" not in oops


def test_the_path_is_told_from_where_the_repository_was_checked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "plan.yaml").write_text("version: 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "deploy")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    lines = CliRunner().invoke(app, ["validate", "plan.yaml", "--format", "github"]).output.splitlines()
    assert all(line.startswith("::error file=deploy/plan.yaml,line=1,") for line in lines)


def test_a_sound_plan_is_told_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(plan_text(), encoding="utf-8")
    result = CliRunner().invoke(app, ["validate", str(path), "--format", "github"])
    assert result.exit_code == 0
    assert "sound, 1 mapping" in result.output
