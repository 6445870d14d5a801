"""On one shard. Settings with a dot in their names, which a connection never forgets: clients that set them and clients that do not
get connections of their own, and none is closed for it while there is room."""
import contextlib

import psycopg2
import psycopg2.extras
import pytest
from conftest import superuser
from proxies import start_proxy
from rawwire import bind, error_fields, execute, parse, query, row_values, sync

LAB_SHARDS = 1


@pytest.fixture(scope="module")
def user(lab):
    return dict(word.split("=") for word in lab.conninfo(0).split())["user"]


@pytest.fixture
def proxy_of(lab, user):
    with contextlib.ExitStack() as stack:
        yield lambda settings: stack.enter_context(start_proxy(lab, {"threads": 1, "admin_users": f"[{user}]", **settings}))


def servers(proxy):
    connection = psycopg2.connect(host=proxy.host, port=proxy.port, user=proxy.user, password=proxy.password,
                                  dbname="pgmosaic", connect_timeout=10)
    connection.autocommit = True
    try:
        with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute("SHOW SERVERS")
            return {row["id"] for row in cursor.fetchall()}
    finally:
        connection.close()


def unset(wire):
    return wire.ask("SELECT current_setting('app.who', true) IS NULL") == [["t"]]


def test_connections_stay_with_those_whose_settings_they_know(proxy_of):
    proxy = proxy_of({"pool_size": 2})
    with proxy.wire() as plain, proxy.wire() as ann, proxy.wire() as bob:
        assert unset(plain)
        ann.ask("SET app.who = 'ann'")
        bob.ask("SET app.who = 'bob'")
        assert unset(plain) and ann.ask("SHOW app.who") == [["ann"]]
        before = servers(proxy)
        for _ in range(5):
            assert unset(plain)
            assert ann.ask("SHOW app.who") == [["ann"]]
            assert bob.ask("SHOW app.who") == [["bob"]]
            assert unset(plain)
            assert bob.ask("SHOW app.who") == [["bob"]]
        assert len(before) == 2 and servers(proxy) == before


def test_one_connection_serves_all_one_after_the_other(proxy_of):
    """No room: it is closed, and opened again."""
    proxy = proxy_of({"pool_size": 1})
    with proxy.wire() as plain, proxy.wire() as ann, proxy.wire() as other:
        assert unset(plain)
        ann.ask("SET app.who = 'ann'")
        for _ in range(3):
            assert unset(plain) and ann.ask("SHOW app.who") == [["ann"]] and unset(other)
        assert len(servers(proxy)) == 1


def test_who_waits_gets_one_that_fits(proxy_of):
    """The queue: a connection that comes back fits some who wait, and not others."""
    proxy = proxy_of({"pool_size": 2})
    with proxy.wire() as ann, proxy.wire() as bob:
        for wire, name in ((ann, "ann"), (bob, "bob")):
            wire.ask("BEGIN")
            wire.ask(f"SELECT set_config('app.who', '{name}', false)")
        waiting = [proxy.wire() for _ in range(6)]
        for wire in waiting:
            wire.send(query("SELECT current_setting('app.who', true) IS NULL"))
        for wire in (ann, bob):
            wire.ask("COMMIT")
        for wire in waiting:
            messages = wire.until("Z")
            assert [body[-1:] for kind, body in messages if kind == "D"] == [b"t"]
            wire.close()
        assert ann.ask("SHOW app.who") == [["ann"]] and bob.ask("SHOW app.who") == [["bob"]]


def test_a_hint_must_name_what_is_there_on_one_shard_too(proxy_of):
    with proxy_of({}).wire() as wire:
        for sql in ("SET mosaic.shard = 'nowhere'", "SELECT set_config('mosaic.shard', 'nowhere', false)",
                    "/* mosaic: shard=nowhere */ SELECT 1"):
            for messages in (wire.exchange(query(sql)), wire.exchange(parse(sql) + bind() + execute() + sync())):
                errors = [error_fields(body) for kind, body in messages if kind == "E"]
                assert [(error["C"], error["H"]) for error in errors] == [("22023", "its shards are s0")], sql
        assert wire.ask("/* mosaic: shard=s0 */ SELECT 1") == [["1"]]
        wire.ask("SET mosaic.shard = 's0'")
        assert wire.ask("SHOW mosaic.shard") == [["s0"]]


