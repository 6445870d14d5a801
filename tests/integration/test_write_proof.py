"""What analysis says several shards may write: random statements, told to each shard as the plan says, against one PostgreSQL
with all rows. Counts, what RETURNING gives and what is left behind must be equal.

SEED repeats a run; ROUTING_STATEMENTS says how many statements.
"""
import collections
import json
import os
import random
import subprocess
import time

import psycopg2
import pytest
import test_proof
from conftest import BUILD, FULL
from test_proof import KEYS, LAB_SHARDS, NAMES, SECONDS_MOST, SHARDS, TABLES, Probe, World  # noqa: F401
from test_scatter_proof import Scattered

pytestmark = pytest.mark.plain

STATEMENTS = int(os.environ.get("ROUTING_STATEMENTS") or (2500 if FULL else 1500))
DDL = test_proof.DDL + """
CREATE TABLE q (id int PRIMARY KEY, v int, label text DEFAULT 'new', rank numeric(4,1));
CREATE TABLE codes (code int PRIMARY KEY, v int DEFAULT 7, label text);
CREATE VIEW vq AS SELECT id, v FROM q;
"""
# What is written: its columns with their kinds, as in test_proof.
WRITTEN = {name: test_proof.RELATIONS[name] for name in KEYS} | {"q": [("id", "k"), ("v", "i")], "vq": [("id", "k"), ("v", "i")]}
ALL_KEYS = KEYS | {"q": ["id"], "vq": ["id"]}


