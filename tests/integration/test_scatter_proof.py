"""What analysis says every shard answers for itself: random statements, run on each shard as the plan says and put together
here, against one PostgreSQL with all rows. Rows, their order and their number must be equal.

SEED repeats a run; ROUTING_STATEMENTS says how many statements.
"""
import collections
import functools
import json
import operator
import os
import random
import time

import psycopg2
import pytest
import test_proof
from conftest import FULL
from test_proof import KEYS, LAB_SHARDS, SECONDS_MOST, Probe, Statement, World  # noqa: F401

pytestmark = pytest.mark.plain

STATEMENTS = int(os.environ.get("ROUTING_STATEMENTS") or (2500 if FULL else 1500))
# A text's order is ours to merge only where its collation is known.
DDL = test_proof.DDL.replace("name text", 'name text COLLATE "C"').replace("char(4)", 'char(4) COLLATE "C"') + """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
ALTER TABLE t ADD COLUMN mood mood DEFAULT 'ok';
"""


class Scattered(Statement):
    """Statements that name keys for the most part to tie tables together, seldom to bind them."""

    def keyed(self, scope):
        keys = [(f"{alias}.{name}", kind) for alias, columns in scope for name, kind in columns if kind in "ksncd"]
        parts = []
        for name, kind in keys[1:]:
            others = [other for other, its in keys if self.alike(kind, its) and other != name]
            if others and self.chance(0.85):
                parts.append(f"{name} = {others[0]}")
        if keys and self.chance(0.1):
            parts.append(f"{keys[0][0]} IN ({self.value(keys[0][1])}, {self.value(keys[0][1])})")
        return parts

    def relation(self, writable=False):
        return "ref" if self.chance(0.1) else super().relation(writable)

    def equality(self, scope):
        if self.chance(0.25):
            return super().equality(scope)
        column = self.column(scope, "k") or self.column(scope, "i")
        if not column:
            return "true"
        other = self.column(scope, column[1]) if self.chance(0.7) else None
        return f"{column[0]} = {other[0]}" if other else f"{column[0]} {self.rng.choice(['>', '<', '<>'])} {self.rng.randrange(5)}"

    def source(self, depth):
        """FROM and WHERE of the top, and its scope."""
        items, scope = [], []
        for _ in range(self.rng.choice([1, 1, 1, 2])):
            text, more = self.item(depth, list(scope))
            items.append(text)
            scope += more
        parts = self.keyed(scope) if self.chance(0.9) else []
        if self.chance(0.4):
            parts.append(self.condition(scope, depth))
        where = " AND ".join(f"({part})" for part in parts) or "true"
        return f"FROM {', '.join(items)} WHERE {where}", scope

    def order(self, targets, scope, distinct=False):
        """ORDER BY of places, names, columns and expressions; targets: (text, name)."""
        items = []
        for _ in range(self.rng.randint(1, 3)):
            pick, place = self.rng.random(), self.rng.randrange(len(targets))
            column = self.column(scope, "kisncd")
            if pick < 0.3 or distinct or not column:
                item = str(place + 1) if self.chance(0.5) else targets[place][1]
            elif pick < 0.8:
                item = column[0]
            else:
                item = f"({column[0]}) IS NULL" if column[1] in "sncd" else f"-{column[0]} + 1"
            direction, nulls = self.rng.choice(["", "", " ASC", " DESC"]), self.rng.choice(["", "", " NULLS FIRST", " NULLS LAST"])
            items.append(item + direction + nulls)
        return " ORDER BY " + ", ".join(items)

    def rows(self, depth):
        rest, scope = self.source(depth)
        text, columns = self.targets(scope, False)
        if self.chance(0.15):
            call, key = self.rng.choice(["count(*)", "max(q.c)", "min(q.uid)"]), (self.column(scope, "k") or ["1"])[0]
            text += f", (SELECT {call} FROM u q WHERE q.tid = {key}) AS sub"
            columns = [*columns, ("sub", "i")]
        targets = [(None, name) for name, _ in columns]
        pick = self.rng.random()
        if pick < 0.15:
            return f"SELECT DISTINCT {text} {rest}" + (self.order(targets, scope, True) if self.chance(0.5) else "")
        if pick < 0.25:
            key = self.column(scope, "k")
            if key:
                order = self.order(targets, scope) if self.chance(0.5) else ""
                return f"SELECT {text}, count(*) OVER (PARTITION BY {key[0]}) AS n {rest}{order}"
        if pick < 0.32:
            key = self.column(scope, "ks")
            if key:
                return f"SELECT DISTINCT ON ({key[0]}) {key[0]} AS c0 {rest} ORDER BY {key[0]}"
        if pick < 0.36 and any(alias == "t" for alias, _ in scope):
            return f"SELECT t.id {rest} ORDER BY t.mood DESC"
        star = self.chance(0.1)
        text = "*" if star else text
        return f"SELECT {text} {rest}" + (self.order(targets, scope) if self.chance(0.5) and not star else "")

    def aggregate(self, scope):
        number, any_ = self.column(scope, "ki"), self.column(scope, "kisncd")
        if not number or not any_:
            return "count(*)"
        distinct = "DISTINCT " if self.chance(0.1) else ""
        call = self.rng.choice(["count(*)", f"count({distinct}{any_[0]})", f"sum({distinct}{number[0]})", f"min({any_[0]})",
                                f"max({distinct}{any_[0]})", f"bool_and({number[0]} > 1)", f"bool_or({number[0]} > 3)",
                                f"every({number[0]} < 9)", f"bit_or({number[0]}::int)", f"bit_xor({number[0]}::int)",
                                f"bit_and({number[0]}::int)"])
        return call + (f" FILTER (WHERE {number[0]} > 1)" if self.chance(0.2) else "")

    def build(self):
        depth = self.rng.randint(0, 2)
        common = self.common()
        pick = self.rng.random()
        if pick < 0.15:
            rest, scope = self.source(depth)
            return common + "SELECT " + ", ".join(self.aggregate(scope) for _ in range(self.rng.randint(1, 3))) + " " + rest
        if pick < 0.35:
            rest, scope = self.source(depth)
            by = [column for column in (self.column(scope, "ksncd"), self.column(scope, "kisncd")) if column]
            if by:
                names = ", ".join(dict.fromkeys(name for name, _ in by))
                call = self.aggregate(scope)
                targets = [(None, "g"), (None, "x")]
                having = f" HAVING {call} IS NOT NULL" if self.chance(0.2) else ""
                order = self.order(targets, [], True) if self.chance(0.5) else ""
                return common + f"SELECT {by[0][0]} AS g, {call} AS x {rest} GROUP BY {names}{having}{order}"
        if pick < 0.45:
            left, columns = self.select(depth, single=True)
            right, others = self.select(depth, single=True)
            if self.alike(columns[0][1], others[0][1]):
                operation = self.rng.choice(["UNION ALL", "UNION", "EXCEPT", "INTERSECT", "INTERSECT ALL"])
                return common + f"({left}) {operation} ({right})"
        if pick < 0.48:
            pairs = ["SELECT x, y FROM k", "SELECT y, x FROM k", "SELECT e, y FROM k", "SELECT id, a FROM t",
                     "SELECT tid, c FROM u"]
            return f" {self.rng.choice(['UNION ALL', 'UNION', 'EXCEPT', 'INTERSECT'])} ".join(
                f"{self.rng.choice(pairs)}{self.rng.choice(['', ' WHERE true'])}" for _ in range(self.rng.randint(2, 3)))
        if pick < 0.58:
            query, _ = self.select(depth)
            return common + query
        return common + self.rows(depth)

    def limit(self):
        if not self.chance(0.3):
            return ""
        return self.rng.choice([" LIMIT 3", " LIMIT 0", " LIMIT 4 OFFSET 2", " OFFSET 3", " OFFSET 1 ROW FETCH FIRST 2 ROWS ONLY",
                                " LIMIT ALL"])


