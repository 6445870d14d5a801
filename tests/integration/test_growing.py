"""Growing out of one database: `pgmosaic apply` moves tables that stand on the home shard alone, and ids that are
unique over all shards."""
import concurrent.futures
import time

import psycopg2
import pytest

from conftest import superuser
from test_apply import Cluster

LAB_SHARDS = 3
SINCE = 1704067200000  # 2024 began, in milliseconds


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
