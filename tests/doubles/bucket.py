"""The object store behind the double: listed one level deep or wholly, as its versions do (D.3)."""

from __future__ import annotations

import threading
from typing import Any

import boto3
from botocore.config import Config


class Bucket:
    """One bucket; its client is made once, which takes longer than all that is asked of it."""

    def __init__(self, name: str, endpoint: str, *, access_key: str, secret_key: str) -> None:
        """Address it; nothing is asked of it yet."""
        self.name = name
        self._making: dict[str, Any] = {
            "endpoint_url": endpoint,
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
            "region_name": "us-east-1",
            "config": Config(s3={"addressing_style": "path"}, max_pool_connections=16, retries={"max_attempts": 5}),
        }
        self._made: Any = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the client, so that the first request need not wait for it."""
        self._client()

    def list_level(self, prefix: str) -> list[str]:
        """Every result of a listing with the delimiter `/`: objects, and common prefixes with their slash (D.3.1)."""
        found: list[str] = []
        for page in self._pages(Prefix=prefix, Delimiter="/"):
            found += [each["Key"] for each in page.get("Contents", ())]
            found += [each["Prefix"] for each in page.get("CommonPrefixes", ())]
        return sorted(found)

    def list_all(self, prefix: str) -> dict[str, int]:
        """Every object below a prefix, with its size."""
        return {each["Key"]: each["Size"] for page in self._pages(Prefix=prefix) for each in page.get("Contents", ())}

    def read(self, key: str) -> bytes:
        """An object's content."""
        return bytes(self._client().get_object(Bucket=self.name, Key=key)["Body"].read())

    def write(self, key: str, content: bytes) -> None:
        """Put an object there."""
        self._client().put_object(Bucket=self.name, Key=key, Body=content)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._client().delete_object(Bucket=self.name, Key=key)

    def _pages(self, **what: str) -> Any:  # noqa: ANN401 - boto3 has no types
        return self._client().get_paginator("list_objects_v2").paginate(Bucket=self.name, **what)

    def _client(self) -> Any:  # noqa: ANN401 - boto3 has no types
        with self._lock:
            if self._made is None:
                self._made = boto3.session.Session().client("s3", **self._making)
            return self._made
