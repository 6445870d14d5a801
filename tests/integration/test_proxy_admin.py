"""Operating the proxy: the database pgmosaic, metrics, the log, reload, stopping, takeover, what systemd is told."""
import base64
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import psycopg2
import pytest
from conftest import COMMAND, PATIENCE, environment, run_command
from proxies import STANDIN, Target, eventually, free_port, password_of, shown, start_proxy

LAB_SHARDS = 2
pytestmark = pytest.mark.skipif(bool(STANDIN), reason="of the proxy itself")


@pytest.fixture(scope="module")
def cluster(lab):
    lab.everywhere("CREATE TABLE account (id bigint PRIMARY KEY, n int)")
    lab.add_tables("  - {name: account, key: id, function: modulo}")
    lab.run("apply", "--yes", check=True)
    for key in (1, 2):
        lab.query(key % 2, f"INSERT INTO account VALUES ({key}, {key})")
    return lab


@pytest.fixture(scope="module")
def single(make_lab):
    """One database that no cluster knows."""
    return make_lab(1, "single")


@pytest.fixture(scope="module")
def metrics_port():
    return free_port()


@pytest.fixture(scope="module")
def proxy(cluster, metrics_port):
    settings = {"metrics_listen": f"127.0.0.1:{metrics_port}", "stats_period": "1s", "threads": 2, "log_level": "debug",
                "stats_users": "[reader]"}
    with start_proxy(cluster, settings) as started:
        yield started


def in_background(call):
    """Runs it in a thread; .result() waits for it and gives what it returned or raises."""
    class Running(threading.Thread):
        def run(self):
            try:
                self.value, self.error = call(), None
            except Exception as error:  # noqa: BLE001
                self.value, self.error = None, error

        def result(self, timeout=20):
            self.join(timeout * PATIENCE)
            assert not self.is_alive(), "it did not end"
            if self.error:
                raise self.error
            return self.value
    thread = Running(daemon=True)
    thread.start()
    return thread


# ---- SHOW ----

def test_every_show_of_the_help_answers_with_rows(proxy):
    listed = shown(proxy, "SHOW HELP")
    shows = [row["command"] for row in listed if row["command"].startswith("SHOW")]
    assert len(shows) > 15
    with contextlib.closing(proxy.psycopg2()) as client, client.cursor() as cursor:
        cursor.execute("SELECT 1")
        for command in shows:
            rows = shown(proxy, command.split(" [")[0])
            assert rows or command.startswith(("SHOW PLANS", "SHOW MAP")), command


def test_pools_clients_and_servers_agree(proxy):
    with contextlib.closing(proxy.psycopg2()) as client, client.cursor() as cursor:
        client.autocommit = False
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
        servers = [row for row in shown(proxy, "SHOW SERVERS") if row["state"] == "active"]
        assert [row["remote_pid"] for row in servers] == [pid]
        mine = [row for row in shown(proxy, "SHOW CLIENTS") if row["id"] == servers[0]["link"]]
        assert len(mine) == 1 and mine[0]["state"] == "active" and mine[0]["link"] == servers[0]["id"]
        assert mine[0]["addr"] == "127.0.0.1" and mine[0]["user"] == proxy.user
        pools = [row for row in shown(proxy, "SHOW POOLS") if row["shard"] == servers[0]["shard"]]
        assert [(row["cl_active"], row["sv_active"]) for row in pools] == [(1, 1)]
        client.rollback()
    assert not [row for row in shown(proxy, "SHOW SERVERS") if row["state"] == "active"]


def test_counters_count(proxy):
    before = {row["shard"]: row for row in shown(proxy, "SHOW STATS")}
    with contextlib.closing(proxy.psycopg2()) as client, client.cursor() as cursor:
        for _ in range(10):
            cursor.execute("SELECT 1")
        with pytest.raises(psycopg2.errors.DivisionByZero):
            cursor.execute("SELECT 1/0")
    after = {row["shard"]: row for row in shown(proxy, "SHOW STATS")}
    grown = {name: sum(after[shard][name] - before[shard][name] for shard in after)
             for name in ("total_xact_count", "total_query_count", "total_errors", "total_received", "total_sent")}
    assert grown["total_xact_count"] == 11 and grown["total_query_count"] == 11 and grown["total_errors"] == 1
    assert grown["total_received"] > 300 and grown["total_sent"] > 100
    eventually(lambda: sum(row["avg_xact_count"] for row in shown(proxy, "SHOW STATS_AVERAGES")) > 0)


def test_the_map_and_the_shards(proxy, cluster):
    rows = shown(proxy, "SHOW MAP account")
    assert [(row["shard"], row["share"]) for row in rows] == [("s0", "50.0"), ("s1", "50.0")]
    shards = {row["shard"]: row for row in shown(proxy, "SHOW SHARDS")}
    most, reserved = (cluster.query(0, f"SELECT current_setting('{name}')::int")[0][0]
                      for name in ("max_connections", "superuser_reserved_connections"))
    assert shards["s0"]["server_max"] == most - reserved
    assert [row["role"] for row in shown(proxy, "SHOW SHARDS")].count("home") == 1
    with pytest.raises(psycopg2.Error, match="there is no table nothing"):
        shown(proxy, "SHOW MAP nothing")


def test_a_driver_of_the_extended_protocol(proxy):
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(host=proxy.host, port=proxy.port, user=proxy.user, password=proxy.password,
                         dbname="pgmosaic", autocommit=True) as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            cursor.execute("SHOW LISTS", prepare=True)
            assert dict(cursor.fetchall())["shards"] == 2
            with pytest.raises(psycopg.Error, match="did you mean SHOW LISTS"):
                cursor.execute("SHOW LIST", prepare=True)


