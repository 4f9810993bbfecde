"""What a plan without a target tells of itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from migrator.planning.planner import make_plan
from tests.support.builders import KEYS, a_collection, a_loaded_plan, an_observed_state

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.model.collection import Collection
    from migrator.planning.plan import Plan

STORAGE = "provider: minio, endpoint: http://one:9000, bucket: bucket_A, credentials: " + KEYS


def planned(folder: Path, collection: Collection, *, more: str = "", mapping: str = "books") -> Plan:
    text = (
        "version: 1\nname: nightly\n"
        f"source: {{milvus: {{uri: http://milvus_A:19530}}, storage: {{{STORAGE}, root_path: files_A}}}}\n"
        f"staging: {{storage: {{{STORAGE}}}}}\ncollections: [{mapping}]\n{more}"
    )
    observed = replace(an_observed_state(collection), target_version="", target_databases=())
    return make_plan(a_loaded_plan(folder, text=text), observed)


def test_what_a_backup_has_no_place_for_is_told(tmp_path: Path) -> None:
    told = a_collection(replica_number=2, resource_groups=("__default_resource_group", "fast"))
    (found,) = planned(tmp_path, told).collections
    assert found.not_carried == (
        "2 replicas: a backup says that it is loaded, and no more",
        "resource groups fast: a backup says that it is loaded, and no more",
    )
    (plain,) = planned(tmp_path, a_collection()).collections
    assert plain.not_carried == ()


def test_what_is_asked_for_and_no_backup_holds_is_told(tmp_path: Path) -> None:
    plan = planned(tmp_path, a_collection(), more="options: {rbac: true}\n", mapping="{source: books, target: other}")
    assert plan.notices[1:] == (
        "there is no target: what the mappings say of one is not looked at",
        "users, roles and grants are not put into a backup (options.rbac: true)",
    )
    assert len(planned(tmp_path, a_collection()).notices) == 1
