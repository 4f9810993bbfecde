"""`migrator init`: a starter plan file, from questions, flags, or two configurations of milvus-backup."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from migrator import __version__
from migrator.cli.console import print_error, say
from migrator.cli.kubernetes import write_manifests
from migrator.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrator.spec.foreign_config import Block, Variable
    from migrator.spec.starter import Starter

_DEFAULT_PATH = Path("plan.yaml")
_PROVIDERS = ("minio", "s3", "aws", "gcp", "azure", "aliyun", "tencent", "local")
_WITH_ENDPOINT = {"minio", "s3"}
_DEFAULT_ROOTS = {"source": "files_A", "target": "files_B"}

_Text = str | None


@dataclass(slots=True, kw_only=True)
class _Side:
    """What was said of one cluster so far."""

    uri: str | None
    user: str | None
    provider: str | None
    endpoint: str | None
    bucket: str | None
    root_path: str | None


def init(
    path: Annotated[Path, typer.Argument(help="The plan file to write.", metavar="PATH")] = _DEFAULT_PATH,
    from_backup_config: Annotated[
        Path | None,
        typer.Option(
            help="A milvus-backup configuration of the source; alone, it makes a backup plan.", metavar="FILE"
        ),
    ] = None,
    to_backup_config: Annotated[
        Path | None, typer.Option(help="A milvus-backup configuration of the target.", metavar="FILE")
    ] = None,
    name: Annotated[_Text, typer.Option(help="Name of the migration.", show_default="the file's name")] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option(help="A collection or pattern to migrate; may be repeated.", show_default="everything"),
    ] = None,
    suffix: Annotated[str, typer.Option(help="What the names at the target end with.", show_default=False)] = "",
    backup_name: Annotated[_Text, typer.Option(help="Name of the dump.", show_default="the plan's name")] = None,
    source_uri: Annotated[_Text, typer.Option(help="The source Milvus.", show_default=False)] = None,
    source_user: Annotated[_Text, typer.Option(help="Who logs in there.", show_default="nobody")] = None,
    source_provider: Annotated[_Text, typer.Option(help="Its kind of storage.", show_default="minio")] = None,
    source_endpoint: Annotated[_Text, typer.Option(help="Address of its storage.", show_default=False)] = None,
    source_bucket: Annotated[_Text, typer.Option(help="Its bucket.", show_default=False)] = None,
    source_root_path: Annotated[_Text, typer.Option(help="Its minio.rootPath.", show_default=False)] = None,
    target_uri: Annotated[_Text, typer.Option(help="The target Milvus.", show_default=False)] = None,
    target_user: Annotated[_Text, typer.Option(help="Who logs in there.", show_default="nobody")] = None,
    target_provider: Annotated[_Text, typer.Option(help="Its kind of storage.", show_default="the source's")] = None,
    target_endpoint: Annotated[_Text, typer.Option(help="Address of its storage.", show_default="the source's")] = None,
    target_bucket: Annotated[_Text, typer.Option(help="Its bucket.", show_default="the source's")] = None,
    target_root_path: Annotated[_Text, typer.Option(help="Its minio.rootPath.", show_default=False)] = None,
    kubernetes: Annotated[
        bool,
        typer.Option(
            "--kubernetes",
            help="Write manifests too, into the folder kubernetes beside the plan file; one that is there is kept.",
        ),
    ] = False,
    image: Annotated[
        str, typer.Option(help="With --kubernetes: an image that has migrator.")
    ] = f"migrator:{__version__}",
    dask_workers: Annotated[
        int,
        typer.Option(
            min=0, max=1000, help="With --kubernetes: workers that the run is shared with; 0 is without Dask."
        ),
    ] = 2,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a commented plan file: from questions on a terminal, from flags, or from milvus-backup's configurations."""
    from migrator.spec.foreign_config import read_foreign_config  # noqa: PLC0415 - keeps --help fast
    from migrator.spec.starter import plan_name, starter_from  # noqa: PLC0415 - as above

    if kubernetes and path.is_file() and from_backup_config is None:
        write_manifests(path, image=image, dask_workers=dask_workers, is_forced=force)
        return
    if path.is_dir() or (path.exists() and not force):
        raise typer.BadParameter(f"{path} exists already; name another file, or add --force", param_hint="PATH")
    wanted, called = tuple(collection or ()), plan_name(name or ("migration" if path == _DEFAULT_PATH else path.stem))
    if to_backup_config is not None and from_backup_config is None:
        raise typer.BadParameter("it needs --from-backup-config too", param_hint="--to-backup-config")
    if from_backup_config is not None:
        source = read_foreign_config(from_backup_config, side="source")
        target = None if to_backup_config is None else read_foreign_config(to_backup_config, side="target")
        starter = starter_from(
            called, source, target, collections=wanted or ("*.*",), suffix=suffix, backup_name=backup_name
        )
    else:
        one = _Side(
            uri=source_uri,
            user=source_user,
            provider=source_provider,
            endpoint=source_endpoint,
            bucket=source_bucket,
            root_path=source_root_path,
        )
        other = _Side(
            uri=target_uri,
            user=target_user,
            provider=target_provider,
            endpoint=target_endpoint,
            bucket=target_bucket,
            root_path=target_root_path,
        )
        starter = _asked(called, one, other, wanted, suffix, backup_name)
    _write(path, replace(starter, mirrors_state=kubernetes), is_forced=force)
    if kubernetes:
        write_manifests(path, image=image, dask_workers=dask_workers, is_forced=force)


