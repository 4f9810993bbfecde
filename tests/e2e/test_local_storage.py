"""Two Milvus servers that keep their data in directories of one host, and a dump in a third."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.lab import Lab, LabUnavailable
from migrator.lab.wheel import require_lab
from tests.support import sources
from tests.support.bench import skip_unless_possible
from tests.support.cli import Shell
from tests.support.portraits import portray

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Two servers without an S3 server."""
    try:
        require_lab()
    except LabUnavailable as error:
        skip_unless_possible(error)
    lab = Lab(tmp_path / "lab")
    lab.up(auto_compaction=False, storage="local")
    yield lab
    lab.down()


def files_below(folder: Path) -> dict[str, bytes]:
    """All files with their content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_migration_between_directories(lab: Lab, tmp_path: Path) -> None:
    a, b = lab.state().instances
    sources.fill_stirred(a.uri, "stirred")
    work = tmp_path / "work"
    work.mkdir()
    shell = Shell(work, lab.state().environment)
    staging = tmp_path / "dumps"
    shell.write(
        "plan.yaml",
        f"version: 1\nname: local-dirs\nclusters: {lab.clusters_file}\nsource: a\ntarget: b\n"
        f"staging: {{root_path: {staging}, backup_name: my_dump}}\ncollections: [stirred]\n",
    )
    logs = tmp_path / "lab" / "servers" / "milvus_A" / "data" / "insert_log"
    before = files_below(logs)

    shell.run("plan", "plan.yaml", "--detailed-exitcode", code=3)
    assert not staging.exists()
    checked = shell.run("check", "plan.yaml", "--canary")
    assert "the target imported 1 row" in checked.out
    assert "are free" in checked.out
    assert files_below(tmp_path / "dumps") == {}
    shell.run("apply", "plan.yaml", "--yes")

    left, right = portray(a.uri, "stirred"), portray(b.uri, "stirred")
    assert right.count == left.count == 770
    assert right.rows == left.rows
    assert right.partitions == left.partitions
    assert right.aliases == left.aliases
    after = files_below(logs)
    assert {name: after.get(name) for name in before} == before
    dump = files_below(staging / "my_dump")
    assert sum(name.startswith("meta/") for name in dump) == 5
    assert all(name.split("/")[4] == name.split("/")[5] for name in dump if name.startswith("binlogs/"))
    assert "Nothing to do" in shell.run("apply", "plan.yaml", "--yes").out
