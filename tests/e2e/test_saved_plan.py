"""A plan that is saved, reviewed, and applied as it was; and every way in which the world can have left it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jsonschema import Draft202012Validator

from migrator.schemas import saved_plan_schema
from tests.support import sources
from tests.support.cli import SECRET, Shell
from tests.support.portraits import connected

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bench import Bench


def a_plan(shell: Shell, bench: Bench, name: str, *, more: str = "") -> None:
    shell.write(
        f"plans/{name}.yaml",
        f"version: 1\nname: {name}\nclusters: {bench.clusters_file}\nsource: a\ntarget: b\nvars: {{suffix: _x}}\n"
        f'collections:\n  - {{source: saved, target: "saved{{{{ vars.suffix }}}}"}}\n{more}',
    )


def test_a_saved_plan_is_applied_once_and_as_it_was_reviewed(bench: Bench, tmp_path: Path) -> None:
    shell = Shell(tmp_path, bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET}, is_warm=False)
    sources.fill_small(bench.a.uri, "saved", rows=150, deleted=5)
    (tmp_path / "plans").mkdir()
    a_plan(shell, bench, "reviewed")
    a_plan(shell, bench, "edited")
    a_plan(shell, bench, "overtaken")
    for name in ("reviewed", "edited", "overtaken"):
        suffix = f"_{name[0]}" if name != "overtaken" else "_r"
        shell.run("plan", f"plans/{name}.yaml", "--var", f"suffix={suffix}", "--out", f"{name}.plan.json")
    text = (tmp_path / "reviewed.plan.json").read_text(encoding="utf-8")
    assert SECRET not in text
    assert str(tmp_path) not in text
    Draft202012Validator(saved_plan_schema()).validate(json.loads(text))
    again = shell.run("plan", "plans/reviewed.yaml", "--var", "suffix=_r", "--out", "again.plan.json")
    assert (tmp_path / "again.plan.json").read_text(encoding="utf-8") == text
    assert "Saved as again.plan.json" in again.err

    with connected(bench.a.uri) as client:  # more rows are no other plan
        client.insert("saved", sources.plain_rows(1000, 1010))
        client.flush("saved")
    answer = shell.run("apply", "reviewed.plan.json")
    assert "The saved plan reviewed still holds." in answer.out
    assert "Apply this plan?" not in answer.out
    report = next(line for line in answer.out.splitlines() if line.startswith("Report: ")).removeprefix("Report: ")
    assert '<h2 id="timeline">' in (tmp_path / report).read_text(encoding="utf-8")

    used = shell.run("apply", "reviewed.plan.json", code=12)
    assert "was applied already" in used.err
    taken = shell.run("apply", "overtaken.plan.json", code=12)
    assert "the target already has a collection saved_r" in taken.err

    a_plan(shell, bench, "edited", more="# a harmless line\n")
    edited = shell.run("apply", "edited.plan.json", code=12)
    assert "plans/edited.yaml" in edited.err
    assert "was edited since" in edited.err
    shell.run("plan", "plans/edited.yaml", "--out", "edited.plan.json")
    with connected(bench.a.uri) as client:
        client.drop_collection("saved")
    sources.fill_small(bench.a.uri, "saved", rows=20, deleted=0)
    moved = shell.run("apply", "edited.plan.json", code=12)
    assert "saved was dropped at the source, and created again" in moved.err
    wrong = shell.run("apply", "edited.plan.json", "--var", "suffix=_z", code=2)
    assert "a saved plan holds its own" in wrong.err
