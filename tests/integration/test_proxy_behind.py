"""What stands behind a statement that changes what names mean, in one text or in one pipeline: never another table's rows."""
import contextlib

import psycopg2
import pytest
from conftest import superuser
from proxies import STANDIN, ask, eventually, start_proxy
from rawwire import bind, error_fields, execute, kinds, parse, query, row_values, sync

LAB_SHARDS = 3
SCHEMA = """
CREATE SCHEMA sales;
CREATE SCHEMA archive;
CREATE TABLE users (id bigint PRIMARY KEY, name text);
CREATE TABLE sales.orders (id bigint, customer_id bigint, PRIMARY KEY (customer_id, id));
"""
TABLES = " - {name: users, key: id, function: modulo}\n - {name: sales.orders, key: customer_id, function: modulo}\n"

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]


@pytest.fixture(scope="module")
def proxy(lab):
    lab.apply_tables(SCHEMA, TABLES)
    lab.query(0, "CREATE TABLE archive.users (id bigint PRIMARY KEY, name text)")
    lab.query(0, "CREATE TABLE plain (id bigint PRIMARY KEY)")
    with start_proxy(lab, {"schema_check_interval": "200ms"}) as proxy:
        yield proxy


@pytest.fixture
def one(proxy, lab):
    lab.everywhere("TRUNCATE users, sales.orders")
    lab.query(0, "TRUNCATE archive.users, plain")
    with contextlib.closing(proxy.psycopg2()) as connection:
        ask(connection, "INSERT INTO users SELECT i, 'sharded' FROM generate_series(0, 8) i")
        ask(connection, "INSERT INTO sales.orders SELECT i, i FROM generate_series(0, 8) i")
        ask(connection, "INSERT INTO archive.users SELECT i, 'archived' FROM generate_series(0, 8) i")
        yield connection


def refused(connection, sql):
    with pytest.raises(psycopg2.errors.FeatureNotSupported) as error:
        ask(connection, sql)
    return str(error.value)


@pytest.mark.parametrize("set_path", ["SET search_path = {}", "SELECT set_config('search_path', '{}', false)",
                                      "SELECT set_config('search_path', '{}' || '', false)", "DISCARD ALL; SET search_path = {}"])
def test_a_path_that_is_set_in_the_same_text(one, set_path):
    before = set_path.format("archive, public")
    if "DISCARD" not in set_path:
        refused(one, f"{before}; DELETE FROM users WHERE id = 5")
        assert "one text" in refused(one, f"{set_path.format('sales')}; SELECT count(*) FROM orders")
        refused(one, f"{set_path.format('sales')}; DELETE FROM orders WHERE customer_id = 7")
    assert ask(one, "SELECT count(*) FROM public.users") == [(9,)] == ask(one, "SELECT count(*) FROM sales.orders")
    assert ask(one, "SELECT count(*) FROM archive.users") == [(9,)]


def test_by_itself_it_is_followed(one):
    ask(one, "SET search_path = archive, public")
    assert ask(one, "DELETE FROM users WHERE id = 5") == "DELETE 1"
    assert ask(one, "SELECT count(*) FROM archive.users") == [(8,)]
    ask(one, "RESET search_path")
    assert ask(one, "SELECT name FROM users WHERE id = 5") == [("sharded",)]


def test_what_no_table_of_several_shards_is_named_like_goes_on(one):
    assert ask(one, "SET search_path = archive, public; INSERT INTO plain VALUES (1); SELECT id FROM plain") == [(1,)]
    ask(one, "RESET search_path")
    assert ask(one, "SET work_mem = '8MB'; SELECT name FROM users WHERE id = 5") == [("sharded",)]


@pytest.mark.parametrize("inner", ["SET LOCAL search_path = archive, public", "SET search_path = archive, public",
                                   "DROP TABLE archive.users", "SAVEPOINT s; SET search_path = archive, public"])
