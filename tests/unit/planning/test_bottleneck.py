"""What the end of a run mostly waits for."""

from __future__ import annotations

from migrator.planning.bottleneck import find_bottleneck
from migrator.planning.pace import Measured, Pace, Work

KINDS = ("copy_segments", "import_segments", "create_index", "load_collection", "verify_collection")


def works(*collections: Work) -> dict[str, Work]:
    """The chain of each, by the figures of a work."""
    return {
        f"{kind}:{each.collection}": Work(
            kind=kind,
            collection=each.collection,
            rows=each.rows,
            objects=each.objects,
            size_bytes=each.size_bytes,
            requests=each.requests if kind == "import_segments" else 0,
        )
        for each in collections
        for kind in KINDS
    }


def tiny(number: int, **figures: int) -> Work:
    return Work(
        kind="", collection=f"c{number}", **{"rows": 10, "objects": 5, "size_bytes": 500, "requests": 1, **figures}
    )


def test_many_tiny_collections_wait_for_the_imports() -> None:
    found = find_bottleneck(works(*map(tiny, range(100))))
    assert found is not None
    assert found.what == "the target's imports"
    assert 0.3 < found.share < 1


def test_many_rows_wait_for_the_index_builds() -> None:
    found = find_bottleneck(works(*(tiny(number, rows=10**7, size_bytes=10**9) for number in range(10))))
    assert found is not None
    assert found.what == "the target's index builds"


def test_one_large_collection_among_tiny_ones_is_named() -> None:
    found = find_bottleneck(works(tiny(0, rows=10**7, size_bytes=10**10, objects=10**4), tiny(1), tiny(2)))
    assert found is not None
    assert (found.what, found.collection) == ("one collection", "c0")


def test_what_past_runs_measured_counts() -> None:
    slow_store = Pace.of_runs([{"copy_segments": Measured(took_s=1000.0, guessed_s=1.0)}])
    found = find_bottleneck(works(*map(tiny, range(10))), slow_store)
    assert found is not None
    assert found.what == "the copies"


def test_nothing_to_do_has_none() -> None:
    assert find_bottleneck({}) is None
