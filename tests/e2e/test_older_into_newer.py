"""From a real Milvus 2.2.16 on a directory into doubles of newer lines, whose files are in a store of objects."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from migrator.lab import Lab, LabUnavailable
from migrator.lab.wheel import OLDER_VERSION, require_lab
from tests.e2e.test_older_source import COLLECTIONS, look
from tests.support.bench import skip_unless_possible
from tests.support.cli import Shell
from tests.support.double_cases import bed, double_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.double import Double
    from tests.support.double_cases import Bed

    DoubleOf = Callable[[str], Double]

__all__ = ["bed", "double_of"]
pytestmark = pytest.mark.exhaustive

KEYS = "{type: static, access_key_id: {env: KEY}, secret_access_key: {env: SECRET}}"
CHOSEN = {"f_never_flushed", "f_auto_int", "f_odd_keys", "f_partitioned", "f_by_word", "f_plain"}
FEATURES = [feature for feature in COLLECTIONS if feature.name in CHOSEN]
PLAN = """\
version: 1
name: older-{port}
clusters: {clusters}
source: a
target:
  milvus: {{uri: "{uri}"}}
  storage: {{provider: minio, endpoint: "{endpoint}", bucket: {bucket}, root_path: {root_path}, credentials: {keys}}}
staging: {{root_path: staged}}
collections: [{names}]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    try:
        require_lab()
    except LabUnavailable as error:
        skip_unless_possible(error)
    lab = Lab(tmp_path_factory.mktemp("older") / "lab")
    state = lab.up(auto_compaction=False, storage="local", source_version=OLDER_VERSION)
    try:
        with ThreadPoolExecutor(3) as pool:
            for job in [pool.submit(feature.make, state.instances[0].uri) for feature in FEATURES]:
                job.result()
        yield lab
    finally:
        lab.down()


@pytest.mark.parametrize("version", ["2.4.5", "2.5.20", "2.6.12", "3.0.0"])
def test_rows_arrive(
    lab: Lab, bed: Bed, double_of: DoubleOf, tmp_path_factory: pytest.TempPathFactory, version: str
) -> None:
    double, state = double_of(version), lab.state()
    shell = Shell(tmp_path_factory.mktemp("work"), {**state.environment, "KEY": "key", "SECRET": "secret"})
    text = PLAN.format(
        port=double.port,
        clusters=lab.clusters_file,
        uri=double.uri,
        endpoint=bed.endpoint,
        bucket=bed.bucket,
        root_path=double.root_path,
        keys=KEYS,
        names=", ".join(feature.name for feature in FEATURES),
    )
    answer = shell.run("apply", str(shell.write("plan.yaml", text)), "--yes")
    assert answer.text.count("dump and target are equal") >= len(FEATURES)
    for feature in FEATURES:
        (left, _), (right, _) = look(state.instances[0].uri, feature), look(double.uri, feature)
        assert len(left) == feature.rows
        assert right == left, feature.name
