"""mosaic.shard_table, mosaic.reference_table and mosaic.home_table, said to a proxy: its config and the cluster change
together, while other clients go on."""
import contextlib
import copy
import fcntl
import os
import pathlib
import signal
import threading
import time

import psycopg2
import pytest

from conftest import run_command, superuser
from proxies import ask, eventually, start_proxy
from rawwire import bind, describe, execute, parse, sync
from test_apply import Cluster
from test_twophase import wait_stopped

LAB_SHARDS = 3

pytestmark = pytest.mark.light

COMMENTED = "tables: # what is spread\n  # users and what is theirs\n  - {name: users, key: id, function: modulo}   # by id\n"


@pytest.fixture
def cluster(lab, directory):
    cluster = Cluster(lab, directory)
    cluster.lab.everywhere("CREATE TABLE users (id int PRIMARY KEY)")
    cluster.lab.query(0, "CREATE TABLE orders (customer_id int, id int, PRIMARY KEY (customer_id, id));"
                         "INSERT INTO orders SELECT i, i FROM generate_series(1, 999) i;"
                         "CREATE TABLE countries (code text); INSERT INTO countries VALUES ('de')")
    cluster.tables = ["name: users, key: id, function: modulo"]
    cluster.applied()
    return cluster


@contextlib.contextmanager
def started(cluster, settings=None, env=None):
    lab = copy.copy(cluster.lab)
    lab.env, lab.name = {**lab.env, "PGMOSAIC_CONFIG": str(cluster.path)}, cluster.name
    with start_proxy(lab, settings, env=env) as proxy:
        text = proxy.config.read_text()
        head, tables, tail = text.partition("tables:\n  - {name: users, key: id, function: modulo}\n")
        assert tables, text
        proxy.config.write_text(head + COMMENTED + tail)
        yield proxy


