"""Rows of several shards, locked: FOR UPDATE and its like within a transaction, and queues that SKIP LOCKED makes."""
import contextlib
import threading

import psycopg
import psycopg2
import pytest
from proxies import STANDIN, ask, eventually, nothing_is_left, start_proxy, together
from rawwire import bind, execute, kinds, parse, sync

LAB_SHARDS = 3
SCHEMA = """
CREATE TABLE jobs (id bigint PRIMARY KEY, kind int, state text DEFAULT 'new', worker int);
CREATE TABLE parts (job_id bigint, n int, PRIMARY KEY (job_id, n));
CREATE TABLE kinds (code int PRIMARY KEY, name text);
"""
TABLES = (" - {name: jobs, key: id, function: modulo}\n - {name: parts, key: job_id, function: modulo}\n"
          " - {name: kinds, kind: reference}\n")

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]


@pytest.fixture(scope="module")
def proxy(lab):
    lab.apply_tables(SCHEMA, TABLES)
    with start_proxy(lab, {"schema_check_interval": "200ms"}) as proxy:
        yield proxy


@pytest.fixture
def two(proxy, lab):
    """Two connections; twelve jobs."""
    lab.everywhere("TRUNCATE jobs, parts, kinds")
    with contextlib.closing(proxy.psycopg2()) as first, contextlib.closing(proxy.psycopg2()) as second:
        ask(first, "INSERT INTO jobs (id, kind) VALUES " + ", ".join(f"({i}, {i % 4})" for i in range(12)))
        ask(first, "INSERT INTO kinds VALUES (0, 'a'), (1, 'b'), (2, 'c'), (3, 'd')")
        yield first, second
    nothing_is_left(lab)


def free(connection):
    """The jobs that nobody has locked."""
    return sorted(row[0] for row in ask(connection, "SELECT id FROM jobs FOR UPDATE SKIP LOCKED"))


def test_rows_stay_locked_until_the_end(two):
    holder, other = two
    ask(holder, "BEGIN")
    assert sorted(ask(holder, "SELECT id FROM jobs WHERE kind = 1 FOR UPDATE")) == [(1,), (5,), (9,)]
    assert free(other) == [0, 2, 3, 4, 6, 7, 8, 10, 11]
    with pytest.raises(psycopg2.errors.LockNotAvailable):
        ask(other, "SELECT id FROM jobs FOR UPDATE NOWAIT")
    assert len(ask(other, "SELECT id FROM jobs")) == 12
    ask(holder, "COMMIT")
    assert free(other) == list(range(12))


def test_outside_of_a_transaction_they_are_let_go_at_once(two):
    holder, other = two
    assert len(ask(holder, "SELECT id FROM jobs FOR UPDATE")) == 12
    assert free(other) == list(range(12))


def test_a_share_lock_lets_others_share(two):
    holder, other = two
    ask(holder, "BEGIN")
    ask(holder, "SELECT id FROM jobs WHERE id < 6 FOR SHARE")
    assert len(ask(other, "SELECT id FROM jobs FOR SHARE SKIP LOCKED")) == 12
    assert len(ask(other, "SELECT id FROM jobs FOR KEY SHARE SKIP LOCKED")) == 12
    assert free(other) == [6, 7, 8, 9, 10, 11]
    ask(holder, "ROLLBACK")


def test_rollback_to_a_savepoint_lets_them_go(two):
    holder, other = two
    ask(holder, "BEGIN")
    ask(holder, "SELECT id FROM jobs WHERE kind = 0 FOR UPDATE")
    ask(holder, "SAVEPOINT s")
    ask(holder, "SELECT id FROM jobs WHERE kind = 1 FOR UPDATE")
    assert free(other) == [2, 3, 6, 7, 10, 11]
    ask(holder, "ROLLBACK TO s")
    ask(holder, "SELECT id FROM jobs WHERE id IN (0, 1, 2)")  # what was undone each shard hears of when it is used next
    assert free(other) == [1, 2, 3, 5, 6, 7, 9, 10, 11]
    ask(holder, "COMMIT")


