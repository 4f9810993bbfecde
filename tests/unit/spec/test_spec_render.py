"""Templates of names."""

from __future__ import annotations

import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.spec.render import (
    TARGET_NAMES,
    VARS_ONLY,
    TemplateFault,
    check_template,
    render_name,
    render_vars,
)
from migrator.spec.sandbox import check, render


def rendered(template: str, **variables: object) -> str:
    return render_name(template, database="db1", collection="prod_books", variables=variables)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("plain", "plain"),
        ("coll{{ vars.suffix }}", "coll_bak"),
        ('coll{{ vars["suffix"] }}', "coll_bak"),
        ("{{ database }}.{{ collection }}_bak", "db1.prod_books_bak"),
        ("{{ collection | upper }}", "PROD_BOOKS"),
        ("{{ collection.removeprefix('prod_') }}", "books"),
        ("{{ collection | replace('prod', 'test') }}", "test_books"),
        ("{{ collection[5:] }}", "books"),
        ("{{ collection.split('_')[1] }}", "books"),
        ("{{ 'x' if database == 'db1' else 'y' }}", "x"),
        ("{{ database ~ '_' ~ collection }}", "db1_prod_books"),
        ("a{# comment #}b", "ab"),
        ("<{{ collection }}>", "<prod_books>"),
    ],
)
def test_a_name_is_rendered(template: str, name: str) -> None:
    check_template(template, names=TARGET_NAMES, variables=["suffix"])
    assert rendered(template, suffix="_bak") == name


@pytest.mark.parametrize(
    ("template", "message", "hint"),
    [
        ("{{ collection", "is not a valid template", "quotes"),
        ("{{ colection }}", "uses colection, which is not defined", "did you mean collection?"),
        ("{{ vars.sufix }}", "uses vars.sufix, which is not defined", "did you mean vars.suffix?"),
        ("{{ vars['sufix'] }}", "uses vars.sufix, which is not defined", "did you mean vars.suffix?"),
        ("{{ collection | uper }}", "uses filter uper, which is not defined", "did you mean filter upper?"),
        ("{{ 'a' * 10**9 }}", "uses Mul", "expression"),
        ("{{ 9**9**9**9 }}", "uses Pow", "expression"),
        ("{{ '%1000000000d' % 1 }}", "uses Mod", "expression"),
        ("{% for i in range(10) %}x{% endfor %}", "uses For", "expression"),
        ("{% set x = 1 %}", "uses Assign", "expression"),
        ("{{ range(10**9) | list }}", "not defined", ""),
        ("{{ lipsum() }}", "calls something other than a text method", "methods"),
        ("{{ collection.center(10) }}", "calls something other than a text method", "methods"),
        ("{{ collection | center(999999999) }}", "uses filter center", ""),
        ("{{ vars.__class__ }}", "uses vars.__class__, which is not defined", ""),
        (
            "{{ collection is divisibleby(0) }}{{ '" + "x" * 1100 + "' }}",
            "more than 1024 characters",
            "shorten",
        ),
        ("{{ " + "(" * 500 + "1" + ")" * 500 + " }}", "", ""),
    ],
)
def test_a_faulty_template_is_found_before_rendering(template: str, message: str, hint: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        check_template(template, names=TARGET_NAMES, variables=["suffix"])
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_sources_see_vars_alone() -> None:
    with pytest.raises(TemplateFault, match="uses collection, which is not defined"):
        check_template("{{ collection }}", names=VARS_ONLY, variables=[])
    assert render_vars("{{ vars.tenant }}_*", variables={"tenant": "t1"}) == "t1_*"


@pytest.mark.parametrize(
    "template",
    [
        "{{ collection[99] }}",
        "{{ collection.x }}",
        "{{ collection + 1 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ collection.__init__.__globals__ }}",
        "{{ vars.a.b }}",
        "{{ -collection }}",
        "{{ collection is divisibleby(0) }}",
        "{{ collection | int(base=99) + 'x' }}",
    ],
)
def test_a_fault_at_rendering_is_a_sentence(template: str) -> None:
    with pytest.raises(TemplateFault) as caught:
        rendered(template, a=1)
    assert caught.value.hint


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'aaaaaaaaaa'" + " | replace('a', 'aaaaaaaaaa')" * 12 + " }}",
        "{{ vars.long }}{{ vars.long }}",
        "{{ 'a'" + " | replace('a', vars.long)" * 9 + " }}",
    ],
)
def test_a_template_cannot_grow_without_bounds(template: str) -> None:
    began = time.perf_counter()
    with pytest.raises(TemplateFault):
        rendered(template, long="a" * 1000)
    assert time.perf_counter() - began < 1


PIECES = st.sampled_from(
    [
        "coll", "{", "}", "{{", "}}", "{#", "#}", "{%", "\n", "\r\n", " ", "%", "#", "é", "-", "vars", ".", "items",
        "|upper", "{{ collection }}", "{{database}}", "{{  vars.suffix }}", "{{ vars.items }}", "{{ vars.count }}",
        "{{ vars.flag }}", "{{ vars }}", "{{ vars.missing }}", "{{- collection -}}", "{{ vars.suffix|upper }}",
        "{{ vars.not }}",
    ]
)  # fmt: skip
_ADDRESS = re.compile("0x[0-9a-f]+")
VALUES: dict[str, object] = {"suffix": "_bak", "items": "x", "count": 1.50, "flag": True, "not": "{{ x }}"}


@given(template=st.lists(PIECES, max_size=6).map("".join))
def test_what_is_rendered_without_jinja_is_what_jinja_gives(template: str) -> None:
    """Complaints too; only text that is no template at all does not get there."""
    ours = theirs = ""
    try:
        check_template(template, names=TARGET_NAMES, variables=VALUES)
        ours = rendered(template, **VALUES)
    except TemplateFault as fault:
        ours = str(fault)
    try:
        check(template, names=TARGET_NAMES, variables=VALUES)
        theirs = render(template, {"database": "db1", "collection": "prod_books", "vars": VALUES})
    except TemplateFault as fault:
        theirs = str(fault)
    is_read = any(mark in template for mark in ("{{", "{%", "{#"))
    assert _ADDRESS.sub("", ours) == (_ADDRESS.sub("", theirs) if is_read else template)


def test_usual_templates_need_no_jinja() -> None:
    script = (
        "import sys\nfrom migrator.spec.render import TARGET_NAMES, check_template, render_name\n"
        "template = '{{ database }}.{{ collection }}{{ vars.suffix }}'\n"
        "check_template(template, names=TARGET_NAMES, variables=['suffix'])\n"
        "assert render_name(template, database='a', collection='b', variables={'suffix': 'c'}) == 'a.bc'\n"
        "sys.exit('jinja2' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)  # noqa: S603 - our own interpreter


@pytest.mark.parametrize("name", ["items", "keys", "copy", "clear", "update"])
@pytest.mark.parametrize("template", ["{{ vars.%s }}", "{{ vars.%s | upper | lower }}", "{{ vars['%s'] }}"])
def test_a_variable_may_be_named_as_a_method_of_dictionaries(template: str, name: str) -> None:
    assert render_vars(template % name, variables={name: "_bak"}) == "_bak"
