"""How fast it is, beside what others do the same with: `make bench`; the results stand in `docs/performance.md`.

One module per benchmark, with a function `run` that takes a `Bench` and yields `Result`s; `registry.py` lists them.
"""
