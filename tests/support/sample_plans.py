"""Plans worth showing: one of each kind a reader meets, made of what a refresh would have found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from migrator.model.collection import CollectionRef, LoadState, Partition
from migrator.model.observed import ObservedAccess, ObservedInPlace, ObservedTarget
from migrator.model.rbac import Binding, Rbac
from migrator.planning.planner import make_plan
from migrator.steps.in_place_routes import STRANGE_FILES
from tests.support.builders import (
    KEYS,
    a_collection,
    a_grant,
    a_loaded_plan,
    a_schema,
    an_observed_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from migrator.planning.plan import Plan

HOSTILE = "<img src=x onerror=alert(1)>`|**bold**\x1b[31m\n# title @someone ```"
_TTL = (("collection.ttl.seconds", "86400"),)
_PARTITIONS = tuple(Partition(10 + number, name) for number, name in enumerate(("_default", "p_2023", "p_2024")))
_CREATED_TS = 459999000000000000
_STORAGE = f"provider: minio, endpoint: http://one:9000, bucket: bucket_A, credentials: {KEYS}"


def simple(folder: Path) -> Plan:
    """One collection under another name."""
    loaded = a_loaded_plan(folder, collections="[{source: books, target: books_bak}]")
    return make_plan(loaded, an_observed_state(a_collection(aliases=("library",)), rows=59_381))


def risky(folder: Path) -> Plan:
    """Of everything that has to be known, something: names that are taken, changes, users that cannot come."""
    books = a_collection(partitions=_PARTITIONS, aliases=("library", "shelf"), properties=_TTL, replica_number=2)
    films = a_collection("films", load_state=LoadState.NOT_LOADED, loaded_partitions=(), indexes=())
    songs = a_collection("songs")
    access = ObservedAccess(
        source=Rbac(
            users=("alice",),
            roles=("reader",),
            grants=(a_grant(),),
            bindings=(Binding(role="reader", user="alice"),),
        ),
        target=Rbac(users=("carol",)),
        target_names=(songs.ref,),
    )
    state = an_observed_state(
        *(books, films, songs),
        rows=250_000,
        target_names=(ObservedTarget(ref=songs.ref, collection_id=77, created_ts=_CREATED_TS),),
        target_taken=(songs.ref, CollectionRef("default", "shelf")),
        target_aliases=(CollectionRef("default", "library"),),
        access=access,
    )
    create = "{shards_num: 4, properties: {mmap.enabled: true}}"
    mapped = f"{{source: books, partitions: ['p_*'], indexes: auto, create: {create}}}"
    loaded = a_loaded_plan(
        folder,
        collections=f"[{mapped}, films, {{source: songs, if_exists: skip}}]",
        more="options: {rbac: true, verify: {level: sample}}\nstaging: {keep: false}\n",
    )
    return make_plan(loaded, state)


def many(folder: Path, number: int = 60) -> Plan:
    """All collections of a database, by a pattern; of some the alias is taken, others have a property."""
    found = [
        a_collection(
            f"shop.c{index:04}",
            aliases=(f"alias_{index:04}",),
            properties=_TTL if index % 3 == 0 else (),
            partitions=_PARTITIONS,
        )
        for index in range(number)
    ]
    taken = tuple(CollectionRef("shop_copy", f"alias_{index:04}") for index in range(min(12, number)))
    mapped = "[{source: 'shop.*', target: 'shop_copy.{{ collection }}', indexes: auto}]"
    state = an_observed_state(*found, rows=1_234_567, target_taken=taken)
    return make_plan(a_loaded_plan(folder, collections=mapped), state)


def replacing(folder: Path) -> Plan:
    """In place of a collection that is there, and has an alias."""
    books = a_collection(aliases=("library",))
    alias = CollectionRef("default", "library")
    there = ObservedTarget(
        ref=books.ref, collection_id=4711, created_ts=_CREATED_TS, rows=58_000, aliases=(alias.name,)
    )
    state = an_observed_state(
        books,
        rows=59_381,
        target_names=(there,),
        target_taken=(books.ref,),
        target_aliases=(alias,),
        alias_owners=((alias, "books"),),
    )
    return make_plan(a_loaded_plan(folder, collections="[{source: books, if_exists: replace}]"), state)


def backup(folder: Path) -> Plan:
    """No target."""
    text = (
        "version: 1\nname: nightly\ndescription: every night\n"
        f"source: {{milvus: {{uri: http://milvus_A:19530}}, storage: {{{_STORAGE}, root_path: files_A}}}}\n"
        f"staging: {{storage: {{{_STORAGE}}}}}\ncollections: ['*']\n"
    )
    found = an_observed_state(a_collection(), a_collection("films"), rows=59_381)
    return make_plan(a_loaded_plan(folder, text=text), replace(found, target_version="", target_databases=()))


def in_place(folder: Path) -> Plan:
    """The target reads the source's own files; what cannot be read so is copied."""
    loaded = a_loaded_plan(folder, more="options: {transfer: {mode: in_place}}\n")
    state = an_observed_state(a_collection(), rows=59_381)
    (found,) = state.source
    estimate = replace(found.estimate, segments=4, objects=60, in_place_objects=45, in_place_bytes=5_000_000)
    seen = ObservedInPlace(copied=((found.collection.ref, STRANGE_FILES, 1),))
    return make_plan(loaded, replace(state, source=(replace(found, estimate=estimate),), in_place=seen))


def hostile(folder: Path) -> Plan:
    """Words of strangers that would like to be more than words."""
    fields = (*a_schema().fields[:2], replace(a_schema().fields[2], description=HOSTILE))
    schema = a_schema(description=HOSTILE, fields=fields)
    state = an_observed_state(a_collection(schema=schema, properties=((HOSTILE, HOSTILE),)))
    noted = tuple(replace(each, notices=(HOSTILE,)) for each in state.source)
    return make_plan(a_loaded_plan(folder), replace(state, source=noted))


def nothing(folder: Path) -> Plan:
    """All of it is at the target, and left alone."""
    there = ObservedTarget(ref=CollectionRef("default", "books"), collection_id=77, created_ts=_CREATED_TS)
    loaded = a_loaded_plan(folder, collections="[{source: books, if_exists: skip}]")
    return make_plan(loaded, an_observed_state(target_names=(there,)))


SAMPLES: Mapping[str, Callable[[Path], Plan]] = {
    each.__name__: each for each in (simple, risky, many, replacing, backup, in_place, hostile, nothing)
}