def test_limit_locks_what_it_gives_and_no_more(two):
    holder, other = two
    ask(holder, "BEGIN")
    taken = [row[0] for row in ask(holder, "SELECT id FROM jobs LIMIT 6 FOR UPDATE")]
    assert len(set(taken)) == 6
    assert free(other) == sorted(set(range(12)) - set(taken))
    ask(other, "BEGIN")
    more = [row[0] for row in ask(other, "SELECT id FROM jobs FOR UPDATE SKIP LOCKED LIMIT 5")]
    assert len(set(more)) == 5 and not set(more) & set(taken)
    assert len(ask(other, "SELECT id FROM jobs FOR UPDATE SKIP LOCKED LIMIT 100")) == 6  # its own are its own
    ask(other, "ROLLBACK")
    ask(holder, "ROLLBACK")
    ask(holder, "BEGIN")
    assert ask(holder, "SELECT id FROM jobs LIMIT 0 OFFSET 5 FOR UPDATE") == []
    assert free(other) == list(range(12))
    assert len(ask(holder, "SELECT id FROM jobs OFFSET 2 LIMIT 7 FOR UPDATE")) == 7
    assert len(free(other)) == 3  # those of OFFSET are locked, as PostgreSQL does
    ask(holder, "ROLLBACK")


def test_order_by(two):
    holder, other = two
    ask(holder, "BEGIN")
    assert ask(holder, "SELECT id FROM jobs WHERE kind = 2 ORDER BY id DESC FOR UPDATE") == [(10,), (6,), (2,)]
    assert ask(other, "SELECT id FROM jobs ORDER BY id FOR UPDATE SKIP LOCKED OFFSET 5") == [(7,), (8,), (9,), (11,)]
    ask(holder, "COMMIT")


def test_joins_lock_what_of_names(two):
    holder, other = two
    ask(holder, "INSERT INTO parts SELECT id, 1 FROM jobs")
    ask(holder, "BEGIN")
    sql = "SELECT j.id FROM jobs j JOIN parts p ON p.job_id = j.id JOIN kinds k ON k.code = j.kind WHERE k.name = 'b'"
    assert sorted(ask(holder, sql + " FOR UPDATE OF j FOR KEY SHARE OF p")) == [(1,), (5,), (9,)]
    assert len(free(other)) == 9
    assert len(ask(other, "SELECT 1 FROM parts FOR NO KEY UPDATE SKIP LOCKED")) == 12
    assert len(ask(other, "SELECT 1 FROM parts FOR UPDATE SKIP LOCKED")) == 9
    ask(holder, "COMMIT")
    with pytest.raises(psycopg2.errors.FeatureNotSupported) as found:
        ask(holder, sql + " FOR UPDATE")
    assert "reference" in str(found.value) or "not sharded" in str(found.value)


def test_with_keys_only_their_shards_are_asked(lab, two):
    holder, other = two
    ask(holder, "BEGIN")
    assert sorted(ask(holder, "SELECT id FROM jobs WHERE id IN (0, 4, 7) FOR UPDATE")) == [(0,), (4,), (7,)]
    assert lab.query(2, "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' "
                        "AND datname = current_database()") == []
    ask(holder, "COMMIT")
    assert len(free(other)) == 12


def test_a_row_that_changes_meanwhile_is_looked_at_again(two):
    holder, other = two
    ask(holder, "BEGIN")
    ask(holder, "UPDATE jobs SET state = 'done' WHERE id IN (4, 5)")
    got = []
    sql = "SELECT id FROM jobs WHERE state = 'new' ORDER BY id FOR UPDATE"
    thread = threading.Thread(target=lambda: got.extend(ask(other, sql)))
    thread.start()
    thread.join(0.5)
    assert thread.is_alive() and not got
    ask(holder, "COMMIT")
    thread.join(10)
    assert got == [(i,) for i in range(12) if i not in (4, 5)]