def test_psql_with_its_own_queries(proxy):
    done = subprocess.run(["psql", "-X", "-d", "pgmosaic", "-c", "SHOW VERSION", "-c", "\\watch 1", "-c", "bogus"],
                          env=proxy.env, capture_output=True, text=True, timeout=20)
    assert "pgmosaic" in done.stdout and "there is no command" in done.stderr


# ---- commands ----

def test_pause_waits_for_transactions_and_holds_new_ones(proxy):
    with contextlib.closing(proxy.psycopg2()) as client, contextlib.closing(proxy.psycopg2()) as other:
        client.autocommit = False
        cursor = client.cursor()
        cursor.execute("SELECT now()")
        pausing = in_background(lambda: shown(proxy, "PAUSE"))
        eventually(lambda: all(row["state"] == "paused" for row in shown(proxy, "SHOW SHARDS")))
        assert pausing.is_alive()
        cursor.execute("SELECT 2")  # the transaction goes on
        client.commit()
        pausing.result()
        assert sum(row["current_connections"] for row in shown(proxy, "SHOW SHARDS")) == 0
        waiting = in_background(lambda: other.cursor().execute("SELECT 3"))
        eventually(lambda: [row for row in shown(proxy, "SHOW CLIENTS") if row["state"] == "waiting"])
        assert {row["key"]: row["value"] for row in shown(proxy, "SHOW STATE")}["paused"] == "yes"
        shown(proxy, "RESUME")
        waiting.result()


def test_pause_lets_transactions_come_to_their_end(proxy):
    """On shards that they have not come to yet, too, and where another one waits for what they have locked."""
    rows = "SELECT count(*) FROM account WHERE id = {}"

    def paused():
        return "paused" in [row["state"] for row in shown(proxy, "SHOW SHARDS")]
    with proxy.session() as one, proxy.session() as other:
        one("BEGIN")
        one("UPDATE account SET n = n WHERE id = 2")
        pausing = in_background(lambda: shown(proxy, "PAUSE"))
        eventually(paused)
        assert in_background(lambda: one(rows.format(3))).result(5) == [(0,)]
        assert in_background(lambda: one("SELECT count(*) FROM account")).result(5) == [(2,)]
        one("COMMIT")
        pausing.result()
        shown(proxy, "RESUME")
        shown(proxy, "SET deadlock_check_interval = 200ms")
        for session, key in ((one, 2), (other, 1)):
            session("BEGIN")
            session(f"UPDATE account SET n = n WHERE id = {key}")
        pausing = in_background(lambda: shown(proxy, "PAUSE s1"))
        eventually(paused)
        needs = in_background(lambda: one(rows.format(3)))
        waits = in_background(lambda: other("UPDATE account SET n = n WHERE id = 2"))
        assert needs.result(5) == [(0,)]
        one("COMMIT")
        assert waits.result() == "UPDATE 1"
        other("COMMIT")
        pausing.result()
        # Now it is paused: nobody is let through.
        one("BEGIN")
        one("UPDATE account SET n = n WHERE id = 2")
        needs = in_background(lambda: one(rows.format(3)))
        eventually(lambda: [row for row in shown(proxy, "SHOW CLIENTS") if row["state"] == "waiting"])
        pausing = in_background(lambda: shown(proxy, "PAUSE s0"))  # which waits for it
        eventually(lambda: [row for row in shown(proxy, "SHOW SHARDS") if row["shard"] == "s0" and row["state"] == "paused"])
        time.sleep(0.5)
        assert not [row for row in shown(proxy, "SHOW SERVERS") if row["shard"] == "s1"]
        shown(proxy, "RESUME s1")
        assert needs.result() == [(0,)]
        one("COMMIT")
        pausing.result()
        shown(proxy, "RESUME")
        shown(proxy, "RELOAD")


def test_an_admin_whose_command_waits_is_not_idle(cluster):
    with start_proxy(cluster, {"client_idle_timeout": "300ms"}) as proxy, proxy.session() as session:
        session("BEGIN")
        session("SELECT now()")
        pausing = in_background(lambda: shown(proxy, "PAUSE"))
        time.sleep(0.8)
        session("COMMIT")
        pausing.result()


def test_pause_of_one_shard_leaves_the_others(proxy):
    shown(proxy, "PAUSE s1")
    states = {row["shard"]: row["state"] for row in shown(proxy, "SHOW SHARDS")}
    assert states == {"s0": "active", "s1": "paused", "@coordinator": "active"}
    shown(proxy, "RESUME s1")
    with pytest.raises(psycopg2.Error, match="there is no shard s9"):
        shown(proxy, "PAUSE s9")


def test_reconnect_closes_what_is_free_and_wait_close_waits(proxy):
    with contextlib.closing(proxy.psycopg2()) as client:
        client.autocommit = False
        cursor = client.cursor()
        cursor.execute("SELECT pg_backend_pid()")
        before = cursor.fetchone()[0]
        shown(proxy, "RECONNECT")
        closing = in_background(lambda: shown(proxy, "WAIT_CLOSE"))
        time.sleep(0.2)
        assert closing.is_alive()
        client.rollback()
        closing.result()
        cursor.execute("SELECT pg_backend_pid()")
        assert cursor.fetchone()[0] != before
        client.rollback()


