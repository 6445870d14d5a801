"""Ids that are unique over all shards: `mosaic.next_id()`, and the sequences of sharded tables."""
import concurrent.futures
import threading
import time

import psycopg2
import pytest
from conftest import run_command, superuser
from test_apply import Cluster
from test_growing import rows_of

LAB_SHARDS = 3
SINCE = 1704067200000  # 2024 began, in milliseconds

pytestmark = pytest.mark.light


@pytest.fixture
def cluster(lab, directory):
    return Cluster(lab, directory)


# ---- mosaic.next_id() -----------------------------------------------------------------------------------------------


def take_ids(cluster, shard, count):
    with cluster.lab.connect(shard) as connection, connection.cursor() as cursor:
        cursor.execute("DO $$ DECLARE id bigint; last bigint := 0; ids bigint[] := '{}'; BEGIN"
                       f" CREATE TEMP TABLE taken (id bigint); FOR i IN 1..{count} LOOP id := mosaic.next_id();"
                       " IF id <= last THEN RAISE '% behind %', id, last; END IF; last := id; ids := ids || id;"
                       " END LOOP; INSERT INTO taken SELECT unnest(ids); END $$")
        cursor.execute("SELECT id FROM taken")
        return [row[0] for row in cursor.fetchall()]


def test_ids_of_many_sessions_are_unique_and_grow(cluster):
    cluster.applied()
    before = int(time.time() * 1000) - SINCE
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        lists = list(pool.map(lambda i: take_ids(cluster, i % 2, 20000), range(8)))
    ids = [i for taken in lists for i in taken]
    assert len(ids) == len(set(ids)) == 160000
    assert {i >> 12 & 1023 for taken in lists[::2] for i in taken} == {0}
    assert {i >> 12 & 1023 for taken in lists[1::2] for i in taken} == {1}
    after = int(time.time() * 1000) - SINCE
    assert all(before <= i >> 22 <= after + 1 and 0 < i < 1 << 63 for i in ids)


def test_ids_when_the_clock_steps_back(cluster):
    """The same as state from a clock that was ahead: no id comes twice, and none is smaller than one before."""
    cluster.applied()
    first = take_ids(cluster, 0, 10)
    ahead = int(time.time() * 1000) - SINCE + 3600_000
    cluster.lab.query(0, f"SELECT setval('mosaic.id_value', {ahead}::bigint << 12, false),"
                         f" setval('mosaic.id_block', {ahead})")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        lists = list(pool.map(lambda i: take_ids(cluster, 0, 5000), range(4)))
    ids = [i for taken in lists for i in taken]
    assert len(set(ids)) == 20000 and min(ids) > max(first) and min(ids) >> 22 == ahead
    assert max(ids) >> 22 <= ahead + 5  # 20,000 ids are of five milliseconds
    cluster.lab.query(0, "SELECT setval('mosaic.id_value', 4095, false)")  # cut off between the two
    assert min(take_ids(cluster, 0, 10)) > max(ids)


def test_an_id_of_long_ago_is_given_to_nobody(cluster):
    """While another session opens a block, ids come from the one before; not when that was opened a second ago."""
    cluster.applied()
    first = take_ids(cluster, 0, 1)[0]
    with cluster.lab.connect(0) as opener, opener.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('pgmosaic next_id'), 0)")
        cluster.lab.query(0, f"SELECT setval('mosaic.id_value', {(first >> 22) - 5000}::bigint << 12, false),"
                             f" setval('mosaic.id_block', {(first >> 22) - 5000})")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            cluster.lab.query(0, "SET lock_timeout = '300ms'; SELECT mosaic.next_id()")
        ahead = int(time.time() * 1000) - SINCE + 200
        cluster.lab.query(0, f"SELECT setval('mosaic.id_value', {ahead}::bigint << 12, false), setval('mosaic.id_block', {ahead})")
        time.sleep(0.3)
        assert cluster.lab.query(0, "SET lock_timeout = '300ms'; SELECT mosaic.next_id() >> 22") == [(ahead,)]
    assert take_ids(cluster, 0, 1)[0] >> 22 > ahead


def test_ids_for_every_role_and_again_after_a_drop(cluster):
    cluster.applied()
    with superuser(cluster.lab, 1) as cursor:
        cursor.execute("DROP ROLE IF EXISTS nobody; CREATE ROLE nobody; SET ROLE nobody; SELECT mosaic.next_id() > 0")
        assert cursor.fetchone()[0]
        for sql in "SELECT setval('mosaic.id_block', 1)", "SELECT mosaic.open_id_block(1, 1, true)":
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(sql)
    cluster.lab.query(2, "DROP FUNCTION mosaic.next_id()")
    assert "+ function mosaic.next_id() on s2\n" in cluster.applied().stdout
    assert cluster.lab.query(2, "SELECT mosaic.next_id() >> 12 & 1023") == [(2,)]
    assert "nothing to change" in cluster.applied().stdout