class Written(Scattered):
    def keyed_to(self, scope, others):
        """Ties to the key of what is written, mostly."""
        parts = []
        for name, kind in scope[0][1]:
            same = [f"{alias}.{column}" for alias, columns in others for column, other in columns if self.alike(kind, other)
                    and other in "ksncd"]
            if name in ALL_KEYS[self.table] and same and self.chance(0.85):
                parts.append(f"{scope[0][0]}.{name} = {self.rng.choice(same)}")
        return parts

    def any_value(self, kind):
        """Of keys other than the statement's, too."""
        self.key, self.name = self.rng.randrange(6), self.rng.choice(NAMES)
        return self.value(kind)

    def where(self, scope):
        parts = [self.condition(scope, 1)] if self.chance(0.7) else []
        key = next(name for name, _ in scope[0][1] if name == ALL_KEYS[self.table][0])
        kind = dict(scope[0][1])[key]
        if len(ALL_KEYS[self.table]) == 1 and self.chance(0.3):
            parts.append(f"{scope[0][0]}.{key} IN ({', '.join(self.any_value(kind) for _ in range(3))})")
        return parts

    def correlated(self, alias, keys):
        tied = self.rng.choice([f" WHERE tid = {alias}.{keys[0]}"] * 4 + [""])
        return self.rng.choice([f"(SELECT max(c) FROM u{tied})", f"(SELECT count(*) FROM u{tied})",
                                f"(SELECT c FROM u{tied} ORDER BY c LIMIT 1)", f"(SELECT s FROM ref WHERE r = {self.key} LIMIT 1)"])

    def changed(self):
        """UPDATE and DELETE."""
        self.table = self.rng.choice(list(WRITTEN))
        alias, columns, keys = self.alias(), WRITTEN[self.table], ALL_KEYS[self.table]
        scope, kinds = [(alias, columns)], dict(columns)
        others, common, source = [], "", ""
        if self.chance(0.4):
            common = self.common()
            item, others = self.item(1, [])
            source = item
        parts = self.keyed_to(scope, others) + self.where(scope + others)
        where = f" WHERE {' AND '.join(f'({part})' for part in parts)}" if parts else ""
        returning = f" RETURNING {alias}.*" if self.chance(0.5) else ""
        if self.chance(0.4):
            return f"{common}DELETE FROM {self.table} {alias}{' USING ' + source if source else ''}{where}{returning}"
        other = next(name for name, kind in columns if kind == "i")
        numeric = [name for name, kind in columns if kind in "ki"]
        sets = [f"{other} = " + self.rng.choice([f"{self.rng.randrange(4)}", f"coalesce({alias}.{other}, 0) + 1",
                                                 f"{alias}.{self.rng.choice(numeric)}", self.correlated(alias, keys)
                                                 if kinds[keys[0]] == "k" else "1"])]
        if self.chance(0.15):
            same = [f"{name}.{column}" for name, its in others for column, kind in its if kind == kinds[keys[0]]]
            sets.append(f"{keys[0]} = {self.rng.choice([f'{alias}.{keys[0]}', *same, self.any_value(kinds[keys[0]])])}")
        return (f"{common}UPDATE {self.table} {alias} SET {', '.join(sets)}{' FROM ' + source if source else ''}{where}"
                f"{returning}")

    def rows(self, depth=0):  # noqa: ARG002
        self.table = self.rng.choice([*WRITTEN, "q", "q"])
        columns, keys = WRITTEN[self.table], ALL_KEYS[self.table]
        if self.chance(0.3):
            columns = self.rng.sample(columns, len(columns))
        names = f" ({', '.join(name for name, _ in columns)})" if columns != WRITTEN[self.table] or self.chance(0.2) else ""
        other = [f"{self.rng.randrange(4)}", "(1 + 2)", "NULL", "length('),(')", "(SELECT max(s) FROM ref)", "DEFAULT",
                 "greatest(1, 2)"]
        rows = ", ".join("(" + ", ".join(self.any_value(kind) if name in keys else self.rng.choice(other)
                                         for name, kind in columns) + ")" for _ in range(self.rng.randint(1, 5)))
        conflict = self.rng.choice(["", " ON CONFLICT DO NOTHING", " ON CONFLICT (id) DO UPDATE SET v = excluded.v + 10",
                                    " ON CONFLICT (id) DO UPDATE SET v = 9 WHERE q.v > 1"]) if self.table == "q" else ""
        return f"INSERT INTO {self.table}{names} VALUES {rows}{conflict}{' RETURNING *' if self.chance(0.6) else ''}"

    def merged(self):
        """MERGE of rows of tables, tied to the key of what is written, mostly; and of a reference table's."""
        self.table = self.rng.choice([name for name in WRITTEN if name != "vq"])
        alias, columns, keys = self.alias(), WRITTEN[self.table], ALL_KEYS[self.table]
        kinds, other = dict(columns), next(name for name, kind in columns if kind == "i")
        common = self.common()
        pick = self.rng.random()
        if pick < 0.4:
            query, found = self.plain(keys)
            source, others = f"({query}) s", [("s", found)]
        elif pick < 0.55:
            source, others = "ref s", [("s", test_proof.RELATIONS["ref"])]
        else:
            source, others = self.item(self.rng.randint(0, 1), [])
        target = [(alias, columns)]
        parts = self.keyed_to(target, others) + ([self.condition(target + others, 1)] if self.chance(0.3) else [])
        texts = [f"{its}.{column}" for its, found in others for column, kind in found if kind in "ki"] or ["1"]

        def when(clause, scope, action):
            return f" WHEN {clause}{' AND ' + self.other_condition(scope) if self.chance(0.3) else ''} THEN {action}"

        sets = f"UPDATE SET {other} = {self.rng.choice([*texts, f'coalesce({alias}.{other}, 0) + 1', '3'])}"
        if self.chance(0.1):
            same = [f"{its}.{column}" for its, found in others for column, kind in found if kind == kinds[keys[0]]]
            sets += f", {keys[0]} = {self.rng.choice([f'{alias}.{keys[0]}', *same])}"
        clauses = when("MATCHED", target + others, self.rng.choice([sets, sets, "DELETE", "DO NOTHING"]))
        if self.chance(0.2):
            clauses = f" WHEN MATCHED AND {alias}.{other} > 1 THEN {self.rng.choice(['DELETE', sets])}" + clauses
        if self.chance(0.6):
            tied = []
            for key in keys:
                same = [f"{its}.{column}" for its, found in others for column, kind in found if self.alike(kind, kinds[key])]
                right = [text for text in same if f"{alias}.{key} = {text}" in parts]
                tied.append(self.rng.choice(right if right and self.chance(0.8) else [*same, self.value(kinds[key])]))
            clauses += when("NOT MATCHED", others, f"INSERT ({', '.join([*keys, other])}) VALUES "
                                                   f"({', '.join([*tied, self.rng.choice([*texts, '5', 'DEFAULT'])])})")
        elif self.chance(0.3):
            clauses += when("NOT MATCHED", others, "DO NOTHING")
        return f"{common}MERGE INTO {self.table} {alias} USING {source} ON {' AND '.join(parts) or 'true'}{clauses}"

    def plain(self, keys):
        """Of a table with as many keys, all its rows."""
        table = self.rng.choice([name for name, others in ALL_KEYS.items() if len(others) == len(keys)])
        alias, picked = self.alias(), ALL_KEYS[table]
        kinds = dict(WRITTEN[table])
        where = f" WHERE {self.other_condition([(alias, WRITTEN[table])])}" if self.chance(0.3) else ""
        return (f"SELECT {', '.join(f'{alias}.{name} AS c{i}' for i, name in enumerate(picked))} FROM {table} {alias}{where}",
                [(f"c{i}", kinds[name]) for i, name in enumerate(picked)])

    def queried(self):
        self.table = self.rng.choice(list(WRITTEN))
        columns, keys = dict(WRITTEN[self.table]), ALL_KEYS[self.table]
        common = self.common()
        query, found = self.plain(keys) if self.chance(0.5) else self.select(self.rng.randint(0, 2))
        picked = [next((name for name, kind in found if kind == columns[key]), None) for key in keys]
        if not all(picked):
            return self.rows()
        alias = self.alias()
        text = (f"{common}INSERT INTO {self.table} ({', '.join(keys)}) SELECT {', '.join(f'{alias}.{name}' for name in picked)} "
                f"FROM ({query}) {alias}")
        if self.chance(0.3):
            others = [f"{alias}.{name}" for name in picked]
            text += f" GROUP BY {', '.join(others)}" if self.chance(0.5) else self.rng.choice([" LIMIT 2", " ORDER BY 1"])
        if self.table == "q":
            text += " ON CONFLICT DO NOTHING"
        return text + (" RETURNING *" if self.chance(0.5) else "")

    def copied(self):
        """Writes to a reference table."""
        value = self.rng.choice([f"{self.rng.randrange(4)}", "v + 1", "(SELECT max(s) FROM ref WHERE r = code)", "DEFAULT",
                                 "(SELECT count(*) FROM ref)", "(SELECT s FROM ref LIMIT 1)", "(SELECT sum(v) FROM codes)",
                                 "(SELECT max(a) FROM t)"])
        where = self.rng.choice(["", f" WHERE code = {self.key}", " WHERE v IN (SELECT s FROM ref)", " WHERE code > 2",
                                 " WHERE code IN (SELECT id FROM t)"])
        returning = self.rng.choice(["", " RETURNING *"])
        rows = ", ".join(f"({self.rng.randrange(12)}, {self.rng.choice(['1', 'DEFAULT', '(SELECT max(s) FROM ref)'])})"
                         for _ in range(self.rng.randint(1, 3)))
        conflict = self.rng.choice([" ON CONFLICT DO NOTHING", " ON CONFLICT (code) DO UPDATE SET v = excluded.v", ""])
        return self.rng.choice([
            f"UPDATE codes SET v = {value}{where}{returning}", f"DELETE FROM codes{where}{returning}",
            f"INSERT INTO codes VALUES {rows}{conflict}{returning}",
            f"INSERT INTO codes SELECT r + 20, s FROM ref{self.rng.choice(['', ' LIMIT 2', ' WHERE s = 1'])}{returning}",
            f"DELETE FROM codes USING ref WHERE r = code{returning}", f"UPDATE codes SET v = s FROM ref WHERE r = code{returning}"])

    def build(self):
        pick = self.rng.random()
        if pick < 0.2:
            return self.merged()
        return self.changed() if pick < 0.55 else self.rows() if pick < 0.75 else self.queried() if pick < 0.9 else self.copied()


