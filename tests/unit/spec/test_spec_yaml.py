"""What a file may not be, said in plain words and at its place."""

from __future__ import annotations

import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrator.errors import Complaint, SpecError
from migrator.spec.load import load_plan
from tests.support.spec_cases import complaints_of, load_text, only_complaint, place, plan_text

if TYPE_CHECKING:
    from pathlib import Path


def only_about(folder: Path, raw: bytes) -> Complaint:
    path = folder / "plan.yaml"
    path.write_bytes(raw)
    with pytest.raises(SpecError) as caught:
        load_plan(path)
    (complaint,) = caught.value.complaints
    assert complaint.hint
    return complaint


@pytest.mark.parametrize(
    ("raw", "message", "line", "column"),
    [
        (b"version: 1\n\tname: x\n", "a tab stands where YAML wants spaces", 2, 1),
        (b"source:\n\tmilvus: x\n", "a tab stands where YAML wants spaces", 2, 1),
        (b"", "the plan file is empty", 1, 1),
        (b"# only a comment\n", "the plan file is empty", 1, 1),
        (b"- a\n- b\n", "the plan file is not a map of keys and values", 1, 1),
        (b"just text\n", "the plan file is not a map of keys and values", 1, 1),
        (b"version: 1\n---\nversion: 1\n", "more than one YAML document", 2, 1),
        (b"version: 1\nname: \xff\n", "byte 0xff is not UTF-8", 2, 7),
        ("name: é\n".encode("latin-1"), "byte 0xe9 is not UTF-8", 1, 7),
        (b"\xef\xbb\xbfversion: 1\n", "byte order mark", 1, 1),
        ("version: 1\n".encode("utf-16"), "the file is UTF-16", 1, 1),
        (b"version: 1\nname: \x07\n", "a control character", 2, 7),
        (b"name: [a, b\n", "not valid YAML", 2, 1),
        (b"name: a: b\n", "not valid YAML: mapping values are not allowed here", 1, 8),
        (b"name: 'a\n", "not valid YAML", 2, 1),
        (b"name: *gone\n", "an alias", 1, 7),
        (b'name: "\\U00110000"\n', "not valid YAML", 1, 1),
        (b"name: !x!y z\n", "a tag", 1, 7),
        (b"a: &a [*a]\n", "nested more than 50 levels", 1, 4),
        (b"[" * 60, "nested more than 50 levels", 1, 51),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(
    tmp_path: Path, raw: bytes, message: str, line: int, column: int
) -> None:
    complaint = only_about(tmp_path, raw)
    assert message in complaint.message
    assert place(complaint) == (line, column)
    assert complaint.position is not None
    assert complaint.position.file == str(tmp_path / "plan.yaml")


@pytest.mark.parametrize("raw", [b"password: *hunter2\n", b"password: !hunter2!x y\n", b"password: !hunter2 x\n"])
def test_a_secret_with_a_special_first_letter_is_not_repeated(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(raw)
    with pytest.raises(SpecError) as caught:
        load_plan(path)
    assert "hunter2" not in "".join(f"{complaint}{complaint.hint}" for complaint in caught.value.complaints)


def test_a_missing_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"the plan file .*gone.yaml cannot be read: No such file"):
        load_plan(tmp_path / "gone.yaml")


def test_a_folder_is_no_plan_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load_plan(tmp_path)


def test_a_file_beyond_a_mebibyte_is_refused(tmp_path: Path) -> None:
    assert "larger than" in only_about(tmp_path, b"#" * (1024 * 1024 + 1)).message


def test_a_bomb_of_aliases_is_refused_quickly_and_in_little_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [" + ",".join(["x"] * 10) + "]"]
    lines += [f"a{level}: &a{level} [" + ",".join([f"*a{level - 1}"] * 10) + "]" for level in range(1, 12)]
    tracemalloc.start()
    began = time.perf_counter()
    complaint = only_about(tmp_path, "\n".join(lines).encode())
    took, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "more than 100,000 values with its aliases expanded" in complaint.message
    assert took < 20  # tracing makes it several times slower
    assert peak < 100 * 1024**2


def test_an_alias_of_a_whole_value_is_fine(tmp_path: Path) -> None:
    text = plan_text(more="vars: {a: &x _bak, b: *x}\n")
    assert load_text(tmp_path, text).variables == {"a": "_bak", "b": "_bak"}


def test_an_anchor_used_again_is_no_warning(tmp_path: Path) -> None:
    assert load_text(tmp_path, plan_text(more="vars: {a: &x 1, b: &x 2, c: *x}\n")).variables["c"] == 2


def test_a_duplicate_key_is_told_at_the_second_one(tmp_path: Path) -> None:
    complaint = only_complaint(tmp_path, plan_text(more="options:\n  flush: auto\n  flush: never\n"))
    assert complaint.field == "options.flush"
    assert complaint.message == "the key appears twice; it stands in line 7 already"
    assert place(complaint) == (8, 3)


def test_a_duplicate_key_does_not_hide_other_complaints(tmp_path: Path) -> None:
    found = complaints_of(tmp_path, plan_text(more="name: other\noptions: {flush: x}\n"))
    assert set(found) == {"name", "options.flush"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("options: {<<: {flush: auto}}\n", "merge keys (<<) are not allowed"),
        ("options: {[a]: b}\n", "a key is not plain text"),
        ("options: {flush: !!python/object:os.system auto}\n", "a tag (!name) is used"),
        ("options: {!x flush: auto}\n", "a tag (!name) is used"),
        ("options: !!omap {flush: auto}\n", "a tag (!name) is used"),
        (f"vars: {{n: {'9' * 5000}}}\n", "too many digits"),
    ],
)
def test_what_is_not_plain_data_is_refused_once(tmp_path: Path, more: str, message: str) -> None:
    assert message in only_complaint(tmp_path, plan_text(more=more)).message


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("0x1F", "0x1F"),
        ("2024-01-01", "2024-01-01"),
        ("1e3", 1000.0),
        ("!!str 5", "5"),
        ("true", True),
        ("'true'", "true"),
        ("-3", -3),
        ("1:30", "1:30"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(tmp_path: Path, written: str, value: object) -> None:
    found = load_text(tmp_path, plan_text(more=f"vars: {{x: {written}}}\n")).variables["x"]
    assert (found, type(found)) == (value, type(value))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(raw=st.one_of(st.binary(max_size=80), st.text("a:-[]{}&*!%|>'\"\\#@`,? \n\t~<=0x.U", max_size=60)))
def test_no_bytes_cause_anything_but_complaints(tmp_path: Path, raw: bytes | str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(raw.encode() if isinstance(raw, str) else raw)
    with pytest.raises(SpecError):
        load_plan(path)
