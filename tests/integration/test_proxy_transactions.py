"""Transactions over several shards: committed on all of them or on none, with savepoints, settings and cursors."""
import concurrent.futures
import contextlib

import psycopg
import psycopg2
import pytest
from conftest import superuser
from proxies import STANDIN, ask, eventually, nothing_is_left, shown, start_proxy, together
from rawwire import bind, describe, execute, flush, kinds, parse, query, row_values, sync

LAB_SHARDS = 3
SCHEMA = """
CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0), note text);
CREATE TABLE entries (account_id bigint REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED, n int,
                      PRIMARY KEY (account_id, n));
CREATE TABLE home (id int PRIMARY KEY, word text);
"""
TABLES = (" - {name: accounts, key: id, function: modulo}\n"
          " - {name: entries, key: account_id, function: modulo}\n")

pytestmark = pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards")


@pytest.fixture(scope="module")
def proxy(lab):
    lab.query(0, "CREATE TABLE alone (id int)")
    lab.apply_tables(SCHEMA, TABLES)
    with start_proxy(lab, {"schema_check_interval": "200ms"}) as proxy:
        yield proxy


@pytest.fixture
def one(proxy):
    """A connection that has six accounts, two on each shard."""
    with contextlib.closing(proxy.psycopg2()) as connection:
        for table in ("entries", "accounts"):
            for key in range(12):
                ask(connection, f"DELETE FROM {table} WHERE {'id' if table == 'accounts' else 'account_id'} = {key}")
        for key in range(6):
            ask(connection, f"INSERT INTO accounts VALUES ({key}, 100)")
        yield connection


def balances(lab):
    return dict(row for i in range(LAB_SHARDS) for row in lab.query(i, "SELECT id, balance FROM accounts"))


@pytest.mark.parametrize("send", ["NOTIFY jobs, 'new'", "SELECT pg_notify('jobs', 'new')"])
def test_notify_and_several_shards_are_not_of_one_transaction(proxy, one, send):
    """Its COMMIT might fail on another shard, when the listeners have been told."""
    with contextlib.closing(proxy.psycopg2()) as listener:
        ask(listener, "LISTEN jobs")
        ask(one, "BEGIN")
        ask(one, send)
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match="belongs to shard s2"):
            ask(one, "INSERT INTO entries VALUES (1001, 1)")
        ask(one, "ROLLBACK")
        ask(one, "BEGIN")
        ask(one, "INSERT INTO entries VALUES (1001, 1)")
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match="NOTIFY"):
            ask(one, send)
        ask(one, "ROLLBACK")
        for sql in ("BEGIN", send, "UPDATE home SET word = word", "COMMIT", send):
            ask(one, sql)
        ask(one, "BEGIN")  # nothing is left of it
        ask(one, "UPDATE accounts SET balance = balance")
        ask(one, "COMMIT")
        eventually(lambda: listener.poll() or len(listener.notifies) >= 2)
        assert [told.payload for told in listener.notifies] == ["new", "new"]


def test_what_a_part_that_has_written_nothing_has_locked_is_held_to_the_end(proxy, one):
    """An advisory lock is the home shard's, the row another one's: who has the lock sees what the one before it wrote."""
    def work(_):
        with contextlib.closing(proxy.psycopg2()) as connection:
            for _ in range(25):
                ask(connection, "BEGIN")
                ask(connection, "SELECT pg_advisory_xact_lock(7)")
                (balance,), = ask(connection, "SELECT balance FROM accounts WHERE id = 1")
                ask(connection, f"UPDATE accounts SET balance = {balance + 1} WHERE id = 1")
                ask(connection, "COMMIT")

    together(work, range(4))
    assert ask(one, "SELECT balance FROM accounts WHERE id = 1") == [(200,)]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN"])
def test_an_end_that_was_bound_before_another_shard_joined(lab, one, proxy, end):
    """Its portal is the first shard's, which would end the transaction there alone."""
    with proxy.wire() as wire:
        for sql in ("BEGIN", "UPDATE accounts SET balance = 1 WHERE id = 0"):
            wire.exchange(query(sql))
        wire.exchange(parse(end) + bind(portal="end") + sync())
        wire.exchange(query("UPDATE accounts SET balance = 1 WHERE id = 1"))
        messages = wire.exchange(execute("end") + sync())
        assert "E" in kinds(messages)
        wire.exchange(query("ROLLBACK"))
    assert (balances(lab)[0], balances(lab)[1]) == (100, 100)


@pytest.mark.parametrize("way", ["describe", "flush", "apart"])
def test_the_home_shard_describes_its_tables_in_a_transaction_of_another_one(lab, one, proxy, way):
    """As drivers prepare: Parse and Describe of a statement come alone, and there is no Bind yet to say where."""
    statement = parse(f"INSERT INTO alone /* {way} */ VALUES ($1) RETURNING id", "s")
    asked = describe("S", "s")
    with proxy.wire() as wire:
        for sql in ("BEGIN", "UPDATE accounts SET balance = 50 WHERE id = 1"):
            assert wire.exchange(query(sql))[-1][1] == b"T"
        if way == "apart":
            assert kinds(wire.exchange(statement + sync())) == list("1Z")
            assert kinds(wire.exchange(asked + sync())) == list("tTZ")
        else:
            assert kinds(wire.exchange(statement + (flush() if way == "flush" else b"") + asked + sync())) == list("1tTZ")
        assert kinds(wire.exchange(bind(["7"], "s") + execute() + sync())) == list("2DCZ")
        assert wire.exchange(query("ROLLBACK"))[-1][1] == b"I"
    assert lab.query(0, "SELECT * FROM alone") == []


def test_a_transfer_between_shards_is_committed_on_both(proxy, lab, one):
    for text in ("BEGIN", "UPDATE accounts SET balance = balance - 30 WHERE id = 0",
                 "UPDATE accounts SET balance = balance + 30 WHERE id = 1", "COMMIT"):
        ask(one, text)
    assert balances(lab) == {0: 70, 1: 130, 2: 100, 3: 100, 4: 100, 5: 100}
    nothing_is_left(lab)


