"""JSON Schemas of the files people write, for editors; `migrator.schemas` writes them down."""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from migrator.spec.document import Cluster, ClustersDocument, PlanDocument

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def plan_schema() -> dict[str, Any]:
    """Return the schema of a plan file; rules between blocks are beyond it, and are checked by `validate`."""
    schema = TypeAdapter(PlanDocument).json_schema(mode="validation")
    return _head("plan", "migrator plan file") | schema | {"title": "migrator plan file"}


def clusters_schema() -> dict[str, Any]:
    """Return the schema of a clusters file: names and clusters, bare or below the key `clusters`."""
    models: list[tuple[type[Cluster | ClustersDocument], Any]] = [
        (Cluster, "validation"),
        (ClustersDocument, "validation"),
    ]
    _, schema = models_json_schema(models)
    bare = {
        "type": "object",
        "properties": {"version": {"const": 1}, "clusters": False},
        "additionalProperties": {"$ref": "#/$defs/Cluster"},
        "minProperties": 1,
    }
    either = {
        "description": "Clusters by name.",
        "anyOf": [bare, {"$ref": "#/$defs/ClustersDocument"}],
    }
    return _head("clusters", "migrator clusters file") | either | {"$defs": schema["$defs"]}


def _head(name: str, title: str) -> dict[str, Any]:
    return {"$schema": DIALECT, "$id": f"urn:migrator:schema:{name}:1", "title": title}
