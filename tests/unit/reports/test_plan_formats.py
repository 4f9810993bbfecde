"""A plan in formats for other readers: Markdown for a pull request, Mermaid for its graph."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from migrator.model.collection import CollectionRef
from migrator.planning.planner import make_plan
from migrator.reports.to_html import plan_html
from migrator.reports.to_markdown import MOST_CHARACTERS, plan_markdown
from migrator.reports.to_mermaid import MOST_COLLECTIONS, plan_mermaid
from migrator.running.refresh import refresh
from migrator.steps.copy_segments import CopySegments
from migrator.steps.dump_meta import DumpMeta
from tests.support.builders import Pair, a_loaded_plan, create, fill

if TYPE_CHECKING:
    from pathlib import Path

    from migrator.planning.plan import Plan
    from migrator.steps.base import Step

HOSTILE = "<img src=x onerror=alert(1)>`|**bold**\x1b[31m\n# title @someone"


def a_plan(folder: Path, *, collections: str = "[books]") -> Plan:
    pair = Pair()
    fill(pair)
    loaded = a_loaded_plan(folder, collections=collections)
    return make_plan(loaded, refresh(loaded, pair.readers(), ()))


def many(plan: Plan, number: int) -> Plan:
    """The same plan with `number` copies of its collection, and their steps."""
    one = plan.collections[0]
    names = [CollectionRef("default", f"c{index:04d}") for index in range(number)]
    own = [step for step in plan.steps if step.collection]

    def renamed(keys: tuple[str, ...], ref: CollectionRef) -> tuple[str, ...]:
        return tuple(key.replace("books", ref.name) for key in keys)

    def moved(step: Step, ref: CollectionRef) -> Step:
        target = {"target": ref} if hasattr(step, "target") else {}
        dumped = {"planned": replace(step.planned, ref=ref)} if isinstance(step, DumpMeta) else {}
        source = {"source": ref} if isinstance(step, CopySegments) else {}
        changes: dict[str, Any] = {**target, **dumped, **source, "needs": renamed(step.needs, ref)}
        return replace(step, collection=ref.name, follows=renamed(step.follows, ref), **changes)

    steps = [moved(step, ref) for ref in names for step in own]
    rest = [step for step in plan.steps if not step.collection]
    collections = tuple(replace(one, source=ref, target=ref) for ref in names)
    return replace(plan, collections=collections, steps=(*rest, *steps))


def test_markdown_begins_with_what_it_comes_to_and_folds_the_rest(tmp_path: Path) -> None:
    text = plan_markdown(a_plan(tmp_path))
    assert text.startswith("### Plan a\\-to\\-b: 1 collection to migrate\n")
    head, _, folded = text.partition("<details>")
    assert "not carried" in head
    assert re.search(r"\| \+ \| books( → \w+)? \| [\d,]+ \| [\d,]+ \| .*B \| 1 \|", head)
    assert "import\\_segments" not in head
    assert "```mermaid" in folded
    assert "digest" in folded


def test_names_of_others_are_text_and_nothing_else(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    hostile = replace(plan.collections[0], notices=(HOSTILE,), changed=(HOSTILE,))
    plan = replace(plan, collections=(hostile,), description=HOSTILE)
    plan = replace(plan, steps=tuple(replace(step, collection=step.collection and HOSTILE) for step in plan.steps))
    text = plan_markdown(plan)
    assert text.count("```") == 4  # two fences, opened and closed by us
    for line in text.partition("```mermaid")[0].splitlines():
        assert "<img" not in line
        assert "\x1b" not in line
        assert "**bold**" not in line
        assert not line.startswith("# title")
        assert "@someone" not in line
    graph = plan_mermaid(plan)
    assert "<img" not in graph
    assert "\x1b" not in graph
    assert graph.count("```") == 0


def test_a_thousand_collections_fit_into_a_comment(tmp_path: Path) -> None:
    text = plan_markdown(many(a_plan(tmp_path), 1000))
    assert len(text) <= MOST_CHARACTERS
    assert "1,000 collections to migrate" in text
    assert "and 960 more" in text


def test_the_graph_has_a_box_per_collection_and_an_arrow_per_need(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    graph = plan_mermaid(plan)
    assert graph.startswith("flowchart LR\n")
    assert graph.count("subgraph") == 1
    assert graph.count(" --> ") == sum(len(step.needs) for step in plan.steps)
    few = plan_mermaid(many(plan, MOST_COLLECTIONS))
    assert few.count("subgraph") == MOST_COLLECTIONS
    folded = plan_mermaid(many(plan, MOST_COLLECTIONS + 5))
    assert folded.count("subgraph") == 1
    assert f"{MOST_COLLECTIONS + 5} collections: c0000, c0001, c0002, …" in folded


def test_a_plan_with_nothing_to_do_says_so(tmp_path: Path) -> None:
    plan = replace(a_plan(tmp_path), steps=(), collections=())
    assert "nothing to do" in plan_mermaid(plan)
    assert "Nothing to do" in plan_markdown(plan)


def test_the_source_need_not_have_what_the_target_lacks(tmp_path: Path) -> None:
    pair = Pair()
    fill(pair)
    create(pair.target)
    loaded = a_loaded_plan(tmp_path, collections="[{source: books, if_exists: replace}]")
    text = plan_markdown(make_plan(loaded, refresh(loaded, pair.readers(), ())))
    assert "**books is replaced**" in text
    assert "| ~ | books" in text


def test_the_page_shows_what_is_asked_of_a_reviewer(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    page = plan_html(replace(plan, collections=(replace(plan.collections[0], notices=(HOSTILE,)),)))
    assert "1 collection to migrate." in page
    assert "Please look at" in page
    assert page.count("<rect") == len(plan.steps)
    assert "<img" not in page
    assert "\x1b" not in page
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["'](?!#)""", page)


def test_a_page_of_a_thousand_collections_can_be_opened(tmp_path: Path) -> None:
    page = plan_html(many(a_plan(tmp_path), 1000))
    assert page.count("<tbody>") == 1000
    assert "988 more collections" in page
