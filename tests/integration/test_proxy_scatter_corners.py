"""What several shards answer, where something happens in the middle of it: the map is read anew, a limit of time, a
client that leaves, a shard that stops answering; and what is easily told wrong: types of parameters, notices."""
import contextlib
import os
import resource
import signal
import socket
import struct
import threading
import time
from random import Random

import pytest
from conftest import run_command, superuser
from proxies import STANDIN, ask, config_with, eventually, shown, start_proxy
from rawwire import (Closed, Refused, bind, cancel_request, describe, error_fields, execute, flush, parse, query, row_values,
                     sync)

LAB_SHARDS = 3
ROWS = 3000
SLOW = "(SELECT count(*) FROM generate_series(1, 3000000) x WHERE x % 7 = u.id)"
BUSY = ("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series%' AND state = 'active'"
        " AND pid <> pg_backend_pid()")

pytestmark = [pytest.mark.plain, pytest.mark.skipif(bool(STANDIN), reason="only the proxy merges")]


@pytest.fixture(scope="module")
def cluster(lab):
    lab.everywhere("CREATE TABLE users (id bigint PRIMARY KEY, name text, f float8);"
                   "CREATE FUNCTION loud(n bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS"
                   " $$ BEGIN RAISE WARNING 'loud %', n; RETURN n; END $$;"
                   "CREATE FUNCTION shout(n bigint) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS"
                   " $$ BEGIN RAISE NOTICE '%', repeat('x', 60000); RETURN true; END $$;"
                   "CREATE FUNCTION twice(n numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT 2 * n'")
    lab.add_tables(" - {name: users, key: id, function: modulo}\n")
    lab.run("apply", "--yes", check=True)
    for shard in range(LAB_SHARDS):
        lab.query(shard, f"INSERT INTO users SELECT i, 'n' || i % 30, i FROM generate_series(1, {ROWS}) i"
                         f" WHERE i % {LAB_SHARDS} = {shard}")
    return lab


@pytest.fixture(scope="module")
def proxy(cluster):
    with start_proxy(cluster) as proxy:
        yield proxy


@pytest.fixture
def wire(proxy):
    with proxy.wire() as wire:
        yield wire


def kinds(messages):
    return "".join(kind for kind, _ in messages)


def rows_of(messages):
    return [row_values(body) for kind, body in messages if kind == "D"]


def failure(messages):
    return next(error_fields(body) for kind, body in messages if kind == "E")


def is_idle(cluster):
    return all(cluster.query(shard, BUSY) == [(0,)] for shard in range(LAB_SHARDS))


def coordinator(cluster):
    return superuser(cluster, 0, f"{cluster.name}_coordinator")


def busy_servers(proxy):
    """Connections that the proxy has given away and not back."""
    return [row for row in shown(proxy, "SHOW SERVERS") if row["state"] != "idle"]


def reload(proxy):
    run_command("reload", "-c", proxy.config, check=True)


@contextlib.contextmanager
def waiting_scatter(cluster, proxy, sql="SELECT id FROM users"):
    """A statement of which one shard has begun to answer; the next one's only connection is taken until `free`."""
    with contextlib.closing(proxy.psycopg2()) as holder, proxy.wire() as wire:
        ask(holder, "BEGIN")
        ask(holder, "SELECT id FROM users WHERE id = 1 FOR UPDATE")
        wire.send(query(sql))
        begun = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT id%FROM users%' AND state <> 'active'"
        assert eventually(lambda: cluster.query(0, begun))
        time.sleep(0.2)  # it was read, too
        yield wire, lambda: ask(holder, "ROLLBACK")


@pytest.mark.parametrize("sql", ["SELECT id FROM users", "SELECT id FROM users ORDER BY id"])
def test_the_map_is_read_anew_in_the_middle(cluster, sql):
    with start_proxy(cluster, {"pool_size": 1}) as small:
        with waiting_scatter(cluster, small, sql) as (wire, free):
            reload(small)
            free()
            messages = wire.until("Z")
        assert sorted(int(row[0]) for row in rows_of(messages)) == list(range(1, ROWS + 1))