class ScatterProbe(Probe):
    options = ("--scatter",)


class Cluster(World):
    ddl, probe_class = DDL, ScatterProbe

    @staticmethod
    def rows(connection, statement):
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()


def compare(values, others, sorts):
    """PostgreSQL's order of two rows' hidden columns."""
    for value, other, (descending, nulls_first) in zip(values, others, sorts):
        if value == other:
            continue
        if value is None or other is None:
            return -1 if (value is None) == nulls_first else 1
        if isinstance(value, str):
            value, other = value.encode(), other.encode()
        return (1 if value < other else -1) if descending else (-1 if value < other else 1)
    return 0


def both(function):
    return lambda a, b: b if a is None else a if b is None else function(a, b)


COMBINES = [operator.add, both(operator.add), both(min), both(max), both(lambda a, b: a and b), both(lambda a, b: a or b),
            both(operator.and_), both(operator.or_), both(operator.xor)]


def merged(plan, answers):
    """The rows with their hidden columns, as the proxy merges them."""
    columns = plan["columns"]
    rows = [row for answer in answers for row in answer]
    if plan["combines"] is not None:
        assert all(len(answer) == 1 and answer[0][:columns] == answer[0][columns:] for answer in answers)
        rows = [tuple(functools.reduce(COMBINES[function], [answer[0][i] for answer in answers])
                      for i, function in enumerate(plan["combines"]))]
    elif plan["sorts"]:
        order = functools.cmp_to_key(lambda a, b: compare(a[columns:], b[columns:], plan["sorts"]))
        for answer in answers:
            assert answer == sorted(answer, key=order), "a shard's answer is in another order than its hidden columns"
        rows.sort(key=order)
    end = None if plan["limit"] is None else plan["offset"] + plan["limit"]
    return rows[plan["offset"]:end]


