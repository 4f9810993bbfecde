"""Fixtures of the ports' contracts."""

from __future__ import annotations

from tests.support.subject import subject

__all__ = ["subject"]
