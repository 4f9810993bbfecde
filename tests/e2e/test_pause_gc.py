"""The source's garbage collection waits while a run lasts, where the plan names the port that can be asked for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML

from tests.support.cli import SECRET, Answer, Shell
from tests.support.portraits import connected
from tests.support.web import PAUSE, RESUME, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bench import Bench

PLAN = """\
version: 1
name: {name}
clusters: {name}.clusters.yaml
source: a
target: b
collections: [{{source: books, target: {name}}}]
options: {{pause_gc: {pause_gc}, verify: none}}
"""


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    """A source with one collection."""
    with connected(bench.a.uri) as client:
        client.create_collection("books", dimension=4)
        client.insert("books", [{"id": i, "vector": [float(i)] * 4} for i in range(10)])
    return bench


def apply(bench: Bench, folder: Path, management_uri: str, *, pause_gc: str, code: int) -> Answer:
    shell, name = Shell(folder, {**bench.environment, "S3_SECRET_ACCESS_KEY": SECRET}), f"books-{pause_gc}"
    clusters = YAML(typ="safe").load(bench.clusters_file)
    clusters["a"]["milvus"]["management_uri"] = management_uri
    shell.write(f"{name}.clusters.yaml", json.dumps(clusters))
    shell.write("plan.yaml", PLAN.format(name=name, pause_gc=pause_gc).replace("target: books-", "target: books_"))
    return shell.run("apply", "plan.yaml", "--yes", code=code)


def test_it_is_paused_for_the_run_and_resumed_after_it(filled: Bench, tmp_path: Path) -> None:
    with serving() as web:
        web.tell(PAUSE, {"msg": "OK"})
        web.tell(RESUME, {"msg": "OK"})
        apply(filled, tmp_path, web.uri, pause_gc="auto", code=0)
    assert web.asked == [f"{PAUSE}?pause_seconds=300", RESUME]


def test_a_server_without_the_pause_ends_a_run_that_wants_it(filled: Bench, tmp_path: Path) -> None:
    """The real server, which in this build has none."""
    refused = apply(filled, tmp_path, filled.a.management_uri, pause_gc="always", code=30)
    assert "knows no pause of garbage collection (HTTP 404)" in refused.text
    assert "correct source.milvus.management_uri" in refused.text
    assert Shell(tmp_path, {}).run("runs").text.count("books-always") == 0
