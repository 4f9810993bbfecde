"""`--engine` and `--scheduler`: one without the other is a wrong command line, and nothing is begun without workers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from migrator import workflow
from migrator.cli import app
from migrator.errors import EngineRefused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("command", ["apply", "verify"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "dask"], "needs the address of its scheduler: --scheduler tcp://host:8786"),
        (["--scheduler", "tcp://one:8786"], "it belongs to --engine dask"),
        (["--engine", "spark"], "'spark' is not one of 'local', 'dask'"),
    ],
)
def test_one_without_the_other(command: str, options: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [command, str(tmp_path / "plan.yaml"), *options], env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert said in result.output


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "distributed"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(EngineRefused, match="--scheduler") as caught, workflow.engine("tcp://one:8786"):
        pass
    assert caught.value.hint == "pip install 'migrator[dask]'"


def test_alone_nothing_of_it_is_imported() -> None:
    with workflow.engine(None) as transport:
        assert transport is None