def test_what_is_ordered_by_may_change_meanwhile(two):
    """PostgreSQL gives such rows where they stood; no shard is taken to be out of order."""
    holder, other = two
    ask(holder, "BEGIN")
    ask(holder, "UPDATE jobs SET kind = 100 WHERE id IN (0, 4, 8)")
    got = []
    thread = threading.Thread(target=lambda: got.extend(ask(other, "SELECT id FROM jobs ORDER BY kind, id FOR UPDATE")))
    thread.start()
    thread.join(0.5)
    ask(holder, "COMMIT")
    thread.join(10)
    assert sorted(got) == [(i,) for i in range(12)]


def test_two_that_lock_everything_do_not_wait_for_each_other(proxy, two):
    def work(_):
        with contextlib.closing(proxy.psycopg2()) as connection:
            for _ in range(15):
                ask(connection, "BEGIN")
                assert len(ask(connection, "SELECT id FROM jobs ORDER BY id FOR UPDATE")) == 12
                ask(connection, "COMMIT")

    together(work, range(5))


def test_by_the_extended_protocol(proxy, two):
    for binary in (False, True):
        with psycopg.connect(proxy.dsn, autocommit=True, prepare_threshold=0) as connection:
            with connection.transaction():
                cursor = connection.cursor(binary=binary)
                for limit, offset in ((3, 0), (3, 0), (7, 2), (None, None)):
                    cursor.execute("SELECT id FROM jobs WHERE kind < %s LIMIT %s OFFSET %s FOR UPDATE SKIP LOCKED",
                                   (3, limit, offset))
                    assert len(cursor.fetchall()) == (limit or 9)
                    assert cursor.statusmessage == f"SELECT {limit or 9}"
            assert len(free(two[0])) == 12
    lock = parse("SELECT id FROM jobs FOR UPDATE") + bind() + execute()
    with proxy.wire() as wire:
        got = wire.exchange(lock + lock + sync())
        assert kinds(got) == list("12" + "D" * 12 + "C12" + "D" * 12 + "CZ") and got[-1][1] == b"I"
    assert len(free(two[0])) == 12


def test_many_rows(two):
    holder, other = two
    ask(holder, "INSERT INTO jobs (id, kind, state) VALUES " + ", ".join(f"({i}, 9, '{'x' * 100}')" for i in range(100, 9100)))
    ask(holder, "BEGIN")
    got = ask(holder, "SELECT id, state FROM jobs WHERE kind = 9 ORDER BY id FOR UPDATE")
    assert [row[0] for row in got] == list(range(100, 9100))
    assert len(ask(other, "SELECT id FROM jobs LIMIT 13 FOR UPDATE SKIP LOCKED")) == 12
    ask(holder, "COMMIT")
    assert len(ask(other, "SELECT id FROM jobs LIMIT 9000 FOR UPDATE SKIP LOCKED")) == 9000


def test_what_postgresql_refuses_is_refused_in_its_words(two):
    for sql, words in (("SELECT count(*) FROM jobs FOR UPDATE", "aggregate functions"),
                       ("SELECT DISTINCT id FROM jobs FOR UPDATE", "DISTINCT"),
                       ("SELECT id FROM jobs GROUP BY id FOR UPDATE", "GROUP BY"),
                       ("SELECT id FROM jobs UNION ALL SELECT id FROM jobs FOR UPDATE", "UNION")):
        with pytest.raises(psycopg2.errors.FeatureNotSupported) as found:
            ask(two[0], sql)
        assert words in str(found.value), sql


def drain(proxy, take, workers=8):
    """What each of the workers has taken, until it found nothing."""
    def work(number):
        with contextlib.closing(proxy.psycopg2()) as connection:
            return list(iter(lambda: take(connection, number), None))

    return [job for list_ in together(work, range(workers)) for job in list_]


