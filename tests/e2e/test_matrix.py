"""One collection per feature and awkward combination, migrated by one plan, each looked at from all sides."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import SECRET, Answer, Shell
from tests.support.features import BY_NAME, FEATURES
from tests.support.portraits import Portrait, portray

if TYPE_CHECKING:
    from tests.support.bench import Bench

PLAN = """\
version: 1
name: matrix
clusters: {clusters}
source: a
target: b
defaults: {{target: "{{{{ collection }}}}_bak"}}
collections: ["*"]
"""


def there(name: str) -> str:
    """Where a collection goes."""
    return f"{name}_bak"


@pytest.fixture(scope="module")
def moved(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """All of them, by one plan."""
    with ThreadPoolExecutor(6) as pool:
        for job in [pool.submit(feature.make, bench.a.uri) for feature in FEATURES]:
            job.result()
    shell = Shell(tmp_path_factory.mktemp("matrix"), bench.environment | {"S3_SECRET_ACCESS_KEY": SECRET})
    shell.write("plan.yaml", PLAN.format(clusters=bench.clusters_file))
    return shell.run("apply", "plan.yaml", "--yes")


@pytest.fixture(scope="module")
def sides(bench: Bench, moved: Answer) -> dict[str, tuple[Portrait, Portrait]]:
    """Both sides of each."""
    assert f"{len(FEATURES)} collections to migrate" in moved.text

    def look(name: str) -> tuple[Portrait, Portrait]:
        return portray(bench.a.uri, name), portray(bench.b.uri, there(name))

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(BY_NAME, pool.map(look, BY_NAME), strict=True))


@pytest.mark.parametrize("name", BY_NAME)
def test_it_is_the_same_collection(sides: dict[str, tuple[Portrait, Portrait]], name: str) -> None:
    left, right = sides[name]
    assert right.description == left.description
    assert right.indexes == left.indexes
    assert right.loaded_partitions == left.loaded_partitions
    assert right.partitions == left.partitions
    assert left.count == BY_NAME[name].rows, "the source is not what it should be"
    assert right.count == left.count
    assert right.rows == left.rows