def test_own_writes_are_read_on_each_shard_and_rolled_back_on_all(proxy, lab, one):
    ask(one, "BEGIN")
    for key in (0, 1, 2, 0, 1):
        ask(one, f"UPDATE accounts SET balance = balance + 1 WHERE id = {key}")
    assert [ask(one, f"SELECT balance FROM accounts WHERE id = {key}") for key in range(3)] == [[(102,)], [(102,)], [(101,)]]
    ask(one, "ROLLBACK")
    assert set(balances(lab).values()) == {100}
    assert ask(one, "SELECT balance FROM accounts WHERE id = 2") == [(100,)]
    nothing_is_left(lab)


def test_an_error_on_one_shard_fails_the_transaction_on_all(proxy, lab, one):
    ask(one, "BEGIN")
    ask(one, "UPDATE accounts SET balance = 7 WHERE id = 0")
    with pytest.raises(psycopg2.errors.CheckViolation):
        ask(one, "UPDATE accounts SET balance = -1 WHERE id = 1")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        ask(one, "SELECT balance FROM accounts WHERE id = 0")
    assert one.cursor().execute("COMMIT") is None
    assert set(balances(lab).values()) == {100}


@pytest.mark.parametrize("end", ["ROLLBACK AND CHAIN", "COMMIT AND CHAIN"])
def test_the_next_transaction_of_a_chain_has_nothing_of_the_failed_one(proxy, lab, one, end):
    ask(one, "BEGIN")
    ask(one, "UPDATE accounts SET balance = 7 WHERE id = 0")
    with pytest.raises(psycopg2.errors.CheckViolation):
        ask(one, "UPDATE accounts SET balance = -1 WHERE id = 1")
    assert ask(one, end) == "ROLLBACK"
    ask(one, "UPDATE accounts SET balance = 9 WHERE id = 4")
    assert ask(one, "COMMIT") == "COMMIT"
    assert balances(lab) == {0: 100, 1: 100, 2: 100, 3: 100, 4: 9, 5: 100}


def test_a_deferred_constraint_that_fails_at_commit_undoes_all(proxy, lab, one):
    for broken in (0, 1, 2):
        ask(one, "BEGIN")
        for key in range(3):
            ask(one, f"UPDATE accounts SET balance = 5 WHERE id = {key}")
        ask(one, f"INSERT INTO entries VALUES ({broken + 9}, 1)")
        with pytest.raises(psycopg2.errors.ForeignKeyViolation):
            ask(one, "COMMIT")
        assert one.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
        assert set(balances(lab).values()) == {100}
    nothing_is_left(lab)


def test_savepoints_hold_over_shards(proxy, lab, one):
    script = """BEGIN; UPDATE accounts SET balance = 1 WHERE id = 0; SAVEPOINT a; UPDATE accounts SET balance = 2 WHERE id = 0;
        UPDATE accounts SET balance = 2 WHERE id = 1; SAVEPOINT b; UPDATE accounts SET balance = 3 WHERE id = 2;
        ROLLBACK TO a; UPDATE accounts SET balance = 4 WHERE id = 2; SAVEPOINT c; UPDATE accounts SET balance = 5 WHERE id = 0;
        UPDATE accounts SET balance = 6 WHERE id = 1; RELEASE c; SAVEPOINT d; UPDATE accounts SET balance = 9 WHERE id = 1;
        ROLLBACK TO d; COMMIT"""
    for text in script.split(";"):
        ask(one, text)
    assert balances(lab) == {0: 5, 1: 6, 2: 4, 3: 100, 4: 100, 5: 100}


def test_rollback_to_a_savepoint_after_an_error_on_another_shard(proxy, lab, one):
    ask(one, "BEGIN")
    ask(one, "UPDATE accounts SET balance = 1 WHERE id = 0")
    ask(one, "SAVEPOINT a")
    ask(one, "UPDATE accounts SET balance = 2 WHERE id = 0")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        ask(one, "INSERT INTO accounts VALUES (1, 1)")
    ask(one, "ROLLBACK TO SAVEPOINT a")
    ask(one, "UPDATE accounts SET balance = 3 WHERE id = 2")
    ask(one, "COMMIT")
    assert balances(lab) == {0: 1, 1: 100, 2: 3, 3: 100, 4: 100, 5: 100}


def test_settings_of_the_transaction_hold_on_each_shard(proxy, one):
    ask(one, "BEGIN")
    ask(one, "SELECT balance FROM accounts WHERE id = 0")
    ask(one, "SET LOCAL work_mem = '7MB'")
    ask(one, "SET application_name = 'transfer'")
    for key in range(3):
        assert ask(one, f"SELECT current_setting('work_mem'), current_setting('application_name') FROM accounts "
                        f"WHERE id = {key}") == [("7MB", "transfer")]
    ask(one, "SET LOCAL work_mem = '9MB'")
    assert ask(one, "SELECT current_setting('work_mem') FROM accounts WHERE id = 0") == [("9MB",)]
    ask(one, "COMMIT")
    for key in range(3):
        assert ask(one, f"SELECT current_setting('work_mem'), current_setting('application_name') FROM accounts "
                        f"WHERE id = {key}") == [("4MB", "transfer")]
    ask(one, "BEGIN")
    ask(one, "SELECT balance FROM accounts WHERE id = 0")
    ask(one, "SET application_name = 'other'")
    ask(one, "SELECT balance FROM accounts WHERE id = 1")
    ask(one, "ROLLBACK")
    for key in range(3):
        assert ask(one, f"SELECT current_setting('application_name') FROM accounts WHERE id = {key}") == [("transfer",)]


def test_with_the_extended_protocol_and_in_pipelines(proxy, lab, one):
    with psycopg.connect(proxy.dsn, prepare_threshold=0) as connection:
        for key in range(6):
            connection.execute("UPDATE accounts SET balance = balance + %s WHERE id = %s", (key, key))
        connection.commit()
        assert balances(lab) == {key: 100 + key for key in range(6)}
        with connection.pipeline():
            for key in range(6):
                connection.execute("UPDATE accounts SET balance = %s WHERE id = %s", (50 + key, key))
        connection.rollback()
        assert balances(lab) == {key: 100 + key for key in range(6)}
        with connection.pipeline():
            for key in range(6):
                connection.execute("UPDATE accounts SET balance = %s WHERE id = %s", (50 + key, key))
            connection.commit()
        assert balances(lab) == {key: 50 + key for key in range(6)}
        with pytest.raises(psycopg.errors.CheckViolation), connection.pipeline():
            for key in range(6):
                connection.execute("UPDATE accounts SET balance = %s WHERE id = %s", (3 - key, key))
        connection.rollback()
        assert balances(lab) == {key: 50 + key for key in range(6)}
    nothing_is_left(lab)