def order(proxy, sql, notices=None, **options):
    with contextlib.closing(proxy.psycopg2(**options)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            try:
                cursor.execute(sql)
                return cursor.fetchall()
            finally:
                if notices is not None:
                    notices += connection.notices


def counts(cluster, table):
    return [cluster.lab.query(shard, f"SELECT CASE WHEN to_regclass('{table}') IS NULL THEN 'none' ELSE"
                                     f" query_to_xml('SELECT count(*) AS c FROM {table}', true, true, '')::text END")[0][0]
            for shard in range(3)]


def test_a_table_is_spread_and_comes_home(cluster):
    with started(cluster) as proxy:
        before, notices = proxy.config.read_text(), []
        sql = "SELECT mosaic.shard_table('orders', 'customer_id', function => 'modulo')"
        assert order(proxy, sql, notices) == [("orders", 666)]
        assert any("move from home shard s0 by customer_id" in notice for notice in notices)
        assert any("666 rows moved to other shards, compared" in notice for notice in notices), notices
        line = "  - {name: orders, key: customer_id, function: modulo}\n"
        assert proxy.config.read_text() == before.replace(COMMENTED, COMMENTED + line)
        assert not os.path.exists(f"{proxy.config}.new")
        with proxy.session() as run:
            assert run("SELECT count(*) FROM orders") == [(999,)]
            assert run("SELECT id FROM orders WHERE customer_id = 4") == [(4,)]
        assert cluster.lab.query(1, "SELECT count(*) FROM orders") == [(333,)]
        assert order(proxy, "SELECT mosaic.reference_table('countries')") == [("countries", 1)]
        assert cluster.lab.query(2, "SELECT code FROM countries") == [("de",)]
        assert order(proxy, "SELECT mosaic.home_table('orders')") == [("orders", 666)]
        assert order(proxy, "SELECT mosaic.home_table('public.countries')") == [("countries", 0)]
        assert proxy.config.read_text() == before
        assert ask(proxy.psycopg2(), "SELECT count(*) FROM orders") == [(999,)]
        assert cluster.lab.query(1, "SELECT to_regclass('orders'), to_regclass('countries')") == [(None, None)]


def test_colocated_and_other_forms(cluster):
    cluster.lab.query(0, 'CREATE SCHEMA shop; CREATE TABLE shop."Odd one" ("Key" int, n int); CREATE TABLE pairs (a int, b text)')
    with started(cluster) as proxy:
        sql = "SELECT mosaic.shard_table(key => 'customer_id', colocate_with => 'users', table_name => 'orders')"
        assert order(proxy, sql) == [("orders", 666)]
        with proxy.session() as run:
            assert run("SELECT count(*) FROM orders o JOIN users u ON u.id = o.customer_id") == [(0,)]
            run("SET search_path = shop")
            assert run("""SELECT mosaic.shard_table('"Odd one"', 'Key', 'public.users')""") == [('shop."Odd one"', 0)]
            assert run("SELECT mosaic.shard_table('public.pairs', 'a, b', buckets => 64, function => NULL)") == [("pairs", 0)]
        assert cluster.lab.query(0, "SELECT count(DISTINCT colocation) FROM mosaic.relation") == [(2,)]
        for text in ('{name: "shop.\\"Odd one\\"", key: "Key", function: modulo, buckets: 1536}\n',
                     "{name: pairs, key: [a, b], buckets: 64}\n",
                     "{name: orders, key: customer_id, function: modulo, buckets: 1536}"):
            assert text in proxy.config.read_text()


REFUSED = [
    ("SELECT mosaic.shard_table('ordres', 'id')", "42P01", "relation \"ordres\" does not exist"),
    ("SELECT mosaic.shard_table('orders', 'nothing')", "42703", "nothing"),
    ("SELECT mosaic.shard_table('orders')", "22023", "needs a key"),
    ("SELECT mosaic.shard_table(NULL, 'id')", "22004", "NULL"),
    ("SELECT mosaic.shard_table('a.b.c', 'id')", "42602", "not a table name"),
    ("SELECT mosaic.shard_table('orders', 'customer_id', buckets => 7)", "22023", "power of two"),
    ("SELECT mosaic.shard_table('orders', 'customer_id', function => 'no')", "22023", "no"),
    ("SELECT mosaic.shard_table('orders', 'customer_id', colocate_with => 'countries')", "42704", "no sharded table"),
    ("SELECT mosaic.shard_table('orders', 'customer_id', 'users', 'hash')", "22023", "leave these out"),
    ("SELECT mosaic.shard_table('users', 'id')", "42710", "sharded table already"),
    ("SELECT mosaic.home_table('orders')", "55000", "is a home table"),
    ("SELECT mosaic.home_table('ordres')", "42P01", "does not exist"),
    ("SELECT mosaic.shard_table('orders', colum => 'id')", "0A000", "no argument"),
    ("SELECT mosaic.shard_table('orders', lower('ID'))", "0A000", "neither a literal nor a parameter"),
    ("SELECT mosaic.home_table('orders'), 1", "0A000", "within another statement"),
    ("SELECT * FROM mosaic.shard_table('orders', 'id')", "0A000", "within another statement"),
    ("EXPLAIN SELECT mosaic.home_table('users')", "0A000", "EXPLAIN of"),
    ("EXPLAIN (MOSAIC) SELECT mosaic.home_table('users')", None, ""),
    ("COPY (SELECT mosaic.home_table('users')) TO STDOUT", "0A000", ""),
    ("CREATE TABLE x AS SELECT mosaic.home_table('users')", "0A000", ""),
    ("SELECT mosaic.home_table('users') LIMIT 1", "0A000", "within another statement"),
    ("SELECT mosaic.home_table('users') WHERE false", "0A000", "within another statement"),
    ("SELECT 1; SELECT mosaic.home_table('users')", "0A000", "with other statements in one text"),
    ("BEGIN; SELECT mosaic.home_table('users')", "0A000", "with other statements in one text"),
]


def test_what_is_refused_changes_nothing(cluster):
    with started(cluster) as proxy:
        before = proxy.config.read_text()
        for sql, code, words in REFUSED:
            if code is None:
                assert "refused" in order(proxy, sql)[0][0]
                continue
            with pytest.raises(psycopg2.Error) as refused:
                pytest.fail(f"{sql} is {order(proxy, sql)}")
            assert refused.value.pgcode == code and words in str(refused.value), (sql, refused.value.pgcode, str(refused.value))
        with contextlib.closing(proxy.psycopg2()) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN")
            with pytest.raises(psycopg2.errors.ActiveSqlTransaction):
                cursor.execute("SELECT mosaic.home_table('users')")
        assert proxy.config.read_text() == before and cluster.epochs() == [1, 1, 1]
        assert cluster.lab.query(0, "SELECT count(*) FROM orders") == [(999,)]
        os.chmod(proxy.config, 0o444)
        with pytest.raises(psycopg2.Error) as refused:
            order(proxy, "SELECT mosaic.shard_table('orders', 'customer_id')")
        assert refused.value.pgcode == "55000" and "run pgmosaic apply" in refused.value.diag.message_hint
        os.chmod(proxy.config, 0o600)
        proxy.config.write_text(before.replace(COMMENTED, COMMENTED + "  - {name: countries, kind: reference}\n"))
        with pytest.raises(psycopg2.Error) as refused:
            order(proxy, "SELECT mosaic.shard_table('orders', 'customer_id')")
        assert "changes that are not applied" in str(refused.value) and "countries" in refused.value.diag.message_detail


def test_other_roles_may_not(cluster, directory):
    users = directory / "users"
    users.write_text('"placing_anna" "x"\n')
    users.chmod(0o600)
    drop = "DROP ROLE IF EXISTS placing_anna"
    for shard in range(3):
        with superuser(cluster.lab, shard) as cursor:
            cursor.execute(drop)
            cursor.execute("CREATE ROLE placing_anna LOGIN PASSWORD 'x'; GRANT pg_read_all_data TO placing_anna")
    try:
        with started(cluster, {"auth_type": "trust", "auth_file": users}) as proxy:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege) as refused:
                order(proxy, "SELECT mosaic.shard_table('orders', 'customer_id')", user="placing_anna", password="x")
            assert "admin_users" in refused.value.diag.message_hint
        with started(cluster, {"auth_type": "trust", "auth_file": users, "admin_users": "[placing_anna]"}) as proxy:
            sql = "SELECT mosaic.reference_table('countries')"
            assert order(proxy, sql, user="placing_anna", password="x") == [("countries", 1)]
    finally:
        for shard in range(3):
            with superuser(cluster.lab, shard) as cursor:
                cursor.execute("DROP OWNED BY placing_anna")
                cursor.execute(drop)


