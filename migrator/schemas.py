"""JSON Schemas of every file that people read or write; run as a module, it writes them to `schemas/`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from migrator.planning.saved_plan import SavedPlanFile
from migrator.reports.events import event_schema
from migrator.running.journal_record import journal_entry_schema
from migrator.spec.schema import DIALECT, clusters_schema, plan_schema

FOLDER: Final = Path(__file__).resolve().parents[1] / "schemas"


def saved_plan_schema() -> dict[str, Any]:
    """Of what `migrator plan --out` writes."""
    return _headed("saved-plan", "migrator saved plan", SavedPlanFile.model_json_schema())


def _headed(name: str, title: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": DIALECT, "$id": f"urn:migrator:schema:{name}:1"} | schema | {"title": title}


def schema_texts() -> dict[str, str]:
    """The schema files' texts by file name."""
    schemas = {
        "plan.schema.json": plan_schema(),
        "clusters.schema.json": clusters_schema(),
        "saved-plan.schema.json": saved_plan_schema(),
        "journal-entry.schema.json": _headed("journal-entry", "migrator journal entry", journal_entry_schema()),
        "event.schema.json": _headed("event", "migrator event", event_schema()),
    }
    return {name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n" for name, schema in schemas.items()}


def main() -> None:
    """Write the schemas, and say which."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in schema_texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{FOLDER / name}\n")


if __name__ == "__main__":
    main()
