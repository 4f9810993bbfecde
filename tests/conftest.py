"""Fixtures of tests on real servers."""

from __future__ import annotations

from tests.support.bench import bench, running_bench

__all__ = ["bench", "running_bench"]