def test_reconnect_finds_out_where_the_shards_are(cluster):
    with start_proxy(cluster) as proxy, proxy.session() as session:
        sql = "SELECT current_setting('work_mem') FROM account WHERE id = 1"
        assert session(sql) == [("4MB",)]
        text = proxy.config.read_text()
        line = [found[0] for found in SHARD_LINE.finditer(text)][1]
        proxy.config.write_text(text.replace(line, line.replace("host=", "options=-cwork_mem=7MB host=")))
        assert session(sql) == [("4MB",)]
        shown(proxy, "RECONNECT s1")
        assert session(sql) == [("7MB",)]
        proxy.config.write_text("nonsense")
        with pytest.raises(psycopg2.Error, match="the connections are renewed, but where the shards are was not found out"):
            shown(proxy, "RECONNECT")
        assert session(sql) == [("7MB",)]


def test_one_client_can_be_killed(proxy):
    with contextlib.closing(proxy.psycopg2()) as client, contextlib.closing(proxy.psycopg2()) as other:
        client.cursor().execute("SET application_name = 'victim'")
        victims = [row["id"] for row in shown(proxy, "SHOW CLIENTS") if row["port"] == client_port(client)]
        assert len(victims) == 1
        shown(proxy, f"KILL_CLIENT {victims[0]}")
        with pytest.raises(psycopg2.OperationalError):
            client.cursor().execute("SELECT 1")
        other.cursor().execute("SELECT 1")


def test_who_is_not_there_cannot_be_killed(proxy):
    with contextlib.closing(proxy.psycopg2()) as client:
        client.cursor().execute("SELECT 1")
        # Of the first thread, of the second, and of one that there is not.
        for number in (999999, (1 << 32) + 999999, (7 << 32) + 1):
            with pytest.raises(psycopg2.Error, match=f"there is no client {number}"):
                shown(proxy, f"KILL_CLIENT {number}")
        client.cursor().execute("SELECT 1")
        with pytest.raises(psycopg2.OperationalError):  # itself, too
            with contextlib.closing(proxy.psycopg2(dbname="pgmosaic")) as console, console.cursor() as cursor:
                cursor.execute("SHOW CLIENTS")
                own = [row for row in cursor.fetchall() if row[5] == client_port(console)]
                cursor.execute(f"KILL_CLIENT {own[0][17]}")


def client_port(connection):
    with socket.socket(fileno=os.dup(connection.fileno())) as sock:
        return sock.getsockname()[1]


def test_kill_ends_all_and_holds_back_until_resume(proxy):
    with contextlib.closing(proxy.psycopg2()) as client:
        client.cursor().execute("SELECT 1")
        shown(proxy, "KILL")
        with pytest.raises(psycopg2.OperationalError):
            client.cursor().execute("SELECT 1")
    shown(proxy, "RESUME")
    with contextlib.closing(proxy.psycopg2()) as client:
        client.cursor().execute("SELECT 1")


def test_disabled_logins_are_refused_but_here(proxy):
    shown(proxy, "DISABLE")
    try:
        with pytest.raises(psycopg2.OperationalError, match="logins are disabled"):
            proxy.psycopg2()
    finally:
        shown(proxy, "ENABLE")
    proxy.psycopg2().close()


def test_set_until_reload(proxy):
    def pool_size():
        return {row["key"]: row["value"] for row in shown(proxy, "SHOW CONFIG")}["pool_size"]
    before = pool_size()
    shown(proxy, "SET pool_size = 33")
    assert pool_size() == "33"
    for wrong, says in (("SET pool_size = 0", "out of range"), ("SET threads = 3", "cannot be changed"),
                        ("SET query_timeout = 5", "has no unit"), ("SET pol_size = 5", "did you mean \"pool_size\""),
                        ("SET min_pool_size = 50", "is over pool_size")):
        with pytest.raises(psycopg2.Error, match=says):
            shown(proxy, wrong)
    shown(proxy, "RELOAD")
    assert pool_size() == before


# ---- who may ----

def test_rights(cluster):
    with start_proxy(cluster, {"auth_type": "trust", "stats_users": "[reader]", "admin_users": "[boss]"}) as proxy:
        assert shown(proxy, "SHOW VERSION", user="reader")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            shown(proxy, "RELOAD", user="reader")
        shown(proxy, "RELOAD", user="boss")
        with pytest.raises(psycopg2.OperationalError, match="may not use the database pgmosaic"):
            shown(proxy, "SHOW VERSION", user="nobody")


# ---- metrics ----

