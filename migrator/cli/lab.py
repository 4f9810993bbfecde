"""`migrator lab`: real servers to try everything on."""

# No `from __future__ import annotations` here: Typer reads the annotations of commands when it runs.
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.lab import Lab, ServerStatus

app = typer.Typer(help="Real Milvus servers and an S3 server on loopback, to try everything on.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--folder", help="Where the lab keeps everything: data, logs, addresses.")]


@app.command()
def up(
    folder: Folder = Path(".lab"),
    instances: Annotated[int, typer.Option("--instances", min=1, max=26, help="Milvus servers to start.")] = 2,
) -> None:
    """Start the servers, or find them running; write clusters.yaml and env.sh for them."""
    lab = _lab(folder)
    lab.up(instances=instances)
    _print_servers(lab.status())
    typer.echo("\nNext:")
    typer.echo(f"  source {folder / 'env.sh'}")
    typer.echo(f"  migrator plan YOUR_PLAN.yaml --clusters {folder / 'clusters.yaml'}   # with source: a, target: b")


@app.command()
def down(folder: Folder = Path(".lab")) -> None:
    """Stop the servers this lab started, and no others; their data is of no use afterwards."""
    _lab(folder).down()


@app.command()
def status(folder: Folder = Path(".lab")) -> None:
    """Show the servers as they are now."""
    _print_servers(_lab(folder).status())


def _lab(folder: Path) -> "Lab":
    from migrator.lab import Lab  # noqa: PLC0415 - keeps `migrator --help` fast

    return Lab(folder, say=lambda sentence: typer.echo(sentence, err=True))


def _print_servers(servers: "Sequence[ServerStatus]") -> None:
    if not sys.stdout.isatty():
        for server in servers:
            typer.echo(f"{server.name}\t{server.state}\t{server.address}\t{server.pid or '-'}")
        return
    from rich.console import Console  # noqa: PLC0415 - keeps `migrator --help` fast
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table("server", "state", "address", "pid", box=None, pad_edge=False)
    colours = {"serving": "green", "not answering": "yellow", "stopped": "red"}
    for server in servers:
        state = f"[{colours[server.state]}]{server.state}[/]"
        table.add_row(server.name, state, server.address, str(server.pid or "-"))
    Console().print(table)
