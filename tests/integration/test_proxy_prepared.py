"""Prepared statements shared by clients, when the schema changes under them: the answer is one PostgreSQL's.

A client that prepared before the change is told so, whichever connection its next Bind finds; one that prepares after
it is answered with what is there now.
"""
import psycopg2
import pytest
import rawwire
from proxies import start_proxy
from rawwire import bind, close, describe, execute, parse, query, sync

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


def test_what_is_answered_here_stands_behind_a_description_that_comes_in_pieces(proxy):
    """No read of a server has all of it, and the answer to Close is the proxy's own."""
    wide = "SELECT " + ", ".join(f"1 AS {'c' * 40}{i}" for i in range(1200))
    with proxy.wire() as wire:
        wire.exchange(parse(wide, "s") + sync())
        messages = wire.exchange(parse("SELECT repeat('x', 30000)") + bind() + execute() + describe("S", "s") + close("S", "s") +
                                 sync())
        assert "".join(rawwire.kinds(messages)) == "12DCtT3Z"


def test_an_error_names_the_statement_by_the_name_that_was_bound(proxy):
    names = [f"name{i}" for i in range(12)]
    with proxy.wire() as wire:
        wire.exchange(b"".join(parse("SELECT 1 AS one", name) for name in names) + sync(), ready=1)
        for name in names:
            messages = wire.exchange(bind(["1"], name) + execute() + sync(), ready=1)
            told = next(rawwire.error_fields(body) for kind, body in messages if kind == "E")
            assert told["C"] == "08P01" and f'"{name}"' in told["M"], told


# ---- what a literal means was settled by Parse ----------------------------------------------------------------------

DATED = "SELECT date '01/02/2024' - date '2024-01-01', id FROM thing WHERE id = $1"
UNDATED = "SELECT name || ' is 1', id FROM thing WHERE id = $1"


def first_values(messages):
    """The first column of each DataRow, as text."""
    return [body[6:6 + int.from_bytes(body[2:6], "big")].decode() for kind, body in messages if kind == "D"]


@pytest.mark.parametrize("way", ["apart", "in one pipeline", "SET LOCAL"])
def test_literals_keep_the_meaning_of_parse_for_all_who_share_a_statement(proxy, way):
    sql = DATED.replace("date", f"/* {way} */ date", 1)
    with proxy.wire() as one, proxy.wire() as other:
        one.exchange(parse(sql, "s") + sync(), ready=1)
        begins = "BEGIN; " if way == "SET LOCAL" else ""
        if way == "in one pipeline":
            set_it = "SET DateStyle = 'ISO, DMY'"
            messages = one.exchange(parse(set_it, "set") + bind((), "set") + execute() + bind(["1"], "s") + execute()
                                    + bind(["2"], "s") + execute() + sync(), ready=1)
        else:
            one.exchange(query(f"{begins}SET {'LOCAL ' if begins else ''}DateStyle = 'ISO, DMY'"), ready=1)
            messages = run(one, 1) + run(one, 2)
        assert set(first_values(messages)) <= {"1"}, messages  # 2 January
        assert first_values(messages) or code(messages) == "0A000", messages
        for key in (1, 2, 3, 4):
            other.exchange(parse(sql, f"o{key}") + sync(), ready=1)
            assert first_values(run(other, key, f"o{key}")) == ["1"]
        if begins:
            one.exchange(query("ROLLBACK"), ready=1)
            assert first_values(run(one, 1) + run(one, 2)) == ["1", "1"]


def test_other_settings_and_literals_change_nothing(proxy):
    with proxy.wire() as wire:
        wire.exchange(parse(DATED, "dated") + parse(UNDATED, "undated") + sync(), ready=1)
        wire.exchange(query("SET work_mem = '8MB'"), ready=1)
        assert first_values(run(wire, 1, "dated") + run(wire, 2, "dated")) == ["1", "1"]
        wire.exchange(query("SET TimeZone = 'Asia/Tokyo'"), ready=1)
        assert len(first_values(run(wire, 1, "undated") + run(wire, 2, "undated"))) == 2
        messages = run(wire, 1, "dated")
        assert code(messages) == "0A000" and "DateStyle, TimeZone" in str(messages)
        wire.exchange(query("RESET TimeZone"), ready=1)
        assert first_values(run(wire, 1, "dated")) == ["1"]


def test_execute_as_sql_keeps_the_meaning_too(proxy):
    with proxy.wire() as wire:
        for sql in (f"PREPARE p(int) AS {DATED}", "SET DateStyle = 'ISO, DMY'"):
            assert code(wire.exchange(query(sql), ready=1)) is None
        for key in (1, 2):
            messages = wire.exchange(query(f"EXECUTE p({key})"), ready=1)
            assert code(messages) == "0A000" and "parsed under other settings" in str(messages)


def test_what_is_parsed_behind_set_in_a_pipeline_is_read_by_it_and_shared_with_none_else(proxy):
    sql, said = f"/* behind */ {DATED}", []
    with proxy.wire() as other:
        for key in (1, 2):  # SET goes to one of both shards, and a pipeline stays there
            with proxy.wire() as one:
                one.exchange(parse("SET DateStyle = 'ISO, DMY'", "set") + sync(), ready=1)
                messages = one.exchange(bind((), "set") + execute() + parse(sql, "s") + bind([str(key)], "s") + execute()
                                        + sync(), ready=1)
                assert first_values(messages) == ["31"] or code(messages) == "0A000", messages  # 1 February
                said += first_values(messages)
        assert said
        other.exchange(parse(sql, "s") + sync(), ready=1)
        assert first_values(run(other, 1) + run(other, 2)) == ["1", "1"]
