"""What one server tells of itself is not passed off as the cluster's: sizes, counters, what a session did before."""
import subprocess

import psycopg2
import pytest
from proxies import STANDIN, start_proxy

LAB_SHARDS = 2
TABLES = """
CREATE TABLE users (id bigint PRIMARY KEY, name text);
CREATE TABLE parts (id bigint, day int) PARTITION BY LIST (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
CREATE TABLE settings (k text, n serial);
CREATE TABLE countries (code int PRIMARY KEY);
CREATE VIEW names AS SELECT k FROM settings;
"""

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="what is tested is the proxy's own"), pytest.mark.light]


@pytest.fixture(scope="module")
def proxy(lab):
    lab.everywhere(TABLES)
    lab.add_tables(" - {name: users, key: id}\n - {name: parts, key: id}\n - {name: countries, kind: reference}\n")
    lab.run("apply", "--yes", check=True)
    with start_proxy(lab) as proxy:
        yield proxy


def ask(proxy, sql):
    with proxy.psycopg2().cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


@pytest.mark.parametrize("sql", [
    "SELECT pg_relation_size('users')", "SELECT pg_total_relation_size('public.parts_1'::regclass)",
    "SELECT pg_relation_size('users_pkey')", "SELECT pg_table_size(oid) FROM pg_class WHERE relname = 'users'",
    "SELECT pg_stat_get_live_tuples('users'::regclass)", "SELECT n_live_tup FROM pg_stat_user_tables",
    "SELECT pg_database_size(current_database())", "SELECT lastval()", "SELECT currval('settings_n_seq')",
])
def test_a_part_is_refused(proxy, sql):
    with pytest.raises(psycopg2.Error) as refused:
        ask(proxy, sql)
    assert refused.value.pgcode == "0A000" and refused.value.diag.message_hint


def test_what_is_whole_on_the_home_shard_is_told(proxy):
    assert ask(proxy, "SELECT pg_relation_size('settings'), pg_table_size('countries')") == [(0, 0)]
    assert ask(proxy, "SELECT pg_relation_filenode('pg_class') > 0") == [(True,)]
    assert ask(proxy, "SELECT count(*) FROM pg_stat_sys_tables WHERE relname = 'pg_class'") == [(1,)]


def test_a_shard_that_is_named_tells_of_itself(lab, proxy):
    sql = "SELECT pg_relation_filenode('users'), pg_database_size(current_database()) > 0"
    for shard in range(LAB_SHARDS):
        assert ask(proxy, f"/* mosaic: shard=s{shard} */ {sql}") == lab.query(shard, sql)
        with proxy.psycopg2().cursor() as cursor:
            cursor.execute(f"SET mosaic.shard = 's{shard}'")
            cursor.execute(sql)
            assert cursor.fetchall() == lab.query(shard, sql)


def psql(proxy, *commands):
    words = [word for command in commands for word in ("-c", command)]
    return subprocess.run(["psql", "-XAt", *words], env=proxy.env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", ["\\d", "\\d users", "\\d+ users", "\\d+ parts", "\\d users_pkey", "\\dt", "\\di", "\\dp",
                                     "\\dn+", "\\ds", "\\dv", "\\df+", "\\du", "\\l", "\\dT+", "\\sf now"])
def test_psql_describes(proxy, command):
    done = psql(proxy, command)
    assert done.returncode == 0 and not done.stderr, done.stderr


@pytest.mark.parametrize("command", ["\\dt+", "\\di+", "\\l+"])
def test_psql_shows_sizes_of_a_shard_that_is_named(proxy, command):
    done = psql(proxy, command)
    assert "SET mosaic.shard" in done.stderr
    done = psql(proxy, "SET mosaic.shard = 's1'", command)
    assert done.returncode == 0 and not done.stderr and ("kB" in done.stdout or "bytes" in done.stdout)
