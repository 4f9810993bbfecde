"""One storage of a plan, looked at by itself: whether it is reached, listed and read. Nothing is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.errors import StoreError
from migrator.model.finding import Part
from migrator.running.store_causes import store_cause

if TYPE_CHECKING:
    from migrator.ports.store import ObjectStore
    from migrator.running.doors import Doors, StorePlace
    from migrator.running.findings import Findings

_PART_BYTES = 64 * 1024


def look_at_store(place: StorePlace, store: ObjectStore, findings: Findings, doors: Doors) -> bool:
    """Whether it can be listed and read; why not is a finding."""
    try:
        if place.storage.provider == "local":
            return _look_at_directory(place, findings)
        store.list_folders(place.folder)
        where = place.storage.endpoint or place.storage.provider
        findings.ok("storage.list", f"{place.place} can be listed at {where}", f"{place.field}.bucket")
    except StoreError as error:
        tell_cause(place, error, findings, doors, call="list")
        return False
    return _read_something(place, store, findings, doors)


def tell_cause(place: StorePlace, error: StoreError, findings: Findings, doors: Doors, *, call: str) -> None:
    """What of the plan file makes the store fail, as far as looking tells."""
    cause = store_cause(place, error, doors, call=call)
    findings.fail(
        f"storage.{call}", cause.field, cause.message, cause.hint, exit_code=error.exit_code, value=cause.value
    )


def _read_something(place: StorePlace, store: ObjectStore, findings: Findings, doors: Doors) -> bool:
    """The first object there is: its head, and its first bytes."""
    call = "head"
    try:
        found = next(iter(store.list_objects(place.folder)), None)
        if found is None:
            return True
        store.find_object(found.key)
        call = "get"
        next(iter(store.stream(found.key, part_size=_PART_BYTES)), b"")
    except StoreError as error:
        tell_cause(place, error, findings, doors, call=call)
        return False
    findings.ok("storage.read", "its objects can be read", f"{place.field}.credentials")
    return True


# -- directories ------------------------------------------------------------------------------------------------------


def _look_at_directory(place: StorePlace, findings: Findings) -> bool:
    """Milvus makes its own; the folder of dumps is made by the run."""
    folder = Path("/", place.folder)
    above = next(each for each in (folder, *folder.parents) if each.exists())
    if not above.is_dir():
        _refuse(place, findings, f"{above} is no directory", "name a directory")
    elif place.part is not Part.STAGING and above != folder:
        _refuse(place, findings, f"the directory {folder} does not exist", _similar(folder))
    elif not os.access(above, os.R_OK | os.X_OK):
        _refuse(place, findings, f"the directory {above} cannot be read by this user", "see who owns it")
    elif place.part is Part.STAGING and not os.access(above, os.W_OK):
        _refuse(place, findings, f"the directory {above} cannot be written by this user", "see who owns it")
    else:
        findings.ok("storage.list", f"the directory {folder} can be {'read' if place.is_milvus else 'used'}")
        return True
    return False


def _refuse(place: StorePlace, findings: Findings, message: str, hint: str) -> None:
    error = StoreError(message, hint=hint)
    value = f"/{place.folder}"
    findings.fail("storage.list", place.root_field, message, hint, exit_code=error.exit_code, value=value)


def _similar(folder: Path) -> str:
    """What lies where the directory is not."""
    above = next(each for each in folder.parents if each.exists())
    names = sorted(each.name for each in above.iterdir() if each.is_dir()) if os.access(above, os.R_OK) else []
    return f"{above} holds: {', '.join(names[:8])}" if names else "see localStorage.path in the milvus.yaml"


def free_bytes(place: StorePlace) -> int | None:
    """The room left on its disk; None where that is a service's to know."""
    if place.storage.provider != "local":
        return None
    folder = Path("/", place.folder)
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free
