"""Read the secrets that a plan refers to, at the moment a connection is made and not before."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrator.spec.document import SecretRef

_resolved: set[str] = set()


def resolved_secrets() -> frozenset[str]:
    """Every secret that this process has read so far, so that none is ever written down."""
    return frozenset(_resolved)


def resolve_secret(ref: SecretRef | str) -> str:
    """Return what `ref` stands for, without one trailing newline; a literal identifier is returned as it is.

    Raises:
        LookupError: The variable is not set, the file cannot be read, or it is empty; says which, never
            what it holds.
    """
    if isinstance(ref, str):
        return ref
    text = _from_environment(ref.env) if ref.env is not None else _from_file(str(ref.file))
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise LookupError(f"{ref} is empty")
    _resolved.add(secret)
    return secret


def _from_environment(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise LookupError(f"the environment variable {name} is not set") from None


def _from_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise LookupError(f"the secret file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:  # the error's text would hold bytes of the secret
        raise LookupError(f"the secret file {path} is not UTF-8 text") from None