def by_select(picked):
    def take(connection, number):
        ask(connection, "BEGIN")
        found = ask(connection, f"SELECT id FROM jobs WHERE state = 'new' {picked}")
        assert found == sorted(found, reverse=True)
        if found:
            ask(connection, f"UPDATE jobs SET state = 'done', worker = {number} WHERE id = {found[0][0]}")
        ask(connection, "COMMIT")
        return found[0][0] if found else None
    return take


def by_update(picked):
    def take(connection, number):
        found = ask(connection, f"UPDATE jobs SET state = 'done', worker = {number} WHERE id = (SELECT id FROM jobs "
                                f"WHERE state = 'new' {picked}) RETURNING id, worker")
        assert not found or found[0][1] == number
        return found[0][0] if found else None
    return take


def by_delete(picked):
    def take(connection, _):
        found = ask(connection, f"DELETE FROM jobs j WHERE j.id IN (SELECT x.id FROM jobs x {picked} SKIP LOCKED) RETURNING *")
        return found[0][0] if found else None
    return take


@pytest.mark.parametrize("take", [by_select("FOR UPDATE SKIP LOCKED LIMIT 1"),
                                  by_update("FOR UPDATE SKIP LOCKED LIMIT 1"),
                                  by_delete("WHERE x.state = 'new' LIMIT 1 FOR UPDATE"),
                                  by_select("ORDER BY id DESC LIMIT 3 FOR UPDATE SKIP LOCKED"),
                                  by_update("ORDER BY id DESC FOR UPDATE SKIP LOCKED LIMIT 1"),
                                  by_delete("ORDER BY kind, 1 LIMIT 1 FOR NO KEY UPDATE OF x")])
def test_a_queue_is_drained_and_each_job_is_done_once(proxy, lab, two, take):
    ask(two[0], "INSERT INTO jobs (id, kind) VALUES " + ", ".join(f"({i}, 0)" for i in range(100, 588)))
    taken = drain(proxy, take)
    assert sorted(taken) == list(range(12)) + list(range(100, 588))
    assert ask(two[0], "SELECT count(*) FROM jobs WHERE state = 'new'") == [(0,)]


def test_of_a_queue_in_order_each_takes_the_first_that_is_free(two):
    """None is locked that is not given, on whatever shard the first ones are."""
    holder, other = two
    for held in ({0}, {0, 1, 2}, {1, 4}, {11}, set(range(11)), set(range(12))):
        for count in (1, 2, 5, 20):
            ask(holder, "BEGIN")
            ask(holder, f"SELECT id FROM jobs WHERE id = ANY ('{{{','.join(map(str, held))}}}') FOR UPDATE")
            ask(other, "BEGIN")
            left = [i for i in range(12) if i not in held]
            found = ask(other, f"SELECT id, state FROM jobs WHERE kind < 9 ORDER BY id LIMIT {count} FOR UPDATE SKIP LOCKED")
            assert found == [(i, "new") for i in left[:count]]
            ask(holder, "COMMIT")
            assert free(holder) == sorted(set(range(12)) - set(left[:count]))
            again = "SELECT kind, id FROM jobs j ORDER BY 1 DESC, id FOR UPDATE OF j SKIP LOCKED LIMIT 4"
            assert ask(other, again) == [(3, 3), (3, 7), (3, 11), (2, 2)]  # its own are its own
            ask(other, "COMMIT")