def fetch(port, path="/metrics"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.headers, answer.read().decode()


SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (-?[0-9.e+]+|\+Inf)\Z')


def samples(text):
    """{(name, labels): value}, by the format's grammar; each name has its TYPE before it."""
    found, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.match(line)
            assert match, line
            name = match[1]
            base = re.sub("_(bucket|sum|count)$", "", name)
            assert types.get(name) or types.get(base) == "histogram", line
            labels = tuple(sorted(re.findall(r'([a-z_]+)="((?:[^"\\]|\\.)*)"', match[2] or "")))
            assert (name, labels) not in found, line
            found[name, labels] = float(match[3])
    return found


def test_metrics_are_prometheus_text_and_count(proxy, metrics_port):
    before = samples(fetch(metrics_port)[1])
    with contextlib.closing(proxy.psycopg2()) as client, client.cursor() as cursor:
        for _ in range(5):
            cursor.execute("SELECT 1")
        with pytest.raises(psycopg2.Error):
            cursor.execute("SELECT 1/0")
        headers, text = fetch(metrics_port)
    after = samples(text)
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")

    def grown(name):
        return sum(value - before.get(key, 0) for key, value in after.items() if key[0] == name)
    assert grown("pgmosaic_transactions_total") == 6
    assert grown("pgmosaic_transaction_seconds_count") == 6
    assert grown("pgmosaic_shard_errors_total") == 1
    assert after["pgmosaic_errors_total", (("class", "22"), ("from", "shard"))] >= 1
    assert after["pgmosaic_shard_up", (("shard", "s0"),)] == 1
    for shard in ("s0", "s1"):
        labels = (("shard", shard), ("tier", "1"))
        buckets = [(float(dict(key[1])["le"]), value) for key, value in after.items()
                   if key[0] == "pgmosaic_transaction_seconds_bucket" and set(labels) <= set(key[1])]
        values = [value for _, value in sorted(buckets)]
        assert values == sorted(values) and values[-1] == after["pgmosaic_transaction_seconds_count", labels]


def test_the_metrics_port_knows_one_path_and_bad_input(metrics_port, proxy):
    for path, code in (("/", 404), ("/metricsx", 404), ("/metrics?x=1", 200)):
        try:
            assert fetch(metrics_port, path)[0] and code == 200
        except urllib.error.HTTPError as error:
            assert error.code == code
    for request, answer in ((b"POST /metrics HTTP/1.1\r\n\r\n", b" 405 "), (b"\x16\x03\x01", b" 400 "),
                            (b"GET /" + b"a" * 9000, b" 400 "), (b"HEAD /metrics HTTP/1.0\r\n\r\n", b" 200 ")):
        with socket.create_connection(("127.0.0.1", metrics_port), timeout=10) as client:
            client.sendall(request)
            assert answer in client.recv(100), request
    with socket.create_connection(("127.0.0.1", metrics_port), timeout=10):
        pass  # says nothing, and goes
    assert fetch(metrics_port)[1]
    assert proxy.alive()


# ---- log ----

def test_the_log_is_json_of_one_line_an_event_without_passwords(cluster, directory):
    path = directory / "proxy.log"
    directory.chmod(0o777)
    settings = {"log_format": "json", "log_file": f'"{path}"', "log_level": "debug"}
    with start_proxy(cluster, settings) as proxy:
        with contextlib.closing(proxy.psycopg2()) as client:
            client.cursor().execute("SELECT 1")
        with pytest.raises(psycopg2.OperationalError):
            Target(proxy.host, proxy.port, proxy.user, "wrong-secret", proxy.database).psycopg2()
        with pytest.raises(psycopg2.OperationalError):
            Target(proxy.host, proxy.port, proxy.user, proxy.password, "missing").psycopg2()
        shown(proxy, "SET pool_size = 21")

        def events():
            return [json.loads(line) for line in path.read_text().splitlines()]
        eventually(lambda: [event for event in events() if event["event"] == "admin"])
        names = [event["event"] for event in events()]
        assert {"login", "disconnect", "login_failed", "server_opened", "admin"} <= set(names)
        refused = [event for event in events() if event["event"] == "login_failed"]
        assert {event["sqlstate"] for event in refused} == {"28P01", "3D000"}
        login = next(event for event in events() if event["event"] == "login")
        assert login["user"] == proxy.user and login["database"] == proxy.database and login["client"] > 0
        # logrotate's way: move the file, then RELOAD.
        path.rename(directory / "old.log")
        shown(proxy, "RELOAD")
        shown(proxy, "RESUME")
        eventually(lambda: path.exists() and "RESUME" in path.read_text())
        assert proxy.password not in path.read_text() + (directory / "old.log").read_text()
        assert "wrong-secret" not in (directory / "old.log").read_text()


def test_statements_are_logged_with_their_plans_and_refusals_with_their_reasons(cluster):
    with start_proxy(cluster, {"log_statements": "true", "log_format": "json"}) as proxy:
        with contextlib.closing(proxy.psycopg2()) as client, client.cursor() as cursor:
            cursor.execute("SELECT n FROM account WHERE id = 1")
            cursor.execute("SELECT 1")
            cursor.execute("SELECT 'x' AS password, 'secret'")
            with pytest.raises(psycopg2.errors.FeatureNotSupported):
                cursor.execute("DELETE FROM account WHERE random() > 2")

        def events(name):
            return [event for event in map(json.loads, (line for line in proxy.log.splitlines() if line[0] == "{"))
                    if event["event"] == name]
        eventually(lambda: events("disconnect"))
        found = {event["statement"]: event for event in events("statement")}
        keyed = found["SELECT n FROM account WHERE id = 1"]
        assert re.fullmatch(r"bucket \d+ of account", keyed["plan"]) and keyed["shard"] in ("s0", "s1")
        assert found["SELECT 1"]["plan"] == "any shard"
        assert "secret" not in proxy.log
        refused = events("refused")[0]
        assert refused["statement"] == "DELETE FROM account WHERE random() > 2" and refused["sqlstate"] == "0A000"
        assert sum(row["value"] for row in shown(proxy, "SHOW TOTALS") if row["name"] == "refusals") == 1


@contextlib.contextmanager
def shards_log_statements(cluster):
    """lines(shard): what the server has logged since, each statement with its application_name in front."""
    roots = []
    for shard in range(2):
        directory, port, data = (cluster.query(shard, f"SHOW {name}")[0][0]
                                 for name in ("unix_socket_directories", "port", "data_directory"))
        root = psycopg2.connect(host=directory, port=port, user="postgres", dbname=cluster.name)
        root.autocommit = True
        roots.append((root, pathlib.Path(data)))

    def each(*statements):
        for root, _ in roots:
            for statement in (*statements, "SELECT pg_reload_conf()"):
                root.cursor().execute(statement)

    def lines(shard):
        return "".join(path.read_text() for path in sorted((roots[shard][1] / "log").glob("server-*.log"))).splitlines()
    each("ALTER SYSTEM SET log_line_prefix = '<%a>'", "ALTER SYSTEM SET log_statement = 'all'")
    try:
        eventually(lambda: all(cluster.query(shard, "SHOW log_statement") == [("all",)] for shard in range(2)))
        yield lines
    finally:
        each("ALTER SYSTEM RESET log_line_prefix", "ALTER SYSTEM RESET log_statement")
        for root, _ in roots:
            root.close()


def test_a_trace_id_is_in_the_log_and_at_the_shard(cluster):
    psycopg = pytest.importorskip("psycopg")
    parent = "4bf92f3577b34da6a3ce929d0e0e4736"
    settings = {"trace": "true", "log_statements": "true", "log_format": "json", "threads": 1}
    with shards_log_statements(cluster) as lines, start_proxy(cluster, settings) as proxy:
        def events():
            return [json.loads(line) for line in proxy.log.splitlines() if line[:1] == "{"]

        def trace_of(text):
            """The id that the statement has here; the shard must have it too, in front of the same text."""
            found = eventually(lambda: [event for event in events() if text in event.get("statement", "")])
            assert len({event["trace"] for event in found}) == 1 and re.fullmatch("[0-9a-f]{32}", found[0]["trace"])
            shard = int(found[0]["shard"][1:])
            eventually(lambda: [line for line in lines(shard)
                                if line.startswith(f"<shop {found[0]['trace']}>") and text in line])
            return found[0]["trace"]
        with contextlib.closing(psycopg2.connect(proxy.dsn + " application_name=shop")) as client:
            cursor = client.cursor()
            cursor.execute("SELECT n, 'a' FROM account WHERE id = 1")
            cursor.execute("SELECT n, 'b' FROM account WHERE id = 1")
            with pytest.raises(psycopg2.errors.DivisionByZero):
                cursor.execute("SELECT n/0, 'c' FROM account WHERE id = 1")
            assert client.info.parameter_status("application_name") == "shop"
            client.rollback()
            assert client.info.parameter_status("application_name") == "shop"
            cursor.execute(f"SELECT n, 'd' FROM account WHERE id = 2 /*traceparent='00-{parent}-00f067aa0ba902b7-01'*/")
            client.rollback()
            with pytest.raises(psycopg2.errors.FeatureNotSupported):
                cursor.execute("DELETE FROM account WHERE n::text = 'e' AND random() > 2")
            client.rollback()
            client.autocommit = True
            cursor.execute("SHOW application_name")
            assert re.fullmatch("shop [0-9a-f]{32}", cursor.fetchone()[0])
        first = trace_of("'a'")
        assert first == trace_of("'b'") == trace_of("'c'")  # of one transaction
        assert trace_of("'d'") == parent
        assert not any("trace" in event for event in events() if "'e'" in event.get("statement", ""))
        # The extended protocol, prepared: the text is the server's from before, the id is not in it.
        with psycopg.connect(proxy.dsn + " application_name=shop", autocommit=True, prepare_threshold=0) as client:
            for _ in range(3):
                assert client.execute("SELECT id, 'f' FROM account WHERE id = %s", (1,)).fetchall() == [(1, "f")]
            with client.pipeline():
                cursors = [client.execute("SELECT id, 'g' FROM account WHERE id = %s", (key,)) for key in (1, 1)]
            assert [cursor.fetchall() for cursor in cursors] == [[(1, "g")]] * 2
        def of_prepared():
            return [event["trace"] for event in events() if "'f'" in event.get("statement", "")]
        eventually(lambda: len(of_prepared()) == 3)
        assert len(set(of_prepared())) == 3
        for trace in of_prepared():
            eventually(lambda trace=trace: [line for line in lines(1) if f"<shop {trace}>" in line and "'f'" in line])
        # Off again: nothing of it is left for a later session.
        shown(proxy, "SET trace = false")
        with contextlib.closing(psycopg2.connect(proxy.dsn + " application_name=shop")) as client:
            for key in (1, 2, 1, 2):
                client.cursor().execute(f"SELECT n FROM account WHERE id = {key}")
                cursor = client.cursor()
                cursor.execute("SHOW application_name")
                assert cursor.fetchone() == ("shop",)
                client.rollback()


# ---- reload ----

def reload(proxy, **options):
    return run_command("reload", "-c", proxy.config, **options)


def test_reload_by_command_and_signal(cluster):
    with start_proxy(cluster, {"pool_size": 5, "threads": 1}) as proxy:
        def pool_size():
            return {row["key"]: row["value"] for row in shown(proxy, "SHOW CONFIG")}["pool_size"]
        good = proxy.config.read_text()
        proxy.config.write_text(good.replace("pool_size: 5", "pool_size: 6").replace("threads: 1", "threads: 2"))
        assert reload(proxy, check=True).stdout == "reloaded\n"
        assert pool_size() == "6"
        eventually(lambda: "pool_size: 5 -> 6" in proxy.log and "threads: 1 -> 2 (needs a restart)" in proxy.log)
        # What contradicts itself is found by the proxy, and changes nothing.
        proxy.config.write_text(good.replace("pool_size: 5", "pool_size: 7\n  min_pool_size: 50"))
        done = reload(proxy)
        assert done.returncode == 2 and "min_pool_size 50 is over pool_size 7" in done.stderr
        assert pool_size() == "6"
        proxy.config.write_text(good.replace("pool_size: 5", "pool_size: nonsense"))
        proxy.process.send_signal(signal.SIGHUP)
        eventually(lambda: "reload_failed" in proxy.log)
        assert pool_size() == "6"
        proxy.config.write_text(good.replace("pool_size: 5", "pool_size: 8"))
        proxy.process.send_signal(signal.SIGHUP)
        eventually(lambda: pool_size() == "8")
        proxy.stop()
        assert "cannot reach a proxy" in reload(proxy).stderr


SHARD_LINE = re.compile(r"^  - \{name: (s\d).*\n", re.MULTILINE)


def test_a_reload_may_put_the_shards_in_another_order(cluster):
    """Counters, paused shards and open transactions stay with their shard's name."""
    ports = [int(re.search(r"port=(\d+)", cluster.conninfo(shard))[1]) for shard in range(2)]
    sql = "SELECT n, inet_server_port() FROM account WHERE id = %s"
    with start_proxy(cluster, {"threads": 2}) as proxy:
        def counts():
            return {row["shard"]: row["total_query_count"] for row in shown(proxy, "SHOW STATS")}
        with contextlib.closing(proxy.psycopg2()) as client, contextlib.closing(proxy.psycopg2()) as other:
            cursor, others = client.cursor(), other.cursor()
            for _ in range(20):
                others.execute(sql, (1,))
            client.autocommit = False
            cursor.execute(sql, (1,))
            assert cursor.fetchall() == [(1, ports[1])]
            shown(proxy, "PAUSE s0")
            before = counts()
            assert before["s1"] >= 21 > before["s0"]
            text = proxy.config.read_text()
            lines = [found[0] for found in SHARD_LINE.finditer(text)]
            proxy.config.write_text(text.replace("".join(lines), "".join(reversed(lines))))
            reload(proxy, check=True)
            assert [row["shard"] for row in shown(proxy, "SHOW SHARDS")] == ["s1", "s0", "@coordinator"]
            assert counts() == before
            states = {row["shard"]: (row["state"], row["role"]) for row in shown(proxy, "SHOW SHARDS")}
            assert states == {"s0": ("paused", "home"), "s1": ("active", ""), "@coordinator": ("active", "coordinator")}
            shown(proxy, "RESUME s0")
            # The transaction that is open on s1 is still there, and nowhere else.
            cursor.execute(sql, (1,))
            assert cursor.fetchall() == [(1, ports[1])]
            cursor.execute(sql, (2,))
            assert cursor.fetchall() == [(2, ports[0])]
            client.rollback()
            for key, port in ((1, ports[1]), (2, ports[0])):
                others.execute(sql, (key,))
                assert others.fetchall() == [(key, port)]
            after = counts()
            assert after["s0"] - before["s0"] in (1, 2) and after["s1"] - before["s1"] in (2, 3, 4)


def test_a_reload_may_take_a_shard_away(make_lab):
    lab = make_lab(2, "bare")
    lab.query(1, "CREATE TABLE kept (n int)")
    with start_proxy(lab, {"threads": 2}) as proxy, lab.connect(1) as busy, busy.cursor() as holds, proxy.session() as writer:
        text = proxy.config.read_text()
        line = [found[0] for found in SHARD_LINE.finditer(text)][1]
        holds.execute("BEGIN; LOCK TABLE kept")
        writer("SET mosaic.shard = 's1'")
        writing = in_background(lambda: writer("INSERT INTO kept VALUES (1)"))
        eventually(lambda: lab.query(1, "SELECT 1 FROM pg_locks WHERE NOT granted"))
        with contextlib.closing(proxy.psycopg2()) as client, contextlib.closing(proxy.psycopg2()) as other:
            cursor = client.cursor()
            cursor.execute("SET mosaic.shard = 's1'")
            client.autocommit = False
            cursor.execute("SELECT now()")
            other.cursor().execute("SET mosaic.shard = 's1'")
            pausing = in_background(lambda: shown(proxy, "PAUSE s1"))  # it waits for the transaction
            eventually(lambda: "paused" in [row["state"] for row in shown(proxy, "SHOW SHARDS")])
            waiting = in_background(lambda: other.cursor().execute("SELECT 1"))
            eventually(lambda: [row for row in shown(proxy, "SHOW CLIENTS") if row["state"] == "waiting"])
            proxy.config.write_text(text.replace(line, ""))
            reload(proxy, check=True)
            with pytest.raises(psycopg2.Error, match="shard s1 was taken out of the config"):
                waiting.result()
            with pytest.raises(psycopg2.Error, match="the outcome of the statement is not known: shard s1 did not answer it"):
                writing.result()
            try:
                pausing.result()  # its transaction had gone with the shard before PAUSE looked for it again
            except psycopg2.Error as error:
                assert "there is no shard s1" in str(error)
            with pytest.raises(psycopg2.Error, match="shard s1 was taken out of the config"):
                cursor.execute("SELECT 2")
            client.rollback()
            assert [row["shard"] for row in shown(proxy, "SHOW SHARDS")] == ["s0"]
            assert not [row for row in shown(proxy, "SHOW SERVERS") if row["shard"] != "s0"]
            proxy.config.write_text(text)
            reload(proxy, check=True)
            shown(proxy, "RESUME s1")
            cursor.execute("SELECT 4")
            assert cursor.fetchall() == [(4,)]
            client.rollback()
            other.cursor().execute("SELECT 5")


def test_the_budget_is_a_warning_with_numbers(cluster):
    with start_proxy(cluster, {"pool_size": 5000}) as proxy:
        eventually(lambda: "budget" in proxy.log)
        assert re.search(r"may open 5000 connections to shard s0, which allows \d+", proxy.log)
        assert "set max_shard_connections to" in proxy.log
        proxy.psycopg2().close()
        eventually(lambda: [row["over_budget"] for row in shown(proxy, "SHOW SHARDS")][:2] == [1, 1])


# ---- from PgBouncer ----

def scram_verifier(password, salt=b"sixteen bytes ..", rounds=4096):
    """As PostgreSQL stores it in pg_authid.rolpassword (RFC 5803)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt, stored, server = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${rounds}:{salt}${stored}:{server}"


def test_a_config_made_from_pgbouncers_serves(single, directory):
    """One shard's database as PgBouncer had it, with the user's verifier in an auth_file."""
    direct = dict(re.findall(r"(\w+)=(\S+)", single.conninfo(0)))
    password = password_of(single, direct["port"])
    verifier = scram_verifier(password)
    users, ini, port = directory / "userlist.txt", directory / "pgbouncer.ini", free_port()
    users.write_text(f'"{direct["user"]}" "{verifier}"\n')
    users.chmod(0o600)
    ini.write_text(f"[databases]\nshop = host={direct['host']} port={direct['port']} dbname={direct['dbname']} "
                   f"user={direct['user']}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
                   f"auth_type = scram-sha-256\nauth_file = {users}\npool_mode = transaction\nserver_round_robin = 1\n"
                   f"unix_socket_dir = {directory}\napplication_name_add_host = 1\nmax_client_conn = 50\n")
    made = run_command("config", "from-pgbouncer", ini, "--userlist", users, check=True).stdout
    assert "#   server_round_robin = 1: " in made and "1 users" in made
    (directory / "mosaic.yaml").write_text(made)
    process = subprocess.Popen([COMMAND, "proxy", "-c", directory / "mosaic.yaml"], stdin=subprocess.DEVNULL,
                               env=environment({"PGPASSFILE": single.env["PGPASSFILE"]}))
    try:
        target = Target("127.0.0.1", port, direct["user"], password, "shop")

        def connected():
            with contextlib.suppress(psycopg2.OperationalError):
                return psycopg2.connect(target.dsn + " application_name=app")
        with contextlib.closing(eventually(connected)) as client, client.cursor() as cursor:
            cursor.execute("SHOW application_name")
            assert re.fullmatch(r"app - 127\.0\.0\.1:\d+", cursor.fetchone()[0])
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(target.dsn.replace(password, "wrong"))
    finally:
        process.terminate()
        assert process.wait(20) == 0


# ---- the end ----

def test_a_graceful_stop_lets_transactions_end(cluster):
    with start_proxy(cluster, {"shutdown_timeout": "20s"}) as proxy:
        with contextlib.closing(proxy.psycopg2()) as busy, contextlib.closing(proxy.psycopg2()) as idle:
            busy.autocommit = False
            busy.cursor().execute("SELECT now()")
            proxy.process.send_signal(signal.SIGTERM)
            with pytest.raises(psycopg2.OperationalError):
                eventually(lambda: idle.cursor().execute("SELECT 1"), seconds=3)
            with pytest.raises(psycopg2.OperationalError):
                proxy.psycopg2()
            busy.cursor().execute("SELECT 2")
            busy.commit()
            assert proxy.process.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_shard_does_not_answer_ends_the_start(directory, number):
    """The shard takes the connection and says nothing: a host that hangs, or a firewall."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        config = directory / "mosaic.yaml"
        config.write_text("cluster: slow\nengine: postgres\nshards:\n  - name: s0\n    conninfo: "
                          f'"host=127.0.0.1 port={silent.getsockname()[1]} user=app dbname=slow"\n'
                          f'proxy:\n  unix_socket_dir: "{directory}"\ntables: []\n')
        process = subprocess.Popen([COMMAND, "proxy", "-c", config, "--listen", f"127.0.0.1:{free_port()}"],
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(), text=True)
        silent.settimeout(20)
        with silent.accept()[0]:
            time.sleep(0.3)
            assert process.poll() is None
            process.send_signal(number)
            begun = time.monotonic()
            errors = process.communicate(timeout=20)[1]
        assert time.monotonic() - begun < 1 and process.returncode == 130, errors
        assert "interrupted while connecting" in errors


def test_a_stop_waits_for_a_transaction_that_no_shard_has(cluster):
    with start_proxy(cluster) as proxy:
        with contextlib.closing(proxy.psycopg2()) as client:
            client.autocommit = False
            client.cursor().execute("SELECT 1")
            proxy.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            client.cursor().execute("SELECT 2")
            assert proxy.alive()
            client.commit()
            assert proxy.process.wait(10) == 0


@pytest.mark.parametrize("how", ["second signal", "timeout", "SHUTDOWN"])
def test_a_stop_does_not_wait_for_ever(cluster, how):
    with start_proxy(cluster, {"shutdown_timeout": "300ms" if how == "timeout" else "60s"}) as proxy:
        with contextlib.closing(proxy.psycopg2()) as busy:
            busy.autocommit = False
            busy.cursor().execute("SELECT now()")
            if how == "SHUTDOWN":
                with contextlib.suppress(psycopg2.OperationalError):
                    shown(proxy, "SHUTDOWN")
            else:
                proxy.process.send_signal(signal.SIGTERM)
                time.sleep(0.3)
            if how == "second signal":
                assert proxy.alive()
                proxy.process.send_signal(signal.SIGTERM)
            assert proxy.process.wait(10) == 0


def test_shutdown_wait_for_clients_waits_for_them(cluster):
    with start_proxy(cluster) as proxy:
        with contextlib.closing(proxy.psycopg2()) as client:
            shown(proxy, "SHUTDOWN WAIT_FOR_CLIENTS")
            time.sleep(0.3)
            client.cursor().execute("SELECT 1")
            assert proxy.alive()
        assert proxy.process.wait(10) == 0


# ---- takeover ----

def takeover(proxy, cluster):
    words = [COMMAND, "proxy", "-c", proxy.config, "--listen", f"127.0.0.1:{proxy.port}", "--takeover"]
    with open(proxy.errors, "a") as errors:
        return subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                                env=environment({"PGPASSFILE": cluster.env["PGPASSFILE"]}))


