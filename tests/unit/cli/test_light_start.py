"""What commands import before they ask a server: start-up is most of the time of a small one."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    *("pymilvus.client", "pandas", "numpy", "pyarrow", "httpx", "rich", "jinja2", "networkx", "distributed", "moto"),
    "tenacity",
)


@pytest.mark.parametrize(
    ("imported", "heavy"),
    [
        ("migrator.cli", (*HEAVY, "pydantic", "grpc", "obstore", "ruamel")),
        ("migrator.workflow", (*HEAVY, "grpc", "obstore")),
        ("migrator.workflow, migrator.adapters.milvus, migrator.adapters.objects, migrator.adapters.dump_rows", HEAVY),
    ],
    ids=["--help", "status", "plan"],
)
def test_nothing_heavy_is_imported_that_is_not_needed(imported: str, heavy: tuple[str, ...]) -> None:
    script = f"import sys, {imported}\nprint(*sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)  # noqa: S603 - our own interpreter
    assert done.stdout.strip() == ""
