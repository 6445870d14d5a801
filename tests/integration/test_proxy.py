"""The proxy's own rules, on two shards: sessions, transactions, cancel, a shard that is down."""
import contextlib
import hashlib
import os
import threading
import time

import psycopg2
import pytest
import rawwire
from conftest import BUILD
from proxies import eventually, start_proxy

LAB_SHARDS = 2


@pytest.fixture(scope="module")
def proxy(lab):
    lab.everywhere("CREATE TABLE users (id bigint PRIMARY KEY, name text)")
    lab.everywhere("CREATE TABLE file (id bigint PRIMARY KEY, content bytea)")
    lab.add_tables("  - {name: users, key: id, function: modulo}\n  - {name: file, key: id, function: modulo}")
    lab.run("apply", "--yes", check=True)
    with start_proxy(lab) as started:
        connection = started.psycopg2()
        for i in range(1, 9):
            ask(connection, "INSERT INTO users VALUES (%s, %s)", i, f"user {i}")
        connection.close()
        yield started


def ask(connection, sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []


def test_each_key_is_found(proxy):
    connection = proxy.psycopg2()
    assert [ask(connection, "SELECT name FROM users WHERE id = %s", i) for i in range(1, 9)] == \
        [[(f"user {i}",)] for i in range(1, 9)]


def test_settings_are_of_one_client(proxy):
    one, other = proxy.psycopg2(), proxy.psycopg2()
    ask(one, "SET work_mem = '7MB'")
    for i in range(1, 5):
        assert ask(other, "SHOW work_mem") != [("7MB",)]
        assert ask(one, "SELECT current_setting('work_mem') FROM users WHERE id = %s", i) == [("7MB",)]
    ask(one, "BEGIN")
    ask(one, "SET work_mem = '8MB'")
    assert ask(one, "SELECT current_setting('work_mem') FROM users WHERE id = 1") == [("8MB",)]
    ask(one, "ROLLBACK")
    assert ask(one, "SHOW work_mem") == [("7MB",)]


def test_a_second_shard_is_refused_where_one_snapshot_is_wanted_and_nothing_lost(proxy):
    connection = proxy.psycopg2()
    ask(connection, "BEGIN ISOLATION LEVEL SERIALIZABLE")
    ask(connection, "SAVEPOINT a")
    ask(connection, "UPDATE users SET name = 'changed' WHERE id = 1")
    with pytest.raises(psycopg2.Error) as refused:
        ask(connection, "UPDATE users SET name = 'changed' WHERE id = 2")
    assert refused.value.pgcode == "0A000"
    assert ask(connection, "SELECT name FROM users WHERE id = 1") == [("changed",)]
    ask(connection, "ROLLBACK TO a")
    ask(connection, "COMMIT")
    assert ask(connection, "SELECT name FROM users WHERE id = 1") == [("user 1",)]


def test_what_is_not_proved_fails_the_transaction(proxy):
    connection = proxy.psycopg2()
    ask(connection, "BEGIN")
    ask(connection, "UPDATE users SET name = 'changed' WHERE id = 3")
    for code in ("0A000", "25P02"):
        with pytest.raises(psycopg2.Error) as refused:
            ask(connection, "UPDATE users SET name = random()::text" if code == "0A000" else "SELECT 1")
        assert refused.value.pgcode == code
    ask(connection, "COMMIT")
    assert ask(connection, "SELECT name FROM users WHERE id = 3") == [("user 3",)]


def test_prepared_in_sql(proxy):
    one, other = proxy.psycopg2(), proxy.psycopg2()
    ask(one, "PREPARE p (bigint) AS SELECT name FROM users WHERE id = $1")
    ask(other, "PREPARE p (bigint) AS SELECT id FROM users WHERE id = $1")
    for i in range(1, 5):
        assert ask(one, f"EXECUTE p ({i})") == [(f"user {i}",)]
        assert ask(other, f"EXECUTE p ({i})") == [(i,)]
    ask(one, "DEALLOCATE p")
    with pytest.raises(psycopg2.Error) as refused:
        ask(one, "EXECUTE p (1)")
    assert refused.value.pgcode == "26000"


def test_cancel_hits_its_own_statement(proxy):
    one, other = proxy.psycopg2(), proxy.psycopg2()
    found = []

    def run(connection):
        try:
            ask(connection, "SELECT pg_sleep(2)")
            found.append("done")
        except psycopg2.Error as error:
            found.append(error.pgcode)
    threads = [threading.Thread(target=run, args=(connection,)) for connection in (one, other)]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    one.cancel()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["57014", "done"]
    assert ask(one, "SELECT 1") == [(1,)]


def test_set_config_of_literals_is_set(proxy):
    """As policies of row security are given their user: before the shard of a transaction is known."""
    connection = proxy.psycopg2()
    for i in range(1, 5):
        ask(connection, "BEGIN")
        assert ask(connection, "SELECT set_config('app.user', 'u7', true)") == [("u7",)]
        assert ask(connection, f"SELECT current_setting('app.user'), name FROM users WHERE id = {i}") == [("u7", f"user {i}")]
        ask(connection, "COMMIT")
        assert ask(connection, f"SELECT current_setting('app.user', true) = 'u7' FROM users WHERE id = {i}") != [(True,)]
    ask(connection, "SELECT pg_catalog.set_config('work_mem', '7MB', false)")
    for i in range(1, 5):
        assert ask(connection, f"SELECT current_setting('work_mem') FROM users WHERE id = {i}") == [("7MB",)]
    ask(connection, "RESET work_mem")
    assert ask(connection, "SELECT current_setting('work_mem') FROM users WHERE id = 1") != [("7MB",)]
    with pytest.raises(psycopg2.Error, match="standard_conforming_strings") as refused:
        ask(connection, "SELECT set_config('standard_conforming_strings', 'off', false)")
    assert refused.value.pgcode == "0A000"


def test_another_reading_of_literals_never_begins(lab, proxy):
    """Nor by a function whose arguments are not read, nor as the role's own setting."""
    for way in ("SELECT set_config(lower('STANDARD_CONFORMING_STRINGS'), 'off', false)",
                "SELECT set_config(lower('CLIENT_ENCODING'), 'SJIS', false)"):
        with proxy.wire() as wire:
            wire.send(rawwire.query(way))
            kind, body = [wire.read() for _ in range(4)][-1]
            assert kind == "E" and "is not supported" in rawwire.error_fields(body)["M"], body
    owner = lab.query(0, "SELECT current_user")[0][0]
    try:
        lab.everywhere(f"ALTER ROLE {owner} SET standard_conforming_strings = off")
        with start_proxy(lab) as another, pytest.raises(psycopg2.Error, match="standard_conforming_strings"):
            ask(another.psycopg2(), "SELECT name FROM users WHERE id = 1")
    finally:
        lab.everywhere(f"ALTER ROLE {owner} RESET standard_conforming_strings")


def test_a_null_equals_nothing(lab, proxy):
    """What is `= NULL` is true of no row: by that an outer join is taken for an inner one."""
    connection = proxy.psycopg2()
    for way in ("SET transform_null_equals = on", "SELECT set_config('transform_null_equals', 'on', true)"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match="transform_null_equals"):
            ask(connection, way)
    ask(connection, "SET transform_null_equals = off")
    with pytest.raises(psycopg2.Error, match="transform_null_equals"):
        proxy.psycopg2(options="-c transform_null_equals=on")
    owner = lab.query(0, "SELECT current_user")[0][0]
    try:
        lab.everywhere(f"ALTER ROLE {owner} SET transform_null_equals = on")
        with start_proxy(lab) as another, pytest.raises(psycopg2.Error, match="transform_null_equals"):
            ask(another.psycopg2(), "SELECT name FROM users WHERE id = 1")
    finally:
        lab.everywhere(f"ALTER ROLE {owner} RESET transform_null_equals")


def key_on(lab, shard):
    return lab.query(shard, "SELECT min(id) FROM users")[0][0]


@pytest.mark.parametrize("by", ["ALTER ROLE", "SET"])
def test_a_shard_is_not_idle_while_its_transaction_works_on_another(lab, proxy, by):
    """One PostgreSQL sees all of it. The client that does nothing is ended as there."""
    owner = lab.query(0, "SELECT current_user")[0][0]
    name, update = "idle_in_transaction_session_timeout", f"UPDATE users SET name = name WHERE id = {key_on(lab, 0)}"
    sleep = f"SELECT pg_sleep(0.6) FROM users WHERE id = {key_on(lab, 1)}"
    try:
        if by == "ALTER ROLE":
            lab.everywhere(f"ALTER ROLE {owner} SET {name} = '300ms'")
        with start_proxy(lab) as another, contextlib.closing(another.psycopg2()) as connection:
            if by == "SET":
                ask(connection, f"SET {name} = '0.3s'")
            for sql in ("BEGIN", f"SET LOCAL {name} = 0", update):
                ask(connection, sql)
            time.sleep(0.8)
            ask(connection, "COMMIT")
            for sql in ("BEGIN", update, sleep, update, "SAVEPOINT a", sleep, "ROLLBACK TO a", update, "COMMIT", "BEGIN", update):
                ask(connection, sql)
            eventually(lambda: "idle-in-transaction timeout [25P03]" in another.log)
            with pytest.raises(psycopg2.OperationalError):
                ask(connection, update)
    finally:
        lab.everywhere(f"ALTER ROLE {owner} RESET {name}")


def test_a_shard_whose_sessions_are_given_other_settings_is_not_used(lab, proxy):
    """Another midnight there: nothing is read from it, nor written to it, until it is mended. The home shard may be, too."""
    name = lab.query(1, "SELECT quote_ident(current_database())")[0][0]
    on = [f"SELECT name FROM users WHERE id = {key_on(lab, shard)}" for shard in (0, 1)]
    try:
        lab.query(1, f"ALTER DATABASE {name} SET TimeZone = 'Asia/Tokyo'")
        with start_proxy(lab, {"server_login_retry": 0}) as another, contextlib.closing(another.psycopg2()) as connection:
            ask(connection, on[0])
            for sql in (on[1], "SELECT count(*) FROM users"):
                with pytest.raises(psycopg2.errors.FeatureNotSupported, match='TimeZone .*"Asia/Tokyo" on shard s1'):
                    ask(connection, sql)
            lab.query(1, f"ALTER DATABASE {name} RESET ALL")
            ask(connection, on[1])
            ask(connection, "SELECT count(*) FROM users")
    finally:
        lab.query(1, f"ALTER DATABASE {name} RESET ALL")


MIB = 1 << 20


def send_file(wire, name, values, columns):
    sql = f"INSERT INTO file ({columns}) VALUES ($1, $2)"
    wire.send(rawwire.parse(sql, name, [17 if column == "content" else 20 for column in columns.split(", ")])
              + rawwire.bind(values, name, formats=[1, 1]) + rawwire.execute()
              + rawwire.sync())
    return wire.until("Z")


@pytest.mark.parametrize("name", ["", "a statement"])
def test_a_large_value_behind_the_key_is_passed_on_as_it_comes(lab, proxy, name):
    content, key = os.urandom(MIB) * 48, (7).to_bytes(8, "big")
    with proxy.wire() as wire:
        wire.exchange(rawwire.query("DELETE FROM file WHERE id = 7"))
        before = proxy.memory()
        assert kinds(send_file(wire, name, [key, content], "id, content")) == ["1", "2", "C", "Z:I"]
        if "asan" not in BUILD.name:
            assert proxy.memory() < before + 8 * MIB
    assert lab.query(1, "SELECT md5(content) FROM file WHERE id = 7") == [(hashlib.md5(content).hexdigest(),)]


def test_the_key_behind_a_large_value(lab, proxy):
    """It is waited for, up to max_analysed_size."""
    key = (9).to_bytes(8, "big")
    with proxy.wire() as wire:
        messages = send_file(wire, "", [b"x" * (17 * MIB), key], "content, id")
        assert kinds(messages) == ["E", "Z:I"]
        fields = rawwire.error_fields(messages[0][1])
        assert fields["C"] == "54000" and "do not say to which shard" in fields["D"]
        assert kinds(send_file(wire, "", [b"x" * (15 * MIB), key], "content, id")) == ["1", "2", "C", "Z:I"]
        wire.exchange(rawwire.query("SELECT 1"))
    assert lab.query(1, "SELECT length(content) FROM file WHERE id = 9") == [(15 * MIB,)]


def test_a_client_that_leaves_within_a_large_value(lab, proxy):
    for share in (0.3, 0.9):
        wire = proxy.wire()
        data = rawwire.parse("INSERT INTO file VALUES ($1, $2)", "", [20, 17]) + rawwire.bind(
            [(11).to_bytes(8, "big"), b"x" * (4 * MIB)], formats=[1, 1])
        wire.send(data[:int(len(data) * share)])
        wire.socket.close()
    with proxy.wire() as wire:
        for _ in range(12):
            assert "E" not in kinds(wire.exchange(rawwire.query("SELECT * FROM users WHERE id = 3")))
    assert lab.query(1, "SELECT count(*) FROM file WHERE id = 11") == [(0,)]


def in_one_message(sql):
    return rawwire.query(sql)


def in_several(sql):
    return rawwire.parse(sql) + rawwire.bind() + rawwire.execute() + rawwire.sync()


@pytest.mark.parametrize("send", [in_one_message, in_several])
def test_a_transaction_that_is_lost_between_two_statements_is_told(lab, proxy, send):
    """COMMIT says ROLLBACK without an error only of what the client was told had failed."""
    with proxy.wire() as wire:
        assert kinds(wire.exchange(send("BEGIN")))[-1] == "Z:T"
        assert "E" not in kinds(wire.exchange(send("UPDATE users SET name = 'lost' WHERE id = 3")))
        assert lab.query(1, "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
                            "WHERE state = 'idle in transaction'") == [(1,)]
        time.sleep(0.2)
        messages = wire.exchange(send("COMMIT"))
        assert kinds(messages) == ["E", "Z:E"]
        assert rawwire.error_fields(messages[0][1])["C"] in ("57P01", "08006")
        assert ("C", b"ROLLBACK\0") in wire.exchange(send("COMMIT"))
        assert ["user 3"] in [rawwire.row_values(body) for kind, body in
                              wire.exchange(send("SELECT name FROM users WHERE id = 3")) if kind == "D"]


def kinds(messages):
    return [kind + ":" + body.decode() if kind == "Z" else kind for kind, body in messages]


def test_another_database_does_not_exist(proxy):
    with pytest.raises(psycopg2.OperationalError, match="does not exist"):
        psycopg2.connect(proxy.dsn.replace(f"dbname={proxy.database}", "dbname=nowhere"))


def test_a_shard_that_is_down(lab, proxy):
    connection = proxy.psycopg2()
    lab.run("lab", "stop", lab.name, "s1", check=True)
    try:
        assert ask(connection, "SELECT name FROM users WHERE id = 2") == [("user 2",)]
        for _ in range(2):
            with pytest.raises(psycopg2.Error) as failed:
                ask(connection, "SELECT name FROM users WHERE id = 1")
            assert failed.value.pgcode == "08006" and "s1" in str(failed.value)
        assert ask(connection, "SELECT name FROM users WHERE id = 2") == [("user 2",)]
    finally:
        lab.run("lab", "start", lab.name, "s1", check=True)
    deadline = time.monotonic() + 30
    while True:
        try:
            assert ask(connection, "SELECT name FROM users WHERE id = 1") == [("user 1",)]
            break
        except psycopg2.Error:
            assert time.monotonic() < deadline
            time.sleep(0.2)
