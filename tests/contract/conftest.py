"""Fixtures of tests on real servers."""

from __future__ import annotations

from tests.support.bench import bench
from tests.support.subject import subject

__all__ = ["bench", "subject"]