def code(messages):
    return [error_fields(body)["C"] for kind, body in messages if kind == "E"]


@pytest.fixture
def reader(lab, user):
    with superuser(lab, 0) as cursor:
        cursor.execute(f"CREATE ROLE reader; GRANT reader TO \"{user}\"")
        yield "reader"
        cursor.execute("DROP ROLE reader")


def test_reset_all_leaves_the_role(proxy_of, user, reader):
    """As GUC_NO_RESET_ALL has it; and nobody else becomes who the client is."""
    proxy = proxy_of({"pool_size": 1})
    with proxy.wire() as wire, proxy.wire() as other:
        wire.ask(f"SET ROLE {reader}")
        wire.ask("RESET ALL")
        assert wire.ask("SELECT current_user") == [[reader]]
        assert other.ask("SELECT current_user") == [[user]]
        assert wire.ask("SELECT current_user") == [[reader]]
        wire.ask("DISCARD ALL")
        assert wire.ask("SELECT current_user") == [[user]] == other.ask("SELECT current_user")


def test_reset_session_authorization_resets_the_role(proxy_of, user, reader):
    proxy = proxy_of({"pool_size": 1})
    with proxy.wire() as wire, proxy.wire() as other:
        wire.ask(f"SET ROLE {reader}")
        wire.ask("RESET SESSION AUTHORIZATION")
        assert wire.ask("SELECT current_user") == [[user]]
        other.ask(f"SET ROLE {reader}")
        assert other.ask("SELECT current_user") == [[reader]]
        assert wire.ask("SELECT current_user") == [[user]]


def test_an_error_at_sync_takes_settings_back(proxy_of):
    proxy = proxy_of({"pool_size": 1})
    with proxy.wire() as wire, proxy.wire() as other:
        wire.ask("CREATE TABLE parents (id int PRIMARY KEY)")
        wire.ask("CREATE TABLE children (id int REFERENCES parents DEFERRABLE INITIALLY DEFERRED)")
        try:
            messages = wire.exchange(parse("SET work_mem = '77MB'") + bind() + execute() +
                                     parse("INSERT INTO children VALUES (1)") + bind() + execute() + sync())
            assert code(messages) == ["23503"]
            assert wire.ask("SHOW work_mem") == [["4MB"]]
            other.ask("SET work_mem = '77MB'")
            assert other.ask("SHOW work_mem") == [["77MB"]] and wire.ask("SHOW work_mem") == [["4MB"]]
        finally:
            wire.ask("DROP TABLE children, parents")


def test_what_ends_with_its_transaction_is_replayed_nowhere(proxy_of):
    proxy = proxy_of({"pool_size": 2})
    with proxy.wire(parameters={"TimeZone": "Europe/Berlin"}) as wire, proxy.wire() as other:
        wire.ask("BEGIN")
        wire.ask("SET transaction_isolation = 'serializable'")
        assert wire.ask("SHOW transaction_isolation") == [["serializable"]]
        wire.ask("COMMIT")
        other.ask("BEGIN")  # it takes the connection that there is
        other.ask("SELECT 1")
        assert wire.ask("SHOW transaction_isolation") == [["read committed"]]
        other.ask("COMMIT")


def test_only_modes_end_with_their_transaction(proxy_of):
    """transaction_timeout, which PostgreSQL has since 17, is a session's; so is what an application calls alike."""
    proxy = proxy_of({"pool_size": 1})
    with proxy.wire() as wire, proxy.wire() as other:
        has_timeout = int(wire.ask("SHOW server_version_num")[0][0]) >= 170000
        for name, value, without in (("transaction_log.who", "ann", None), ("transaction_timeout", "7s", "0"))[:1 + has_timeout]:
            wire.ask(f"SET {name} = '{value}'")
            assert other.ask(f"SELECT current_setting('{name}', true)") == [[without]]
            assert wire.ask(f"SHOW {name}") == [[value]]


def test_a_connection_that_was_reset_still_knows_the_names(proxy_of):
    proxy = proxy_of({"pool_size": 1})
    with proxy.wire() as wire:
        wire.ask("SET app.who = 'ann'")
        wire.ask("LISTEN something")  # its connection is its own, and reset behind it
    with proxy.wire() as wire:
        assert unset(wire)


