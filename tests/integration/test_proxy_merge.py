"""MERGE of a source that all shards have alike (VALUES, a reference table, a query of one): each row is one shard's."""
import contextlib
import random

import psycopg
import psycopg2
import pytest
from proxies import STANDIN, ask, nothing_is_left, start_proxy

LAB_SHARDS = 3
SEED = 20
COMMON = """
CREATE TABLE t (id bigint PRIMARY KEY, n int, word varchar(8) DEFAULT 'new');
CREATE TABLE w (word text PRIMARY KEY, n int CHECK (n < 100));
CREATE TABLE p (a int, b text, v numeric(6,1), PRIMARY KEY (a, b));
CREATE TABLE loose (id bigint, n int);
CREATE TABLE kinds (id int PRIMARY KEY, word text, "Odd one" int);
INSERT INTO kinds SELECT i, 'k' || i % 7, NULLIF(i * 2, 10) FROM generate_series(1, 15) i;
"""
TABLES = (" - {name: t, key: id, function: modulo}\n - {name: w, key: word}\n - {name: p, key: [a, b]}\n"
          " - {name: loose, key: id, function: modulo}\n - {name: kinds, kind: reference}\n")
ALL = ("t", "w", "p")

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]


@pytest.fixture(scope="module")
def proxy(lab):
    lab.apply_tables(COMMON, TABLES)
    with start_proxy(lab) as proxy:
        yield proxy


@pytest.fixture
def both(proxy, whole, lab):
    with contextlib.closing(proxy.psycopg2()) as connection:
        for each in (connection, whole):
            for table in ALL:
                ask(each, f"TRUNCATE {table}")
            ask(each, "INSERT INTO t SELECT i, i % 5 FROM generate_series(1, 20) i")
            ask(each, "INSERT INTO w SELECT 'k' || i, i FROM generate_series(1, 4) i")
            ask(each, "INSERT INTO p SELECT i, 'b' || i % 3, i FROM generate_series(1, 9) i")
        yield connection, whole
    nothing_is_left(lab)


def outcome(connection, sql):
    try:
        return ask(connection, sql)
    except psycopg2.Error as error:
        return error.pgcode


def same(both, sql):
    through, one = (outcome(connection, sql) for connection in both)
    assert through == one, sql
    for table in ALL:
        contents = [sorted(map(repr, ask(connection, f"SELECT * FROM {table}"))) for connection in both]
        assert contents[0] == contents[1], (sql, table)
    return through


def test_each_row_is_one_shards(both):
    into_t = " ON t.id = s.id WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.id, s.n)"
    for sql, said in (
            ("MERGE INTO t USING (VALUES (1, 50), (2, 51), (30, 52), (31, 53), (32, NULL)) AS s (id, n)" + into_t, "MERGE 5"),
            ("merge into t using (values (3, 50), (33, 51)) s(id, n)" + into_t + " -- so", "MERGE 2"),
            ("MERGE INTO t USING (VALUES (3, 1), (3, 2)) s (id, n)" + into_t, "21000"),
            ("MERGE INTO t USING (VALUES (40, 1), (40, 2)) s (id, n)" + into_t, "23505"),
            ('MERGE INTO t USING kinds s ON t.id = s."Odd one" WHEN NOT MATCHED THEN INSERT (id) VALUES (s."Odd one")', "23502"),
            ('MERGE INTO t USING kinds s ON t.id = s."Odd one" WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND s."Odd one" IS NULL'
             ' THEN DO NOTHING WHEN NOT MATCHED THEN INSERT (id) VALUES (s."Odd one")', "MERGE 14"),
            ("MERGE INTO t USING (VALUES (2::int, 1), (41, 2)) s (id, n)" + into_t, "MERGE 2"),
            ("MERGE INTO t USING kinds s ON t.id = s.id WHEN MATCHED AND t.n > 3 THEN DELETE WHEN MATCHED THEN UPDATE SET"
             ' word = s.word WHEN NOT MATCHED THEN INSERT (id, n, word) VALUES (s.id, "Odd one", s.word)', "MERGE 15"),
            ("MERGE INTO t AS target USING kinds AS \"The source\" ON target.id = \"The source\".id WHEN NOT MATCHED AND"
             " \"The source\".id > 3 THEN INSERT (id, word) VALUES (\"The source\".id, DEFAULT) WHEN NOT MATCHED THEN INSERT"
             " (id, n) VALUES (\"The source\".id, 7)", None),
            ("MERGE INTO t USING (SELECT id, word, id + 1 AS n FROM kinds WHERE id % 2 = 0 ORDER BY id) s" + into_t, "MERGE 7"),
            ("WITH s AS (SELECT id, 9 AS n FROM kinds) MERGE INTO t USING s" + into_t, None),
            ("MERGE INTO t USING kinds s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id, word) VALUES (s.id, 'much too long')",
             None),
            ("MERGE INTO w USING (VALUES ('k1', 5), ('k9', 6), ('é', 7), ('', 8)) s (word, n) ON w.word = s.word WHEN MATCHED"
             " THEN UPDATE SET n = w.n + s.n WHEN NOT MATCHED THEN INSERT VALUES (s.word, s.n)", "MERGE 4"),
            ("MERGE INTO w USING (VALUES ('k1', 5), ('x', 600)) s (word, n) ON w.word = s.word WHEN NOT MATCHED THEN"
             " INSERT VALUES (s.word, s.n)", "23514"),
            ("MERGE INTO p USING (VALUES (1, 'b1', 2), (1, 'b7', 3), (20, 'b1', 4)) s (a, b, v) ON p.a = s.a AND p.b = s.b"
             " WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.a, s.b, s.v)", "MERGE 3")):
        found = same(both, sql)
        assert said in (None, found), (sql, found)


