"""From a real Milvus 2.3.5 into doubles of all newer lines, as a user does it; every row compared, deletes included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import sources
from tests.support.cli import Shell
from tests.support.double import start_double
from tests.support.portraits import portray

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bench import Bench
    from tests.support.double import Double

KEYS = "{type: static, access_key_id: {env: KEY}, secret_access_key: {env: SECRET}}"
NAMES = ("stirred", "kinds", "by_tenant")
PLAN = """\
version: 1
name: newer-{port}
clusters: {clusters}
source: a
target:
  milvus: {{uri: "{uri}"}}
  storage: {{provider: minio, endpoint: "{endpoint}", bucket: {bucket}, root_path: {root_path}, credentials: {keys}}}
staging: {{root_path: staged}}
collections: [{names}]
options: {{verify: full, import: {{segments_per_job: 2}}}}
"""


@pytest.fixture(scope="module")
def filled(bench: Bench) -> Bench:
    sources.fill_stirred(bench.a.uri, "stirred")
    sources.fill_kinds(bench.a.uri, "kinds")
    sources.fill_by_tenant(bench.a.uri, "by_tenant")
    return bench


def a_plan(shell: Shell, bench: Bench, double: Double) -> str:
    text = PLAN.format(
        port=double.port,
        clusters=bench.clusters_file,
        uri=double.uri,
        endpoint=bench.state.s3_endpoint,
        bucket=bench.state.bucket,
        root_path=double.root_path,
        keys=KEYS,
        names=", ".join(NAMES),
    )
    return str(shell.write("plan.yaml", text))


@pytest.mark.parametrize(
    "version",
    [
        "2.4.5",
        "2.6.12",
        "3.0.0",
        *(pytest.param(each, marks=pytest.mark.exhaustive) for each in ("2.4.24", "2.5.5", "2.5.20")),
    ],
)
def test_all_rows_arrive(filled: Bench, tmp_path: Path, version: str) -> None:
    state = filled.state
    shell = Shell(
        tmp_path,
        {**filled.environment, "KEY": state.access_key_id, "SECRET": state.secret_access_key},
        canary=True,
    )
    with start_double(
        version,
        endpoint=state.s3_endpoint,
        bucket=state.bucket,
        root_path=f"files_{version}",
        access_key=state.access_key_id,
        secret_key=state.secret_access_key,
        flush_interval_s=0,
    ) as double:
        plan = a_plan(shell, filled, double)
        shell.run("apply", plan, "--yes")
        for name in NAMES:
            there, here = portray(double.uri, name), portray(filled.a.uri, name)
            assert there.rows == here.rows, name
        shell.run("verify", plan)
        requests = "".join(map(str, double.calls("jobs/import/create")))
        assert ("auto_commit" in requests) == (version == "3.0.0")