def check(cluster, base, limit, plan):
    """None, or what is wrong. `base` has no LIMIT: which rows it takes of equal ones is free."""
    columns, single = plan["columns"], cluster.connections[0]
    expected = keyed = cluster.rows(single, base)
    try:
        got = merged(plan, [cluster.rows(cluster.connections[1 + shard], plan["text"]) for shard in plan["shards"]])
    except psycopg2.Error as error:
        return f"a shard: {error}"
    if plan["sorts"]:
        keyed = cluster.rows(single, json.loads(cluster.probe.plan(base))["text"])
    if collections.Counter(map(repr, (row[:columns] for row in keyed))) != collections.Counter(map(repr, expected)):
        return "hidden columns change the rows"
    end = None if plan["limit"] is None else plan["offset"] + plan["limit"]
    wanted = keyed[plan["offset"]:end]
    if [row[columns:] for row in got] != [row[columns:] for row in wanted] and plan["sorts"]:
        return f"order: {got}, one PostgreSQL: {wanted}"
    if len(got) != len(wanted):
        return f"{len(got)} rows, one PostgreSQL: {len(wanted)}"
    surplus = collections.Counter(repr(row[:columns]) for row in got) - collections.Counter(map(repr, expected))
    return f"rows that one PostgreSQL does not have: {surplus}" if surplus else None


@pytest.fixture(scope="module")
def cluster(lab, module_directory):
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"SEED={seed}")
    made = Cluster(lab, module_directory, random.Random(seed))
    made.seed = seed
    yield made
    made.close()


@pytest.mark.deadline(3600)
def test_what_every_shard_answers_for_itself_is_right(cluster):
    proved, other, failed, wrong = 0, collections.Counter(), 0, []
    until = time.monotonic() + SECONDS_MOST
    for number in range(STATEMENTS):
        if time.monotonic() > until:
            break
        maker = Scattered(random.Random(cluster.seed * 1000003 + number))
        base = maker.build()
        limit = maker.limit() if " LIMIT " not in base.rsplit(")", 1)[-1] else ""
        plan = cluster.probe.plan(base + limit)
        if not plan.startswith("{"):
            other[plan[:70] if plan.startswith("refused") else "one shard"] += 1
            continue
        try:
            problem = check(cluster, base, limit, json.loads(plan))
        except psycopg2.Error:
            failed += 1
            continue
        proved += 1
        if problem:
            wrong.append(f"{number}: {base}{limit}\n    plan {plan}: {problem}")
    done = proved + failed + sum(other.values())
    print(f"{done} statements: {proved} for every shard ({100 * proved // done} %), {failed} are errors; wrong: {len(wrong)}")
    for reason, count in other.most_common(12):
        print(f"    {count} {reason}")
    assert not wrong, "\n".join(wrong[:10])
    assert done > 100 and proved > done / 10 and failed < proved
