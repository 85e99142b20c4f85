"""The JSON in what models write."""

from __future__ import annotations

import json

import pytest

from encord_agents.core.ontology.reading import MOST_FAILURES, breaks_off, objects_in


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, {"b": "}"}]}',
        '```json\n{"a": [1, {"b": "}"}]}\n```',
        'Sure! Here it is:\n\n{"a": [1, {"b": "}"},],}\n\nAnything else?',
        '{"a": [1, {"b": "}",},\n],\n}',
        '{"a": [1, {"b": "}"}]} // that is all, {really}',
        '{"a": [1, // a one\n {"b": "}"}]}',
        '<think>{ "no": json }</think>{"a": [1, {"b": "}"}]}',
        '[{"a": [1, {"b": "}"}]}]',
        "```python\n{'a': [1, {'b': '}'}]}\n```",
        "{“a”: [1, {„b‟: “}”}]}",
        '{a: [1, {b: "}"}]}',
        '{"a": [1, /* {"b": 2} */ {"b": "}"}]}',
        'It\'s {for you} and {\'s mine: {"a": [1, {"b": "}"}]}',
        'function f() { return x; } {"a": [1, {"b": "}"}]}',
    ],
)
def test_what_surrounds_an_object_is_passed_over(text: str) -> None:
    """Fences, words, comments, surplus commas, and what only looks like JSON."""
    assert list(objects_in(text)) == [{"a": [1, {"b": "}"}]}]


def test_texts_stay_as_they_are() -> None:
    """Commas, braces, quotes, words and slashes inside of texts are part of them."""
    value = {"a": 'x,} // "y" {None, True,]', "b": "https://here", "c": "{"}
    assert list(objects_in(json.dumps(value))) == [value]


def test_the_words_of_python_are_forgiven() -> None:
    """As are line breaks in texts."""
    assert list(objects_in('{"a": True, "b": [False, None], "c": "True\n"}')) == [
        {"a": True, "b": [False, None], "c": "True\n"}
    ]


def test_other_quotes() -> None:
    """What is in them stays as it is."""
    text = """{'it\\'s': 'a "b" \\\\ \\n c', “d”: “it's "e"”, 'f': "g’s “h”"}"""
    assert list(objects_in(text)) == [{"it's": 'a "b" \\ \n c', "d": 'it\'s "e"', "f": "g’s “h”"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ('{"a": 1}', False),
        ("a { b", False),
        ('{"a": 1', True),
        ('{"a": {"b": 1}, ', True),
        ('{"a": "b', True),
        ('```json\n{"a": ["b", {"c": 1}', True),
        ('{"a": 1} {"b"', True),
    ],
)
def test_where_a_text_breaks_off(text: str, expected: bool) -> None:
    """Models that run out of tokens end in the middle."""
    assert breaks_off(text) is expected


def test_several_objects_come_in_order() -> None:
    """So that the last word can count."""
    assert list(objects_in('first {"a": 1}, then {"b": {"c": 2}} {')) == [{"a": 1}, {"b": {"c": 2}}]


@pytest.mark.parametrize("text", ["", "none", "{", "}", '{"a"', "{a b: 1}", "[1, 2]", "{" * 5_000, '{"a":' * 5_000])
def test_where_there_is_none(text: str) -> None:
    """Nothing is found, and nothing is raised, however long it is."""
    assert list(objects_in(text)) == []


def test_not_every_brace_is_tried() -> None:
    """What a model babbles costs a bounded number of looks."""
    assert list(objects_in("{'x'} " * MOST_FAILURES + '{"a": 1}')) == []
    assert list(objects_in("{x} " * MOST_FAILURES + '{"a": 1}')) == [{"a": 1}]


@pytest.mark.parametrize("rest", ["A" * 1_000_000, '\\"' * 5_000])
def test_a_long_text_that_breaks_off(rest: str) -> None:
    """It is read in a time that grows with its length, and not with the square of it, which would be hours."""
    assert list(objects_in('{"picture": "' + rest)) == []
    assert breaks_off('{"picture": "' + rest)