def test_of_a_queue_in_order_many_others_hold_the_head(two):
    holder, other = two
    ask(holder, "INSERT INTO jobs (id, kind) VALUES " + ", ".join(f"({i}, {i % 3})" for i in range(100, 700)))
    ask(holder, "BEGIN")
    assert ask(holder, "SELECT id FROM jobs ORDER BY id DESC LIMIT 300 FOR UPDATE SKIP LOCKED") == \
        [(i,) for i in range(699, 399, -1)]
    assert ask(other, "SELECT id FROM jobs ORDER BY id DESC LIMIT 2 FOR SHARE SKIP LOCKED") == [(399,), (398,)]
    assert ask(other, "DELETE FROM jobs WHERE id = (SELECT id FROM jobs WHERE kind <> 1 ORDER BY id DESC LIMIT 1 "
                      "FOR UPDATE SKIP LOCKED) RETURNING id, kind") == [(399, 0)]
    assert ask(other, "SELECT id FROM jobs ORDER BY id DESC LIMIT 0 FOR UPDATE SKIP LOCKED") == []
    ask(holder, "ROLLBACK")


def test_a_queue_in_order_by_the_extended_protocol(proxy, two):
    with psycopg.connect(proxy.dsn, autocommit=True, prepare_threshold=0) as connection:
        for binary in (False, True):
            with connection.transaction():
                cursor = connection.cursor(binary=binary)
                cursor.execute("SELECT id, %s::text FROM jobs WHERE kind < %s AND state = %s ORDER BY kind DESC, id "
                               "LIMIT %s FOR UPDATE SKIP LOCKED", ("x", 3, "new", 4))
                assert cursor.fetchall() == [(2, "x"), (6, "x"), (10, "x"), (1, "x")]
                assert cursor.statusmessage == "SELECT 4"
                assert free(two[0]) == [0, 3, 4, 5, 7, 8, 9, 11]
                cursor.execute("UPDATE jobs SET state = %s, worker = %s WHERE id = (SELECT id FROM jobs WHERE state = %s "
                               "AND kind > %s ORDER BY kind, id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, worker",
                               ("done", 7, "new", 1))
                assert cursor.fetchall() == [(2, 7)] and cursor.statusmessage == "UPDATE 1"
                cursor.execute("TRUNCATE jobs")  # nothing of it is open any more
                raise psycopg.Rollback
    take = parse("SELECT id FROM jobs ORDER BY id DESC LIMIT 2 FOR UPDATE SKIP LOCKED") + bind() + execute()
    with proxy.wire() as wire:
        got = wire.exchange(take + take + sync())
        assert kinds(got) == list("12DDC12DDCZ") and got[-1][1] == b"I"
    assert len(free(two[0])) == 12


def test_of_a_queue_in_order_an_error_is_the_client_s(two):
    holder, other = two
    for sql in ("SELECT id, 1 / (id - 3) FROM jobs WHERE id > 2 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
                "SELECT id FROM jobs WHERE 1 / (id - 3) = 0 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
                "UPDATE jobs SET kind = 1 / (id - 3) WHERE id = (SELECT id FROM jobs WHERE id > 2 ORDER BY id LIMIT 1 "
                "FOR UPDATE SKIP LOCKED)"):
        ask(holder, "BEGIN")
        with pytest.raises(psycopg2.errors.DivisionByZero):
            ask(holder, sql)
        ask(holder, "ROLLBACK")
        with pytest.raises(psycopg2.errors.DivisionByZero):
            ask(holder, sql)
    assert free(other) == list(range(12))


@pytest.mark.parametrize("take", ["SELECT id FROM jobs ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
                                  "UPDATE jobs SET state = 'x' WHERE id = (SELECT id FROM jobs ORDER BY id LIMIT 1 "
                                  "FOR UPDATE SKIP LOCKED) RETURNING id"])
def test_a_job_that_is_changed_meanwhile_is_still_the_first(lab, two, take):
    """Shard 0 has told its jobs, shard 1 has not yet, and the first of all is changed, which locks it for a moment."""
    holder, other = two
    got = []
    with lab.connect(1) as blocker:
        ask(blocker, "BEGIN")
        ask(blocker, "LOCK TABLE jobs")
        thread = threading.Thread(target=lambda: got.extend(ask(other, take)))
        thread.start()
        eventually(lambda: lab.query(1, "SELECT 1 FROM pg_locks WHERE NOT granted"))
        ask(holder, "UPDATE jobs SET worker = 5 WHERE id = 0")
        ask(holder, "DELETE FROM jobs WHERE id = 3")
        ask(blocker, "ROLLBACK")
        thread.join(20)
    assert got == [(0,)]
    assert ask(holder, "SELECT worker FROM jobs WHERE id = 0") == [(5,)]


