"""Which kinds of index a line of Milvus builds, and what a plan says of others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from migrator.adapters.milvus_values import index_name_sent, index_params_sent
from migrator.model.collection import DataType, FieldSchema, Index
from migrator.planning.index_kinds import kinds_of
from migrator.planning.indexes import plan_indexes
from migrator.spec.document import IndexOverride
from tests.support.builders import a_collection, a_schema, an_index


def on(data_type: DataType, *indexes: Index) -> Any:  # noqa: ANN401 - a collection
    """One with a field `x` of that type."""
    field = FieldSchema(field_id=103, name="x", data_type=data_type, type_params=(("dim", "8"),))
    return a_collection(schema=a_schema(fields=(*a_schema().fields, field)), indexes=indexes)


def an(kind: str, metric: str = "", **params: str) -> Index:
    told = [("index_type", kind), *([("metric_type", metric)] if metric else []), *params.items()]
    return Index(field_name="x", name="x", params=tuple(told))


def said(data_type: DataType, version: str, kind: str, metric: str | None = None, **params: Any) -> list[str]:  # noqa: ANN401
    override = IndexOverride(field="x", index_type=kind, metric_type=metric, params=params, name=None)
    return [f"{message}; {hint}" for message, hint in plan_indexes((override,), on(data_type), version).faults]


@pytest.mark.parametrize(
    ("data_type", "kind", "metric", "since", "before"),
    [
        (DataType.SPARSE_FLOAT_VECTOR, "SPARSE_INVERTED_INDEX", "BM25", "2.5.0", "2.4.24"),
        (DataType.FLOAT_VECTOR, "HNSW_SQ", "COSINE", "2.5.0", "2.4.24"),
        (DataType.FLOAT_VECTOR, "GPU_CAGRA", "L2", "2.4.1", "2.3.5"),
        (DataType.FLOAT_VECTOR, "IVF_RABITQ", "IP", "2.6.0", "2.5.20"),
        (DataType.BINARY_VECTOR, "MINHASH_LSH", "MHJACCARD", "2.6.0", "2.5.20"),
        (DataType.VARCHAR, "INVERTED", None, "2.4.1", "2.3.5"),
        (DataType.ARRAY, "BITMAP", None, "2.5.0", "2.4.24"),
        (DataType.VARCHAR, "STL_SORT", None, "2.6.0", "2.5.20"),
    ],
)
def test_a_kind_is_for_lines_that_have_it(
    data_type: DataType, kind: str, metric: str | None, since: str, before: str
) -> None:
    assert said(data_type, since, kind, metric) == []
    assert said(data_type, "3.0.0", kind, metric) == []
    assert said(data_type, before, kind, metric) != []


def test_the_hint_names_what_the_line_has() -> None:
    assert said(DataType.SPARSE_FLOAT_VECTOR, "2.4.5", "HNSW", "IP")[0].endswith(
        "use AUTOINDEX, SPARSE_INVERTED_INDEX or SPARSE_WAND"
    )
    (told,) = said(DataType.SPARSE_FLOAT_VECTOR, "2.4.5", "SPARSE_WAND", "L2")
    assert told.endswith("set metric_type to IP")
    (told,) = said(DataType.JSON, "2.4.5", "INVERTED")
    assert told.endswith("remove it: Milvus 2.4 builds none on fields of this type")


def test_params_are_asked_for_where_servers_have_none_of_their_own() -> None:
    assert any(
        "HNSW on x needs M and efConstruction" in each for each in said(DataType.FLOAT_VECTOR, "2.4.5", "HNSW", "L2")
    )
    assert said(DataType.FLOAT_VECTOR, "2.5.0", "HNSW", "L2") == []
    (told,) = said(DataType.VARCHAR, "2.6.12", "NGRAM", min_gram=2)
    assert "NGRAM on x needs max_gram" in told
    (told,) = said(DataType.JSON, "2.5.20", "INVERTED", json_path="x['a']")
    assert "INVERTED on x needs json_cast_type" in told
    assert said(DataType.JSON, "2.5.20", "INVERTED", json_path="x['a']", json_cast_type="DOUBLE") == []


def test_what_nobody_knows_here_is_left_to_the_newest_servers() -> None:
    assert said(DataType.FLOAT_VECTOR, "3.0.0", "AISAQ", "L2") == []
    assert said(DataType.FLOAT_VECTOR, "2.6.12", "AISAQ", "L2") != []
    assert said(DataType.INT8_VECTOR, "2.6.12", "DISKANN", "L2") == []


@pytest.mark.parametrize(
    ("data_type", "index", "version", "reason"),
    [
        (DataType.FLOAT_VECTOR, an("ANNOY", "L2", n_trees="8"), "2.3.5", "is gone since Milvus 2.3"),
        (DataType.BINARY_VECTOR, an("BIN_FLAT", "TANIMOTO"), "2.5.20", "is gone since Milvus 2.3"),
        (DataType.SPARSE_FLOAT_VECTOR, an("SPARSE_WAND", "BM25"), "2.4.24", "comes with Milvus 2.5"),
    ],
)
def test_what_a_source_has_and_the_target_cannot_build_is_told(
    data_type: DataType, index: Index, version: str, reason: str
) -> None:
    ((message, hint),) = plan_indexes("rebuild", on(data_type, index), version).faults
    assert message == f"the target cannot build the index {index.kind} on x: that {reason}"
    assert "set indexes: auto or none" in hint
    assert plan_indexes("none", on(data_type, index), version).faults == ()


def test_auto_helps_where_autoindex_has_the_metric() -> None:
    annoy = on(DataType.FLOAT_VECTOR, an("ANNOY", "L2"))
    assert [each.kind for each in plan_indexes("auto", annoy, "2.3.5").indexes] == ["AUTOINDEX L2"]
    assert plan_indexes("auto", annoy, "2.3.5").faults == ()
    sparse = on(DataType.SPARSE_FLOAT_VECTOR, an("SPARSE_INVERTED_INDEX", "BM25"))
    assert [each.kind for each in plan_indexes("auto", sparse, "2.5.20").indexes] == ["AUTOINDEX BM25"]


def test_what_is_unknown_of_a_source_comes_along_and_the_server_decides() -> None:
    assert plan_indexes("rebuild", on(DataType.FLOAT_VECTOR, an("SOMETHING", "L2")), "2.6.12").faults == ()


def test_paths_of_one_json_are_indexes_of_their_own() -> None:
    first, second = (
        Index(field_name="x", name=f"x/{key}", params=(("index_type", "INVERTED"), ("json_path", f"x['{key}']")))
        for key in "ab"
    )
    plan = plan_indexes("none", on(DataType.JSON, first, second), "2.6.12")
    assert len(plan.changed) == 2
    assert index_name_sent(first) == ""
    assert index_name_sent(an_index()) == "vec_idx"


def test_a_kind_is_sent_by_the_name_that_servers_take() -> None:
    told = replace(an("marisa-trie"), name="t")
    assert [(pair.key, pair.value) for pair in index_params_sent(told)] == [("index_type", "Trie")]


def test_half_vectors_have_what_whole_ones_have() -> None:
    whole = {name for name in kinds_of(DataType.FLOAT_VECTOR, (2, 6)) if not name.startswith("GPU_")}
    assert set(kinds_of(DataType.BFLOAT16_VECTOR, (2, 6))) == whole
    assert kinds_of(DataType.BFLOAT16_VECTOR, (2, 3)) == {}
