"""In a transaction: SELECT 1, SELECT version() and their like, which pools and ORMs send first, leave its shard open.

Streams are compared with those of one PostgreSQL that has all rows; on three shards, each key from another.
"""
import psycopg
import pytest
import rawwire
from rawwire import bind, describe, execute, parse, query, sync
from test_proxy_sql_prepare import alone, code, proxy, same  # noqa: F401: fixtures
from wireprograms import ran

LAB_SHARDS = 3

pytestmark = pytest.mark.light

WAYS = [query, lambda sql: ran(sql) + sync()]
KEYS = (1, 2, 3)


@pytest.fixture(params=WAYS, ids=["simple", "extended"])
def way(request):
    return request.param


@pytest.mark.parametrize("first", [
    "SELECT 1", "SELECT version()", "select pg_catalog.version()", "SELECT current_schema()", "SELECT CURRENT_SCHEMA",
    "SELECT 1 AS one, 'two', NULL, 3.5::numeric, '4'::int", "SELECT 1; "])
@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN ISOLATION LEVEL READ COMMITTED", "START TRANSACTION READ ONLY",
                                   "BEGIN; -- and"])
def test_the_shard_is_named_by_what_comes_later(alone, proxy, way, first, begin):
    for key in KEYS:
        same(alone, proxy, [way(begin), way(first), way(first), way(f"SELECT name FROM thing WHERE id = {key}"),
                            way(first), way("COMMIT"), way(first)])


def test_parameters(alone, proxy):
    for key in KEYS:
        same(alone, proxy, [
            query("BEGIN"), parse("SELECT $1::int, $2", "s") + describe("S", "s") + sync(),
            bind(["5", "x"], "s", results=[1, 0]) + describe() + execute() + sync(),
            bind(["six", "x"] if key == 2 else ["6", "x"], "s") + execute() + sync(),
            query(f"SELECT name FROM thing WHERE id = {key}"), query("COMMIT"),
            bind(["7", "x"], "s") + execute() + sync()])


def test_an_error_fails_the_transaction(alone, proxy, way):
    for key in KEYS:
        read = f"SELECT name FROM thing WHERE id = {key}"
        same(alone, proxy, [way("BEGIN"), way("SELECT 'x'::int"), way("SELECT 1"), way(read), way("COMMIT"), way(read)])
        same(alone, proxy, [way("BEGIN"), way("SELECT 1"), way("SAVEPOINT s"), way("SELECT 'x'::int"), way("SELECT 1"),
                            way("ROLLBACK TO s"), way("SELECT 2"), way(read), way("ROLLBACK")])
        same(alone, proxy, [way("BEGIN"), way("SELECT 1"), way("ROLLBACK"), way(read)])


def test_what_must_come_before_any_query_comes_too_late(alone, proxy, way):
    for late in ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET TRANSACTION READ ONLY", "SET TRANSACTION READ WRITE",
                 "SET CONSTRAINTS ALL DEFERRED", "SET LOCAL transaction_isolation = 'serializable'",
                 "SELECT set_config('transaction_isolation', 'serializable', true)", "SET LOCAL work_mem = '7MB'"):
        for key in KEYS:
            same(alone, proxy, [way("BEGIN"), way("SELECT 1"), way(late), way("SHOW transaction_isolation"),
                                way("SHOW transaction_read_only"), way("SHOW work_mem"),
                                way(f"SELECT name FROM thing WHERE id = {key}"), way("COMMIT")])


def test_in_one_pipeline(alone, proxy):
    for key in KEYS:
        same(alone, proxy, [
            ran("BEGIN") + ran("SELECT 1") + sync(), ran("SELECT 2", rows=1) + sync() if key == 3 else ran("SELECT 2") + sync(),
            ran(f"SELECT name FROM thing WHERE id = {key}") + sync(), ran("COMMIT") + sync(),
            ran("BEGIN") + ran("SELECT 'x'::int") + sync(), ran("SELECT 1") + sync(), ran("ROLLBACK") + sync(),
            ran("BEGIN") + ran("SELECT 1") + ran(f"SELECT name FROM thing WHERE id = {key}") + ran("COMMIT") + sync()])


def test_the_time_is_the_transactions(proxy, way):
    """It is told where the transaction is."""
    with proxy.wire() as wire:
        wire.exchange(way("BEGIN"))
        wire.exchange(way("SELECT 1"))
        times = {str(rawwire.row_values(body)) for _ in range(3) for kind, body in wire.exchange(
            way("SELECT now(), transaction_timestamp(), 'now'::timestamptz = now()")) if kind == "D"}
        assert len(times) == 1 and "'t'" in times.pop()
        wire.exchange(way("COMMIT"))


@pytest.mark.parametrize("begin", ["BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
                                   "SET default_transaction_isolation = 'repeatable read'; BEGIN"])
def test_a_snapshot_is_taken_by_the_first_query(alone, proxy, way, begin):
    """So another client's row is not seen that came after it: it cannot be answered elsewhere."""
    for target in (alone, proxy):
        with target.wire() as one, target.wire() as other:
            for sql in begin.split("; "):
                one.exchange(way(sql))
            assert code(one.exchange(way("SELECT 1"))) is None
            other.exchange(query("INSERT INTO thing VALUES (300, 'late')"))
            seen = [kind for kind, _ in one.exchange(query("SELECT name FROM thing WHERE id = 300")) if kind == "D"]
            other.exchange(query("DELETE FROM thing WHERE id = 300"))
            one.exchange(query("ROLLBACK"))
            assert seen == []


def test_settings_of_the_transaction_are_seen(alone, proxy, way):
    for key in KEYS:
        same(alone, proxy, [way("BEGIN"), way("SELECT 1"), way("SET LOCAL search_path = pg_catalog"),
                            way("SELECT current_schema()"), way(f"SELECT name FROM public.thing WHERE id = {key}")
                            if key == 3 else way("SELECT 2"), way("ROLLBACK"), way("SELECT current_schema()")])


def test_psycopg3(proxy):
    with psycopg.connect(proxy.dsn) as connection:
        for key in KEYS:
            assert connection.execute("SELECT 1").fetchone() == (1,)
            assert connection.execute("SELECT %s::int", (5,)).fetchone() == (5,)
            assert connection.execute("SELECT name FROM thing WHERE id = %s", (key,)).fetchone() == (f"thing {key}",)
            connection.commit()
