"""Long statements: what is made of one for each shard has all of it."""
import contextlib

import pytest
from proxies import STANDIN, ask, start_proxy

LAB_SHARDS = 3
COLUMNS = [f"a_column_of_which_there_are_many_{n}" for n in range(40)]
SCHEMA = f"""
CREATE TABLE jobs (id bigint PRIMARY KEY, kind int);
CREATE TABLE wide (id bigint PRIMARY KEY, {", ".join(f"{name} int" for name in COLUMNS)});
"""
TABLES = " - {name: jobs, key: id, function: modulo}\n - {name: wide, key: id, function: modulo}\n"
ONES = f"(id, {', '.join(COLUMNS)}) VALUES " + "({}, " + ", ".join("1" for _ in COLUMNS) + ")"

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]


@pytest.fixture(scope="module")
def proxy(lab):
    lab.apply_tables(SCHEMA, TABLES)
    with start_proxy(lab, {"schema_check_interval": "200ms"}) as proxy:
        yield proxy


@pytest.fixture
def one(proxy, lab):
    lab.everywhere("TRUNCATE jobs, wide")
    with contextlib.closing(proxy.psycopg2()) as connection:
        for id in range(6):
            ask(connection, f"INSERT INTO wide {ONES.format(id)}")
        yield connection


def test_a_queue_with_a_long_condition(one):
    kinds = range(1000, 1400)
    ask(one, "INSERT INTO jobs VALUES " + ", ".join(f"({n}, {kind})" for n, kind in enumerate([*kinds, 1, 10, 100])))
    taken = ask(one, f"SELECT kind FROM jobs WHERE kind IN ({','.join(map(str, kinds))}) AND id % 3 > 0 "
                     "FOR UPDATE SKIP LOCKED LIMIT 300")
    assert len(taken) == 266 and all(kind >= 1000 for (kind,) in taken)


def test_copy_of_many_columns(one):
    with one.cursor() as cursor, open("/dev/null", "w") as nowhere:
        cursor.copy_expert(f"COPY wide ({', '.join(COLUMNS)}) TO STDOUT WITH (FORMAT csv, HEADER)", nowhere)
        assert cursor.rowcount == 6


def test_merge_with_many_columns(one):
    sets = ", ".join(f"{name} = v.n" for name in COLUMNS)
    names, values = ", ".join(COLUMNS), ", ".join("v.n" for _ in COLUMNS)
    ask(one, f"MERGE INTO wide USING (VALUES (4, 7), (5, 7), (6, 7), (7, 7)) v (id, n) ON wide.id = v.id "
             f"WHEN MATCHED THEN UPDATE SET {sets} WHEN NOT MATCHED THEN INSERT (id, {names}) VALUES (v.id, {values})")
    assert ask(one, f"SELECT id, {COLUMNS[0]}, {COLUMNS[-1]} FROM wide ORDER BY id") == [
        (0, 1, 1), (1, 1, 1), (2, 1, 1), (3, 1, 1), (4, 7, 7), (5, 7, 7), (6, 7, 7), (7, 7, 7)]


def test_indexes_of_which_many_are_dropped(one, lab):
    for name in COLUMNS:
        ask(one, f"CREATE INDEX of_{name} ON wide ({name})")
    ask(one, "DROP INDEX " + ", ".join(f"of_{name}" for name in COLUMNS))
    for shard in range(LAB_SHARDS):
        assert lab.query(shard, "SELECT indexname FROM pg_indexes WHERE tablename = 'wide'") == [("wide_pkey",)]


def test_explain_with_a_long_comment(one):
    plan = ask(one, f"EXPLAIN /* {'long ' * 200}*/ (MOSAIC) SELECT count(*) FROM wide")
    assert plan[0] == ("tier 2: all 3 shards, merged here",)
    done = ask(one, f"EXPLAIN (ANALYZE) /* {'long ' * 200}*/ UPDATE wide SET {COLUMNS[0]} = 5")
    assert done and ask(one, f"SELECT DISTINCT {COLUMNS[0]} FROM wide") == [(5,)]
