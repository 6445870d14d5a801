"""What is proved is right: the shard that `explain` names gives, of random statements, what one PostgreSQL gives.

The proxy is not in between: a statement is planned, then run on the shard alone and on one server that has all rows.
"""
import json
import os
import pathlib
import random
import time
from collections import Counter

import psycopg2
import pytest

from routing_statements import KEYS, SCHEMA, TABLES, Statements

SHARDS = 3
LAB_SHARDS = SHARDS + 1  # the last one has all rows, and is taken out of the config
# The parts of a table that stands on several shards are added up; the reference table is whole on each.
SPREAD = ["users", "orders", "events", "docs", "pairs", "settings", "app.users"]


def rows():
    """table → rows; settings and app.users are home tables."""
    generator = random.Random(7)
    made = {table: [] for table in [*SPREAD, "countries"]}
    for key in KEYS:
        made["users"].append((key, f"name{key % 3}", generator.choice(["sad", "ok", "glad", None]), generator.randint(0, 9)))
        made["orders"] += [(key, k, generator.randint(1, 99)) for k in range(1, generator.randint(1, 4))]
        made["events"] += [(key, f"202{generator.choice('46')}-0{key}-01", "x") for _ in range(generator.randint(0, 3))]
        made["pairs"] += [(key, b, 1) for b in "xy"]
        made["countries"].append((key, f"name{key % 3}"))
        made["settings"].append((key, f"v{key}"))
        made["app.users"].append((key, f"app{key}", None, key))
    made["docs"] = [(tag, n, "b") for tag in "abc" for n in range(3)]
    return made


def owners(cluster, table, keys):
    out = cluster.run("route", table, "--json", input="".join(f"{key}\n" for key in keys), check=True).stdout
    return [int(json.loads(line)["shard"][1:]) for line in out.splitlines()]


@pytest.fixture(scope="module")
def servers(lab):
    """Connections to the shards and to one server, with the same rows."""
    one = psycopg2.connect(lab.conninfo(SHARDS))
    config = pathlib.Path(lab.config)
    config.write_text("".join(line for line in config.read_text().splitlines(True) if f"name: s{SHARDS}," not in line))
    lab.query(1, "CREATE TYPE first AS ENUM ('x')")  # so that OIDs differ between shards
    one.cursor().execute(SCHEMA)
    one.commit()
    for shard in range(SHARDS):
        lab.query(shard, SCHEMA)
    lab.add_tables(TABLES)
    lab.run("apply", "--yes", check=True)
    connections = [psycopg2.connect(lab.conninfo(shard)) for shard in range(SHARDS)]
    for table, content in rows().items():
        if table == "countries":
            places = [range(SHARDS)] * len(content)
        elif table in ("settings", "app.users"):
            places = [[0]] * len(content)
        else:
            keys = [f"{row[0]},{row[1]}" if table == "pairs" else row[0] for row in content]
            places = [[owner] for owner in owners(lab, table, keys)]
        for row, shards in zip(content, places):
            for connection in [one, *(connections[shard] for shard in shards)]:
                connection.cursor().execute(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(row))})", row)
    for connection in [one, *connections]:
        connection.commit()
        connection.cursor().execute("SET search_path = public; SET statement_timeout = '20s'")
        connection.commit()
    yield lab, connections, one
    for connection in [one, *connections]:
        connection.close()


def run(connection, sql):
    """SQLSTATE, or the rows as a multiset (None: it has none) and the count that the tag has."""
    with connection.cursor() as cursor:
        try:
            cursor.execute("SAVEPOINT s")
            cursor.execute(sql)
            return Counter(cursor.fetchall()) if cursor.description else None, cursor.rowcount
        except psycopg2.Error as failed:
            cursor.execute("ROLLBACK TO s")
            return failed.pgcode


def content(connections):
    """All rows of the spread tables over the given connections."""
    found = {}
    for table in SPREAD:
        found[table] = Counter()
        for connection in connections:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT t::text FROM {table} t")
                found[table].update(cursor.fetchall())
    return found


def plans(lab, statements, path="public"):
    log = "".join(sql + "\n" for sql in statements)
    out = lab.run("explain", "-f", "-", "--each", "--json", "--search-path", path, input=log, check=True,
                  timeout=120).stdout
    made = [json.loads(line) for line in out.splitlines()]
    assert len(made) == len(statements)
    return made


def shard_of(plan, generator):
    if plan["tier"] != 1:
        return None
    return generator.randrange(SHARDS) if plan["way"] == "any shard" else int(plan["shard"][1:])


def seeded():
    seed = int(os.environ.get("SEED", time.time()))
    print(f"SEED={seed}")
    return random.Random(seed)


@pytest.mark.parametrize("path, share", [("public", 0.8), ("app, public", 0.2)])
def test_a_select_that_is_proved_gives_the_rows_of_one_postgresql(servers, path, share):
    """With app in front, users is the home table of that schema."""
    lab, connections, one = servers
    for connection in [one, *connections]:
        connection.cursor().execute(f"SET search_path = {path}")
    generator = seeded()
    make = Statements(generator)
    statements = [make.select() for _ in range(int(share * int(os.environ.get("STATEMENTS", 1000))))]
    proved, telling, wrong, reasons = 0, 0, [], Counter()
    for sql, plan in zip(statements, plans(lab, statements, path)):
        shard = shard_of(plan, generator)
        if shard is None:
            reasons[plan["error"]["message"] if plan["error"] else plan["way"]] += 1
            continue
        proved += 1
        expected, got = run(one, sql), run(connections[shard], sql)
        telling += bool(expected[0]) if isinstance(expected, tuple) else 0
        if expected != got:
            wrong.append((sql, plan, expected, got))
    for connection in [one, *connections]:
        connection.rollback()
    print(f"{proved} of {len(statements)} proved, {telling} with rows; refused: {reasons.most_common(12)}")
    assert not wrong, f"{len(wrong)} wrong, the shortest: {min(wrong, key=lambda found: len(found[0]))}"
    assert proved > len(statements) // 5 and telling > proved // 4


def test_a_write_that_is_proved_leaves_the_rows_of_one_postgresql(servers):
    lab, connections, one = servers
    generator = seeded()
    make = Statements(generator)
    statements = [make.write() for _ in range(int(os.environ.get("STATEMENTS", 250)))]
    proved, wrong, reasons = 0, [], Counter()
    for sql, plan in zip(statements, plans(lab, statements)):
        shard = shard_of(plan, generator)
        if shard is None:
            reasons[plan["error"]["message"] if plan["error"] else plan["way"]] += 1
            continue
        proved += 1
        expected, got = run(one, sql), run(connections[shard], sql)
        if expected == got and isinstance(expected, tuple):
            expected, got = content([one]), content(connections)
        if expected != got:
            wrong.append((sql, plan, expected, got))
        for connection in [one, *connections]:
            connection.rollback()
    print(f"{proved} of {len(statements)} proved; refused: {reasons.most_common(12)}")
    assert not wrong, f"{len(wrong)} wrong, the shortest: {min(wrong, key=lambda found: len(found[0]))}"
    assert proved > len(statements) // 3


@pytest.mark.parametrize("sql", [
    "SELECT * FROM v_union WHERE id = 3", "SELECT * FROM v_parted WHERE id = 3", "SELECT * FROM users WHERE id = 1 + 2",
])
def test_what_looks_unproved_and_is_not(servers, sql):
    assert plans(servers[0], [sql])[0]["way"] == "one shard"
