"""What is wrong with one value, before anybody knows where in a file it stands."""

from __future__ import annotations


class Fault(ValueError):
    """A sentence about a value, and the edit that would help; it never repeats the value itself."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