def test_types_of_parameters_are_found_once(wire):
    """PostgreSQL types a parameter where it meets it first; the two statements of tier 3 would find two types."""
    sql = "SELECT name, sum(f) FROM users WHERE id > $1 GROUP BY name HAVING sum(f) / 1000 > $1 ORDER BY 1"
    value = struct.pack("!q", 149)
    expected = wire.exchange(parse(sql, types=[20]) + bind([value], formats=[1]) + execute() + sync())
    messages = wire.exchange(parse(sql) + bind([value], formats=[1]) + execute() + sync())
    assert rows_of(messages) == rows_of(expected) and 0 < len(rows_of(expected)) < 30


def test_the_coordinator_refuses_what_is_still_being_sent(cluster, proxy, wire):
    sql = "SELECT id % 2000 AS k, repeat(id::text, 5000)::bytea AS x, twice(sum(id)) FROM users GROUP BY 1, 2 ORDER BY 1, 3"
    assert "tier 3" in wire.ask(f"EXPLAIN (MOSAIC) {sql}")[0][0]
    expected = wire.ask(sql)
    assert len(expected) == ROWS
    with coordinator(cluster) as cursor:
        cursor.execute("ALTER FUNCTION twice RENAME TO thrice")
        try:
            for _ in range(2):
                messages = wire.exchange(query(sql))
                assert kinds(messages) == "EZ" and failure(messages)["C"] == "42883"
            assert eventually(lambda: not busy_servers(proxy), seconds=5)
        finally:
            cursor.execute("ALTER FUNCTION thrice RENAME TO twice")
    assert wire.ask(sql) == expected


def test_errors_point_into_the_client_s_own_text(cluster, wire):
    for sql in ("SELECT nosuch FROM users ORDER BY id LIMIT 3 OFFSET 2", "EXPLAIN SELECT nosuch FROM users",
                "EXPLAIN (COSTS off) SELECT id FROM users WHERE nosuch > 1 ORDER BY id LIMIT 3"):
        assert int(failure(wire.exchange(query(sql)))["P"]) == sql.index("nosuch") + 1
    with coordinator(cluster) as cursor:
        cursor.execute("ALTER FUNCTION twice RENAME TO thrice")
        try:
            assert "P" not in failure(wire.exchange(query("SELECT id % 2, twice(sum(id)) FROM users GROUP BY 1")))
        finally:
            cursor.execute("ALTER FUNCTION thrice RENAME TO twice")


def warnings_of(messages):
    return sorted(error_fields(body)["M"] for kind, body in messages if kind == "N")


@pytest.mark.parametrize("sql", ["SELECT loud(id) FROM users WHERE id < 4", "SELECT loud(id) FROM users WHERE id < 4 ORDER BY id",
                                 "SELECT sum(loud(id)) FROM users WHERE id < 4"])
def test_what_the_shards_say_is_passed_on(wire, sql):
    assert "tier 2" in wire.ask(f"EXPLAIN (MOSAIC) {sql}")[0][0]
    expected = ["loud 1", "loud 2", "loud 3"]
    assert warnings_of(wire.exchange(query(sql))) == expected
    assert warnings_of(wire.exchange(parse(sql) + bind() + describe() + execute() + sync())) == expected