def test_the_last_job_is_found_wherever_it_is(proxy, two):
    """Others hold all jobs but one: who asks for any finds that one, on whatever shard it is."""
    holder, other = two
    for left in range(12):
        ask(holder, "BEGIN")
        ask(holder, f"SELECT id FROM jobs WHERE id <> {left} FOR UPDATE")
        assert ask(other, "SELECT id FROM jobs FOR UPDATE SKIP LOCKED LIMIT 1") == [(left,)]
        ask(holder, "ROLLBACK")


def test_an_update_takes_the_one_job_that_is_left(proxy, two):
    holder, other = two
    take = ("UPDATE jobs SET state = 'done' WHERE id = "
            "(SELECT id FROM jobs WHERE state <> 'done' FOR UPDATE SKIP LOCKED LIMIT 1)")
    for left in range(12):
        ask(holder, "BEGIN")
        ask(holder, f"SELECT id FROM jobs WHERE id <> {left} FOR UPDATE")
        ask(other, "BEGIN")
        assert ask(other, take) == "UPDATE 1"
        assert ask(other, take + " RETURNING id") == []
        assert ask(other, "SELECT id FROM jobs WHERE state = 'done'") == [(left,)]
        ask(other, "ROLLBACK")
        ask(holder, "ROLLBACK")
    with psycopg.connect(proxy.dsn, autocommit=True, prepare_threshold=0) as connection:
        for _ in range(12):
            assert connection.execute(take + " RETURNING id, state", prepare=True).fetchall()[0][1] == "done"
        assert connection.execute(take, prepare=True).statusmessage == "UPDATE 0"


def test_subqueries_that_lock_otherwise_are_refused(two):
    for sql in ("UPDATE jobs SET state = 'x' WHERE id = (SELECT id FROM jobs FOR UPDATE LIMIT 2)",
                "UPDATE jobs SET state = 'x' WHERE id = (SELECT id FROM jobs ORDER BY kind FOR UPDATE LIMIT 1)",
                "UPDATE jobs SET state = 'x' WHERE id = (SELECT id FROM jobs FOR UPDATE LIMIT 1) AND kind = 2",
                "UPDATE jobs SET state = 'x' WHERE id = (SELECT job_id FROM parts FOR UPDATE LIMIT 1)",
                "UPDATE jobs SET state = 'x' WHERE id = (SELECT x.id FROM jobs x WHERE x.kind = jobs.kind FOR UPDATE LIMIT 1)",
                "DELETE FROM jobs WHERE id = (SELECT kind FROM jobs FOR UPDATE LIMIT 1)"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            ask(two[0], sql)
    for sql in ("SELECT id FROM jobs ORDER BY id LIMIT 1 FOR UPDATE",
                "SELECT id FROM jobs ORDER BY id LIMIT 1 FOR UPDATE NOWAIT",
                "SELECT id FROM jobs ORDER BY id LIMIT 1 OFFSET 1 FOR UPDATE SKIP LOCKED",
                "SELECT id FROM jobs ORDER BY state COLLATE \"en_US\", id LIMIT 1 FOR UPDATE SKIP LOCKED",
                "SELECT id FROM jobs JOIN parts ON id = job_id ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
                "SELECT id FROM ONLY jobs JOIN kinds ON code = kind ORDER BY id LIMIT 1 FOR UPDATE OF jobs SKIP LOCKED"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            ask(two[0], sql)
    assert free(two[1]) == list(range(12))