def test_others_go_on_and_a_cancel_ends_it(cluster):
    """It waits for a lock on the table for a minute: meanwhile others are served, it is not idle, and can be cancelled."""
    with started(cluster, {"client_idle_timeout": "1s"}) as proxy, cluster.lab.connect(0) as busy, busy.cursor() as holds:
        before = proxy.config.read_text()
        holds.execute("BEGIN; LOCK TABLE orders IN ROW EXCLUSIVE MODE")
        connection = proxy.psycopg2()
        connection.autocommit = True
        ended = []

        def run():
            with connection.cursor() as cursor:
                try:
                    cursor.execute("SELECT mosaic.shard_table('orders', 'customer_id')")
                except psycopg2.Error as error:
                    ended.append(error.pgcode)
        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(2)
        assert ask(proxy.psycopg2(), "SELECT count(*) FROM users") == [(0,)]
        assert ask(proxy.psycopg2(), "SELECT count(*) FROM countries") == [(1,)]
        assert not ended
        connection.cancel()
        eventually(lambda: ended)
        thread.join()
        assert ended == ["57014"] and proxy.config.read_text() == before and not os.path.exists(f"{proxy.config}.new")
        assert ask(connection, "SELECT 1") == [(1,)]
        connection.close()
        holds.execute("ROLLBACK")
        assert order(proxy, "SELECT mosaic.shard_table('orders', 'customer_id')")[0][0] == "orders"


def sent(proxy, sql):
    """The query is sent, and its answer never read."""
    connection = psycopg2.connect(proxy.dsn, async_=True)
    eventually(lambda: connection.poll() == psycopg2.extensions.POLL_OK)
    connection.cursor().execute(sql)
    for _ in range(10):
        connection.poll()
        time.sleep(0.1)
    return connection


def test_a_client_that_goes_and_a_proxy_that_ends(cluster):
    with started(cluster, {"shutdown_timeout": "2s"}) as proxy:
        with cluster.lab.connect(0) as busy, busy.cursor() as holds:
            holds.execute("BEGIN; LOCK TABLE orders IN ROW EXCLUSIVE MODE")
            sent(proxy, "SELECT mosaic.shard_table('orders', 'customer_id')").close()
            holds.execute("COMMIT")
            eventually(lambda: "orders" in proxy.config.read_text(), 30)  # it went on

        def served():
            with contextlib.suppress(psycopg2.Error):
                return ask(proxy.psycopg2(), "SELECT count(*) FROM orders") == [(999,)]
        eventually(served)
        with cluster.lab.connect(0) as busy, busy.cursor() as holds:
            holds.execute("BEGIN; LOCK TABLE countries IN ROW EXCLUSIVE MODE")
            waits = sent(proxy, "SELECT mosaic.reference_table('countries')")
            proxy.stop()
            assert "countries" not in proxy.config.read_text()
            waits.close()
    assert not cluster.lab.query(1, "SELECT FROM pg_class WHERE relname = 'countries'")