def test_a_read_takes_no_part_in_the_vote(proxy, lab, one):
    ask(one, "BEGIN")
    ask(one, "SELECT balance FROM accounts WHERE id = 0")
    ask(one, "UPDATE accounts SET balance = 8 WHERE id = 1")
    ask(one, "SELECT balance FROM accounts WHERE id = 2")
    ask(one, "COMMIT")
    assert balances(lab)[1] == 8
    ask(one, "BEGIN")
    for key in range(3):
        ask(one, f"SELECT balance FROM accounts WHERE id = {key}")
    ask(one, "COMMIT")
    assert ask(one, "SELECT 1") == [(1,)]


def test_home_tables_and_portals_on_another_shard(proxy, lab, one):
    with psycopg.connect(proxy.dsn) as connection:
        connection.execute("INSERT INTO home VALUES (1, 'a'), (2, 'b') ON CONFLICT DO NOTHING")
        connection.execute("UPDATE accounts SET note = 'x' WHERE id = 2")
        connection.execute("UPDATE accounts SET note = 'y' WHERE id = 1")
        assert connection.execute("SELECT word FROM home WHERE id < 900 ORDER BY id").fetchall() == [("a",), ("b",)]
        connection.commit()
    with proxy.wire() as wire:
        wire.ask("BEGIN")
        wire.ask("UPDATE accounts SET balance = 1 WHERE id = 0")
        rows = "SELECT n FROM generate_series(1, 5) AS n, accounts WHERE id = 0"
        first = wire.exchange(parse(rows) + bind(portal="p") + execute("p", 2) + sync())
        wire.ask("UPDATE accounts SET balance = 1 WHERE id = 1")
        second = wire.exchange(execute("p") + sync())
        assert [kinds(each).count("D") for each in (first, second)] == [2, 3]
        wire.ask("COMMIT")
    assert balances(lab)[0] == 1 and balances(lab)[1] == 1


@pytest.mark.parametrize("text", ["SELECT 1; COMMIT", "ROLLBACK; SELECT 1", "PREPARE TRANSACTION 'x'"])
def test_an_end_that_would_be_one_of_a_single_shard_is_refused(proxy, lab, one, text):
    ask(one, "BEGIN")
    for key in range(2):
        ask(one, f"UPDATE accounts SET balance = 1 WHERE id = {key}")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="several shards"):
        ask(one, text)
    ask(one, "ROLLBACK")
    assert set(balances(lab).values()) == {100}


@pytest.mark.parametrize("lost", [0, 1])
def test_a_shard_that_is_lost_fails_the_transaction(proxy, lab, one, lost):
    ask(one, "BEGIN")
    for key in range(2):
        ask(one, f"UPDATE accounts SET balance = 1 WHERE id = {key}")
    ask(one, "SAVEPOINT a")
    lab.query(lost, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' "
                    "AND datname = current_database() AND pid <> pg_backend_pid()")
    with pytest.raises(psycopg2.Error) as found:
        for _ in range(50):
            ask(one, "SELECT balance FROM accounts WHERE id = 0")
            ask(one, "SELECT balance FROM accounts WHERE id = 1")
    assert found.value.pgcode in ("08006", "57P01"), found.value
    with pytest.raises(psycopg2.Error):
        ask(one, "ROLLBACK TO a")
    one.cursor().execute("COMMIT")
    assert set(balances(lab).values()) == {100}
    assert ask(one, "SELECT balance FROM accounts WHERE id = 0") == [(100,)]


def test_no_server_stays_with_a_client_whose_transaction_has_ended(lab, one):
    """A branch that was left, came to its turn again, and failed there."""
    with start_proxy(lab, {"pool_size": 1, "query_wait_timeout": "4s"}, ["--threads", "1"]) as small, small.session() as first, \
            small.session() as second:
        for end in ("COMMIT", "ROLLBACK"):
            for key in range(3):
                first("BEGIN") if key == 0 else None
                first(f"UPDATE accounts SET balance = 1 WHERE id = {key}")
            with pytest.raises(psycopg2.errors.DivisionByZero):
                first("SELECT 1 / (id - id) FROM accounts WHERE id = 0")
            assert first(end) == "ROLLBACK"
            assert [second(f"SELECT balance FROM accounts WHERE id = {key}") for key in range(3)] == [[(100,)]] * 3


def test_snapshots_over_shards_are_refused(proxy, one):
    ask(one, "BEGIN ISOLATION LEVEL REPEATABLE READ")
    ask(one, "SELECT balance FROM accounts WHERE id = 0")
    with pytest.raises(psycopg2.errors.FeatureNotSupported) as found:
        ask(one, "SELECT balance FROM accounts WHERE id = 1")
    assert "one snapshot" in found.value.diag.message_detail
    ask(one, "ROLLBACK")


def test_each_shard_has_its_own_snapshot_where_that_will_do(proxy, lab, one):
    ask(one, "SET mosaic.allow_per_shard_snapshots = on")
    ask(one, "BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert ask(one, "SELECT balance FROM accounts WHERE id = 0") == [(100,)]
    assert ask(one, "SELECT balance FROM accounts WHERE id = 1") == [(100,)]
    with contextlib.closing(proxy.psycopg2()) as other:
        ask(other, "UPDATE accounts SET balance = 7 WHERE id IN (0, 1)")
    assert ask(one, "SELECT sum(balance) FROM accounts WHERE id IN (0, 1)") == [(200,)]
    with pytest.raises(psycopg2.errors.SerializationFailure):
        ask(one, "UPDATE accounts SET balance = 8 WHERE id = 1")
    ask(one, "ROLLBACK")


def test_one_shard_only(proxy, one):
    ask(one, "SET mosaic.commit = one_shard_only")
    with pytest.raises(psycopg2.errors.FeatureNotSupported) as found:
        ask(one, "UPDATE accounts SET balance = 1")
    assert "one_shard_only" in found.value.diag.message_detail
    ask(one, "BEGIN")
    ask(one, "UPDATE accounts SET balance = 1 WHERE id = 0")
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="open on shard"):
        ask(one, "UPDATE accounts SET balance = 1 WHERE id = 1")
    ask(one, "COMMIT")
    assert ask(one, "SELECT sum(balance) FROM accounts") == [(501,)]
    with pytest.raises(psycopg2.Error, match="no choice"):
        ask(one, "SET mosaic.commit = three_phase")


