"""The JSON Schemas that editors use."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from migrator.schemas import saved_plan_schema, schema_texts
from migrator.spec.document import PlanDocument
from migrator.spec.schema import clusters_schema, plan_schema
from tests.support.spec_cases import EVERYTHING

ROOT = Path(__file__).resolve().parents[3]
PLANS = sorted(path for path in (ROOT / "plans").glob("*.yaml") if "cluster" not in path.name)
CLUSTERS = sorted((ROOT / "plans").glob("*cluster*.yaml"))


def data_of(text: str) -> dict[str, object]:
    data: dict[str, object] = YAML(typ="safe", pure=True).load(text)
    return data


@pytest.mark.parametrize("name", sorted(schema_texts()))
def test_the_committed_schema_is_the_generated_one(name: str) -> None:
    committed = (ROOT / "schemas" / name).read_text(encoding="utf-8")
    assert committed == schema_texts()[name], "run make schemas"


@pytest.mark.parametrize(
    "schema", [plan_schema(), clusters_schema(), saved_plan_schema()], ids=["plan", "clusters", "saved plan"]
)
def test_a_schema_is_a_schema(schema: dict[str, object]) -> None:
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert str(schema["$id"]).startswith("urn:migrator:schema:")
    assert schema["title"]
    assert schema["description"]


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.name)
def test_a_worked_example_is_valid(path: Path) -> None:
    data = data_of(path.read_text(encoding="utf-8"))
    Draft202012Validator(plan_schema()).validate(data)
    PlanDocument.model_validate(data)


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.name)
def test_a_worked_example_of_clusters_is_valid(path: Path) -> None:
    data = data_of(path.read_text(encoding="utf-8"))
    Draft202012Validator(clusters_schema()).validate(data)
    Draft202012Validator(clusters_schema()).validate({"version": 1, "clusters": data})
    Draft202012Validator(clusters_schema()).validate({"version": 1, **data})


@pytest.mark.parametrize("path", [*PLANS, *CLUSTERS], ids=lambda path: path.name)
def test_a_worked_example_names_its_schema(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    name = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / name).is_file()


SHORT_FORMS = """
version: 1
name: short
source: a
target: b
vars: {a: 1, b: 1.5, c: true, d: x}
staging: {backup_name: "b_{{ vars.d }}"}
collections: [x, "db.*", {source: y, target: "{{ collection }}", aliases: [z],
                          indexes: [{field: v, index_type: HNSW}]}]
options:
  verify: counts
  import: {segments_per_job: 4, stall_timeout: 1h30m}
  transfer: {part_size: 67108864, limit_bytes_per_s: 100 MB}
"""


@pytest.mark.parametrize("text", [EVERYTHING, SHORT_FORMS], ids=["everything", "short"])
def test_every_form_is_valid(text: str) -> None:
    Draft202012Validator(plan_schema()).validate(data_of(text))
    PlanDocument.model_validate(data_of(text))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version: 1", "version: 2"),
        ("name: short", "name: Short"),
        ("target: b", "taget: b"),
        ("verify: counts", "verify: count"),
        ("1h30m", "soon"),
        ("100 MB", "100 M"),
        ("collections: [x,", "collections: [5,"),
        ("{field: v,", "{"),
        ('backup_name: "b_{{ vars.d }}"', "backup_name: a-b"),
    ],
)
def test_mistakes_show_in_the_editor(old: str, new: str) -> None:
    assert old in SHORT_FORMS
    assert not Draft202012Validator(plan_schema()).is_valid(data_of(SHORT_FORMS.replace(old, new)))


def test_a_literal_secret_shows_in_the_editor() -> None:
    text = EVERYTHING.replace("{env: MILVUS_A_PASSWORD}", "hunter2")
    assert not Draft202012Validator(plan_schema()).is_valid(data_of(text))
