"""The double's table of versions says what the facts say."""

from __future__ import annotations

import pytest

from tests.doubles.rules import RULES, Rules

_VERSIONS = ("2.4.0", "2.4.5", "2.4.24", "2.5.0", "2.5.27", "2.6.0", "2.6.12", "3.0.0")
_CALLS = """
Connect ListDatabases CreateDatabase        Y Y Y Y Y Y Y Y
DescribeDatabase AlterDatabase              - Y Y Y Y Y Y Y
DescribeAlias ListAliases                   Y Y Y Y Y Y Y Y
GetLoadState GetLoadingProgress             Y Y Y Y Y Y Y Y
ListResourceGroups DescribeResourceGroup    Y Y Y Y Y Y Y Y
SelectRole SelectUser SelectGrant           Y Y Y Y Y Y Y Y
ListPrivilegeGroups                         - - Y Y Y Y Y Y
BackupRBAC RestoreRBAC                      - - Y Y Y Y Y Y
AlterCollection AlterIndex                  Y Y Y Y Y Y Y Y
AlterCollectionField                        - - Y Y Y Y Y Y
AddCollectionField                          - - - - - Y Y Y
AddCollectionFunction TruncateCollection    - - - - - - Y Y
AlterCollectionSchema                       - - - - - - - Y
AddCollectionStructField                    - - - - - - - Y
FlushAll GetFlushAllState Import            Y Y Y Y Y Y Y Y
CreateSnapshot ListSnapshots                - - - - - - - Y
"""


@pytest.mark.parametrize("line", _CALLS.strip().splitlines())
def test_calls_are_known_from_where_the_facts_say(line: str) -> None:
    names, cells = line.split()[: -len(_VERSIONS)], line.split()[-len(_VERSIONS) :]
    for name in names:
        found = ["Y" if Rules(version).has_call(name) else "-" for version in _VERSIONS]
        assert found == cells, name


@pytest.mark.parametrize(
    ("rule", "without", "having"),
    [
        ("hybrid_bounds", "2.4.23 2.5.0 2.5.5", "2.4.24 2.5.6 2.6.0 3.0.0"),
        ("segments_describe", "2.4.24 2.5.7", "2.5.8 2.6.0 3.0.0"),
        ("schema_properties", "2.4.24 2.5.17", "2.5.18 2.6.0"),
        ("l0_import", "2.4.4", "2.4.5 2.5.0"),
        ("keeps_row_ts", "2.4.4", "2.4.5 3.0.0"),
        ("several_l0_segments", "2.5.27 2.6.4", "2.6.5 3.0.0"),
        ("answers_200", "2.4.1 3.0.0", "2.4.0"),
        ("snapshot_export", "2.6.12 3.0.0", "3.0.1"),
    ],
)
def test_a_behaviour_has_a_first_release_in_each_line(rule: str, without: str, having: str) -> None:
    assert rule in RULES
    assert not any(Rules(version).has(rule) for version in without.split())
    assert all(Rules(version).has(rule) for version in having.split())