def test_best_effort(proxy, lab, one):
    ask(one, "SET mosaic.commit = best_effort")
    assert one.cursor().execute("UPDATE accounts SET balance = 1") is None
    assert set(balances(lab).values()) == {1}
    for broken, committed in ((0, None), (2, "s0, s1")):
        ask(one, "UPDATE accounts SET balance = 50")
        ask(one, "BEGIN")
        for key in range(3):
            ask(one, f"UPDATE accounts SET balance = 60 WHERE id = {key}")
        ask(one, f"INSERT INTO entries VALUES ({broken + 9}, 1)")
        with pytest.raises(psycopg2.Error) as found:
            ask(one, "COMMIT")
        assert found.value.pgcode == ("08007" if committed else "23503")
        if committed:
            assert committed in found.value.diag.message_detail
        assert [balances(lab)[key] for key in range(3)] == ([60, 60, 50] if committed else [50, 50, 50])


def test_cursors_stay_where_they_were_declared(proxy, one):
    ask(one, "BEGIN")
    ask(one, "DECLARE c CURSOR FOR SELECT id, n FROM accounts, generate_series(1, 3) AS n WHERE id = 0 ORDER BY n")
    assert ask(one, "FETCH c") == [(0, 1)]
    ask(one, "UPDATE accounts SET balance = 1 WHERE id = 1")
    ask(one, "DECLARE d CURSOR FOR SELECT id FROM accounts WHERE id = 2")
    assert ask(one, "FETCH c") == [(0, 2)] and ask(one, "FETCH d") == [(2,)] and ask(one, "FETCH ALL c") == [(0, 3)]
    ask(one, "SAVEPOINT a")
    with pytest.raises(psycopg2.errors.DuplicateCursor):
        ask(one, "DECLARE c CURSOR FOR SELECT id FROM accounts WHERE id = 1")
    ask(one, "ROLLBACK TO a")
    ask(one, "MOVE BACKWARD ALL IN c")
    assert ask(one, "FETCH 2 c") == [(0, 1), (0, 2)]
    ask(one, "CLOSE ALL")
    for name in "cd":
        ask(one, "SAVEPOINT b")
        with pytest.raises(psycopg2.errors.InvalidCursorName):
            ask(one, f"FETCH {name}")
        ask(one, "ROLLBACK TO b")
    ask(one, "COMMIT")


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_and_chain_begins_the_next_one(proxy, lab, one, end):
    ask(one, "BEGIN READ WRITE -- as it was")
    for key in range(2):
        ask(one, f"UPDATE accounts SET balance = 1 WHERE id = {key}")
    ask(one, f"{end} AND CHAIN")
    assert one.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_INTRANS
    ask(one, "UPDATE accounts SET balance = 2 WHERE id = 3")
    ask(one, "UPDATE accounts SET balance = 2 WHERE id = 4")
    ask(one, "COMMIT")
    assert [balances(lab)[key] for key in (0, 1, 3, 4)] == ([1, 1, 2, 2] if end == "COMMIT" else [100, 100, 2, 2])


def run_all(connection, script):
    for text in script:
        try:
            ask(connection, text)
        except psycopg2.Error as error:
            yield error.pgcode


FAILED = ["BEGIN", "UPDATE accounts SET balance = 1 WHERE id = 0", "SAVEPOINT a", "UPDATE accounts SET balance = 1 WHERE id = 1",
          "UPDATE accounts SET balance = -1 WHERE id = 1"]


@pytest.mark.parametrize("ends", [
    ["ROLLBACK AND CHAIN", "COMMIT"], ["COMMIT AND CHAIN", "COMMIT"], ["ROLLBACK; BEGIN", "ROLLBACK"],
    ["ROLLBACK TO a; COMMIT", "ROLLBACK"], ["COMMIT; SELECT 1", "ROLLBACK"]])
def test_a_failed_transaction_ends_on_all_shards_or_none(proxy, lab, one, ends):
    assert list(run_all(one, FAILED)) == ["23514"]
    list(run_all(one, ends))
    if one.info.transaction_status != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
        ask(one, "ROLLBACK")
    assert set(balances(lab).values()) == {100}
    ask(one, "UPDATE accounts SET balance = 3 WHERE id = 2")
    assert balances(lab)[2] == 3


def test_behind_rollback_to_statements_go_where_they_belong(proxy, lab, one):
    assert list(run_all(one, FAILED)) == ["23514"]
    assert list(run_all(one, ["ROLLBACK TO a; UPDATE accounts SET balance = 5 WHERE id = 2"])) == ["0A000"]
    ask(one, "ROLLBACK TO a")
    ask(one, "UPDATE accounts SET balance = 5 WHERE id = 2")
    ask(one, "COMMIT")
    assert [balances(lab)[key] for key in range(3)] == [1, 100, 5]
    with proxy.wire() as wire:
        for text in FAILED[:-1]:
            wire.ask(text)
        program = lambda text: parse(text) + bind() + execute()  # noqa: E731
        assert kinds(wire.exchange(program(FAILED[-1]) + sync()))[-2:] == ["E", "Z"]
        got = wire.exchange(program("ROLLBACK TO a") + program("UPDATE accounts SET balance = 6 WHERE id = 2") + sync())
        assert kinds(got) == list("12C12CZ")
        wire.ask("COMMIT")
    assert [balances(lab)[key] for key in range(3)] == [1, 100, 6]


