"""How much a source of rows asks of its Milvus at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from migrator.model.collection import DataType, FieldSchema
from migrator.steps import milvus_rows
from migrator.steps.milvus_rows import MOST_KEYS, MOST_ROWS, REPLY_BYTES, MilvusRows, largest_bytes
from tests.support.builders import BOOKS, Pair, a_schema, fill

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def pair() -> Pair:
    return Pair()


@pytest.mark.parametrize(
    ("data_type", "params", "expected"),
    [
        (DataType.FLOAT_VECTOR, {"dim": "128"}, 512),
        (DataType.BINARY_VECTOR, {"dim": "128"}, 16),
        (DataType.BFLOAT16_VECTOR, {"dim": "128"}, 256),
        (DataType.INT8, {}, 8),
        (DataType.VARCHAR, {"max_length": "10"}, 40),
        (DataType.ARRAY, {"max_capacity": "3", "max_length": "10"}, 120),
    ],
)
def test_a_schema_tells_how_large_a_value_can_be(data_type: DataType, params: dict[str, str], expected: int) -> None:
    field = FieldSchema(field_id=1, name="f", data_type=data_type, type_params=tuple(params.items()))
    assert largest_bytes(field) == expected


def recorded(milvus: Any, name: str, size: Callable[[dict[str, Any], tuple[Any, ...]], int]) -> list[int]:  # noqa: ANN401 - any double
    """What calls of a method ask for."""
    asked: list[int] = []
    call = getattr(milvus, name)

    def recording(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - as the method
        asked.append(size(named, args))
        return call(*args, **named)

    setattr(milvus, name, recording)
    return asked


def test_large_rows_are_asked_for_in_small_pages_until_they_prove_small(pair: Pair) -> None:
    """A text may have 65,535 bytes, of which these have seven."""
    long = replace(a_schema().fields[1], type_params=(("max_length", "65535"),))
    key, _, vector = a_schema().fields
    fill(pair, rows=5000)
    found = pair.source.find_collection(BOOKS)
    assert found is not None
    rows = MilvusRows(pair.source, replace(found, schema=a_schema(fields=(key, long, vector))))
    asked = recorded(pair.source, "query_rows", lambda _named, args: len(args[2]))
    assert len(rows.prints("_default", range(5000))) == 5000
    assert asked[:4] == [7, 28, 112, 448]
    assert max(asked) <= MOST_ROWS


def test_rows_that_are_large_are_asked_for_within_a_reply(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus_rows, "REPLY_BYTES", REPLY_BYTES // 4096)
    fill(pair, rows=300)
    found = pair.source.find_collection(BOOKS)
    assert found is not None
    asked = recorded(pair.source, "query_rows", lambda _named, args: len(args[2]))
    assert len(MilvusRows(pair.source, found).values("_default", range(300))) == 300
    assert max(asked) <= 512 // 20


def test_numbers_are_listed_by_the_largest_page_from_the_first_on(pair: Pair) -> None:
    fill(pair, rows=20)
    found = pair.source.find_collection(BOOKS)
    assert found is not None
    asked = recorded(pair.source, "query_keys", lambda named, _args: int(named["limit"]))
    assert [len(page) for page in MilvusRows(pair.source, found).keys("_default")] == [20]
    assert asked == [MOST_KEYS, MOST_KEYS]