# ---- sequences ------------------------------------------------------------------------------------------------------


def serials(cluster, table, column, shards=range(3), count=5):
    """What inserts on every shard get, of keys that it owns; in turn, as they come."""
    taken = []
    for turn in range(count):
        for shard in shards:
            taken += cluster.lab.query(shard, f"INSERT INTO {table} (id) VALUES ({3 * turn + shard}) RETURNING {column}")
    return [value for value, in taken]


def test_serial_and_identity_of_a_table_that_moves(cluster):
    cluster.lab.query(0, """
        CREATE SEQUENCE other START 70000; SELECT nextval('other');
        CREATE TABLE t (id int, a serial, b bigint GENERATED ALWAYS AS IDENTITY, c bigint DEFAULT nextval('other'),
            d bigint GENERATED BY DEFAULT AS IDENTITY (START 5), e bigint);
        INSERT INTO t (id) SELECT i FROM generate_series(0, 299) i; INSERT INTO t (id, d) VALUES (1, 123456);
        ALTER TABLE t ALTER e SET DEFAULT nextval('other')""")
    cluster.tables = ["name: t, key: id, function: modulo"]
    plan = cluster.apply("--dry-run").stdout
    assert "~ sequence public.t_a_seq of t.a: steps of 16, each shard's its own, behind every value there is" in plan
    assert "~ sequence public.t_b_seq of t.b: steps of 1024" in plan
    cluster.applied()
    before = rows_of(cluster, "SELECT a, b, c, d FROM t")
    for column, least in (("a", 301), ("b", 301), ("c", 70300), ("d", 123456), ("e", 70300)):
        taken = serials(cluster, "t", column)
        known = {row["abcd".index(column)] for row in before} if column != "e" else set()
        assert len(set(taken)) == 15 and not set(taken) & known and min(taken) > least, column
        width = 16 if column == "a" else 1024
        assert [value % width for value in taken[:3]] == [0, 1, 2]
    assert "nothing to change" in cluster.applied().stdout


def test_sequences_of_a_table_that_stands_everywhere(cluster):
    cluster.lab.everywhere("CREATE TABLE t (id int, n bigserial, m int GENERATED ALWAYS AS IDENTITY)")
    cluster.lab.query(1, "INSERT INTO t (id, n) VALUES (1, 5000); SELECT nextval('t_m_seq') FROM generate_series(1, 99)")
    cluster.tables = ["name: t, key: id, function: modulo"]
    with cluster.lab.connect(2) as busy, busy.cursor() as cursor:
        cursor.execute("BEGIN; SELECT nextval('t_n_seq')")
        waits = threading.Timer(2, lambda: cursor.execute("COMMIT"))
        waits.start()
        cluster.applied()
        waits.join()
    assert sorted(serials(cluster, "t", "n", count=2)) == [5120, 5121, 5122, 6144, 6145, 6146]
    assert sorted(serials(cluster, "t", "m", count=1)) > [99, 99, 99]
    assert "nothing to change" in cluster.applied().stdout
    cluster.lab.query(1, "ALTER SEQUENCE t_n_seq INCREMENT BY 1")
    status = run_command("status", "-c", cluster.path, cwd=cluster.directory)
    assert status.returncode == 3 and "not applied: ~ sequence public.t_n_seq of t.n" in status.stdout
    cluster.applied()
    taken = serials(cluster, "t", "n", count=4)
    assert len(set(taken)) == 12 and min(taken) > 6146


def test_sequences_that_cannot_be_unique_are_refused(cluster):
    cluster.lab.everywhere("CREATE TABLE t (id int, n smallserial, m bigint GENERATED ALWAYS AS IDENTITY (CYCLE))")
    cluster.tables = ["name: t, key: id"]
    cluster.refused("t_n_seq, which has too few values for all shards", "t_m_seq, which cycles")
    cluster.lab.everywhere("DROP TABLE t; CREATE TABLE t (id int, n serial)")
    cluster.lab.query(1, "SELECT setval('t_n_seq', 2147483000)")
    done = cluster.apply()
    assert done.returncode == 1 and "has reached 2147483000: too few values are left" in done.stderr
    assert cluster.lab.query(0, "SELECT seqincrement FROM pg_sequence WHERE seqrelid = 't_n_seq'::regclass") == [(1,)]
