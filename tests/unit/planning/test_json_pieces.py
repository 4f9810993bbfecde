"""What is written piece by piece is what is written at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from migrator.planning.json_pieces import canonical, in_lines, indented

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUES: tuple[object, ...] = (
    {},
    {"a": []},
    {"b": {"x": [1, {"y": 'é\n"q"'}], "e": {}}, "a": None},
    [1, {"z": 2, "a": 1}],
    "text",
    {"über": {"ß": [1.5, True]}},
)


@pytest.mark.parametrize("value", VALUES)
def test_the_pieces_are_those_of_the_whole(value: object) -> None:
    assert "".join(canonical(value)) == json.dumps(value, sort_keys=True, separators=(",", ":"))
    assert "".join(indented(value, 2)) == json.dumps(value, indent=2, ensure_ascii=False)
    assert json.loads("".join(in_lines(value))) == value


@pytest.mark.parametrize("items", [[], [1], [{"b": ["x\n"], "a": {}}, None]])
def test_an_iterator_is_written_as_a_list_is(items: list[object]) -> None:
    whole = {"plan": {"steps": items}, "name": "n"}

    def lazily() -> dict[str, object]:
        return {"plan": {"steps": iter(items)}, "name": "n"}

    assert "".join(canonical(lazily())) == json.dumps(whole, sort_keys=True, separators=(",", ":"))
    assert "".join(indented(lazily(), 2)) == json.dumps(whole, indent=2)
    assert json.loads("".join(in_lines(lazily()))) == whole


def test_no_item_is_made_before_the_one_before_it_is_written() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            yield number

    seen = [list(made) for piece in in_lines({"steps": items()}) if piece in {"0", "1", "2"}]
    assert seen == [[0], [0, 1], [0, 1, 2]]


def test_each_item_has_a_line() -> None:
    lines = "".join(in_lines({"steps": iter([{"a": 1}, {"b": [2, 3]}])})).splitlines()
    assert lines == ["{", '"steps": [', '{"a": 1},', '{"b": [2, 3]}', "]", "}"]