class WriteProbe(Probe):
    options = ("--writes",)

    def __init__(self, ddl):
        tables = [*TABLES, "q:modulo:int4:id", "codes:reference"]
        self.process = subprocess.Popen([BUILD / "tests/unit/planprobe", *self.options, str(SHARDS), ddl, *tables],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)


class Cluster(World):
    ddl, probe_class = DDL, WriteProbe
    CONTENT = " UNION ALL ".join(f"SELECT '{name}', {name}::text FROM {name}" for name in [*KEYS, "q"])
    # Where the key of a row says another shard: modulo's, on three of them.
    STRAY = " UNION ALL ".join(f"SELECT '{name}', {name}::text FROM {name} WHERE mod(mod({key}, 3) + 3, 3) <> %d"
                               for name, key in (("t", "id"), ("u", "tid"), ("p", "id"), ("q", "id")))
    COPIES = "SELECT 'codes', codes::text FROM codes UNION ALL SELECT 'ref', ref::text FROM ref"

    def fill(self, rng):
        super().fill(rng)
        for key in range(6):
            if rng.random() < 0.7:
                self.insert(f"INSERT INTO q VALUES ({key}, {rng.randrange(4)})")
        for at, connection in enumerate(self.connections):  # equal copies, in another order each
            codes = list(range(6))
            random.Random(at).shuffle(codes)
            for code in codes:
                self.run(connection, f"INSERT INTO codes VALUES ({code}, {code % 3}, 'c')")
            self.run(connection, "CREATE TEMP TABLE shuffled AS SELECT * FROM ref")
            self.run(connection, "DELETE FROM ref")
            self.run(connection, f"INSERT INTO ref SELECT * FROM shuffled ORDER BY md5((r + {at})::text)")

    @staticmethod
    def rows_of(connection, statement):
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.rowcount, [repr(row) for row in cursor.fetchall()] if cursor.description else []

    def outcomes(self, statement, plan):
        """What one PostgreSQL and the shards make of it: (count, rows), all content, the copies' each, and what is astray."""
        told = [(0, statement)] + [(1 + part["shard"], part["text"]) for part in plan["parts"]]
        answers = {}
        for connection in self.connections:
            self.run(connection, "BEGIN")
        try:
            for at, text in told:
                try:
                    answers[at] = self.rows_of(self.connections[at], text)
                except psycopg2.Error as error:
                    answers[at] = error.pgcode
            good = [at for at in range(LAB_SHARDS) if not isinstance(answers.get(at), str)]
            content = {at: collections.Counter(self.run(self.connections[at], self.CONTENT)) for at in good}
            copies = {at: self.run(self.connections[at], self.COPIES) for at in good}
            stray = [row for at in good if at for row in self.run(self.connections[at], self.STRAY % ((at - 1,) * 4))]
            return answers, content, copies, stray
        finally:
            for connection in self.connections:
                self.run(connection, "ROLLBACK")

    def check(self, statement, plan):
        """None, or what is wrong."""
        answers, content, copies, stray = self.outcomes(statement, plan)
        errors = {at: code for at, code in answers.items() if isinstance(code, str)}
        self.failed = 0 in errors
        counts = {at - 1: answer[0] for at, answer in answers.items() if at and at not in errors}
        # A row of another shard would get a key of the keeper's: the proxy fails it.
        self.astray = plan["keeper"] >= 0 and any(count for shard, count in counts.items() if shard != plan["keeper"])
        if self.astray:
            return None
        if errors:
            # A row too many for a subquery of a row that is filtered away: PostgreSQL may look at it, or not.
            alike = "21000" in errors.values() or (0 in errors and len(errors) > 1)
            return None if alike else f"errors {errors}"
        parts = [answers[1 + part["shard"]] for part in plan["parts"]]
        expected = answers[0]
        if plan["same"]:
            counts, rows = {count for count, _ in parts} | {expected[0]}, parts[0][1]
            if len(counts) > 1 or len(plan["parts"]) != SHARDS:
                return f"tags {counts}"
        else:
            if sum(count for count, _ in parts) != expected[0]:
                return f"counts {[count for count, _ in parts]}, one PostgreSQL: {expected[0]}"
            rows = [row for _, rows in parts for row in rows]
        if plan["in_order"]:
            placed = {place: row for part, (_, rows) in zip(plan["parts"], parts) for place, row in zip(part["rows"], rows)}
            rows = [placed[place] for place in sorted(placed)]
            if rows != expected[1]:
                return f"order of RETURNING: {rows}, one PostgreSQL: {expected[1]}"
        if collections.Counter(rows) != collections.Counter(expected[1]):
            return f"RETURNING {rows}, one PostgreSQL: {expected[1]}"
        if sum((content[1 + shard] for shard in range(SHARDS)), collections.Counter()) != content[0]:
            return "other rows are left behind"
        if stray:
            return f"rows on a shard that does not own them: {stray}"
        return None if all(copy == copies[0] for copy in copies.values()) else "the copies of a reference table differ"