def test_more_savepoints_than_are_kept_end_the_transaction(proxy, lab, one):
    for text in ("BEGIN", "UPDATE accounts SET balance = 1 WHERE id = 0", "SAVEPOINT a",
                 "UPDATE accounts SET balance = 1 WHERE id = 1", "UPDATE accounts SET balance = 2 WHERE id = 0",
                 "UPDATE accounts SET balance = 2 WHERE id = 1", "ROLLBACK TO a"):
        ask(one, text)
    codes = list(run_all(one, [f"SAVEPOINT b{i} /* {'x' * 300_000} */" for i in range(5)] + ["COMMIT"]))
    assert codes[0] == "54000"
    if one.info.transaction_status != psycopg2.extensions.TRANSACTION_STATUS_IDLE:
        ask(one, "ROLLBACK")
    assert set(balances(lab).values()) == {100}


def test_settings_of_a_client_that_goes_are_not_taken_for_kept(proxy, lab, one):
    with contextlib.closing(proxy.psycopg2()) as connection:
        for text in ("BEGIN", "SELECT 1 FROM accounts WHERE id = 1", "SET search_path = other", "SELECT 1"):
            ask(connection, text)
    ask(one, "SET search_path = other")
    for _ in range(5):
        assert ask(one, "SELECT current_setting('search_path') FROM public.accounts WHERE id = 1") == [("other",)]


def test_what_the_startup_packet_has_set_is_not_reset_in_a_transaction(proxy):
    with contextlib.closing(psycopg2.connect(proxy.dsn, options="-c search_path=other,public")) as connection:
        ask(connection, "SELECT 1 FROM accounts WHERE id = 1")
        assert list(run_all(connection, ["RESET search_path"])) == ["0A000"]
        connection.rollback()
        connection.autocommit = True
        ask(connection, "RESET search_path")
        assert ask(connection, "SELECT current_setting('search_path') FROM accounts WHERE id = 1") == [("other,public",)]


def test_settings_in_one_segment_of_a_transaction_without_a_shard(proxy, lab, one):
    program = lambda text: parse(text) + bind() + execute()  # noqa: E731
    with proxy.wire() as wire:
        wire.exchange(program("BEGIN") + program("SET LOCAL work_mem = '7MB'") + program("SET LOCAL temp_buffers = '9MB'") + sync())
        for key in range(2):
            assert wire.ask(f"SELECT current_setting('work_mem'), current_setting('temp_buffers') FROM accounts WHERE id = {key}") \
                == [["7MB", "9MB"]]
        wire.ask("COMMIT")


def refused(connection, text, *, detail="", match=""):
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match=match) as found:
        ask(connection, text)
    assert detail in (found.value.diag.message_detail or "")


@pytest.mark.parametrize("text", ["SET transaction_isolation = 'repeatable read'",
                                  "SET LOCAL transaction_isolation = E'serializ\\141ble'"])
def test_a_snapshot_that_a_setting_asks_for_is_refused_over_shards(one, text):
    ask(one, "BEGIN")
    ask(one, text)
    ask(one, "SELECT balance FROM accounts WHERE id = 0")
    refused(one, "SELECT balance FROM accounts WHERE id = 1", detail="one snapshot")
    ask(one, "ROLLBACK")


@pytest.mark.parametrize("text", ["SET TRANSACTION READ ONLY", "SET LOCAL transaction_read_only = on", "BEGIN READ ONLY"])
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_chain_does_not_lose_what_was_set_for_the_transaction(one, text, end):
    ask(one, "BEGIN")
    ask(one, text)
    for key in range(2):
        ask(one, f"SELECT balance FROM accounts WHERE id = {key}")
    refused(one, f"{end} AND CHAIN", match="AND CHAIN")
    assert ask(one, "SELECT balance FROM accounts WHERE id = 2") == [(100,)]
    ask(one, end)
    assert one.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE


def test_constraints_that_were_set_are_no_hindrance_to_a_chain(lab, one):
    ask(one, "BEGIN")
    ask(one, "SET CONSTRAINTS ALL IMMEDIATE")
    for key in range(2):
        ask(one, f"UPDATE accounts SET balance = 1 WHERE id = {key}")
    ask(one, "COMMIT AND CHAIN")
    ask(one, "UPDATE accounts SET balance = 2 WHERE id = 2")
    ask(one, "COMMIT")
    assert [balances(lab)[key] for key in range(3)] == [1, 1, 2]


@pytest.fixture(params=["simple", "extended"])
def stepwise(request, proxy, one):
    """Says what each statement got: its SQLSTATE, or its tag."""
    with proxy.wire() as wire:
        def run(sql):
            sent = query(sql) if request.param == "simple" else parse(sql) + bind() + execute() + sync()
            messages = wire.exchange(sent)
            told = [body.split(b"\0C")[1][:5] if kind == "E" else body[:-1] for kind, body in messages if kind in "CE"]
            return told[0].decode()
        yield run


@pytest.mark.parametrize("last", [0, 1])
def test_constraints_are_checked_at_once_on_each_shard(stepwise, lab, last):
    for sql in ("BEGIN", "SAVEPOINT a", "INSERT INTO entries VALUES (12, 1)"):
        stepwise(sql)
    for key in (1, last):
        assert stepwise(f"SELECT id FROM accounts WHERE id = {key}") == "SELECT 1"
    assert stepwise("SET CONSTRAINTS ALL DEFERRED") == "SET CONSTRAINTS"
    assert stepwise("SET CONSTRAINTS ALL IMMEDIATE") == "23503"
    assert stepwise("SELECT id FROM accounts WHERE id = 1") == "25P02"
    assert stepwise("ROLLBACK TO a") == "ROLLBACK"
    assert stepwise("SET CONSTRAINTS ALL IMMEDIATE") == "SET CONSTRAINTS"
    for key in range(3):
        assert stepwise(f"UPDATE accounts SET balance = 7 WHERE id = {key}") == "UPDATE 1"
    assert stepwise("INSERT INTO entries VALUES (12, 1)") == "23503"
    assert stepwise("ROLLBACK TO a") == "ROLLBACK"
    assert stepwise("UPDATE accounts SET balance = 8 WHERE id < 3") == "UPDATE 3"
    assert stepwise("SET CONSTRAINTS entries_account_id_fkey IMMEDIATE") == "SET CONSTRAINTS"
    assert stepwise("COMMIT") == "COMMIT"
    assert [balances(lab)[key] for key in range(3)] == [8, 8, 8]
    for end in ("ROLLBACK", "COMMIT"):
        for sql in ("BEGIN", "INSERT INTO entries VALUES (12, 1)", "UPDATE accounts SET balance = 9 WHERE id = 1"):
            stepwise(sql)
        assert stepwise("SET CONSTRAINTS ALL IMMEDIATE") == "23503"
        assert stepwise(end) == "ROLLBACK"
    assert [balances(lab)[key] for key in range(3)] == [8, 8, 8]
    nothing_is_left(lab)


