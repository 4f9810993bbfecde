"""`migrator demo`: the whole story on real servers, from an empty folder to compared rows, and a run that is killed."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from migrator.cli.console import print_lines
from migrator.errors import RunError, VerificationFailed

if TYPE_CHECKING:
    from migrator.adapters.milvus import GrpcMilvus
    from migrator.adapters.objects import ObstoreStore
    from migrator.lab import Lab
    from migrator.lab.dataset import DemoSummary
    from migrator.lab.state import LabState

PLAN = "a_to_b.yaml"
SOURCE, TARGET = "coll", "coll_bak"
ROWS = 51_000
ENCORE_PLAN = "once_more.yaml"
ENCORE_TARGET = "coll_again"
_ENCORE = {
    "name: a-to-b ": "name: once-more ",
    "suffix: _bak": "suffix: _again",
    "backup_name: my_backup": "backup_name: once_more",
}
"""What makes another migration of the example."""


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where the demo keeps everything.")] = Path(".lab/demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers running, to look around.")] = False,
) -> None:
    """Move a collection between two real Milvus servers in one bucket, also through a kill; show that all arrived."""
    from migrator.lab import Lab  # noqa: PLC0415 - keeps --help fast

    began = time.monotonic()
    lab = Lab(folder, say=lambda sentence: typer.echo(f"  {sentence}"))
    _title("1. Two Milvus servers and one S3 bucket, on this machine")
    if lab.exists:
        lab.down()
    try:
        state = lab.up(instances=2)
        _story(lab, state, folder)
        typer.echo(f"\nThe demo took {time.monotonic() - began:.0f} s.")
        if keep:
            _say_what_to_try(lab, folder)
    finally:
        if not keep and lab.exists:
            lab.down()


def _story(lab: "Lab", state: "LabState", folder: Path) -> None:
    from migrator.lab import dataset  # noqa: PLC0415 - keeps --help fast

    a, b = state.instances
    _title(f"2. A collection worth moving: {SOURCE} on {a.name} ({a.uri})")
    filled = dataset.fill_demo(a.uri, SOURCE, rows=ROWS)
    typer.echo(f"  {filled.rows:,} rows of 128-d vectors in {len(dataset.PARTITIONS)} partitions, with dynamic fields,")
    typer.echo(f"  {len(filled.deleted):,} rows deleted and {len(filled.upserted):,} replaced after the flush,")
    typer.echo(f"  an HNSW index and the alias {filled.alias}.")
    plan_file = _copy_plan(folder)
    before = _listing(state, a.root_path)
    with _environment(state.environment):
        _migrate(plan_file, lab.clusters_file, folder / "state")
    _title("6. Every row of both sides, compared field by field, vectors bit for bit")
    rows = dataset.all_rows(a.uri, SOURCE)
    _require_equal_rows(rows, b.uri, TARGET)
    typer.echo(f"  {len(rows):,} rows of {SOURCE} and {TARGET} are equal.")
    _title("7. The same rows and the same search at both sides")
    _show_side_by_side(a.uri, b.uri, filled)
    _title("8. Where the files lie")
    _show_files(state)
    untouched = all(_listing(state, a.root_path).get(key) == entry for key, entry in before.items())
    typer.echo(f"  Objects under {a.root_path}/ changed or removed: {'none' if untouched else 'SOME'}")
    with _environment(state.environment):
        _encore(state, plan_file, lab.clusters_file, rows)


def _migrate(plan_file: Path, clusters: Path, state_folder: Path) -> None:
    """The same as the commands: plan, apply, verify, and plan again."""
    from migrator.cli import apply, plan, verify  # noqa: PLC0415 - a cycle otherwise

    shutil.rmtree(state_folder, ignore_errors=True)
    _title(f"3. The plan file, {plan_file.name}, and the plan: migrator plan {plan_file.name}")
    text = plan_file.read_text(encoding="utf-8")
    typer.echo("".join(f"  | {line}\n" for line in text.splitlines() if not line.startswith("# yaml")))
    plan.plan(plan_file, clusters=clusters, state_dir=state_folder)
    _title(f"4. migrator apply {plan_file.name} --yes")
    _succeed(lambda: apply.apply(plan_file, clusters=clusters, yes=True, state_dir=state_folder, quiet=True))
    _title(f"5. migrator verify {plan_file.name}, and the plan once more")
    _succeed(lambda: verify.verify(plan_file, clusters=clusters, state_dir=state_folder))
    plan.plan(plan_file, clusters=clusters, state_dir=state_folder)


def _encore(state: "LabState", plan_file: Path, clusters: Path, rows: dict[Any, dict[str, Any]]) -> None:
    """The same move under another name, killed in the middle and resumed, as processes of their own."""
    from migrator.lab import dataset  # noqa: PLC0415 - keeps --help fast

    b = state.instances[1]
    text = plan_file.read_text(encoding="utf-8")
    for old, new in _ENCORE.items():
        text = text.replace(old, new)
    again = plan_file.with_name(ENCORE_PLAN)
    again.write_text(text, encoding="utf-8")
    state_folder = plan_file.with_name("state")
    arguments = [str(again), "--clusters", str(clusters), "--state-dir", str(state_folder)]

    _title(f"9. Once more, as {ENCORE_TARGET}, and killed in the middle: migrator apply {again.name} --yes")
    with _watched_imports(b.uri) as imports:
        began = time.monotonic()
        code = _run_shown(["apply", *arguments, "--yes", "--quiet"], kill_when=imports.is_under_way)
        if code >= 0:
            raise RunError(f"the run was to be killed, and ended by itself with exit code {code}")
        through, total = imports.progress
        killed_after_s = time.monotonic() - began
    typer.echo(f"  ✗ SIGKILL, with {through} of {total} imports completed and the target at work on the rest")
    _title(f"10. migrator apply {again.name} --resume")
    code = _run_shown(["apply", *arguments, "--resume"])
    if code:
        raise RunError(f"the resumed run ended with exit code {code}")
    typer.echo()
    _require_equal_rows(rows, b.uri, ENCORE_TARGET)
    count = dataset.count(b.uri, ENCORE_TARGET)
    if count != len(rows):
        raise VerificationFailed(f"{ENCORE_TARGET} holds {count:,} rows, and {SOURCE} {len(rows):,}")
    typer.echo(
        f"  Killed after {killed_after_s:.0f} s, in the middle of its imports; resumed; {len(rows):,} rows equal, none "
        f"lost, none doubled: count(*) is {count:,}."
    )


class _Imports:
    """The import jobs of the encore, as its target knows them."""

    def __init__(self, milvus: "GrpcMilvus") -> None:
        self._milvus = milvus
        self.progress = 0, 0
        """Completed, and in all."""

    def is_under_way(self) -> bool:
        """Whether some are completed and some are not: their requests were noted long since."""
        from migrator.model.collection import DEFAULT_DATABASE, CollectionRef  # noqa: PLC0415 - keeps --help fast
        from migrator.model.import_job import ImportState  # noqa: PLC0415 - as above

        jobs = self._milvus.list_import_jobs(CollectionRef(DEFAULT_DATABASE, ENCORE_TARGET))
        states = [job.state for job in jobs if any("/once_more/" in path for path in job.paths)]
        self.progress = states.count(ImportState.COMPLETED), len(states)
        return 0 < self.progress[0] < self.progress[1]


@contextmanager
def _watched_imports(uri: str) -> Iterator[_Imports]:
    from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint  # noqa: PLC0415 - keeps --help fast

    milvus = GrpcMilvus(MilvusEndpoint(uri=uri, plan_field="milvus"))
    try:
        yield _Imports(milvus)
    finally:
        milvus.close()


def _run_shown(arguments: list[str], kill_when: Callable[[], bool] | None = None) -> int:
    """Run a command as a process of its own, show what it prints, and return its exit code: negative if killed."""
    process = subprocess.Popen(  # noqa: S603 - this program
        [sys.executable, "-m", "migrator", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
    )

    def kill() -> None:
        while kill_when is not None and process.poll() is None:
            if kill_when():
                process.kill()
                return
            time.sleep(0.1)

    watcher = threading.Thread(target=kill, daemon=True)
    watcher.start()
    try:
        for line in process.stdout or ():
            typer.echo(f"  | {line}".rstrip())
        return process.wait()
    finally:
        process.kill()
        watcher.join()


def _succeed(command: Any) -> None:  # noqa: ANN401 - any of our commands
    """Run a command in this process; the demo ends where it fails."""
    try:
        command()
    except typer.Exit as ended:
        if ended.exit_code:
            raise


# -- before and after -------------------------------------------------------------------------------------------------


def _copy_plan(folder: Path) -> Path:
    """The example of `plans/`, as it is in the checkout or in the installed package."""
    beside = Path(__file__).parents[2] / "plans" / PLAN
    packaged = resources.files("migrator") / "plans" / PLAN
    text = beside.read_text(encoding="utf-8") if beside.is_file() else packaged.read_text(encoding="utf-8")
    copy = folder / PLAN
    copy.write_text(text, encoding="utf-8")
    return copy


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _store(state: "LabState") -> "ObstoreStore":
    from migrator.adapters.objects import ObstoreStore, StoreEndpoint  # noqa: PLC0415 - keeps --help fast

    return ObstoreStore(
        StoreEndpoint(
            plan_field="storage",
            bucket=state.bucket,
            endpoint=state.s3_endpoint,
            access_key_id=state.access_key_id,
            secret_access_key=state.secret_access_key,
        )
    )


def _listing(state: "LabState", prefix: str) -> dict[str, tuple[int, str | None]]:
    return {found.key: (found.size_bytes, found.etag) for found in _store(state).list_objects(prefix)}


# -- showing ----------------------------------------------------------------------------------------------------------


def _title(text: str) -> None:
    from migrator.reports.to_text import Line, Style  # noqa: PLC0415 - keeps --help fast

    print_lines([Line(), Line(text, Style.TITLE)])
    sys.stdout.flush()


def _require_equal_rows(ours: dict[Any, dict[str, Any]], uri: str, target: str) -> None:
    from migrator.lab import dataset  # noqa: PLC0415 - keeps --help fast

    theirs = dataset.all_rows(uri, target)
    different = [pk for pk in ours.keys() | theirs.keys() if ours.get(pk) != theirs.get(pk)]
    if different:
        raise VerificationFailed(f"{len(different):,} rows differ, id {min(different)} among them")


def _show_side_by_side(source_uri: str, target_uri: str, filled: "DemoSummary") -> None:
    from migrator.lab import dataset  # noqa: PLC0415 - keeps --help fast

    ids = [filled.deleted[0], filled.upserted[0], 100, 101]
    left, right = (
        {row["id"]: row for row in dataset.sample_rows(uri, name, ids)}
        for uri, name in ((source_uri, SOURCE), (target_uri, TARGET))
    )
    rows = [(f"id {pk}", _row_text(left.get(pk)), _row_text(right.get(pk))) for pk in ids]
    hits = [
        dataset.search(uri, name, left[100]["embedding"], limit=3)
        for uri, name in ((source_uri, SOURCE), (target_uri, TARGET))
    ]
    rows += [
        (f"nearest {rank}", _hit_text(a), _hit_text(b)) for rank, (a, b) in enumerate(zip(*hits, strict=True), start=1)
    ]
    width = max(len(text) for _, text, _ in rows) + 2
    typer.echo(f"  {'':<10} {SOURCE + ' at A':<{width}} {TARGET} at B")
    for label, a, b in rows:
        typer.echo(f"  {label:<10} {a:<{width}} {b}")


def _row_text(row: dict[str, Any] | None) -> str:
    if row is None:
        return "(deleted)"
    return f"{row['title'][:28]:<28} {row['year']} shelf {row['shelf']} [{row['embedding'][0]:+.4f} …]"


def _hit_text(hit: dict[str, Any]) -> str:
    return f"{hit['score']:.4f}  id {hit['id']:<6} {hit['title'][:24]}"


def _show_files(state: "LabState") -> None:
    """Objects under the folders of the two collections and of the dump."""
    a, b = state.instances
    places = [
        (f"{a.root_path}/insert_log/{_collection_id(a.uri, SOURCE)}", SOURCE),
        ("backup/my_backup/binlogs", "the dump"),
        ("backup/my_backup/meta", "its meta files, full_meta.json last"),
        (f"{b.root_path}/insert_log/{_collection_id(b.uri, TARGET)}", f"{TARGET}, written by {b.name}"),
    ]
    store = _store(state)
    for place, whose in places:
        objects = sum(1 for _ in store.list_objects(place))
        typer.echo(f"  {objects:>5} objects  {f'{state.bucket}/{place}/':<55} {whose}")


def _collection_id(uri: str, name: str) -> int:
    from migrator.adapters.milvus import GrpcMilvus, MilvusEndpoint  # noqa: PLC0415 - keeps --help fast
    from migrator.model.collection import DEFAULT_DATABASE, CollectionRef  # noqa: PLC0415 - as above

    milvus = GrpcMilvus(MilvusEndpoint(uri=uri, plan_field="milvus"))
    found = milvus.find_collection(CollectionRef(DEFAULT_DATABASE, name))
    milvus.close()
    return 0 if found is None else found.collection_id


def _say_what_to_try(lab: "Lab", folder: Path) -> None:
    typer.echo("\nThe servers are still running. Look around:")
    typer.echo(f"  source {lab.environment_file}")
    typer.echo(f"  migrator plan {folder / PLAN} --clusters {lab.clusters_file} --state-dir {folder / 'state'}")
    typer.echo(f"  migrator status --state-dir {folder / 'state'}")
    typer.echo(f"  migrator lab down --folder {folder}")
