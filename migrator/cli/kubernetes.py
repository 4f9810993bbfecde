"""`migrator init --kubernetes`: manifests of a plan, beside its file."""

from pathlib import Path

import typer

from migrator.cli.console import say

FOLDER = "kubernetes"


def write_manifests(plan_file: Path, *, image: str, dask_workers: int, is_forced: bool) -> None:
    """Write them into the folder `kubernetes` beside the plan file, and say what has to be there before."""
    from migrator.reports.to_kubernetes import manifests  # noqa: PLC0415 - keeps --help fast
    from migrator.spec.load import load_plan  # noqa: PLC0415 - as above

    found = manifests(load_plan(plan_file), image=image, dask_workers=dask_workers)
    folder = plan_file.parent / FOLDER
    paths = {folder / name: text for name, text in found.files.items()}
    taken = next((path for path in paths if path.exists() and not is_forced), None)
    if taken is not None:
        raise typer.BadParameter(f"{taken} exists already; move it, or add --force", param_hint="--kubernetes")
    try:
        folder.mkdir(exist_ok=True)
        for path, text in paths.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be written: {error.strerror}", param_hint="PATH") from None
    for path in paths:
        typer.echo(f"{path} is written.")
    if found.variables:
        say(f"  the secret {found.name} has to hold: {', '.join(found.variables)}")
    for file in found.mounted:
        say(f"  the secret {found.name}-files has to hold under {file.key} what is {file.path} in a pod")
    if found.needs_role:
        say(f"  the service account {found.name} has to have the role that may use the buckets")
    typer.echo(f"\nNext: kubectl apply -f {folder}")