@pytest.mark.parametrize("end", ["ROLLBACK", "COMMIT"])
def test_behind_the_end_of_a_transaction_that_has_changed_it(one, inner, end):
    ask(one, "SET search_path = archive, public" if "DROP" in inner else "RESET search_path")
    ask(one, "BEGIN")
    for sql in inner.split("; "):
        ask(one, sql)
    changes_back = end == "ROLLBACK" or "LOCAL" in inner
    sql = f"{end}; DELETE FROM users WHERE id = 5"
    if end == "COMMIT" and "DROP" in inner:
        ask(one, "ROLLBACK")  # it would be gone for the others
    elif changes_back:
        refused(one, sql)
        ask(one, "ROLLBACK")
        assert ask(one, "SELECT count(*) FROM archive.users") == [(9,)] == ask(one, "SELECT count(*) FROM public.users")
    else:
        assert ask(one, sql) == "DELETE 1"
        assert ask(one, "SELECT count(*) FROM archive.users") == [(8,)]
    ask(one, "RESET search_path")


def test_a_path_is_learned_as_the_transaction_has_set_it(one):
    """No shard has the transaction yet, nor has a session had this path."""
    ask(one, "BEGIN")
    ask(one, "SET search_path = archive, public, nowhere")
    assert ask(one, "COMMIT; DELETE FROM users WHERE id = 5") == "DELETE 1"
    assert ask(one, "SELECT count(*) FROM archive.users") == [(8,)]
    assert ask(one, "SELECT count(*) FROM public.users") == [(9,)]


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_a_role_starts_with(proxy, one, lab, by_hand):
    """Connections of before have the old search_path: none of them serves any more."""
    role = lab.query(0, "SELECT current_user")[0][0]

    def alter(end):
        sql = f'ALTER ROLE "{role}" {end}'
        if by_hand:
            lab.everywhere(sql)
        else:
            ask(one, sql)

    def names(count):
        """Of row 5, as many sessions see it that are there at one time."""
        with contextlib.ExitStack() as ends:
            sessions = [ends.enter_context(contextlib.closing(proxy.psycopg2())) for _ in range(count)]
            for session in sessions:
                ask(session, "BEGIN")
            return {ask(session, "SELECT name FROM users WHERE id = 5")[0][0] for session in sessions}

    assert names(3) == {"sharded"}
    alter("SET search_path = archive, public")
    try:
        eventually(lambda: names(3) == {"archived"})
        assert [names(each) for each in (1, 3, 6)] == [{"archived"}] * 3
    finally:
        alter("RESET search_path")
    eventually(lambda: names(6) == {"sharded"})


@pytest.fixture(scope="module")
def at_servers(lab, proxy):
    """A function that runs SQL at all shards; the proxy's user may be behind_reader."""
    role = lab.query(0, "SELECT current_user")[0][0]
    with contextlib.ExitStack() as ends:
        cursors = [ends.enter_context(superuser(lab, shard)) for shard in range(LAB_SHARDS)]

        def run(sql):
            for cursor in cursors:
                cursor.execute(sql)
        run(f'CREATE ROLE behind_archivist; CREATE ROLE behind_reader; GRANT behind_reader TO "{role}";'
            "GRANT SELECT ON public.users TO behind_reader; GRANT USAGE ON SCHEMA archive TO behind_archivist")
        lab.query(0, "GRANT SELECT ON archive.users TO behind_reader")
        yield run


@pytest.mark.parametrize("what", ["behind_archivist", "USAGE ON SCHEMA archive"])
def test_a_schema_that_a_grant_shows(proxy, one, at_servers, what):
    """Which schemas of its search_path a role sees depends on what it was granted."""
    with contextlib.closing(proxy.psycopg2()) as reader:
        def names():
            return [row[0] for id in range(3) for row in ask(reader, f"SELECT name FROM users WHERE id = {id}")]
        ask(reader, "SET ROLE behind_reader")
        ask(reader, "SET search_path = archive, public")
        assert names() == ["sharded"] * 3
        at_servers(f"GRANT {what} TO behind_reader")
        eventually(lambda: names() == ["archived"] * 3)
        at_servers(f"REVOKE {what} FROM behind_reader")
        eventually(lambda: names() == ["sharded"] * 3)


