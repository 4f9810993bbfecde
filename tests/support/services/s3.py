"""S3 services that check their keys: a long-lived pair is for servers, a temporary one for the program."""

from __future__ import annotations

import json
import secrets
import sys
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from tests.support.services.depot import HOST, REPOSITORY, Depot, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Who one is at an S3 service."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Service:
    """A running S3 server: `lasting` keys are for servers, `passing` ones have a session token where it has such."""

    name: str
    port: int
    lasting: Keys
    passing: Keys

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"

    def depot(self, bucket: str) -> Depot:
        """One of its buckets, made where it is not there, with the passing keys."""
        self.client().create_bucket(Bucket=bucket)
        variable = self.name.upper()
        credentials = {
            "type": "static",
            "access_key_id": {"env": f"{variable}_KEY_ID"},
            "secret_access_key": {"env": f"{variable}_SECRET"},
        }
        environment = {
            f"{variable}_KEY_ID": self.passing.access_key_id,
            f"{variable}_SECRET": self.passing.secret_access_key,
        }
        if self.passing.session_token:
            credentials["session_token"] = {"env": f"{variable}_TOKEN"}
            environment[f"{variable}_TOKEN"] = self.passing.session_token
        return Depot(
            name=self.name,
            port=self.port,
            storage={"provider": "minio", "endpoint": self.endpoint, "bucket": bucket, "credentials": credentials},
            environment=environment,
            secrets=tuple(environment.values()),
        )

    def client(self) -> Any:  # noqa: ANN401 - boto3 has no types
        """A client with the lasting keys."""
        return client_of("s3", self.endpoint, self.lasting)

    def keys(self, bucket: str, prefix: str = "") -> dict[str, int]:
        """The size of every object of a bucket by its key."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {found["Key"]: found["Size"] for page in pages for found in page.get("Contents", [])}

    def unfinished_uploads(self, bucket: str, prefix: str) -> list[str]:
        """The keys of multipart uploads that were begun, and neither finished nor given up."""
        found = self.client().list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
        return [upload["Key"] for upload in found if upload["Key"].startswith(prefix)]


def client_of(kind: str, endpoint: str, keys: Keys) -> Any:  # noqa: ANN401 - boto3 has no types
    """A client of one of AWS's interfaces, whatever the machine's own settings are."""
    import boto3  # noqa: PLC0415 - slow to import
    from botocore.config import Config  # noqa: PLC0415 - as above

    return boto3.session.Session(
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token or None,
        region_name="us-east-1",
    ).client(kind, endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}, proxies={}))


@contextmanager
def keyed_s3(name: str, folder: Path) -> Iterator[S3Service]:
    """An S3 server of its own that refuses every request without a signature by one of its keys."""
    lasting, passing = new_keys(), new_keys(session_token=secrets.token_urlsafe(120))
    folder.mkdir(parents=True, exist_ok=True)
    key_file = folder / "keys.json"
    key_file.touch(mode=0o600)
    key_file.write_text(json.dumps([astuple(lasting), astuple(passing)]), encoding="utf-8")
    command = [sys.executable, "-m", "tests.support.services.keyed_s3"]
    with serving(
        lambda port: [*command, str(port), str(key_file)],
        folder=folder,
        environment={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
    ) as port:
        yield S3Service(name=name, port=port, lasting=lasting, passing=passing)


def new_keys(*, session_token: str = "") -> Keys:
    """A pair that nobody else has, of the length AWS's have."""
    kind = "ASIA" if session_token else "AKIA"
    return Keys(
        access_key_id=f"{kind}{secrets.token_hex(8).upper()}",
        secret_access_key=secrets.token_urlsafe(30),
        session_token=session_token,
    )
