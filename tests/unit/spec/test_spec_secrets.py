"""Secrets, at the moment they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from migrator.spec.document import SecretRef
from migrator.spec.secrets import resolve_secret

if TYPE_CHECKING:
    from pathlib import Path


def in_file(path: Path, content: bytes) -> SecretRef:
    path.write_bytes(content)
    return SecretRef(file=str(path))


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "hunter2\n")
    assert resolve_secret(SecretRef(env="SOME_SECRET")) == "hunter2"


@pytest.mark.parametrize(
    ("content", "secret"), [(b"s\n", "s"), (b"s", "s"), (b"s\r\n", "s"), (b"s\n\n", "s\n"), (b" s ", " s ")]
)
def test_a_secret_comes_from_a_file_without_its_last_newline(tmp_path: Path, content: bytes, secret: str) -> None:
    assert resolve_secret(in_file(tmp_path / "secret", content)) == secret


def test_a_literal_identifier_is_itself() -> None:
    assert resolve_secret("AKIA") == "AKIA"


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_SECRET", raising=False)
    with pytest.raises(LookupError, match="the environment variable SOME_SECRET is not set"):
        resolve_secret(SecretRef(env="SOME_SECRET"))


def test_an_empty_secret_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "")
    with pytest.raises(LookupError, match="SOME_SECRET is empty"):
        resolve_secret(SecretRef(env="SOME_SECRET"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"the secret file .*gone cannot be read: No such file"):
        resolve_secret(SecretRef(file=str(tmp_path / "gone")))


def test_bytes_that_are_no_text_are_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="is not UTF-8 text") as caught:
        resolve_secret(in_file(tmp_path / "secret", b"hunter2\xff"))
    assert "hunter2" not in str(caught.value)
