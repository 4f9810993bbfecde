"""`python -m tests.doubles`: the double, without pymilvus's client."""

from __future__ import annotations

if __name__ == "__main__":
    from tests.doubles.milvus import main

    main()