def test_random_rows(both):
    chance = random.Random(SEED)
    for _ in range(60):
        rows = {chance.randrange(60): chance.choice(("NULL", str(chance.randrange(9))))
                for _ in range(chance.randrange(1, 12))}
        values = ", ".join(f"({key}, {n})" for key, n in rows.items())
        matched = chance.choice(("UPDATE SET n = t.n + s.n", "DELETE", "DO NOTHING", "UPDATE SET word = 'm'"))
        when = chance.choice(("", " AND t.n > 2", " AND s.n IS NOT NULL"))
        other = chance.choice(("", " AND s.id > 20"))
        assert same(both, f"MERGE INTO t USING (VALUES {values}) s (id, n) ON t.id = s.id WHEN MATCHED{when} THEN {matched}"
                          f" WHEN NOT MATCHED{other} THEN INSERT (n, id) VALUES (s.n, s.id)")[:5] in ("MERGE", "42804", "42883")


def test_parameters_and_transactions(both, proxy):
    sql = ("MERGE INTO t USING (VALUES (%s::bigint, %s::int), (%s::bigint, %s)) s (id, n) ON t.id = s.id WHEN MATCHED THEN"
           " UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.id, s.n)")
    with psycopg.connect(proxy.dsn, autocommit=True) as connection:
        for prepare, keys in ((False, (1, 70)), (True, (2, 71)), (True, (3, 72))):
            assert connection.execute(sql, (keys[0], 5, keys[1], 6), prepare=prepare).statusmessage == "MERGE 2"
            found = connection.execute("SELECT n FROM t WHERE id = ANY (%s) ORDER BY id", (list(keys),))
            assert found.fetchall() == [(5,), (6,)]
        with connection.transaction(force_rollback=True):
            connection.execute(sql, (80, 5, 81, 6))
            assert connection.execute("SELECT count(*) FROM t WHERE id >= 80").fetchone() == (2,)
        assert connection.execute("SELECT count(*) FROM t WHERE id >= 80").fetchone() == (0,)


def test_what_is_refused(both):
    for sql, words in (
            ("MERGE INTO t USING kinds s ON t.n = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)", "have other keys"),
            ("MERGE INTO t USING kinds s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id + 1)", "key"),
            ("MERGE INTO loose USING kinds s ON loose.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)", "may be NULL"),
            ("MERGE INTO t USING kinds s ON t.id = s.id WHEN MATCHED THEN UPDATE SET id = s.id + 1"
             " WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)", "may change the key"),
            ("MERGE INTO t USING (SELECT id FROM kinds LIMIT 3) s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)",
             "")):
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as caught:
            ask(both[0], sql)
        assert words in f"{caught.value.diag.message_primary} {caught.value.diag.message_detail}", sql