def test_explain_of_set_config(proxy_of):
    proxy = proxy_of({"pool_size": 1})
    with proxy.wire() as wire:
        wire.ask("EXPLAIN ANALYZE SELECT set_config('work_mem', '77MB', false)")
        assert wire.ask("SHOW work_mem") == [["77MB"]]
    with proxy.wire() as wire:
        assert wire.ask("SHOW work_mem") == [["4MB"]]


HOURS = "SELECT to_char(timestamptz '2020-01-01 00:00+00', 'HH24')"  # 01 in Berlin, 05 in Karachi, 00 where nothing is said


def in_order(wire, *texts):
    """Values and tags of a pipeline."""
    messages = wire.exchange(b"".join(parse(text) + bind() + execute() for text in texts) + sync())
    return [body.rstrip(b"\0").decode() if kind == "C" else error_fields(body)["M"] if kind == "E" else row_values(body)[0]
            for kind, body in messages if kind in "CDE"]


@pytest.mark.parametrize("reset", ["RESET TimeZone", "SET TimeZone TO DEFAULT"])
def test_reset_gives_what_the_startup_packet_said(proxy_of, reset):
    tag = reset.split()[0]
    proxy = proxy_of({"pool_size": 1})
    with proxy.wire(parameters={"TimeZone": "Europe/Berlin"}) as wire:
        for before, behind in (((), ()), (("BEGIN",), ("COMMIT",)), (("BEGIN",), ("ROLLBACK",))):
            wire.ask("SET TimeZone = 'Asia/Karachi'")
            for sql in before:
                wire.ask(sql)
            told = wire.exchange(query(reset))
            assert [body.rstrip(b"\0").decode() for kind, body in told if kind == "C"] == [tag]
            assert [body for kind, body in told if kind == "S"] == [b"TimeZone\0Europe/Berlin\0"]
            assert wire.ask(HOURS) == [["01"]]
            for sql in behind:
                wire.ask(sql)
            assert wire.ask(HOURS) == [["05" if behind == ("ROLLBACK",) else "01"]]
        wire.ask("SET TimeZone = 'Asia/Karachi'")
        assert in_order(wire, HOURS, reset, HOURS) == ["05", "SELECT 1", tag, "01", "SELECT 1"]
        assert in_order(wire, "SET TimeZone = 'Asia/Karachi'", HOURS, reset, HOURS) == \
            ["SET", "05", "SELECT 1", tag, "01", "SELECT 1"]
    with proxy.wire() as other:  # the same connection of the server's
        assert other.ask(HOURS) == [["00"]]
    with proxy.wire(parameters={"TimeZone": "Europe/Berlin"}) as wire:
        wire.ask("SET TimeZone = 'Asia/Karachi'")
        wire.ask("/* first */ " + reset)
        with proxy.wire() as other:
            assert other.ask(HOURS) == [["00"]]
        assert wire.ask(HOURS) == [["01"]]


def test_a_part_of_datestyle_is_replayed_as_what_it_made(proxy_of):
    """SET of a style alone leaves the order that stands, on whichever connection it is."""
    day = "SELECT extract(day FROM date '01/02/2024')::int"  # 2 by MDY, 1 by DMY
    proxy = proxy_of({"pool_size": 1})
    with proxy.wire(parameters={"DateStyle": "ISO"}) as wire, proxy.wire() as other:
        other.ask("SET DateStyle = 'SQL, DMY'")
        assert wire.ask(day) == [["2"]]
        other.ask("SET DateStyle = 'ISO'")
        assert wire.ask(day) == [["2"]] and other.ask(day) == [["1"]] and wire.ask(day) == [["2"]]
        wire.ask("SET DateStyle = 'SQL, DMY'")
        wire.ask("RESET DateStyle")
        assert wire.ask("SHOW DateStyle") == [["ISO, MDY"]] and wire.ask(day) == [["2"]]
        with proxy.wire() as third:
            assert third.ask("SHOW DateStyle") == [["ISO, MDY"]]
            third.ask("SET DateStyle = 'DMY'")
            assert other.ask("SHOW DateStyle") == [["ISO, DMY"]] and third.ask("SHOW DateStyle") == [["ISO, DMY"]]
