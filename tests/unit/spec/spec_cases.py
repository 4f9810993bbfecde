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