def test_constraints_that_are_not_there_are_told_before_the_first_shard(stepwise):
    stepwise("BEGIN")
    assert stepwise("SET CONSTRAINTS ALL DEFERRED") == "SET CONSTRAINTS"
    stepwise("SAVEPOINT a")
    assert stepwise("SET CONSTRAINTS nosuch IMMEDIATE") == "42704"
    assert stepwise("ROLLBACK TO a") == "ROLLBACK"
    assert stepwise("SET CONSTRAINTS entries_account_id_fkey IMMEDIATE") == "SET CONSTRAINTS"
    assert stepwise("INSERT INTO entries VALUES (13, 1)") == "23503"
    assert stepwise("ROLLBACK") == "ROLLBACK"


def test_checking_constraints_of_several_shards_comes_by_itself(one):
    ask(one, "BEGIN")
    for key in range(2):
        ask(one, f"UPDATE accounts SET balance = 1 WHERE id = {key}")
    refused(one, "SET CONSTRAINTS ALL IMMEDIATE; SELECT 1", match="in one text")


def test_a_transaction_that_has_written_and_is_read_only_then_is_refused_its_commit(lab, one):
    ask(one, "BEGIN")
    for key in range(2):
        ask(one, f"UPDATE accounts SET balance = 1 WHERE id = {key}")
    ask(one, "SET TRANSACTION READ ONLY")
    refused(one, "COMMIT", match="READ ONLY")
    assert set(balances(lab).values()) == {100}
    nothing_is_left(lab)


@pytest.mark.parametrize("first", [None, 0])
def test_the_modes_of_a_second_begin_hold_on_each_shard(one, first):
    ask(one, "BEGIN")
    if first is not None:
        ask(one, f"SELECT balance FROM accounts WHERE id = {first}")
    ask(one, "BEGIN READ ONLY")
    assert ask(one, "SELECT balance FROM accounts WHERE id = 1") == [(100,)]
    for key in range(3):
        ask(one, "SAVEPOINT a")
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            ask(one, f"UPDATE accounts SET balance = 1 WHERE id = {key}")
        ask(one, "ROLLBACK TO a")
    ask(one, "COMMIT")


def test_a_portal_of_a_server_that_a_write_without_begin_has_parked(proxy, lab, one):
    rows = "SELECT n FROM generate_series(1, 5) AS n, accounts WHERE id = 0"
    with proxy.wire() as wire:
        told = wire.exchange(parse("UPDATE accounts SET balance = 3") + bind() + execute() +
                             parse(rows) + bind(portal="p") + execute("p", 2) +
                             parse("UPDATE accounts SET balance = 4 WHERE id = 1") + bind() + execute() +
                             describe("P", "p") + execute("p") + sync())
        assert kinds(told).count("D") == 5 and "E" not in kinds(told), told
    assert balances(lab) == {0: 3, 1: 4, 2: 3, 3: 3, 4: 3, 5: 3}


@pytest.mark.parametrize("text", ["SET LOCAL mosaic.commit = 'best_effort'",
                                  "SELECT set_config('mosaic.shard', 's1', true)"])
def test_what_the_proxy_would_not_heed_of_one_transaction_is_refused(one, text):
    ask(one, "BEGIN")
    refused(one, text, match="of one transaction")
    ask(one, "ROLLBACK")


def test_a_fetch_in_a_failed_transaction_is_told_so(one):
    ask(one, "BEGIN")
    ask(one, "DECLARE c CURSOR FOR SELECT id FROM accounts WHERE id = 0")
    with pytest.raises(psycopg2.errors.CheckViolation):
        ask(one, "UPDATE accounts SET balance = -1 WHERE id = 1")
    for text in ("FETCH c", "MOVE c", "CLOSE c"):
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            ask(one, text)
    ask(one, "ROLLBACK")


@pytest.fixture(scope="module")
def roles(lab, proxy):
    """The proxy's user may be lender, and owner."""
    for shard in range(LAB_SHARDS):
        with superuser(lab, shard) as cursor:
            cursor.execute(f"CREATE ROLE owner; CREATE ROLE lender; GRANT owner, lender TO {proxy.user}")
            cursor.execute("GRANT ALL ON accounts, entries TO owner, lender")


@pytest.mark.parametrize("session, local", [("RESET ROLE", "SET LOCAL ROLE owner"), ("SET ROLE owner", "SET LOCAL ROLE lender"),
                                            ("SET ROLE owner", "SET LOCAL ROLE none"), ("RESET ROLE", "SET ROLE owner")])
@pytest.mark.parametrize("fails", [False, True])
def test_a_role_of_the_transaction_alone_prepares_and_commits(lab, one, roles, session, local, fails):
    ask(one, session)
    was = ask(one, "SELECT current_user FROM accounts WHERE id = 0")
    ask(one, "BEGIN")
    ask(one, local)
    for key in range(3):
        ask(one, f"UPDATE accounts SET balance = 4 WHERE id = {key}")
    if fails:
        ask(one, "INSERT INTO entries VALUES (11, 1)")
        with pytest.raises(psycopg2.errors.ForeignKeyViolation):
            ask(one, "COMMIT")
    else:
        ask(one, "COMMIT")
    nothing_is_left(lab)
    if not fails and "LOCAL" not in local:
        was = [("owner",)]
    for key in range(3):
        assert ask(one, f"SELECT current_user FROM accounts WHERE id = {key}") == was
    ask(one, "RESET ROLE")
    assert [balances(lab)[key] for key in range(3)] == [100 if fails else 4] * 3