def test_a_takeover_drops_and_refuses_nobody(cluster, directory):
    directory.chmod(0o777)
    log = directory / "log"
    with start_proxy(cluster, {"shutdown_timeout": "20s", "log_file": f'"{log}"'}) as proxy:
        refused, made, stop = [], [0], threading.Event()

        def connect_again_and_again():
            while not stop.is_set():
                try:
                    with contextlib.closing(proxy.psycopg2()) as client:
                        client.cursor().execute("SELECT 1")
                        made[0] += 1
                except psycopg2.Error as error:
                    refused.append(str(error))
        threads = [threading.Thread(target=connect_again_and_again, daemon=True) for _ in range(4)]
        old = proxy.process
        with contextlib.closing(proxy.psycopg2()) as client:
            client.autocommit = False
            client.cursor().execute("SELECT now()")
            for thread in threads:
                thread.start()
            for round_number in range(2):
                eventually(lambda: made[0] > 20 * (round_number + 1))
                before = proxy.process
                proxy.process = takeover(proxy, cluster)
                eventually(lambda: log.read_text().count("took ") == round_number + 1)
            count = made[0]
            eventually(lambda: made[0] > count + 20)
            assert old.poll() is None  # it still serves its client
            client.cursor().execute("SELECT 2")
            client.commit()
            assert before.wait(20) == 0
        stop.set()
        for thread in threads:
            thread.join(20)
        assert old.wait(20) == 0
        assert not refused, refused[:3]


