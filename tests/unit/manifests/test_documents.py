"""YAML as Kubernetes reads it, with line numbers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weir_operator.observe.documents import MAX_NODES, Document, Fault, documents


def one(text: str) -> Document:
    (document,) = documents(text)
    assert isinstance(document, Document)
    return document


def fault(text: str) -> Fault:
    *_, last = documents(text)
    assert isinstance(last, Fault)
    return last


def test_every_field_has_the_line_of_its_key():
    document = one("spec:\n  routes:\n  - name: a\n    tiers:\n      [x]\n")
    assert document.lines["spec.routes"] == 2
    assert document.lines["spec.routes[0]"] == 3
    assert document.lines["spec.routes[0].tiers"] == 4
    assert document.lines["spec.routes[0].tiers[0]"] == 5


def test_values_are_what_json_can_say():
    assert one("{a: 1, b: 1.5, c: yes, d: ~, e: '1', f: 2026-01-01, g: [x]}").value == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": None,
        "e": "1",
        "f": "2026-01-01",
        "g": ["x"],
    }


def test_keys_are_strings_whatever_they_look_like():
    assert one("{1: a, true: b}").value == {"1": "a", "true": "b"}


def test_a_key_that_stands_twice_is_told_and_the_last_one_counts():
    document = one("a: 1\nb: 2\na: 3\n")
    assert document.value == {"a": 3, "b": 2}
    assert document.faults == [Fault(3, "the key 'a' stands here twice", fatal=False)]


def test_defaults_can_be_merged():
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*y, *x], c: 3}\nw: {<<: *x}\n"
    document = one(text)
    assert document.value["z"] == {"a": 1, "b": 2, "c": 3}
    assert document.value["w"] == {"a": 1, "b": 1}
    assert not document.faults


def test_documents_before_a_broken_one_count():
    first, second = documents("a: 1\n---\nb: [\n")
    assert isinstance(first, Document)
    assert isinstance(second, Fault)


def test_empty_documents_are_left_out():
    assert [it.value for it in documents("---\n---\na: 1\n---\n# only a comment\n")] == [{"a": 1}]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: [1, 2\n", 3, "no YAML"),
        ("a: 1\n\tb: 2\n", 2, "no YAML"),
        ("a: *nobody\n", 1, "no YAML"),
        ("a: \x07\n", 1, "characters that YAML does not allow"),
        ("a: !!binary aGk=\n", 1, "values of the type binary"),
        ("a: !mine x\n", 1, "values of the type !mine"),
        ("a: !!set {x}\n", 1, "values of the type set"),
        ("a: 1\n? [x]\n: y\n", 2, "a key must be a string"),
        ("~: y\n", 1, "a key must be a string"),
        ("a: .inf\n", 1, "infinity and NaN"),
        ("a: !!int x\n", 1, "does not have the form"),
        ("a: " + "9" * 5000, 1, "does not have the form"),
        ("a: 1\nb: {<<: 3}\n", 2, "only objects can be merged"),
        ("a: &a [*a]\n", 1, "nested deeper"),
        ("[" * 5000, 1, "nested deeper"),
    ],
)
def test_what_kubernetes_would_not_take_is_refused_with_its_line(text, line, message):
    found = fault(text)
    assert found.line == line
    assert message in found.message


@pytest.mark.parametrize("merge", ["x{n}: [*x, *x, *x, *x, *x, *x, *x, *x]", "x{n}: {{a: *x, b: *x, c: *x, d: *x}}"])
def test_aliases_of_aliases_do_not_grow_without_bound(merge):
    levels = ["x0: &x0 [1]"]
    for number in range(1, 12):
        line = merge.format(n=number).replace("*x", f"*x{number - 1}").replace(": ", f": &x{number} ", 1)
        levels.append(line)
    assert f"more than {MAX_NODES}" in fault("\n".join(levels)).message


def test_merges_of_merges_do_not_grow_without_bound():
    levels = ["x0: &x0 {a: 1}"]
    levels += [f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 8)}]}}" for n in range(1, 12)]
    assert f"more than {MAX_NODES}" in fault("\n".join(levels)).message


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!<>|'\"#%@`,? \n\t~1.", max_size=40))
def test_any_text_is_documents_or_a_fault(text):
    assert all(isinstance(it, Document | Fault) for it in documents(text))


@pytest.mark.parametrize("text", ['spec: "\\ud83d"', '"\\udc00": 1', '{a: ["x\\udfffy"]}'])
def test_half_of_a_character_is_a_fault_since_nothing_could_print_it(text):
    assert "half of a character" in fault(text).message