def test_a_grant_that_is_taken_back_before_anybody_looks(lab, proxy, one, at_servers):
    """What is learned of a search_path meanwhile is not kept for the definitions of before."""
    with start_proxy(lab, {"schema_check_interval": "1h"}) as slow, contextlib.closing(slow.psycopg2()) as reader:
        def names():
            return [row[0] for id in range(3) for row in ask(reader, f"SELECT name FROM users WHERE id = {id}")]
        ask(reader, "SET ROLE behind_reader")
        at_servers("GRANT behind_archivist TO behind_reader")
        try:
            ask(reader, "SET search_path = archive, public")
            assert names() == ["archived"] * 3
        finally:
            at_servers("REVOKE behind_archivist FROM behind_reader")
        with pytest.raises(psycopg2.errors.UndefinedTable):
            ask(reader, "SELECT FROM nowhere")  # for which the proxy looks
        assert names() == ["sharded"] * 3


def rows(messages):
    return [row_values(body) for kind, body in messages if kind == "D"]


def pipeline(*texts):
    return b"".join(parse(sql) + bind() + execute() for sql in texts) + sync()


def answer_of(wire, *texts):
    """Rows of what was answered, and the SQLSTATE where it failed."""
    messages = wire.exchange(pipeline(*texts))
    return rows(messages), [error_fields(body)["C"] for kind, body in messages if kind == "E"]


def test_in_one_pipeline(proxy, one, lab):
    """A pipeline is one transaction, on one shard here: rows are right, or it is refused."""
    at_home, = lab.query(0, "SELECT min(id) FROM public.users")[0]
    for id in range(9):
        with proxy.wire() as wire:
            expected = [["archived"]], []
            got = answer_of(wire, "SET search_path = archive, public", f"SELECT name FROM users WHERE id = {id}")
            assert got == expected or got == ([], ["0A000"]), (id, got)
            assert id != at_home or got == expected
    with proxy.wire() as wire:
        got = answer_of(wire, "SET search_path = sales", f"SELECT id::text FROM orders WHERE customer_id = {at_home}")
        assert got == ([[str(at_home)]], [])
        assert answer_of(wire, "SET search_path = public", "SELECT count(*) FROM users") == ([], ["0A000"])


def test_a_statement_that_was_prepared_before(proxy, one, lab):
    at_home, = lab.query(0, "SELECT min(id) FROM public.users")[0]
    with proxy.wire() as wire:
        def of(sql):
            return parse(sql) + bind() + execute()
        named = bind([], "named") + execute()
        wire.exchange(parse(f"SELECT name FROM users WHERE id = {at_home}", "named") + named + sync())
        answer = wire.exchange(of("SET search_path = archive, public") + named + of("SET search_path = public") + named + sync())
        assert rows(answer) == [["archived"], ["sharded"]], [error_fields(body) for kind, body in answer if kind == "E"]
        answer = wire.exchange(of("BEGIN") + of("SET LOCAL search_path = archive, public") + named + of("COMMIT") + named +
                               sync())
        assert rows(answer) == [["archived"], ["sharded"]], [error_fields(body) for kind, body in answer if kind == "E"]
        assert "E" not in kinds(wire.exchange(query("RESET search_path")))


def test_a_hint_that_is_taken_back(proxy, one):
    """Behind it statements go where they go."""
    ask(one, "SET mosaic.shard = 's1'")
    refused(one, "RESET mosaic.shard; DELETE FROM users WHERE name = 'sharded'")
    refused(one, "SET mosaic.shard = 's2'; DELETE FROM users WHERE name = 'sharded'")
    ask(one, "RESET mosaic.shard")
    assert ask(one, "SELECT count(*) FROM users") == [(9,)]
    with proxy.wire() as wire:
        wire.ask("SET mosaic.shard = 's1'")
        got = answer_of(wire, "RESET mosaic.shard", "SELECT count(*)::text FROM users")
        assert got in (([["9"]], []), ([], ["0A000"])), got


def test_a_prepared_transaction_is_one_shards(one):
    ask(one, "BEGIN")
    ask(one, "UPDATE users SET name = 'x' WHERE id = 5")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="PREPARE TRANSACTION"):
        ask(one, "PREPARE TRANSACTION 'mine'")
    ask(one, "ROLLBACK")
    refused(one, "COMMIT PREPARED 'mine'")
    ask(one, "SET mosaic.shard = 's1'")
    with pytest.raises(psycopg2.errors.UndefinedObject):
        ask(one, "COMMIT PREPARED 'mine'")
    ask(one, "RESET mosaic.shard")
