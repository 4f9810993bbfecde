"""Copies that the store makes by itself, and streams from one service to another, beside others' programs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.store import S3Store

from benchmarks.bench import REPOSITORY, BenchmarkFailed, Contestant
from benchmarks.copy_segments import COLLECTION
from benchmarks.servers import OTHER_BUCKET, SOURCE_BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from benchmarks.bench import Bench
    from benchmarks.result import Result, Run
    from benchmarks.servers import Servers

KIB, MIB = 1024, 1024**2
CONCURRENCY = 64
"""Objects under way at a time, of everybody: the default of plan files."""
AWS = Path(os.environ.get("BENCH_AWS", REPOSITORY / ".venv/benchmarks/bin/aws"))
"""Of an environment of its own: `make bench` makes it."""


def run(bench: Bench) -> Iterator[Result]:
    """Many small objects and some larger ones, each both ways."""
    servers = bench.servers
    for count, size_bytes in (bench.pick(10_000, 20), 64 * KIB), (bench.pick(100, 3), bench.pick(16, 1) * MIB):
        load = Load(bench=bench, servers=servers, root=f"load-{size_bytes}", count=count, size_bytes=size_bytes)
        load.make()
        size = f"{size_bytes // MIB} MiB" if size_bytes >= MIB else f"{size_bytes // KIB} KiB"
        what = f"{count:,} objects of {size}, {servers.store_is}"
        within_s = 90.0
        yield from bench.side_by_side(f"{what}: copied by the service", list(load.copying()), within_s=within_s)
        yield from bench.side_by_side(f"{what}: streamed between services", list(load.streaming()), within_s=within_s)
        load.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Objects as a collection's segments, below a root path in the first bucket."""

    bench: Bench
    servers: Servers
    root: str
    count: int
    size_bytes: int

    def make(self) -> None:
        """Put them there; no two are alike."""
        store, body = self._store(SOURCE_BUCKET), os.urandom(self.size_bytes)

        def put(number: int) -> None:
            name = f"{self._folder}/2/{3 + number // 1000}/{100 + number % 8}/{number}"
            obstore.put(store, name, number.to_bytes(8, "big") + body[8:], use_multipart=False)

        with ThreadPoolExecutor(32) as pool:
            list(pool.map(put, range(self.count)))

    @property
    def _folder(self) -> str:
        return f"{self.root}/insert_log/{COLLECTION}"

    def copying(self) -> Iterator[Contestant]:
        """The service copies from one bucket into another."""
        yield self._contestant("migrator", partial(self._migrator, "server_side"))
        source, target = f"{SOURCE_BUCKET}/{self._folder}", f"{OTHER_BUCKET}/{{to}}"
        yield self._rclone(f"one:{source}", f"one:{target}")
        yield self._of_program(
            "aws s3 cp", AWS, "s3", "cp", "--recursive", "--quiet", f"s3://{source}", f"s3://{target}"
        )
        yield self._s5cmd(f"s3://{source}/*", f"s3://{target}/")

    def streaming(self) -> Iterator[Contestant]:
        """Between two services, as far as a program may know: it is one, under two names."""
        yield self._contestant("migrator", partial(self._migrator, "stream"))
        source, target = f"{SOURCE_BUCKET}/{self._folder}", f"{OTHER_BUCKET}/{{to}}"
        yield self._rclone(f"one:{source}", f"two:{target}")
        copy = f"{AWS} s3 cp --recursive --quiet"
        yield self._over_disk("aws s3 cp, twice", AWS, f"{copy} s3://{source} {{to}}", f"{copy} {{to}} s3://{target}")
        yield self._s5cmd_twice(source, target)

    def by_workers(self, who: str, scheduler: str | None) -> Contestant:
        """The same by the workers of a Dask cluster; without one by one process."""
        more = {} if scheduler is None else {"scheduler": scheduler}
        return self._contestant(who, lambda number: self._migrator("stream", number, **more))

    # -- who takes part ---------------------------------------------------------------------------------------------

    def _migrator(self, mode: str, number: int, **more: str) -> Run:
        first, second = self.servers.depots
        asked = {
            "source": {**first.storage, "root_path": self.root},
            "staging": {**second.storage, "root_path": "any"},
            "dump": f"copy-{number}",
            "transfer": {"mode": mode, "concurrency": CONCURRENCY},
            **more,
        }
        by = "".join(each.rpartition(":")[2] for each in more.values())
        file = self.bench.folder / f"copy-{self.root}-{mode}-{number}-{by}.json"
        file.write_text(json.dumps(asked), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.copy_segments", str(file)]
        return self.bench.measure(command, environment=first.environment)

    def _rclone(self, source: str, target: str) -> Contestant:
        flags = ("--transfers", f"{CONCURRENCY}", "--checkers", f"{CONCURRENCY}", "--fast-list", "--s3-no-check-bucket")
        quiet = ("--config", "/dev/null", "--retries", "1")
        return self._of_program("rclone copy", Path("rclone"), "copy", source, target, *flags, *quiet)

    def _s5cmd(self, source: str, target: str) -> Contestant:
        return self._of_program(
            "s5cmd cp", Path("s5cmd"), "--log", "error", "--numworkers", f"{CONCURRENCY}", "cp", source, target
        )

    def _s5cmd_twice(self, source: str, target: str) -> Contestant:
        s5cmd = f"s5cmd --log error --numworkers {CONCURRENCY} cp"
        first, second = f"{s5cmd} 's3://{source}/*' {{to}}/", f"{s5cmd} '{{to}}/' s3://{target}/"
        return self._over_disk("s5cmd cp, twice", Path("s5cmd"), first, second)

    def _over_disk(self, who: str, program: Path, first: str, second: str) -> Contestant:
        both = f"{first} && {second}; code=$?; rm -rf {{to}}; exit $code"
        told = "has no way but over the disk"
        found = self._of_program(who, Path("/bin/sh"), "-c", both, needs=program, detail=told)
        return replace(found, most_rounds=1)

    def _of_program(
        self, who: str, program: Path, *arguments: str, needs: Path | None = None, detail: str = ""
    ) -> Contestant:
        missing = needs or program
        if shutil.which(missing) is None:
            return Contestant(who=who, skipped=f"{missing.name} is not on this machine")

        def work(number: int) -> Run:
            command = [str(program), *(each.replace("{to}", f"copy-{number}") for each in arguments)]
            return self.bench.measure(command, environment=self._environment())

        return self._contestant(who, work, detail)

    def _contestant(self, who: str, work: Callable[[int], Run], detail: str = "") -> Contestant:
        return Contestant(who=who, work=work, before=self._clear_copies, after=self._compare, detail=detail)

    def _environment(self) -> Mapping[str, str]:
        """For all programs, which are told of the service in their own ways."""
        keys = self.servers.store.passing
        config = self.bench.folder / "aws-config"
        config.write_text(
            f"[default]\nregion = us-east-1\ns3 =\n  max_concurrent_requests = {CONCURRENCY}\n"
            "  max_queue_size = 10000\n  addressing_style = path\n",
            encoding="utf-8",
        )
        remote = {
            "TYPE": "s3",
            "PROVIDER": "Ceph",
            "ENDPOINT": self.servers.store.endpoint,
            "ACCESS_KEY_ID": keys.access_key_id,
            "SECRET_ACCESS_KEY": keys.secret_access_key,
            **({"SESSION_TOKEN": keys.session_token} if keys.session_token else {}),
        }
        return {
            **{f"RCLONE_CONFIG_{name}_{key}": value for name in ("ONE", "TWO") for key, value in remote.items()},
            "AWS_CONFIG_FILE": str(config),
            "AWS_ACCESS_KEY_ID": keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
            **({"AWS_SESSION_TOKEN": keys.session_token} if keys.session_token else {}),
            "AWS_ENDPOINT_URL": self.servers.store.endpoint,
            "S3_ENDPOINT_URL": self.servers.store.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    # -- what was made ----------------------------------------------------------------------------------------------

    def _compare(self, number: int) -> int:
        """Hold every copy against its source, by size and content; then remove them."""
        source, made = self._listing(SOURCE_BUCKET, self._folder), self._listing(OTHER_BUCKET, f"copy-{number}")
        if source.keys() != made.keys():
            raise BenchmarkFailed(f"{len(made):,} of {len(source):,} objects arrived")
        differing = [name for name, found in source.items() if made[name][1:] != found[1:]]
        for name in differing:  # an ETag of several parts is no content's
            if self._digest(SOURCE_BUCKET, source[name][0]) != self._digest(OTHER_BUCKET, made[name][0]):
                raise BenchmarkFailed(f"{name} is not what was copied")
        return len(source)

    def _clear_copies(self, _: int) -> None:
        """Of whoever was at it before."""
        self._delete(OTHER_BUCKET, None)

    def _listing(self, bucket: str, prefix: str) -> dict[str, tuple[str, int, str | None]]:
        """By the last names of the key, which are the same wherever a program puts it."""
        return {
            "/".join(meta["path"].split("/")[-3:]): (meta["path"], meta["size"], meta["e_tag"])
            for page in obstore.list(self._store(bucket), prefix)
            for meta in page
        }

    def _digest(self, bucket: str, key: str) -> str:
        return hashlib.sha256(bytes(obstore.get(self._store(bucket), key).bytes())).hexdigest()

    def clear(self) -> None:
        """Remove all of it, and the last copies."""
        self._clear_copies(0)
        self._delete(SOURCE_BUCKET, self.root)

    def _delete(self, bucket: str, prefix: str | None) -> None:
        store = self._store(bucket)
        for page in obstore.list(store, prefix, chunk_size=1000):
            obstore.delete(store, [meta["path"] for meta in page])

    def _store(self, bucket: str) -> S3Store:
        keys = self.servers.store.lasting
        return S3Store(
            bucket,
            endpoint=self.servers.store.endpoint,
            access_key_id=keys.access_key_id,
            secret_access_key=keys.secret_access_key,
            region="us-east-1",
            client_options={"allow_http": True},
        )
