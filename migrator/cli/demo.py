"""`migrator demo`: the whole story on real servers."""


def demo() -> None:
    """Start two real Milvus servers, move a collection by plan from one to the other, and show the proof."""
