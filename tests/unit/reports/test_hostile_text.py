"""Names from the other side can neither colour a terminal nor begin a line, in text and in JSON."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from migrator.cli.console import print_error, print_lines
from migrator.cli.watching import JsonWatcher, PlainWatcher
from migrator.errors import Complaint, MilvusUnavailable, PlanError
from migrator.model.collection import CollectionRef
from migrator.planning.plan import plan_to_plain
from migrator.planning.planner import make_plan
from migrator.reports.plain import clean, to_json
from migrator.reports.to_text import Line, plan_lines
from migrator.running.refresh import refresh
from tests.support.builders import BOOKS, Pair, a_loaded_plan, a_schema, create, fill

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;owned\x07",
    "one byte": "\x9b2J",
    "line": "x\n  ✓ everything is well",
    "return": "x\rerror",
    "direction": "abc\u202egpj.exe",
    "isolate": "\u2066x\u2069",
    "separator": "x\u2028y",
    "delete": "x\x7f\x08",
    "surrogate": "x\ud800y",
    "tag": "x\U000e0041",
}
MARKUP = "[bold red]x[/] [link=http://evil.example]y[/link]"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_not_printable_is_written_out(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)
    assert to_json({"name": text}).isprintable()
    assert json.loads(to_json({"name": text})) == {"name": text}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_every_line_and_every_error_is_cleaned_where_it_is_printed(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    print_lines([Line(text)], stream)
    stream.seek(0)
    assert stream.read() == f"{clean(text)}\n"
    print_error(PlanError([Complaint(f"no collection {text}", text, text, value=text)]))
    print_error(MilvusUnavailable(text, hint=text))
    watcher, events = PlainWatcher(), JsonWatcher()
    for watching in (watcher, events):
        watching.run_told(text)
        watching.lock_waits(text, text)
        watching.run_waits(MilvusUnavailable(text), 1.0)
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).split("\n"))
    assert not any(line.startswith("  ✓") for line in err.split("\n"))


def test_markup_is_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_lines([Line(MARKUP)])
    assert MARKUP in capsys.readouterr().out


@pytest.mark.parametrize("name", [*HOSTILE.values(), "../../files_B/insert_log", "a/b", ".."])
def test_a_server_that_lists_such_names_gets_no_plan(tmp_path: Path, name: str) -> None:
    """A backup's meta is read as such a server: names lead to keys, to leases and to names at the target."""
    pair = Pair()
    fill(pair, CollectionRef("default", name), index=False)
    loaded = a_loaded_plan(tmp_path, collections="['*']")
    with pytest.raises(PlanError) as caught:
        make_plan(loaded, refresh(loaded, pair.readers(), ()))
    assert "that Milvus allows" in caught.value.message


def test_what_the_source_says_of_its_collections_is_written_out(tmp_path: Path) -> None:
    pair, text = Pair(), HOSTILE["colour"]
    schema = a_schema(
        description=text, fields=(*a_schema().fields[:2], replace(a_schema().fields[2], description=text))
    )
    create(pair.source, BOOKS, schema=schema)
    loaded = a_loaded_plan(tmp_path)
    plan = make_plan(loaded, refresh(loaded, pair.readers(), ()))
    assert all(clean(line.text) == line.text for line in plan_lines(plan, verbose=True))
    assert to_json(plan_to_plain(plan), indent=2).replace("\n", "").isprintable()
