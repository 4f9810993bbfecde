"""The Milvus server inside the PyPI wheel `milvus`: found, checked, and unpacked once per user."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import lzma
import os
import platform
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from migrator.lab.errors import LabUnavailable

MILVUS_VERSION = "2.3.5"
OLDER_VERSION = "2.2.16"
"""A source of the line before; its wheel has the same name, so it is installed beside the others, see the Makefile."""
CACHE_VARIABLE = "MIGRATOR_LAB_CACHE"

_COMPOSE = (
    "run Milvus's standalone compose file in Docker instead, and put its address in clusters.yaml "
    f"(https://github.com/milvus-io/milvus/releases/tag/v{MILVUS_VERSION})"
)


def require_lab() -> None:
    """Do nothing where the lab can run.

    Raises:
        LabUnavailable: Not Linux on x86_64, or the extra `lab` is missing or of another version.
    """
    machine = f"{sys.platform} {platform.machine()}"
    if machine != "linux x86_64":
        raise LabUnavailable(f"the lab's Milvus runs on linux x86_64 only, and this is {machine}", hint=_COMPOSE)
    found = {name: _version(name) for name in ("milvus", "moto", "flask")}  # flask: the `server` half of moto
    missing = [name for name, version in found.items() if version is None]
    if missing:
        raise LabUnavailable(
            f"the lab needs packages that are not installed: {', '.join(missing)}",
            hint=f"pip install 'migrator[lab]', or {_COMPOSE}",
        )
    if found["milvus"] != MILVUS_VERSION:
        raise LabUnavailable(
            f"the lab is made for the package milvus {MILVUS_VERSION}, and {found['milvus']} is installed",
            hint="pip install 'migrator[lab]'",
        )


def package_data(version: str = MILVUS_VERSION) -> Path:
    """Return the folder of the wheel that holds `config.yaml.template` and `bin/*.lzma`."""
    if version != MILVUS_VERSION:
        return _beside(version)
    spec = importlib.util.find_spec("milvus")  # importing the package would make two servers, unstarted
    if spec is None or not spec.submodule_search_locations:
        raise LabUnavailable("the package milvus is not installed", hint="pip install 'migrator[lab]'")
    return Path(spec.submodule_search_locations[0]) / "data"


def _beside(version: str) -> Path:
    folder = Path(sys.prefix) / f"milvus-{version}" / "milvus" / "data"
    if not folder.is_dir():
        raise LabUnavailable(
            f"the wheel milvus {version} is not installed beside this Python's packages",
            hint=f"pip install --no-deps --target {folder.parent.parent} milvus=={version}",
        )
    return folder


def cache_folder(version: str = MILVUS_VERSION) -> Path:
    """Return the folder of unpacked binaries; `MIGRATOR_LAB_CACHE` moves it."""
    override = os.environ.get(CACHE_VARIABLE)
    xdg = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    parent = Path(override) if override else Path(xdg) / "migrator" / "lab"
    return parent.absolute() / f"milvus-{version}"


def unpack_binaries(version: str = MILVUS_VERSION) -> Path:
    """Return the folder with the server and its libraries (about 260 MB), unpacked if it is not there yet.

    Several processes may unpack at once: each into its own folder, and the first rename wins.
    """
    folder = cache_folder(version)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        archives = sorted((package_data(version) / "bin").glob("*.lzma"))
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:  # lzma lets go of the global lock
            list(pool.map(lambda archive: _unpack(archive, scratch), archives))
        scratch.chmod(0o755)
        _rename_unless_there(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _unpack(archive: Path, folder: Path) -> None:
    target = folder / archive.stem
    with lzma.open(archive) as packed, target.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked, length=1 << 20)
    target.chmod(0o755)


def _rename_unless_there(scratch: Path, folder: Path) -> None:
    try:
        scratch.rename(folder)
    except OSError:
        if not folder.is_dir():  # not a lost race, but a full disk or the like
            raise
