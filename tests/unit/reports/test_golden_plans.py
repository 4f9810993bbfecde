"""Plans in every format, as `tests/golden/` holds them; `make golden` writes those files anew."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from migrator.planning.plan import plan_to_plain
from migrator.reports.beside import beside, beside_to_plain
from migrator.reports.to_markdown import plan_markdown
from migrator.reports.to_mermaid import plan_mermaid
from tests.support.golden import GOLDEN, TERMINAL, on_terminal, rendered
from tests.support.sample_plans import SAMPLES, many, risky

if TYPE_CHECKING:
    from pathlib import Path

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
MOST_IN_A_COMMENT = 65_536
MOST_EDGES, MOST_OF_A_GRAPH = 500, 50_000
"""Of Mermaid itself, as GitHub runs it."""


def test_plans_look_as_they_did(tmp_path: Path) -> None:
    texts = rendered(tmp_path)
    held = {path.name: path.read_text("utf-8") for path in GOLDEN.iterdir()}
    assert sorted(texts) == sorted(held), "make golden"
    for name, text in texts.items():
        assert text == held[name], f"{name} looks otherwise: read the change, and make golden"


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("width", [80, 160])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, name: str, width: int) -> None:
    plan = SAMPLES[name](tmp_path)
    shown = on_terminal(plan, beside(plan), {**TERMINAL, "COLUMNS": str(width)}, verbose=True)
    for line in ESCAPE.sub("", shown).splitlines():
        assert len(line) <= width or " " not in line.strip(), line


@pytest.mark.parametrize("environment", [TERMINAL | {"NO_COLOR": "1"}, TERMINAL | {"TERM": "dumb"}], ids=str)
def test_without_colour_the_words_are_the_same(tmp_path: Path, environment: dict[str, str]) -> None:
    plan = risky(tmp_path)
    coloured, plain = (on_terminal(plan, beside(plan), each) for each in (TERMINAL, environment))
    assert "\x1b[33m" in coloured
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain)
    assert ESCAPE.sub("", coloured) == ESCAPE.sub("", plain)


def test_a_thousand_collections_can_be_read(tmp_path: Path) -> None:
    plan = many(tmp_path, 1000)
    told = beside(plan)
    shown = on_terminal(plan, told, TERMINAL).splitlines()
    assert len(shown) < 60
    assert any("and 980 more" in line for line in shown)
    assert sum("not carried" in line for line in shown) == 2
    assert len(plan_markdown(plan, told)) < MOST_IN_A_COMMENT
    graph = plan_mermaid(plan)
    assert len(re.findall(r" -\.?-> ", graph)) <= MOST_EDGES
    assert len(graph) < MOST_OF_A_GRAPH
    assert len((plan_to_plain(plan) | beside_to_plain(told))["collections"]) == 1000
