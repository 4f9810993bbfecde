"""Searches that ask both sides for the same neighbours: whether the indexes find what they found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migrator.model.difference import Difference, DifferenceKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from migrator.model.collection import Collection, FieldSchema, Index
    from migrator.model.rows import Key
    from migrator.ports.milvus import Hit, MilvusReader
    from migrator.ports.rows import RowSource
    from migrator.steps.comparing import Probe

TOP_K = 10
ENOUGH = 0.8
"""Of the neighbours, how many have to be the same on average."""
_SAME_SCORE = 1e-4
_LARGER_IS_NEARER = {"IP", "COSINE", "BM25"}
_CHANCE = 2
"""How many times as many as the source the target may miss: both are counted over few searches. Trained anew of the
same 6,000 rows, IVF_PQ and SCANN of Milvus 2.3.5 found 58% and 56% of what they had found before."""
_THOROUGH = 512
"""Candidates an approximate index looks at: enough for nearly all true neighbours among the first ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How much the neighbours found at both sides are the same; `share` is the mean over the searches.

    Of what the other side found, a side has `missed` what is nearer than its own last: source, target.
    """

    field: str
    searches: int
    share: float
    missed: tuple[float, float]
    unbuilt: str = ""
    """The side whose index is not built to its end: Milvus searches without it, and by far not as well."""

    def __str__(self) -> str:
        told = f"{self.searches} searches by {self.field} found {self.share:.0%} of the nearest {TOP_K} at both sides"
        if self.share >= ENOUGH:
            return told
        why = f"is not built to its end at the {self.unbuilt}" if self.unbuilt else "loses some at the source too"
        return f"{told}, as its index {why}"

    def difference(self) -> Difference | None:
        """None where it is enough, or the source's own index is as lossy: by chance each side then loses others."""
        at_source, at_target = self.missed
        if self.unbuilt or self.share >= ENOUGH or at_target <= 1 - ENOUGH + _CHANCE * at_source:
            return None
        found = f"{self.share:.0%} of the nearest {TOP_K} are the same, over {self.searches} searches"
        return Difference(kind=DifferenceKind.SEARCH, field=self.field, source=f"at least {ENOUGH:.0%}", target=found)


def search_params(index: Index) -> dict[str, int]:
    """Parameters with which an index finds nearly all true neighbours, by its type."""
    kind, params = index.index_type.upper(), index.flat_params
    if kind.startswith("HNSW"):
        return {"ef": _THOROUGH}
    if "IVF" in kind or kind == "SCANN":  # every bucket there is
        return {"nprobe": int(params.get("nlist", "128"))}
    if kind == "DISKANN":
        return {"search_list": 200}  # the most that 2.2 takes for so few neighbours
    return {}


def overlap(ours: Sequence[Hit], theirs: Sequence[Hit]) -> float:
    """The share of neighbours that both found; those as far as the other side's last are its equals."""
    if not ours or not theirs:
        return 1.0 if not ours and not theirs else 0.0
    there, last = {hit.key for hit in theirs}, theirs[-1].score
    same = sum(hit.key in there or _is_close(hit.score, last) for hit in ours)
    return same / max(len(ours), len(theirs))


def missed(found: Sequence[Hit], other: Sequence[Hit], *, larger_is_nearer: bool) -> float:
    """The share of the `other` side's neighbours that are missing among those `found`, and nearer than the last."""
    keys = {hit.key for hit in found}
    is_short = len(found) < len(other)

    def is_nearer(hit: Hit) -> bool:
        last = found[-1].score
        nearer = hit.score > last if larger_is_nearer else hit.score < last
        return nearer and not _is_close(hit.score, last)

    return sum(hit.key not in keys and (is_short or is_nearer(hit)) for hit in other) / max(1, len(other))


def _is_close(score: float, other: float) -> bool:
    if math.isnan(score) or math.isnan(other):  # what COSINE makes of vectors of nothing but zeros
        return math.isnan(score) and math.isnan(other)
    return abs(score - other) <= _SAME_SCORE * max(1.0, abs(score), abs(other))


@dataclass(frozen=True, slots=True, kw_only=True)
class Searcher:
    """Searches both sides, where both are loaded as a whole and indexed alike."""

    source: MilvusReader
    target: MilvusReader
    source_is: Collection
    target_is: Collection

    def overlaps(self, rows: RowSource, probes: Sequence[Probe]) -> Iterator[Overlap]:
        """One for each vector field that can be searched at both sides, by the vectors of the rows drawn."""
        sides = (self.source_is, self.target_is)
        if any(len(side.loaded_partitions) != len(side.partitions) for side in sides) or not probes:
            return
        ours, theirs = ({index.field_name: index for index in side.indexes} for side in sides)
        vectors = _vectors(rows, probes)
        for field in self.source_is.schema.fields:
            one, other = ours.get(field.name), theirs.get(field.name)
            is_read = field.data_type.is_vector and field.name in vectors  # what BM25 puts out is not
            if is_read and one and other and one.metric_type == other.metric_type:
                yield self._overlap(field, one, other, vectors[field.name])

    def unbuilt(self, field: str) -> str:
        """Which side's index on the field lacks rows; empty where both are whole."""
        for name, milvus, side in (("source", self.source, self.source_is), ("target", self.target, self.target_is)):
            if any(p.index.field_name == field and not p.is_built for p in milvus.index_progress(side.ref)):
                return name
        return ""

    def _overlap(self, field: FieldSchema, one: Index, other: Index, vectors: list[bytes]) -> Overlap:
        ours = self._search(self.source, self.source_is, field, one, vectors)
        theirs = self._search(self.target, self.target_is, field, other, vectors)
        pairs = list(zip(ours, theirs, strict=True))
        larger = one.metric_type.upper() in _LARGER_IS_NEARER
        return Overlap(
            field=field.name,
            searches=len(pairs),
            share=_mean(overlap(a, b) for a, b in pairs),
            missed=(
                _mean(missed(a, b, larger_is_nearer=larger) for a, b in pairs),
                _mean(missed(b, a, larger_is_nearer=larger) for a, b in pairs),
            ),
        )

    def _search(
        self, milvus: MilvusReader, side: Collection, field: FieldSchema, index: Index, vectors: list[bytes]
    ) -> Sequence[Sequence[Hit]]:
        compared = () if side.schema.has_partition_key else [each.name for each in self.source_is.partitions]
        return milvus.search(
            side.ref,
            field,
            vectors,
            metric_type=index.metric_type,
            params=search_params(index),
            limit=TOP_K,
            partitions=compared,
        )


def _mean(shares: Iterable[float]) -> float:
    found = list(shares)
    return sum(found) / max(1, len(found))


def _vectors(rows: RowSource, probes: Sequence[Probe]) -> dict[str, list[bytes]]:
    """The values of the rows drawn, field by field."""
    keys: dict[str, list[Key]] = {}
    for probe in probes:
        keys.setdefault(probe.partition, []).append(probe.key)
    found = [values for partition, some in keys.items() for values in rows.values(partition, some).values()]
    return {
        name: [values[place] for values in found if values[place] is not None]  # type: ignore[misc]  # None is left out
        for place, name in enumerate(rows.field_names)
    }
