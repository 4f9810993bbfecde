"""milvus-backup on the same servers: its configuration, for the releases that its users have."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from benchmarks.servers import SOURCE_BUCKET

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.bench import Bench
    from tests.support.storages import Side

PROGRAM = "milvus-backup"
SUFFIX = "_restored"
"""It adds one to a collection's name, so that it may be restored beside others."""
_PARALLELISM = 64


def commands(bench: Bench, collection: str, number: int) -> str:
    """Create a backup with the source's configuration, and restore it with the target's: a shell's command."""
    name = f"backup_{collection}_{number}"
    files = [_write(bench, side) for side in bench.servers.sides]
    create = [PROGRAM, "--config", str(files[0]), "create", "--name", name, "--colls", collection]
    restore = [PROGRAM, "--config", str(files[1]), "restore", "--name", name, "--suffix", SUFFIX]
    return f"{shlex.join(create)} && {shlex.join(restore)}"


def _write(bench: Bench, side: Side) -> Path:
    """JSON is YAML; keys that a release does not know are nothing to it."""
    host, _, port = side.uri.removeprefix("http://").partition(":")
    keys = bench.servers.store.lasting
    store: dict[str, Any] = {"address": "127.0.0.1", "port": bench.servers.store.port}
    mine = {"accessKeyID": keys.access_key_id, "secretAccessKey": keys.secret_access_key, "useSSL": False}
    document = {
        "log": {"level": "error", "console": False, "file": {"rootPath": str(bench.folder / "milvus-backup.log")}},
        "http": {"simpleResponse": True},
        "milvus": {"address": host, "port": int(port), "authorizationEnabled": False, "tlsMode": 0},
        "minio": {
            **store,
            **mine,
            "storageType": "minio",
            "cloudProvider": "minio",
            "useIAM": False,
            "bucketName": SOURCE_BUCKET,
            "rootPath": side.instance.root_path,
            **{f"backup{name[0].upper()}{name[1:]}": value for name, value in {**store, **mine}.items()},
            "backupStorageType": "minio",
            "backupBucketName": SOURCE_BUCKET,
            "backupRootPath": "backups",
            "crossStorage": "false",
        },
        "backup": {
            "maxSegmentGroupSize": "2G",
            "parallelism": {
                "copydata": _PARALLELISM,
                "backupCollection": 4,
                "backupSegment": 1024,
                "restoreCollection": 4,
                "importJob": 768,
            },
            "keepTempFiles": False,
            "gcPause": {"enable": False},
        },
    }
    file = bench.folder / f"milvus-backup-{side.instance.name}.yaml"
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return file
