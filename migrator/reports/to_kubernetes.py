"""A plan as manifests for Kubernetes: a Job that survives the loss of its pod, and a Dask cluster beside it."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel

from migrator.errors import Complaint, SpecError
from migrator.spec.document import SecretRef
from migrator.spec.load import load_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from migrator.spec.loaded import LoadedPlan

MOUNT = "/etc/migrator"
"""Where plan and clusters file lie in a pod; what they name relative to themselves lies beside them."""
_HOME = "/scratch"
"""Of a pod's user, as the templates have it."""
_FILES = frozenset({"ca_cert", "client_cert", "client_key", "credentials_file"})
_AMBIENT = frozenset({"iam", "default"})
"""Credentials that a pod has by the role of its service account."""
_LONGEST_NAME = 38
"""Of a plan: names of services, and values of labels, have at most 63 characters."""
_LONGEST_KEY = 240
"""In a secret, with room for a number behind it: 253."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MountedFile:
    """A file that the plan names, and the key of the secret that has to hold it."""

    path: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """The files by their names, and what has to be there before they are applied."""

    files: dict[str, str]
    name: str
    variables: tuple[str, ...]
    mounted: tuple[MountedFile, ...]
    needs_role: bool


def manifests(loaded: LoadedPlan, *, image: str, dask_workers: int) -> Manifests:
    """The manifests of a plan; without `dask_workers` the run does all by itself.

    Raises:
        SpecError: What the plan asks for needs the disk of one machine.
    """
    _require_movable(loaded)
    texts = _texts(loaded)
    parts = tuple(_parts(_as_mounted(texts)))
    variables = tuple(sorted({ref.env for ref in parts if isinstance(ref, SecretRef) and ref.env}))
    found = Manifests(
        files={},
        name=f"migrator-{loaded.name[:_LONGEST_NAME].rstrip('-')}",
        variables=variables,
        mounted=_mounted(parts),
        needs_role=any(getattr(part, "type", "") in _AMBIENT for part in parts),
    )
    environment = _environment(found.name)
    names = ["run.yaml", *(["dask.yaml"] if dask_workers else [])]
    for name in names:
        found.files[name] = environment.get_template(f"kubernetes/{name}.j2").render(
            name=found.name,
            plan=loaded.name,
            texts=texts,
            mount=MOUNT,
            image=image,
            dask_workers=dask_workers,
            variables=found.variables,
            files=found.mounted,
            needs_role=found.needs_role,
        )
    return found


def _require_movable(loaded: LoadedPlan) -> None:
    complaints = []
    if loaded.options.state != "staging":
        hint = "set options.state: staging, so that another pod can go on with the run"
        complaints.append(_complaint(loaded, "a pod's disk is gone with it", "options.state", hint))
    storages = [("source.storage", loaded.source_storage), (loaded.staging_field, loaded.staging.storage)]
    if loaded.target is not None:
        storages.append(("target.storage", loaded.target.storage))
    for field in dict.fromkeys(field for field, storage in storages if storage.provider == "local"):
        hint = "run it on that machine, without Kubernetes"
        complaints.append(
            _complaint(loaded, "a pod does not see the disk of another machine", f"{field}.provider", hint)
        )
    if complaints:
        raise SpecError(complaints)


def _complaint(loaded: LoadedPlan, message: str, field: str, hint: str) -> Complaint:
    return Complaint(message, field, hint, position=loaded.locate(field))


def _texts(loaded: LoadedPlan) -> dict[str, str]:
    """Plan and clusters file as they are written, by their names in a pod."""
    paths = {"plan.yaml": loaded.path, "clusters.yaml": loaded.clusters_path}
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items() if path is not None}


def _as_mounted(texts: dict[str, str]) -> LoadedPlan:
    """The plan as a pod reads it: files that it names relative to itself lie at `MOUNT` there, or beside that."""
    with TemporaryDirectory(prefix="migrator-") as root:
        folder = Path(root) / MOUNT.lstrip("/")
        folder.mkdir(parents=True)
        paths = {name: folder / name for name in texts}
        for name, path in paths.items():
            path.write_text(texts[name], encoding="utf-8")
        with _at_home(f"{root}{_HOME}"):
            found = load_plan(paths["plan.yaml"], clusters=paths.get("clusters.yaml"))
        plain = json.dumps(found.frozen()).replace(os.path.realpath(root), "").replace(root, "")
    return type(found).from_frozen(json.loads(plain))


@contextmanager
def _at_home(folder: str) -> Iterator[None]:
    """What `~` stands for meanwhile."""
    before = os.environ.pop("HOME", None)
    os.environ["HOME"] = folder
    try:
        yield
    finally:
        del os.environ["HOME"]
        if before is not None:
            os.environ["HOME"] = before


def _parts(value: object) -> Iterator[object]:
    """All models in a plan, and the paths of files that it names."""
    if isinstance(value, BaseModel):
        yield value
        for name, part in value:
            if name in _FILES and part is not None:
                yield str(part)
            yield from _parts(part)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _parts(getattr(value, name))


def _mounted(parts: tuple[object, ...]) -> tuple[MountedFile, ...]:
    named = {part for part in parts if isinstance(part, str)}
    named |= {ref.file for ref in parts if isinstance(ref, SecretRef) and ref.file}
    return tuple(_keyed(sorted(named)))


def _keyed(paths: Iterable[str]) -> Iterator[MountedFile]:
    """Each with a key of its own, in what characters a key may have."""
    taken = set[str]()
    for path in paths:
        plain = re.sub(r"[^-._A-Za-z0-9]", "_", path.strip("/").replace("/", "."))[:_LONGEST_KEY]
        names = chain([plain], (f"{plain}-{number}" for number in count(2)))
        key = next(name for name in names if name not in taken)
        taken.add(key)
        yield MountedFile(path=path, key=key)


def _environment(name: str) -> Environment:
    environment = Environment(  # noqa: S701 - no HTML; what is not fixed is written as JSON, which YAML is a superset of
        loader=PackageLoader("migrator.reports"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"json": json.dumps, "indented": _indented}
    environment.globals["labels"] = lambda component: (
        f"{{app.kubernetes.io/name: migrator, app.kubernetes.io/instance: {name}, "
        f"app.kubernetes.io/component: {component}}}"
    )
    return environment


def _indented(text: str, width: int) -> str:
    """As the content of a block whose indentation is told."""
    return "\n".join(" " * width + line if line else "" for line in text.removesuffix("\n").split("\n"))
