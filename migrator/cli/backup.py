"""`migrator backup`: what lies where a plan's backup lies."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from migrator.cli.console import print_json, print_lines, say
from migrator.cli.options import (
    Clusters,
    FlagNeeded,
    Format,
    OutputFormat,
    PlanFile,
    Variables,
    Yes,
    is_wanted,
    parse_variables,
)

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.reports.to_text import Line
    from migrator.running.backup_shelf import BackupShelf, ShelvedBackup, ShelvedCollection
    from migrator.spec.loaded import LoadedPlan

_FORMAT_VERSION = 1

app = typer.Typer(
    help="List, show and delete the backups at a plan's staging location, or at that of the backup it restores.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
BackupName = Annotated[str, typer.Argument(help="The backup's name.", metavar="NAME", show_default=False)]


def _open(plan_file: "Path", clusters: "Path | None", variables: list[str] | None) -> "tuple[LoadedPlan, BackupShelf]":
    from migrator import workflow  # noqa: PLC0415 - keeps --help fast

    loaded = workflow.load(plan_file, variables=parse_variables(variables), clusters=clusters)
    return loaded, workflow.open_shelf(loaded)


@app.command("list")
def list_backups(
    plan_file: PlanFile, clusters: Clusters = None, var: Variables = None, output: OutputFormat = Format.TEXT
) -> None:
    """List the backups: those of runs, those of milvus-backup, and what cannot be read."""
    _, shelf = _open(plan_file, clusters, var)
    found = shelf.backups()
    if output is Format.JSON:
        _print_json({"place": shelf.place, "backups": [asdict(each) for each in found]})
    else:
        print_lines(_list_lines(shelf, found))


@app.command("show")
def show(
    plan_file: PlanFile,
    name: Annotated[
        str | None, typer.Argument(help="The backup's name; left out: the plan's own.", metavar="NAME")
    ] = None,
    clusters: Clusters = None,
    var: Variables = None,
    output: OutputFormat = Format.TEXT,
) -> None:
    """Show what a backup holds, collection by collection."""
    loaded, shelf = _open(plan_file, clusters, var)
    own = loaded.staging.backup_name if loaded.source_backup is None else loaded.source_backup.backup.name
    wanted = name or own
    _require_there(shelf, wanted)
    collections = shelf.collections(wanted)
    found = shelf.find(wanted)
    if output is Format.JSON:
        _print_json({"place": shelf.place, **asdict(found), "collections": [asdict(each) for each in collections]})
    else:
        print_lines(_show_lines(found, collections))


@app.command("delete")
def delete(
    plan_file: PlanFile,
    name: BackupName,
    clusters: Clusters = None,
    var: Variables = None,
    yes: Yes = False,
    output: OutputFormat = Format.TEXT,
) -> None:
    """Delete a backup with all its files, after confirmation; one that a run is at work on is refused."""
    from migrator.reports.plain import count  # noqa: PLC0415 - keeps --help fast

    if output is Format.JSON and not yes:
        raise FlagNeeded("JSON output cannot ask: add --yes to delete the backup")
    _, shelf = _open(plan_file, clusters, var)
    _require_there(shelf, name)
    found = shelf.require_deletable(name)
    if output is Format.TEXT:
        print_lines(_list_lines(shelf, [found]))
    if not yes and not is_wanted("Delete this backup with all its files?", otherwise="delete it"):
        typer.echo("Nothing was done.")
        return
    deleted = shelf.delete(name)
    if output is Format.JSON:
        _print_json({"place": shelf.place, "name": name, "deleted_objects": deleted})
    else:
        say(f"The backup {name} is deleted: {count(deleted, 'object')}.")


def _require_there(shelf: "BackupShelf", name: str) -> None:
    if not shelf.has(name):
        message = f"there is no backup {name!r} under {shelf.place}; migrator backup list shows what there is"
        raise typer.BadParameter(message, param_hint="NAME")


def _print_json(content: dict[str, object]) -> None:
    print_json({"format_version": _FORMAT_VERSION, **content})


def _list_lines(shelf: "BackupShelf", found: "list[ShelvedBackup]") -> "list[Line]":
    from migrator.reports.plain import clean  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    if not found:
        return [Line(f"There are no backups under {clean(shelf.place)}", Style.TITLE)]
    lines = [Line(f"Backups under {clean(shelf.place)}", Style.TITLE)]
    columns = [[clean(part) for part in _columns(each)] for each in found]
    names = max(len(clean(each.name)) for each in found)
    widths = [max(map(len, column)) for column in zip(*filter(None, columns), strict=True)]
    for each, parts in zip(found, columns, strict=True):
        told = "  ".join(f"{part:<{width}}" for part, width in zip(parts, widths, strict=False)) or _in_short(each)
        style = Style.CONFLICT if each.problem else Style.PLAIN
        lines.append(Line(f"  {clean(each.name):<{names}}  {clean(told).rstrip()}", style))
    return lines


def _in_short(each: "ShelvedBackup") -> str:
    if each.problem:
        return "; ".join(part for part in (each.whose, each.problem) if part)
    return ", ".join(_columns(each))


def _columns(each: "ShelvedBackup") -> list[str]:
    """What is told of a backup; nothing of what has a problem."""
    from migrator.reports.plain import count, size  # noqa: PLC0415 - keeps --help fast

    if each.problem:
        return []
    return [
        f"{each.created_at[:19].replace('T', ' ')} UTC" if each.created_at else "unknown date",
        f"Milvus {each.milvus_version or 'of unknown version'}",
        count(each.collections, "collection"),
        _rows(each.rows),
        size(each.size_bytes) if each.size_bytes or each.rows == 0 else "unknown size",
        each.format,
        each.whose,
        *(["not all of it: some collections were read in place, and cannot be restored"] if each.read_in_place else []),
    ]


def _rows(number: int | None) -> str:
    from migrator.reports.plain import count  # noqa: PLC0415 - keeps --help fast

    return "unknown rows" if number is None else count(number, "row")


def _show_lines(found: "ShelvedBackup", collections: "list[ShelvedCollection]") -> "list[Line]":
    from migrator.reports.plain import clean, count, size  # noqa: PLC0415 - keeps --help fast
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - as above

    lines = [Line(f"Backup {clean(found.name)}: {clean(_in_short(found))}", Style.TITLE)]
    access = [count(found.users, "user"), count(found.roles, "role"), count(found.grants, "grant")]
    lines += [Line(f"  with {', '.join(access)}")] if found.users or found.roles or found.grants else []
    for each in collections:
        segments = count(each.segments, "segment")
        lines.append(Line())
        bulk = f", {size(each.size_bytes)}" if each.size_bytes else ""
        lines.append(Line(f"  {clean(each.name)}  {_rows(each.rows)}, {segments}{bulk}"))
        told = {
            "fields": each.fields,
            "partitions": each.partitions,
            "indexes": each.indexes,
            "aliases": each.aliases,
            "load state": (each.load_state,) if each.load_state else (),
        }
        lines += [
            Line(f"      {word}: {clean(', '.join(texts))}", Style.FAINT) for word, texts in told.items() if texts
        ]
    return lines
