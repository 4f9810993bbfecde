"""Fixtures of tests that break something on the way."""

from __future__ import annotations

from tests.support.bench import bench

__all__ = ["bench"]