@pytest.fixture(scope="module")
def own(lab, proxy):
    """A proxy whose sessions have servers of their own."""
    with start_proxy(lab, {"pool_mode": "session", "recovery_interval": "1h"}) as proxy:
        yield proxy


@pytest.mark.parametrize("end", ["ROLLBACK", "COMMIT", "failed ROLLBACK", "failed COMMIT"])
def test_a_session_keeps_its_servers_over_the_end_of_a_transaction(lab, one, own, end):
    with contextlib.closing(own.psycopg2()) as connection, contextlib.closing(own.psycopg2()) as other:
        pids = "SELECT pg_backend_pid() FROM accounts WHERE id = {}"
        before = [ask(connection, pids.format(key)) for key in range(3)]
        ask(connection, "SET work_mem = '7MB'")
        ask(connection, "BEGIN")
        for key in range(2):
            ask(connection, f"UPDATE accounts SET balance = 5 WHERE id = {key}")
        if end.startswith("failed"):
            with pytest.raises(psycopg2.errors.CheckViolation):
                ask(connection, "UPDATE accounts SET balance = -1 WHERE id = 2")
        ask(connection, end.split()[-1])
        for key in range(3):
            ask(other, pids.format(key))
        assert [ask(connection, pids.format(key)) for key in range(3)] == before
        assert ask(connection, "SELECT current_setting('work_mem') FROM accounts WHERE id = 1") == [("7MB",)]
    assert balances(lab)[0] == (5 if end == "COMMIT" else 100)
    nothing_is_left(lab)


@pytest.mark.parametrize("keys", ["1", "1, 2"])
def test_who_waits_in_vain_for_a_second_shard_lets_go_of_the_first(lab, one, keys):
    with start_proxy(lab, {"pool_size": 1, "query_wait_timeout": "4s", "deadlock_check_interval": "60s"}) as narrow:
        with contextlib.closing(narrow.psycopg2()) as holder, contextlib.closing(narrow.psycopg2()) as waiter:
            ask(holder, "BEGIN")
            ask(holder, "UPDATE accounts SET balance = 7 WHERE id = 1")
            ask(waiter, "BEGIN")
            ask(waiter, "UPDATE accounts SET balance = 8 WHERE id = 0")
            with pytest.raises(psycopg2.Error, match="query_wait_timeout"):
                ask(waiter, f"UPDATE accounts SET balance = 8 WHERE id IN ({keys})")
            ask(holder, "UPDATE accounts SET balance = 7 WHERE id = 0")
            ask(holder, "COMMIT")
            with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
                ask(waiter, "SELECT balance FROM accounts WHERE id = 0")
            ask(waiter, "ROLLBACK")
    assert balances(lab)[0] == balances(lab)[1] == 7


def test_who_holds_servers_of_other_shards_comes_first(lab, one):
    update = "UPDATE accounts SET balance = balance + 1 WHERE id = {}".format
    with start_proxy(lab, {"pool_size": 2, "threads": 1}) as narrow, contextlib.ExitStack() as stack:
        def client():
            return stack.enter_context(contextlib.closing(narrow.psycopg2()))
        first, second, holder, waiter = (client() for _ in range(4))
        ask(waiter, "BEGIN")
        for connection, key in ((first, 1), (second, 4), (holder, 0)):
            ask(connection, "BEGIN")
            ask(connection, update(key))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            waiting = []
            for number, connection in enumerate((waiter, holder), 1):
                waiting.append(pool.submit(ask, connection, update(1)))
                eventually(lambda number=number: sum(int(row["cl_waiting"]) for row in shown(narrow, "SHOW POOLS")) == number)
            ask(first, "COMMIT")
            try:
                waiting[1].result(timeout=10)
                assert not waiting[0].done()
            finally:
                ask(second, "COMMIT")
                for each, connection in ((waiting[1], holder), (waiting[0], waiter)):
                    each.result(timeout=10)
                    ask(connection, "COMMIT")
    assert balances(lab)[1] == 103


def test_a_session_keeps_its_temporary_tables_over_a_failed_transaction(proxy, one):
    ask(one, "CREATE TEMP TABLE mine (n int)")
    ask(one, "INSERT INTO mine VALUES (1)")
    ask(one, "BEGIN")
    ask(one, "INSERT INTO mine VALUES (2)")
    assert list(run_all(one, ["SELECT 1 / 0", "SELECT 1", "ROLLBACK"])) == ["22012", "25P02"]
    assert ask(one, "SELECT n FROM mine") == [(1,)]
    ask(one, "BEGIN")
    ask(one, "SAVEPOINT a")
    assert list(run_all(one, ["SELECT 1 / 0"])) == ["22012"]
    ask(one, "ROLLBACK TO a")
    ask(one, "INSERT INTO mine VALUES (3)")
    ask(one, "COMMIT")
    assert ask(one, "SELECT n FROM mine ORDER BY n") == [(1,), (3,)]
    ask(one, "DISCARD ALL")


def test_a_cursor_that_is_closed_leaves_its_name(one):
    """Wherever its rows were: on one shard, on another one, or on several."""
    def declares(condition):
        return f"DECLARE c CURSOR FOR SELECT id FROM accounts WHERE {condition} ORDER BY id"
    for close in ("CLOSE c", "CLOSE ALL"):
        ask(one, "BEGIN")
        ask(one, declares("id = 0"))
        assert ask(one, "FETCH ALL c") == [(0,)]
        ask(one, close)
        ask(one, "UPDATE accounts SET balance = 1 WHERE id = 1")
        ask(one, declares("id = 1"))
        assert ask(one, "FETCH ALL c") == [(1,)]
        ask(one, "SELECT balance FROM accounts WHERE id = 2")
        ask(one, close)
        ask(one, declares("id = 2"))
        assert ask(one, "FETCH ALL c") == [(2,)]
        ask(one, "ROLLBACK")
        ask(one, "BEGIN")
        ask(one, declares("id < 3"))
        assert ask(one, "FETCH c") == [(0,)]
        ask(one, "SAVEPOINT a")
        with pytest.raises(psycopg2.errors.DuplicateCursor):
            ask(one, declares("id = 1"))
        ask(one, "ROLLBACK TO a")
        assert ask(one, "FETCH c") == [(1,)]
        ask(one, close)
        ask(one, declares("id = 1"))
        assert ask(one, "FETCH ALL c") == [(1,)]
        ask(one, "ROLLBACK")


