"""The documentation says what the program is: what is embedded, listed or linked is compared with its origin."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from migrator import errors
from migrator.cli import app
from migrator.cli.reference import reference
from migrator.steps.registry import STEP_KINDS
from migrator.version_tables import BEGIN, page_with_tables

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = sorted([README, ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
PLANS = ("plans/a_to_b.yaml", "plans/clusters.yaml")
EMBEDDED = {
    DOCS / "index.md": PLANS[:1],
    DOCS / "examples.md": tuple(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "plans").glob("*.yaml"))),
    README: PLANS,
    DOCS / "plan-file.md": PLANS,
    DOCS / "backup-format.md": ("plans/backup_only.yaml", "plans/restore_backup.yaml"),
}

DOCUMENTED_CODES = {0, 1, 2, 3, 10, 11, 12, 20, 21, 22, 30, 40, 50, 51, 130}
"""What users may rely on; a code is never given another meaning."""

_EMBED = re.compile(r"^<!-- embed: (\S+) -->\n```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_CODE_ROW = re.compile(r"^\| (\d+) \|([^|]*)\|", re.MULTILINE)


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", _text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _error_classes() -> dict[str, int]:
    """The exit code of every error that has a public name."""
    found = [value for name, value in vars(errors).items() if isinstance(value, type) and not name.startswith("_")]
    return {kind.__name__: kind.exit_code for kind in found if issubclass(kind, errors.MigratorError)}


# -- embedded files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", EMBEDDED, ids=_name)
def test_pages_embed_the_example_plans_byte_for_byte(page: Path) -> None:
    embedded = dict(_EMBED.findall(_text(page)))

    assert embedded == {name: _text(ROOT / name) for name in EMBEDDED[page]}


# -- exit codes -------------------------------------------------------------------------------------------------------


def test_every_error_stands_in_the_table_with_its_exit_code() -> None:
    rows = _CODE_ROW.findall(_text(DOCS / "exit-codes.md").partition("\n## ")[0])
    documented = {name: int(code) for code, names in rows for name in re.findall(r"`(\w+)`", names)}

    assert documented == _error_classes()


@pytest.mark.parametrize("page", [README, DOCS / "exit-codes.md"], ids=_name)
def test_tables_list_the_exit_codes_that_users_rely_on(page: Path) -> None:
    table = re.search(r"^\| code \|.*?(?=\n\n)", _text(page), re.MULTILINE | re.DOTALL)

    assert table is not None
    assert {int(code) for code, _ in _CODE_ROW.findall(table[0])} == DOCUMENTED_CODES


def test_no_error_has_an_undocumented_exit_code() -> None:
    assert set(_error_classes().values()) <= DOCUMENTED_CODES


# -- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(_FENCE.sub("", _text(page))):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(link)

    assert not broken


def test_the_index_leads_to_every_page() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in _LINK.findall(_text(DOCS / "index.md"))}

    assert set(DOCS.rglob("*.md")) - {DOCS / "index.md"} <= linked


# -- tests ------------------------------------------------------------------------------------------------------------


def _tests_in(path: Path) -> set[str]:
    """The names of the tests that a file defines, empty where there is no such file."""
    if not path.exists():
        return set()
    return {node.name for node in ast.walk(ast.parse(_text(path))) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_a_promise_rests_on_is_there() -> None:
    named = _TEST.findall(_text(DOCS / "reliability.md"))
    there = {file: _tests_in(ROOT / file) for file, _ in named}

    assert len(named) > 50
    assert [f"{file}::{name}" for file, name in named if name not in there[file]] == []


def test_every_row_of_the_faults_names_a_test() -> None:
    faults = _text(DOCS / "reliability.md").partition("\n## Faults\n")[2].partition("\n## ")[0]
    rows = [row for row in re.findall(r"^\|.*\|$", faults, re.MULTILINE) if not row.startswith(("| fault |", "|---"))]

    assert rows
    assert [row for row in rows if not _TEST.search(row.rpartition(" | ")[2])] == []


# -- steps, commands, keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STEP_KINDS)
def test_every_kind_of_step_has_a_section_and_a_line(kind: str) -> None:
    assert f"\n## `{kind}`\n" in _text(DOCS / "steps.md")
    assert f"\n| `{kind}` |" in _text(README)


def _commands() -> list[str]:
    """What is registered, as it is typed."""
    registered = [("migrator", command) for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        registered += [(f"migrator {group.name}", command) for command in group.typer_instance.registered_commands]
    return [f"{before} {command.name or getattr(command.callback, '__name__', '')}" for before, command in registered]


@pytest.mark.parametrize("command", _commands())
def test_every_command_is_in_the_table(command: str) -> None:
    rows = re.findall(r"^\| (`migrator [^|]*) \|", _text(README), re.MULTILINE)

    assert any(re.search(rf"`{command}[ `]", row) for row in rows)


@pytest.mark.parametrize("page", [DOCS / "index.md", DOCS / "ci.md"], ids=_name)
def test_commands_that_one_is_to_copy_are_ones_that_the_program_knows(page: Path) -> None:
    typed = re.findall(
        r"^[\s-]*(?:run: )?migrator (.+?)(?:\s+[#>].*)?$", "\n".join(_FENCE.findall(_text(page))), re.MULTILINE
    )
    known = typer.main.get_command(app)
    assert len(typed) > 4
    for line in typed:
        name, *arguments = line.split()
        command = getattr(known, "commands", {})[name]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("--")} <= options, line


def _plan_keys() -> set[str]:
    """Every key that a plan file may have, on any level."""
    schema = json.loads(_text(ROOT / "schemas" / "plan.schema.json"))
    blocks = [schema, *schema["$defs"].values()]
    return {key for block in blocks for key in block.get("properties", {})}


@pytest.mark.parametrize("key", sorted(_plan_keys()))
def test_every_key_of_a_plan_file_is_explained(key: str) -> None:
    assert f"`{key}`" in _text(DOCS / "plan-file.md")


def test_the_top_level_tables_hold_exactly_the_keys_there_are() -> None:
    page = _text(DOCS / "plan-file.md")
    schema = json.loads(_text(ROOT / "schemas" / "plan.schema.json"))
    tables = {"## Top level": schema["properties"], "## `options`": schema["$defs"]["Options"]["properties"]}

    for heading, properties in tables.items():
        table = page.partition(f"{heading}\n\n")[2].partition("\n\n")[0]
        assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(properties)


def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603 - ours
    assert built.returncode == 0, built.stdout + built.stderr
    assert (tmp_path / "index.html").is_file()


def test_the_page_of_commands_is_what_the_program_says() -> None:
    assert _text(DOCS / "cli.md") == reference(), "run make schemas"


def test_the_tables_of_versions_are_what_the_program_goes_by() -> None:
    page = _text(DOCS / "compatibility.md")
    assert BEGIN in page
    assert page == page_with_tables(page), "run make schemas"