def _asked(
    name: str, source: _Side, target: _Side, collections: tuple[str, ...], suffix: str, backup_name: str | None
) -> "Starter":
    """A starter of what flags said, and what a person answers where they said nothing."""
    from migrator.spec.starter import Starter  # noqa: PLC0415 - keeps --help fast

    variables: list[Variable] = []
    blocks = [_cluster("source", source, None, variables), _cluster("target", target, source, variables)]
    if not collections:
        answer = _ask('Collections, with globs as "db1.*"', "*.*")
        collections = tuple(answer.replace(",", " ").split())
        suffix = suffix or _ask("What the names at the target end with", "")
    # A dump of local servers lies on the same disk.
    staging: Block = {"root_path": "backup"}
    if target.provider == "local":
        staging = {"root_path": str(Path(str(target.root_path)).parent / "backup")}
    return Starter(
        name=name,
        source=blocks[0],
        target=blocks[1],
        staging=staging | ({"backup_name": backup_name} if backup_name else {}),
        collections=collections,
        suffix=suffix,
        variables=tuple(variables),
    )


def _cluster(side: str, said: _Side, base: _Side | None, variables: "list[Variable]") -> "Block":
    """One cluster's block; `said` is completed on the way, from `base` where both may be alike."""
    from migrator.spec.foreign_config import Variable  # noqa: PLC0415 - keeps --help fast

    near = f"http://milvus-{'a' if base is None else 'b'}:19530"
    said.uri = said.uri or _ask(f"Address of the {side} Milvus", near, _no_address)
    said.user = _ask(f"Who logs in at the {side} (empty: nobody)", "") if said.user is None else said.user
    milvus: Block = {"uri": said.uri}
    if said.user:
        variable = Variable(f"{side.upper()}_MILVUS_PASSWORD", f"password of {said.user} at the {side} Milvus")
        variables.append(variable)
        milvus |= {"username": said.user, "password": {"env": variable.name}}
    return {"milvus": milvus, "storage": _storage(side, said, base, variables)}