@pytest.fixture(scope="module")
def cluster(lab, module_directory):
    seed = int(os.environ.get("SEED") or random.randrange(2**32))
    print(f"SEED={seed}")
    made = Cluster(lab, module_directory, random.Random(seed))
    made.seed = seed
    yield made
    made.close()


def statement_kind(statement):
    return next(word for word in statement.split() if word in ("INSERT", "UPDATE", "DELETE", "MERGE"))


@pytest.mark.deadline(3600)
def test_what_several_shards_write_is_right(cluster):
    proved, other, failed, wrong = collections.Counter(), collections.Counter(), 0, []
    until = time.monotonic() + SECONDS_MOST
    for number in range(STATEMENTS):
        if time.monotonic() > until:
            break
        statement = Written(random.Random(cluster.seed * 1000003 + number)).build()
        plan = cluster.probe.plan(statement)
        if not plan.startswith("{"):
            other[plan.partition(" Several ")[2][:70] or plan[:70] if plan.startswith("refused") else "one shard"] += 1
            continue
        if json.loads(plan)["moves"]:  # its second part gets rows of the first: test_proxy_moves.py has these
            other["a row gets another key"] += 1
            continue
        problem = cluster.check(statement, json.loads(plan))
        failed += cluster.failed
        if cluster.astray:
            other["a row that would go to another shard"] += 1
            continue
        proved["ref" if json.loads(plan)["same"] else statement_kind(statement)] += 1
        if problem:
            wrong.append(f"{number}: {statement}\n    plan {plan}: {problem}")
    total = sum(proved.values())
    done = total + sum(other.values())
    print(f"{done} statements: {dict(proved)} by several shards ({100 * total // done} %), {failed} of them errors; "
          f"wrong: {len(wrong)}")
    for reason, count in other.most_common(12):
        print(f"    {count} {reason}")
    assert not wrong, "\n".join(wrong[:10])
    assert done > 100 and total > done / 10 and failed < total / 2
