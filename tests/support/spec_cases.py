"""Plan files to change one thing in, and what loading them says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.errors import Complaint, SpecError
from migrator.spec.load import LoadedPlan, load_plan

if TYPE_CHECKING:
    from pathlib import Path

KEYS = "{type: static, access_key_id: {env: KEY}, secret_access_key: {env: SECRET}}"


def storage(root_path: str, *, host: str = "one", bucket: str = "bucket_A", more: str = "") -> str:
    """A storage in flow style."""
    return (
        f"{{provider: minio, endpoint: http://{host}:9000, bucket: {bucket}, root_path: {root_path},"
        f" credentials: {KEYS}{more}}}"
    )


SOURCE = f"{{milvus: {{uri: http://milvus_A:19530}}, storage: {storage('files_A')}}}"
TARGET = f"{{milvus: {{uri: http://milvus_B:19530}}, storage: {storage('files_B')}}}"


def plan_text(*, source: str = SOURCE, target: str = TARGET, collections: str = "[coll]", more: str = "") -> str:
    """A plan file; `more` is appended as it is. Source stands in line 3, target in 4, collections in 5."""
    return f"version: 1\nname: a-to-b\nsource: {source}\ntarget: {target}\ncollections: {collections}\n{more}"


def load_text(
    folder: Path, text: str, *, variables: dict[str, str] | None = None, clusters: Path | None = None
) -> LoadedPlan:
    """Load `text` as `plan.yaml` in `folder`."""
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return load_plan(path, variables=variables or {}, clusters=clusters)


def complaints_of(
    folder: Path, text: str, *, variables: dict[str, str] | None = None, clusters: Path | None = None
) -> dict[str, Complaint]:
    """Load what must not load; return its complaints by field."""
    with pytest.raises(SpecError) as caught:
        load_text(folder, text, variables=variables, clusters=clusters)
    assert caught.value.exit_code == 10
    return {complaint.field: complaint for complaint in caught.value.complaints}


def only_complaint(folder: Path, text: str, *, variables: dict[str, str] | None = None) -> Complaint:
    """Load what must not load for one reason; return it."""
    found = complaints_of(folder, text, variables=variables)
    assert len(found) == 1, [str(complaint) for complaint in found.values()]
    return next(iter(found.values()))


def place(complaint: Complaint) -> tuple[int, int]:
    """Line and column of a complaint."""
    assert complaint.position is not None
    return complaint.position.line, complaint.position.column


EVERYTHING = """\
# yaml-language-server: $schema=../schemas/plan.schema.json
version: 1
name: a-to-b
description: Move coll from milvus_A to milvus_B inside one bucket.
vars: {suffix: _bak}

source:
  protected: false
  milvus:
    uri: http://milvus_A:19530
    username: root
    password: {env: MILVUS_A_PASSWORD}
  storage:
    provider: minio
    endpoint: http://milvus_A:9000
    bucket: bucket_A
    root_path: files_A
    credentials:
      type: static
      access_key_id: {env: S3_ACCESS_KEY_ID}
      secret_access_key: {env: S3_SECRET_ACCESS_KEY}

target:
  milvus: {uri: http://milvus_B:19530}
  storage: {provider: minio, endpoint: http://milvus_B:9000, bucket: bucket_A, root_path: files_B,
            credentials: {type: static, access_key_id: {env: S3_ACCESS_KEY_ID}, secret_access_key: {env: S}}}

staging:
  storage: {bucket: bucket_A}
  root_path: backup
  backup_name: my_backup
  keep: true

defaults: {if_exists: fail}
collections:
  - source: coll
    target: "coll{{ vars.suffix }}"
  - source: "db1.*"
    exclude: ["db1.tmp_*"]
    target: "{{ database }}.{{ collection }}_bak"
    partitions: ["*"]
    if_exists: fail
    create: {shards_num: 2, consistency_level: Bounded, description: "...",
             properties: {collection.ttl.seconds: 0}}
    indexes: rebuild
    load: as_source
    aliases: copy

options:
  flush: auto
  transfer: {mode: auto, concurrency: 64, limit_bytes_per_s: null, part_size: 64MiB,
             multipart_threshold: 512MiB}
  import: {max_jobs: 8, segments_per_job: auto, stall_timeout: 30m}
  verify: {level: sample, sample: 10000, seed: 7, load_source: false}
  retry: {max_elapsed: 30m, max_backoff: 30s}
  pause_gc: auto
  state: local
  rbac: false
"""