def test_after_a_takeover_clients_of_the_old_process_can_cancel(cluster, directory):
    directory.chmod(0o777)
    log = directory / "log"
    with start_proxy(cluster, {"shutdown_timeout": "20s", "log_file": f'"{log}"', "threads": 2}) as proxy:
        old = []
        clients = [proxy.psycopg2()]
        try:
            # The second takeover puts a process in between: it passes on what it is passed.
            for number in range(2):
                old.append(proxy.process)
                proxy.process = takeover(proxy, cluster)
                eventually(lambda number=number: log.read_text().count("took ") == number + 1)
                clients.append(proxy.psycopg2())
            for client in clients:
                running = in_background(lambda client=client: client.cursor().execute("SELECT pg_sleep(60)"))
                eventually(lambda: cluster.query(0, "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
                                                    " AND state = 'active'")
                           or cluster.query(1, "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND "
                                               "state = 'active'"))
                client.cancel()
                with pytest.raises(psycopg2.errors.QueryCanceled):
                    running.result(50)
                client.cursor().execute("SELECT 1")
        finally:
            for client in clients:
                client.close()
        for process in old:
            assert process.wait(20) == 0


def test_a_takeover_that_fails_changes_nothing(cluster):
    with start_proxy(cluster) as proxy:
        good = proxy.config.read_text()
        proxy.config.write_text(good + "nonsense: 1\n")
        assert takeover(proxy, cluster).wait(20) == 2
        # It asked for the sockets, and then could not go on.
        proxy.config.write_text(good.replace("proxy:\n", "proxy:\n  pid_file: /nowhere/pid\n"))
        assert takeover(proxy, cluster).wait(20) == 1
        proxy.config.write_text(good)
        proxy.psycopg2().close()
        eventually(lambda: "this one serves on" in proxy.log)
        proxy.psycopg2().close()


