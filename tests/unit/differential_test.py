"""The parts of the differential tests that need no server: the judge, the shrinker, the generator."""
import pathlib
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "differential"), str(TESTS / "integration")]

from compare import Answer, judge  # noqa: E402
from nodes import is_ordered, node_types  # noqa: E402
from schema import Schema  # noqa: E402
from shrink import shrink  # noqa: E402
from statements import Generator  # noqa: E402
from tree import Node, clause, listed  # noqa: E402


def answer(rows, types=("int4",), tag=None, code=None):
    made = Answer()
    made.columns, made.code = [("c", type) for type in types], code
    made.rows = [each if isinstance(each, list) else [each] for each in rows]
    made.tag = tag or f"SELECT {len(rows)}"
    return made


PAIR = ["int4", "text"]


@pytest.mark.parametrize("one, two, order, loose, verdict", [
    (answer([b"1", b"2"]), answer([b"2", b"1"]), None, False, "equal"),
    (answer([b"1", b"2"]), answer([b"2", b"1"]), "all", False, "wrong"),
    (answer([b"1", b"2"]), answer([b"2", b"1"]), [0], False, "wrong"),
    (answer([b"1", b"1"]), answer([b"1", b"2"]), None, False, "wrong"),
    (answer([b"1"]), answer([b"1", b"1"]), None, False, "wrong"),
    (answer([b"1"]), answer([b"1"], ["int8"]), None, False, "wrong"),
    (answer([b"1.0"], ["numeric"]), answer([b"1.00"], ["numeric"]), None, False, "wrong"),
    (answer([b"1.0"], ["numeric"]), answer([b"1.00"], ["numeric"]), None, True, "equal"),
    (answer([b"0.30000000000000004"], ["float8"]), answer([b"0.3"], ["float8"]), None, False, "equal"),
    (answer([b"0.3001"], ["float8"]), answer([b"0.3"], ["float8"]), None, True, "wrong"),
    (answer([b"a"], ["bpchar"]), answer([b"a "], ["bpchar"]), "all", True, "equal"),
    (answer([b"a"], ["bpchar"]), answer([b"a "], ["bpchar"]), "all", False, "wrong"),
    (answer([b"-0"], ["float8"]), answer([b"0"], ["float8"]), None, False, "wrong"),
    (answer([b"NaN"], ["float8"]), answer([b"NaN"], ["float8"]), "all", False, "equal"),
    (answer([None]), answer([None]), None, False, "equal"),
    (answer([[b"1", b"a"], [b"1", b"b"]], PAIR), answer([[b"1", b"b"], [b"1", b"a"]], PAIR), [0], False, "equal"),
    (answer([], code="22012"), answer([], code="22012"), None, False, "equal"),
    (answer([], code="22012"), answer([], code="42703"), None, False, "wrong"),
    (answer([b"1"]), answer([], code="XX000"), None, False, "wrong"),
    (answer([b"1"]), answer([], code="0A000"), None, False, "refused"),
    (answer([], code="0A000"), answer([], code="0A000"), None, False, "equal"),
])
def test_judge(one, two, order, loose, verdict):
    assert judge(one, two, order, "simple", loose)[0] == verdict


@pytest.mark.parametrize("one, two, may_lose, verdict", [
    ((-1, 7, 0), (-1, 7, 0), False, "equal"), ((-1, 7, 0), (-1, -1, 0), False, "wrong"), ((-1, 7, 0), (-1, -1, 0), True, "equal"),
    ((-1, 7, 0), (-1, 8, 0), True, "wrong"), ((-1, -1, 0), (-1, 7, 0), True, "equal"),
    ((-1, 7, 0), (4, -1, 0), True, "wrong"), ((-1, 7, 0), (-1, -1, 1), True, "wrong"),
])
def test_judge_of_modifiers(one, two, may_lose, verdict):
    answers = [answer([b"1"]), answer([b"1"])]
    for made, modifiers in zip(answers, (one, two)):
        made.modifiers = [modifiers]
    assert judge(*answers, None, "simple", False, may_lose)[0] == verdict


def test_a_failing_tree_is_made_small():
    bad = Node("expr:int", ["(bad + ", Node("expr:int", ["1"]), ")"])
    tree = Node("query", ["SELECT ", listed(["a", bad, "b"]), " FROM ", Node("from", ["t"]), clause(" WHERE ", "x")])
    assert shrink(tree, lambda each: "bad" in each.text()).text() == "SELECT (bad + 1) FROM t"


def test_a_seed_makes_the_same_again_and_what_it_makes_parses():
    texts = []
    for _ in range(2):
        schema = Schema(7)
        made = (Generator(schema, number, 1 + number % 3).statement().text() for number in range(200))
        texts.append([schema.ddl(), schema.yaml(3), *made])
    assert texts[0] == texts[1]
    assert sum(1 for text in texts[0][2:] if node_types(text)) >= 198


def test_which_query_is_ordered():
    assert is_ordered("SELECT 1 ORDER BY 1") and not is_ordered("SELECT * FROM (SELECT 1 ORDER BY 1) s")