def _storage(side: str, said: _Side, base: _Side | None, variables: "list[Variable]") -> "Block":
    question = f"Storage of the {side} ({', '.join(_PROVIDERS)})"
    said.provider = said.provider or _ask(question, _of(base, "provider"), _no_provider)
    if said.provider not in _PROVIDERS:
        raise typer.BadParameter(
            f"{said.provider!r} is none of {', '.join(_PROVIDERS)}", param_hint=f"--{side}-provider"
        )
    if said.provider == "local":
        near = f"/var/lib/milvus/{_DEFAULT_ROOTS[side]}"
        said.root_path = said.root_path or _ask(f"Directory of the {side}", near, _no_directory)
        return {"provider": "local", "root_path": said.root_path}
    block: Block = {"provider": said.provider}
    if said.provider in _WITH_ENDPOINT or said.endpoint:
        near = f"http://{urlsplit(str(said.uri)).hostname or 'minio'}:9000"
        said.endpoint = said.endpoint or _ask(
            f"Address of the {side}'s storage", _of(base, "endpoint", near), _no_address
        )
        block["endpoint"] = said.endpoint
    said.bucket = said.bucket or _ask(f"Bucket of the {side}", _of(base, "bucket", "a-bucket"))
    block["bucket"] = said.bucket
    if said.provider == "azure":
        block["account"] = _ask(f"Storage account of the {side}", "account")
    said.root_path = said.root_path or _ask(f"Root path of the {side} (its minio.rootPath)", _DEFAULT_ROOTS[side])
    return block | {"root_path": said.root_path, "credentials": _credentials(side, said.provider, variables)}


def _credentials(side: str, provider: str, variables: "list[Variable]") -> "Block":
    from migrator.spec.foreign_config import Variable  # noqa: PLC0415 - keeps --help fast

    keys = {"access_key_id": "access key", "secret_access_key": "secret key"}
    kind = "static"
    if provider == "azure":
        kind, keys = "shared_key", {"account_key": "account key"}
    found = {
        key: Variable(f"{side.upper()}_{key.upper()}", f"{what} of the {side}'s storage") for key, what in keys.items()
    }
    variables.extend(found.values())
    return {"type": kind, **{key: {"env": variable.name} for key, variable in found.items()}}


def _of(base: _Side | None, key: str, otherwise: str = "minio") -> str:
    """What the other side has there."""
    return str((base and getattr(base, key)) or otherwise)


def _ask(question: str, default: str, fault: "Callable[[str], str] | None" = None) -> str:
    """A person's answer, asked for again while it has a `fault`.

    Without a terminal it is the default, which the file's reader is to change.
    """
    if not sys.stdin.isatty():
        return default
    while True:
        answer = str(typer.prompt(question, default=default, show_default=bool(default), err=True)).strip()
        problem = fault(answer) if fault else ""
        if not problem:
            return answer
        typer.echo(f"  {problem}", err=True)


def _no_address(answer: str) -> str:
    try:
        url = urlsplit(answer)
        is_one = url.scheme in {"http", "https"} and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        is_one = False
    return "" if is_one else "write http://host:port or https://host:port"


def _no_provider(answer: str) -> str:
    return "" if answer in _PROVIDERS else f"it is one of {', '.join(_PROVIDERS)}"


def _no_directory(answer: str) -> str:
    return "" if answer.startswith("/") else "write the directory from / on"


def _write(path: Path, starter: "Starter", *, is_forced: bool) -> None:
    """Write the file, and say what is to be done next."""
    from migrator.spec.load import load_plan  # noqa: PLC0415 - keeps --help fast
    from migrator.spec.starter import find_schema  # noqa: PLC0415 - as above

    try:
        with path.open("w" if is_forced else "x", encoding="utf-8") as file:
            file.write(starter.to_yaml(schema=find_schema(path)))
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}", param_hint="PATH") from None
    typer.echo(f"{path} is written.")
    for note in starter.notes:
        say(f"  look at: {note}")
    if starter.variables:
        width = max(len(each.name) for each in starter.variables)
        typer.echo("\nVariables to set:")
        for each in starter.variables:
            typer.echo(f"  {each.name:<{width}}  {each.meaning}")
    try:
        load_plan(path)
    except SpecError as error:
        typer.echo("\nStill to be corrected there:")
        print_error(error)
        raise typer.Exit(error.exit_code) from None
    typer.echo(f"\nNext: migrator validate {path}; migrator check {path}; migrator plan {path}")