def declare(name, key):
    return f"DECLARE {name} CURSOR WITH HOLD FOR SELECT id FROM accounts WHERE id = {key}"


def test_a_held_cursor_is_found_behind_its_transaction(proxy, one):
    """Its session has servers of its own, several; the name is one of the session's."""
    with proxy.session() as session:
        session("SELECT pg_advisory_lock(1)")  # of the home shard
        for sql in ("BEGIN", declare("c", 1), "COMMIT"):
            session(sql)
        assert session("FETCH ALL FROM c") == [(1,)]
        session("BEGIN")
        session("MOVE ABSOLUTE 0 FROM c")
        session("COMMIT")
        assert session("FETCH 1 FROM c") == [(1,)]
        for before in ((), ("BEGIN",)):
            for sql in before:
                session(sql)
            with pytest.raises(psycopg2.errors.DuplicateCursor):
                session(declare("c", 2))
            session("ROLLBACK")
        with pytest.raises(psycopg2.errors.DuplicateCursor):
            session(f"BEGIN; {declare('c', 2)}; COMMIT")
        session("CLOSE c")
        session(declare("c", 2))  # a transaction of its own
        session(declare("d", 1))
        assert session("FETCH ALL FROM d") == [(1,)] and session("FETCH ALL FROM c") == [(2,)]
        session("BEGIN")
        with pytest.raises(psycopg2.errors.DuplicateCursor):
            session("DECLARE c CURSOR FOR SELECT id FROM accounts ORDER BY id")
        session("ROLLBACK")
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match="CLOSE ALL of cursors on several shards"):
            session("CLOSE ALL")
        session("CLOSE c")
        session("CLOSE ALL")
        session(declare("d", 0))
        assert session("FETCH ALL FROM d") == [(0,)]
        session("DISCARD ALL")
        with pytest.raises(psycopg2.errors.InvalidCursorName):
            session("FETCH ALL FROM d")
        session(declare("d", 1))


@pytest.mark.parametrize("end", ["ROLLBACK", "COMMIT", "ROLLBACK TO a"])
def test_a_held_cursor_ends_with_what_declared_it(proxy, one, end):
    with proxy.wire() as wire:
        def ask_extended(sql):
            return kinds(wire.exchange(parse(sql) + bind() + execute() + sync()))
        ask_extended("SELECT pg_advisory_lock(1)")
        for sql in ("BEGIN", "SAVEPOINT a", declare("c", 1), end, "COMMIT"):
            ask_extended(sql)
        assert ("D" in ask_extended("FETCH ALL FROM c")) == (end == "COMMIT")
        assert ("E" in ask_extended(declare("c", 2))) == (end == "COMMIT")
        if end != "COMMIT":
            assert "D" in ask_extended("FETCH ALL FROM c")
        assert "E" not in ask_extended("CLOSE c")
        assert "E" in ask_extended("FETCH ALL FROM c")


@pytest.mark.parametrize("divisor, entry, says", [(1, 3, psycopg2.errors.DivisionByZero),
                                                  (2, 30, psycopg2.errors.ForeignKeyViolation)])
def test_a_held_cursor_and_another_shard_are_kept_together_or_not_at_all(proxy, lab, one, divisor, entry, says):
    """Its query is run by COMMIT: of the shard that has but read, before the other one's can be told."""
    with proxy.session() as session:
        session("BEGIN")
        session("UPDATE accounts SET balance = 1 WHERE id = 3")
        session(f"INSERT INTO entries VALUES ({entry}, 1)")
        session(f"DECLARE c CURSOR WITH HOLD FOR SELECT 1 / (id - {divisor}) FROM accounts WHERE id = 1")
        with pytest.raises(says):
            session("COMMIT")
        assert balances(lab)[3] == 100
        session(declare("c", 1))  # the name is free
        assert session("FETCH ALL FROM c") == [(1,)]
    nothing_is_left(lab)


def told(wire, text, fails=False):
    """The parameters that the answer to a text tells, and its rows."""
    messages = wire.exchange(text)
    assert messages[-1][0] == "Z" and ("E" in [kind for kind, _ in messages]) == fails
    parameters = [body.decode().split("\0")[:2] for kind, body in messages if kind == "S"]
    return dict(parameters), [row_values(body) for kind, body in messages if kind == "D"]


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("local", ["", "LOCAL "])
def test_what_going_back_undoes_of_parameters_is_told(proxy, lab, one, wide, local):
    german, iso = {"DateStyle": "German, DMY"}, {"DateStyle": "ISO, MDY"}
    with proxy.wire() as wire:
        def begin():
            wire.ask("BEGIN")
            for key in range(2 if wide else 0):
                wire.ask(f"UPDATE accounts SET balance = 1 WHERE id = {key}")
        begin()
        wire.ask("SAVEPOINT a")
        assert told(wire, query(f"SET {local}DateStyle = 'German'"))[0] == german
        failed = told(wire, query("SELECT 1 / (id - id) FROM accounts WHERE id = 2"), True)[0] if wide else {}  # goes back itself
        assert {**failed, **told(wire, query("ROLLBACK TO a"))[0]} == iso
        assert told(wire, query("SELECT date '2020-01-31'"))[1] == [["2020-01-31"]]
        assert told(wire, query("COMMIT"))[0] == {}
        for end in ("ROLLBACK", "COMMIT"):
            begin()
            assert told(wire, query(f"SET {local}DateStyle = 'German'"))[0] == german
            assert told(wire, query(end))[0] == (iso if end == "ROLLBACK" or local else {})
            wire.ask("SET DateStyle = 'ISO, MDY'")
        begin()
        for kept in ({"DateStyle": "SQL, MDY"}, {}):
            assert told(wire, parse("SET DateStyle = 'SQL'") + bind() + execute() + parse("SAVEPOINT a") + bind() + execute() +
                        sync())[0] == kept
            assert told(wire, query("ROLLBACK TO a"))[0] == {}  # it stands
        assert told(wire, query("ROLLBACK"))[0] == iso
