"""Prepared statements shared by clients, when the schema changes under them: the answer is one PostgreSQL's.

A client that prepared before the change is told so, whichever connection its next Bind finds; one that prepares after
it is answered with what is there now.
"""
import psycopg2
import pytest
import rawwire
from proxies import start_proxy
from rawwire import bind, describe, execute, parse, query, sync

LAB_SHARDS = 2
SETTINGS = {"threads": 1, "pool_size": 3}
ONE = "SELECT * FROM thing WHERE id = $1"


@pytest.fixture(scope="module")
def proxy(lab):
    lab.everywhere("CREATE TABLE thing (id bigint PRIMARY KEY, name text)")
    lab.add_tables("  - {name: thing, key: id, function: modulo}")
    lab.run("apply", "--yes", check=True)
    with start_proxy(lab, SETTINGS) as started:
        with started.wire() as wire:
            for i in range(1, 5):
                wire.exchange(query(f"INSERT INTO thing VALUES ({i}, 'thing {i}')"), ready=1)
        yield started


def widths(messages):
    """Columns of each DataRow."""
    return [int.from_bytes(body[:2], "big") for kind, body in messages if kind == "D"]


def code(messages):
    return next((rawwire.error_fields(body)["C"] for kind, body in messages if kind == "E"), None)


def run(wire, key, name="s", before=b"", after=b""):
    return wire.exchange(before + bind([str(key)], name) + execute() + after + sync(), ready=1)


def control(wire, sql):
    """Without a simple query, which would end the unnamed statement."""
    assert code(wire.exchange(parse(sql, sql) + bind((), sql) + execute() + sync(), ready=1)) is None


def alter(lab, column):
    lab.everywhere(f"ALTER TABLE thing ADD COLUMN {column} int")


def hold(proxy, held, keys):
    """Opens a transaction for each key, so that its server connection serves nobody else."""
    for key in keys:
        wire = proxy.wire()
        wire.exchange(query("BEGIN"), ready=1)
        assert widths(wire.exchange(query(f"SELECT id FROM thing WHERE id = {key}"), ready=1)) == [1]
        held.append(wire)


def free(held):
    while held:
        wire = held.pop()
        wire.exchange(query("ROLLBACK"), ready=1)
        wire.close()


@pytest.mark.parametrize("name", ["s", ""])
@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_change_is_told_to_who_prepared_before(lab, proxy, name, elsewhere, in_transaction):
    held = []
    with proxy.wire() as old, proxy.wire() as fresh:
        width = widths(fresh.exchange(query("SELECT * FROM thing WHERE id = 1"), ready=1))[0]
        assert code(old.exchange(parse(ONE, name) + describe("S", name) + sync(), ready=1)) is None
        if name:
            assert [widths(run(old, key, name)) for key in (1, 2, 3)] == [[width]] * 3
        alter(lab, f"c{width}")
        if elsewhere:
            hold(proxy, held, [1, 2])  # the connections that have the statement are taken
        if in_transaction:
            control(old, "BEGIN")
        for key in (1, 2):
            # The one that parses afresh, named and unnamed, in a transaction and not, sees what is there now.
            if in_transaction:
                fresh.exchange(query("BEGIN"), ready=1)
            got = run(fresh, key, f"f{key}", before=parse(ONE, f"f{key}") + describe("S", f"f{key}"))
            assert (code(got), widths(got)) == (None, [width + 1])
            got = run(fresh, key, "", before=parse(ONE, ""))
            assert (code(got), widths(got)) == (None, [width + 1])
            if in_transaction:
                fresh.exchange(query("COMMIT"), ready=1)
        for key in (2, 1):
            got = run(old, key, name)
            assert code(got) == ("25P02" if in_transaction and key == 1 else "0A000"), got
            assert widths(got) == []
        if in_transaction:
            control(old, "ROLLBACK")
        free(held)
        for key in (1, 2, 3, 4):
            got = run(old, key, name)
            assert (code(got), widths(got)) == ("0A000", [])
        # Prepared again, by whatever name, it is well.
        for again in (f"again{width}", ""):
            for key in (1, 2):
                got = run(old, key, again, before=parse(ONE, again) if key == 1 or not again else b"")
                assert (code(got), widths(got)) == (None, [width + 1])


def test_sql_prepare(lab, proxy):
    with proxy.wire() as old, proxy.wire() as fresh:
        width = widths(fresh.exchange(query("SELECT * FROM thing WHERE id = 1"), ready=1))[0]
        prepare = f"PREPARE q (bigint) AS {ONE}"
        old.exchange(query(prepare), ready=1)
        assert widths(old.exchange(query("EXECUTE q (1)"), ready=1)) == [width]
        alter(lab, f"c{width}")
        assert code(fresh.exchange(query(prepare), ready=1)) is None
        for key in (1, 2, 1):
            got = fresh.exchange(query(f"EXECUTE q ({key})"), ready=1)
            assert (code(got), widths(got)) == (None, [width + 1])
            got = old.exchange(query(f"EXECUTE q ({key})"), ready=1)
            assert (code(got), widths(got)) == ("0A000", [])
            assert [kind for kind, _ in got] == ["E", "Z"]


def test_rows_as_values_are_equal_on_all_shards(proxy):
    """The OID of a table's row differs between shards."""
    with proxy.wire() as wire:
        wire.exchange(parse("SELECT thing FROM thing WHERE id = $1", "r") + sync(), ready=1)
        for key in (1, 2, 3, 4):
            got = run(wire, key, "r")
            assert (code(got), widths(got)) == (None, [1])


def test_an_error_of_a_parse_is_told_once(proxy):
    sql = "SELECT nothing FROM thing WHERE id = $1"
    with proxy.wire() as wire:
        for name in ("n", ""):
            got = run(wire, 1, name, before=parse(sql, name))
            assert [kind for kind, _ in got] == ["E", "Z"] and code(got) == "42703"
        assert code(run(wire, 1, "n")) == "26000"
        assert code(wire.exchange(query("SELECT 1"), ready=1)) is None


def sent_to_shards(proxy):
    connection = psycopg2.connect(host=proxy.host, port=proxy.port, user=proxy.user, password=proxy.password,
                                  dbname="pgmosaic", connect_timeout=10)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW STATS")
            at = [column.name for column in cursor.description].index("total_sent")
            return sum(int(row[at]) for row in cursor.fetchall())
    finally:
        connection.close()


def test_an_execution_costs_no_message_of_ours(proxy):
    with proxy.wire() as wire:
        wire.exchange(parse(ONE, "cost") + sync(), ready=1)
        for key in (1, 2):
            run(wire, key, "cost")
        before = sent_to_shards(proxy)
        for i in range(100):
            assert len(widths(run(wire, 1 + i % 2, "cost"))) == 1
        each = (sent_to_shards(proxy) - before) / 100
        least, most = (len(bind(["1"], name) + execute() + sync()) for name in ("mosaic_1", "mosaic_9999"))
        assert least <= each <= most