def test_a_takeover_of_nothing_is_a_start(cluster):
    with start_proxy(cluster, arguments=("--takeover",)) as proxy:
        proxy.psycopg2().close()


# ---- systemd, files ----

def test_systemd_is_told(cluster, directory):
    directory.chmod(0o777)
    path = directory / "notify"
    pid_file = directory / "pid"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(10)
        told = []

        def hear(what):
            while not any(what in message for message in told):
                told.append(manager.recv(1000).decode())
            del told[:]
        env = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "300000"}
        with start_proxy(cluster, {"pid_file": f'"{pid_file}"'}, env=env) as proxy:
            hear("READY=1")
            assert int(pid_file.read_text()) == proxy.process.pid
            hear("WATCHDOG=1")
            proxy.process.send_signal(signal.SIGHUP)
            hear("RELOADING=1")
            hear("READY=1")
            proxy.process.send_signal(signal.SIGTERM)
            hear("STOPPING=1")
            assert proxy.process.wait(10) == 0
        assert not pid_file.exists()


# ---- a shard that is down ----

def test_a_shard_that_is_down_is_shown_and_logged_once(single):
    with start_proxy(single, {"server_login_retry": "50ms"}) as proxy:
        proxy.psycopg2().close()
        run_command("lab", "stop", "single", "s0", cwd=single.directory, check=True)
        for _ in range(3):
            with contextlib.suppress(psycopg2.Error), contextlib.closing(proxy.psycopg2()) as client:
                client.cursor().execute("SELECT 1")
            time.sleep(0.1)
        assert [row["state"] for row in shown(proxy, "SHOW SHARDS")] == ["down"]
        eventually(lambda: "shard_down" in proxy.log)
        assert proxy.log.count("shard_down") == 1
        run_command("lab", "start", "single", "s0", cwd=single.directory, check=True)

        def works():
            with contextlib.suppress(psycopg2.Error), contextlib.closing(proxy.psycopg2()) as client:
                client.cursor().execute("SELECT 1")
                return True
        eventually(works)
        eventually(lambda: "shard_up" in proxy.log)
        assert [row["state"] for row in shown(proxy, "SHOW SHARDS")] == ["active"]