def blocked(cluster, condition):
    """Of how many shards does a server of this kind wait for whoever is to read what it says?"""
    return sum(len(cluster.query(shard, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND " + condition))
               for shard in range(LAB_SHARDS))


@pytest.mark.parametrize("condition", ["id = 1", "id < 4"], ids=["one shard", "several"])
def test_notifications_wait_for_who_does_not_read_and_stand_within_no_row(cluster, wire, condition):
    wire.ask("LISTEN jobs")
    wire.send(query(f"SELECT repeat('x', 16000000) FROM users WHERE {condition}"))
    wire.fill()
    cluster.query(0, "SELECT pg_notify('jobs', lpad(i::text, 7900)) FROM generate_series(1, 1500) i")
    eventually(lambda: blocked(cluster, "state = 'idle'") == 1)
    messages = wire.until("AZ", 1501)
    rows = [body for kind, body in messages if kind == "D"]
    assert len(rows) == (1 if condition == "id = 1" else 3)
    assert {(len(row), row[6:].strip(b"x")) for row in rows} == {(16000006, b"")}
    assert [int(body[9:-1]) for kind, body in messages if kind == "A"] == list(range(1, 1501))


@pytest.mark.parametrize("sql", ["UPDATE users SET f = f WHERE shout(id)", "SELECT sum(id) FROM users WHERE shout(id)",
                                 "SELECT id FROM users WHERE shout(id) ORDER BY id"])
def test_what_the_shards_say_waits_for_who_does_not_read(cluster, wire, sql):
    wire.send(query(sql))
    eventually(lambda: all(blocked(cluster, "query ~ 'shout'") == LAB_SHARDS for _ in range(3)))
    messages = wire.until("Z")
    assert kinds(messages).count("N") == ROWS and "E" not in kinds(messages)


def test_a_portal_ends_with_its_transaction(cluster, proxy, wire):
    opened = parse("SELECT id FROM users ORDER BY id") + bind(portal="p") + execute("p", 2)
    wire.exchange(query("BEGIN"))
    assert kinds(wire.exchange(opened + sync())) == "12DDsZ"
    assert kinds(wire.exchange(query("SELECT nosuch FROM users"))) == "EZ"
    assert failure(wire.exchange(execute("p", 2) + sync()))["C"] == "25P02"
    wire.exchange(query("ROLLBACK"))
    assert failure(wire.exchange(execute("p", 2) + sync()))["C"] == "34000"
    # A query in a segment ends it, and the portals with it.
    wire.send(opened + query("SELECT count(*) FROM users"))
    assert kinds(wire.until("Z")) == "12DDsTDCZ"
    assert failure(wire.exchange(execute("p", 2) + sync()))["C"] == "34000"
    eventually(lambda: not busy_servers(proxy))


def test_a_portal_that_is_fetched_is_not_idle(cluster):
    slow = "SELECT count(*) FROM users u, generate_series(1, 5000000) x WHERE u.id < 16 AND x % 7 > -1"
    with start_proxy(cluster, {"client_idle_timeout": "300ms"}) as hasty, hasty.wire() as wire:
        messages = wire.exchange(parse(slow) + bind() + execute() + sync())
        assert kinds(messages) == "12DCZ"


def test_who_is_owed_an_answer_is_not_idle(cluster):
    """By Flush without Sync, too; and the time begins when it is answered."""
    settings = {"client_idle_timeout": "600ms", "idle_transaction_timeout": "600ms"}
    with start_proxy(cluster, settings) as hasty, hasty.wire() as wire:
        wire.exchange(query("BEGIN"))
        wire.send(parse("SELECT pg_sleep(0.9)") + bind() + execute() + flush())
        assert kinds(wire.until("C")) == "12DC"
        time.sleep(0.25)
        assert kinds(wire.exchange(sync())) == "Z" and kinds(wire.exchange(query("COMMIT"))) == "CZ"
        assert kinds(wire.exchange(query("SELECT pg_sleep(0.9)"))) == "TDCZ"
        time.sleep(0.25)
        assert kinds(wire.exchange(query("SELECT 1"))) == "TDCZ"


def test_a_portal_left_alone_in_a_transaction_is_idle(cluster):
    with start_proxy(cluster, {"idle_transaction_timeout": "300ms", "query_timeout": "300ms"}) as hasty:
        with hasty.wire() as wire:
            wire.exchange(query("BEGIN"))
            assert kinds(wire.exchange(parse("SELECT id FROM users") + bind(portal="p") + execute("p", 2) + sync())) == "12DDsZ"
            assert failure(wire.until("E"))["C"] == "25P03"
        eventually(lambda: not busy_servers(hasty))
    with start_proxy(cluster, {"query_timeout": "1s"}) as hasty, hasty.wire() as wire:
        wire.exchange(query("BEGIN"))
        wire.exchange(parse("SELECT id FROM users, generate_series(1, 50)") + bind(portal="p") + execute("p", 2) + sync())
        time.sleep(3)  # its own time, as between the portions of a portal of one shard
        assert kinds(wire.exchange(execute("p") + sync()))[-3:] == "DCZ"


@pytest.mark.parametrize("sql", [f"SELECT id FROM users u WHERE {SLOW} > -1 ORDER BY id LIMIT 1",
                                 f"SELECT id FROM users u WHERE {SLOW} > -1 LIMIT 1",
                                 f"SELECT id FROM users u WHERE id = 3 OR id % 3 <> 0 AND {SLOW} > 10000000 LIMIT 1"])
def test_who_leaves_takes_the_limited_rows_along(cluster, proxy, sql):
    """Also where the last shards would compute for long after all rows of a LIMIT have come."""
    with proxy.wire() as wire:
        wire.send(query(sql))
        if "OR" in sql:
            assert kinds(wire.until("Z")) == "TDCZ"
        else:
            eventually(lambda: not is_idle(cluster))
    eventually(lambda: is_idle(cluster), seconds=5)
    eventually(lambda: not busy_servers(proxy))


@contextlib.contextmanager
def deaf_shard(cluster, shard, like):
    """A backend that answers nothing for as long as the block lasts."""
    find = BUSY.replace("count(*)", "pid").replace("generate_series", like)
    pid = eventually(lambda: cluster.query(shard, find))[0][0]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        cluster.query(shard, f"SELECT pg_terminate_backend({pid})")


@pytest.mark.parametrize("limit", ["query_timeout", "scatter_timeout"])
def test_a_shard_that_says_nothing_any_more(cluster, limit):
    sql = f"SELECT id FROM users u WHERE {SLOW} > -1 ORDER BY id"
    with start_proxy(cluster, {limit: "500ms", "cancel_wait_timeout": "500ms"}) as hasty, hasty.wire() as wire:
        wire.send(query(sql))
        with deaf_shard(cluster, 1, "generate_series"):
            fields = failure(wire.until("Z"))
            assert fields["C"] in ("57014", "08006")
            assert wire.ask("SELECT name FROM users WHERE id = 3") == [["n3"]]
            if limit == "query_timeout":
                eventually(lambda: not busy_servers(hasty))
        eventually(lambda: is_idle(cluster))


def test_a_shard_that_falls_silent_within_a_row(cluster):
    """The client has half a row: nothing but the end of its connection can tell it."""
    sql = "SELECT id, repeat('x', 50000000) FROM users WHERE id IN (3, 4)"
    with start_proxy(cluster, {"scatter_timeout": "6s", "cancel_wait_timeout": "500ms"}) as hasty, hasty.wire() as wire:
        wire.send(query(sql))
        assert wire.read()[0] == "T"
        wire.fill()
        stopped = []
        try:
            for shard in range(LAB_SHARDS):
                find = BUSY.replace("count(*)", "pid").replace("generate_series", "repeat(")
                stopped += [pid for pid, in cluster.query(shard, find)]
            assert stopped
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            with pytest.raises(Closed):
                while True:
                    wire.read()
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
    eventually(lambda: is_idle(cluster))


STATEMENTS = ["SELECT id FROM users", "SELECT id, repeat('x', 200) FROM users ORDER BY id", "SELECT id FROM users LIMIT 3",
              "SELECT count(*), sum(id) FROM users", "SELECT name, count(*), avg(f) FROM users GROUP BY name",
              "SELECT id, repeat('y', 300000) FROM users WHERE id < 40", "SELECT 1 / (id - 1500) FROM users",
              "EXPLAIN SELECT id FROM users", "COPY (SELECT id FROM users) TO STDOUT",
              "SELECT id AS k, repeat(id::text, 3000)::bytea AS x, sum(id) FROM users GROUP BY 1, 2"]


def cancel(wire):
    with socket.create_connection((wire.host, wire.port)) as connection:
        connection.sendall(cancel_request(wire.pid, wire.key))


def misbehave(wire, random):
    """What a client may do to statements over several shards. False: it leaves in the middle."""
    sql, other = random.choices(STATEMENTS, k=2)
    way = random.choice(["ask", "leave", "read and leave", "portal", "portals", "cancel", "cursor"])
    if way in ("leave", "read and leave"):
        wire.send(query(sql))
        return way == "leave" or not wire.read()
    if way == "ask":
        wire.exchange(query(sql))
    elif way == "portal":
        wire.exchange(parse(sql) + bind() + describe() + execute(rows=random.choice([0, 1, 7])) + sync())
    elif way == "portals":
        wire.exchange(query("BEGIN"))
        wire.exchange(parse(sql) + bind(portal="a") + execute("a", 2) + parse(other) + bind(portal="b") + execute("b", 1)
                      + execute("a", 3) + sync())
        wire.exchange(query(random.choice(["COMMIT", "SELECT nosuch FROM users"])) + query("ROLLBACK"), ready=2)
    elif way == "cancel":
        wire.send(query(sql))
        cancel(wire)
        wire.until("Z")
    else:
        wire.exchange(query("BEGIN") + query("DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id") + query("FETCH 5 FROM c")
                      + query(sql) + query("COMMIT"), ready=5)
    return random.random() < 0.7


@pytest.mark.parametrize("shortage", [False, True])
def test_whatever_clients_do_nothing_is_left_behind(cluster, shortage):
    """The map is read anew meanwhile; with a shortage there are no sockets either, for a cancel or a connection."""
    failures, until = [], time.monotonic() + 6

    def work(seed):
        random = Random(seed)
        while time.monotonic() < until:
            try:
                with small.wire() as wire:
                    while time.monotonic() < until and misbehave(wire, random):
                        pass
            except (OSError, Closed, Refused) as error:
                if not shortage or isinstance(error, TimeoutError):
                    failures.append(repr(error))

    with start_proxy(cluster, {"pool_size": 3, "scatter_memory": "256kB", "query_wait_timeout": "5s"}) as small:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            time.sleep(0.3)
            if shortage:
                count = len(os.listdir(f"/proc/{small.process.pid}/fd"))
                resource.prlimit(small.process.pid, resource.RLIMIT_NOFILE, (count, 4096))
                time.sleep(0.3)
                resource.prlimit(small.process.pid, resource.RLIMIT_NOFILE, (4096, 4096))
            small.process.send_signal(signal.SIGHUP)
        for thread in threads:
            thread.join(60)
        assert not failures and not any(thread.is_alive() for thread in threads)
        eventually(lambda: not busy_servers(small))
        with small.wire() as wire:
            assert wire.ask("SELECT count(*) FROM users") == [[str(ROWS)]]


def test_another_map_in_the_middle_fails_the_statement(cluster):
    """The last one: the map of the others is over."""
    with start_proxy(cluster, {"pool_size": 1}) as small:
        with waiting_scatter(cluster, small) as (wire, free):
            cluster.everywhere("CREATE TABLE later (id bigint PRIMARY KEY)")
            cluster.add_tables(" - {name: users, key: id, function: modulo}\n - {name: later, key: id}\n")
            cluster.run("apply", "--yes", check=True)
            config_with(cluster, {"unix_socket_dir": f'"{small.config.parent}"', "pool_size": 1}, small.config.parent)
            reload(small)
            free()
            messages = wire.until("Z")
            assert "C" not in kinds(messages) and failure(messages)["C"] == "40001"
            assert len(wire.ask("SELECT id FROM users")) == ROWS