def test_a_file_that_another_process_changes_is_left_alone(cluster):
    """A second proxy with the same config: it must neither take nor remove the new one."""
    with started(cluster) as proxy:
        made = pathlib.Path(f"{proxy.config}.new")
        with open(made, "w") as theirs:
            theirs.write("theirs")
            theirs.flush()
            fcntl.flock(theirs, fcntl.LOCK_EX)
            with pytest.raises(psycopg2.errors.ObjectInUse) as refused:
                order(proxy, "SELECT mosaic.reference_table('countries')")
            assert "another process is changing" in str(refused.value) and made.read_text() == "theirs"
            assert cluster.epochs() == [1, 1, 1]
        assert order(proxy, "SELECT mosaic.reference_table('countries')") == [("countries", 1)]
        assert not made.exists() and "countries" in proxy.config.read_text()


def test_a_commit_in_doubt_keeps_the_new_file(cluster, control_points):
    """The home shard is lost at its commit, and does not answer: the table may be spread."""
    failed = []

    def run(proxy):
        try:
            order(proxy, "SELECT mosaic.shard_table('orders', 'customer_id')")
        except psycopg2.Error as error:
            failed.append(error)
    with started(cluster, env={"MOSAIC_CONTROL_POINT": "grow.made=stop"}) as proxy:
        thread = threading.Thread(target=run, args=[proxy])
        thread.start()
        wait_stopped(proxy.process)
        with superuser(cluster.lab, 0, "postgres") as cursor:
            try:
                cursor.execute(f'ALTER DATABASE "{cluster.lab.name}" ALLOW_CONNECTIONS false')
                cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgmosaic apply'"
                               f" AND datname = '{cluster.lab.name}'")
                proxy.process.send_signal(signal.SIGCONT)
                thread.join()
            finally:
                proxy.process.send_signal(signal.SIGCONT)
                cursor.execute(f'ALTER DATABASE "{cluster.lab.name}" ALLOW_CONNECTIONS true')
        made = pathlib.Path(f"{proxy.config}.new")
        assert "it is not known whether the cluster has been changed" in str(failed[0]), failed
        assert str(made) in failed[0].diag.message_detail and "orders" in made.read_text()
        assert "orders" not in proxy.config.read_text()
        done = run_command("apply", made, "--yes", cwd=cluster.directory)
        assert done.returncode == 0, done.stderr
        made.rename(proxy.config)
        proxy.process.send_signal(signal.SIGHUP)

        def served():
            with contextlib.suppress(psycopg2.Error):
                return ask(proxy.psycopg2(), "SELECT count(*) FROM orders")
        assert eventually(served, 20) == [(999,)]


def kinds(answers):
    return [kind for kind, _ in answers if kind not in "NS"]


def test_the_extended_protocol(cluster):
    with started(cluster) as proxy, proxy.wire() as connection:
        exchange = connection.exchange
        named = parse("SELECT mosaic.shard_table($1, key => $2, buckets => $3)", types=[0, 25, 23])
        assert kinds(exchange(named + describe("S") + sync())) == ["1", "t", "T", "Z"]
        named = bind([b"orders", b"customer_id", b"\0\0\x04\0"], formats=[0, 0, 1], results=[0, 1])
        answers = exchange(named + describe("P") + execute() + sync())
        assert kinds(answers) == ["2", "T", "D", "C", "Z"], answers
        row = next(body for kind, body in answers if kind == "D")
        assert row[:14] == b"\0\x02\0\0\0\x06orders\0\0" and len(row) == 2 + 4 + 6 + 4 + 8, row
        assert "{name: orders, key: customer_id, buckets: 1024}" in proxy.config.read_text()
        whole = parse("SELECT mosaic.home_table($1)", "one") + bind([b"orders"], "one") + describe("P") + execute()
        assert kinds(exchange(whole + sync())) == ["1", "2", "T", "D", "C", "Z"]
        assert "orders" not in proxy.config.read_text()
        answers = exchange(bind([b"orders"], "one") + execute() + sync())
        assert kinds(answers) == ["2", "E", "Z"] and b"is a home table" in answers[1][1]
        assert kinds(exchange(parse("SELECT mosaic.home_table('a')", "two") + sync())) == ["1", "Z"]
        before = parse("INSERT INTO countries VALUES ('fr')") + bind() + execute()
        answers = exchange(before + bind([b"users"], "one") + execute() + sync())
        assert kinds(answers)[-2:] == ["E", "Z"] and b"25001" in answers[-2][1], answers
        assert connection.ask("SELECT count(*) FROM orders") == [["999"]]
