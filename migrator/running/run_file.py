"""The run file: what a run was frozen from, a line for each collection and each step of its plan.

Many runs have tens of thousands of steps. Lines are written and read one at a time, so that what has to be held in
memory is the plan alone; to every other reader it is a JSON file.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from migrator.errors import RunError
from migrator.model.codec import from_json, from_plain
from migrator.planning.json_pieces import in_lines
from migrator.planning.plan import PlannedCollection, plan_of, plan_parts, step_from_json, step_from_plain
from migrator.running.growing import growing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from migrator.planning.plan import Plan
    from migrator.spec.loaded import LoadedPlan

FORMAT_VERSION = 1
_HEAD_LINES = 10
_ITEMS: Mapping[str, tuple[Callable[[str], Any], Callable[[Any], Any]]] = {
    "collections": (partial(from_json, PlannedCollection), partial(from_plain, PlannedCollection)),
    "steps": (step_from_json, step_from_plain),
}
"""How they are made of a line, and of what a line says."""


def run_lines(run_id: str, created_at: str, *, loaded: LoadedPlan, plan: Plan, saved_plan: str) -> Iterator[str]:
    """The file's text; secrets are in it as references only."""
    return in_lines(
        {
            "format_version": FORMAT_VERSION,
            "run_id": run_id,
            "created_at": created_at,
            "saved_plan": saved_plan,
            "document": loaded.frozen(),
            "plan": plan_parts(plan),
        }
    )


def digest_of_lines(lines: Iterable[str]) -> str:
    """The SHA-256 of the file that these lines make."""
    found = hashlib.sha256()
    for line in lines:
        found.update(line.encode())
    return found.hexdigest()


def digest_of_file(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def began_at(path: Path) -> str:
    """When the run began, which stands among the first lines; empty where it is not found there."""
    with suppress(OSError, ValueError), path.open(encoding="utf-8") as file:
        for line in islice(file, _HEAD_LINES):
            name, _, value = line.strip().partition(": ")
            if name == '"created_at"':
                return str(json.loads(value.rstrip(",")))
    return ""


def read_run_file(path: Path) -> tuple[dict[str, Any], Plan]:
    """What the file holds beside the plan, and the plan.

    Raises:
        OSError, ValueError: It cannot be read, or is not whole.
        RunError: Another version of migrator wrote it.
    """
    with growing(), path.open(encoding="utf-8") as lines:
        items: dict[str, list[Any]] = {name: [] for name in _ITEMS}
        content: dict[str, Any] = json.loads("".join(_without_items(lines, items)))
    if content["format_version"] > FORMAT_VERSION:
        raise RunError(
            f"{path} has format {content['format_version']}, and this version of migrator reads up to {FORMAT_VERSION}",
            hint="use the version of migrator that began the run, or a newer one",
        )
    plain = content.pop("plan")
    for name, (_, make) in _ITEMS.items():  # files of older versions have them among the rest
        items[name] += map(make, plain[name])
    return content, plan_of(plain, **items)


def _without_items(lines: Iterator[str], items: dict[str, list[Any]]) -> Iterator[str]:
    """The text with empty lists where items were, which are made of their lines meanwhile."""
    for line in lines:
        yield line
        name = line[1:-5]
        if name in items and line == f'"{name}": [\n':
            for item in lines:
                if item.startswith("]"):
                    yield item
                    break
                items[name].append(_ITEMS[name][0](item.rstrip(",\n")))
