"""ROLLBACK over several shards: when it is answered, all of them have let go of the transaction's locks."""
import contextlib
import os
import signal
import time

import psycopg
import psycopg2
import psycopg2.errors
import pytest
from proxies import STANDIN, ask, start_proxy

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]

LAB_SHARDS = 2
ROUNDS = 60
LOCK = "SELECT id FROM held WHERE id IN (0, 1) ORDER BY id FOR UPDATE"


@pytest.fixture(scope="module", autouse=True)
def applied(lab):
    lab.everywhere("CREATE TABLE held (id bigint PRIMARY KEY, n int NOT NULL CHECK (n < 10))")
    lab.add_tables(" - {name: held, key: id, function: modulo}\n")
    lab.run("apply", "--yes", check=True)
    for shard in range(LAB_SHARDS):
        lab.query(shard, f"INSERT INTO held SELECT id, 0 FROM generate_series({shard}, 9, {LAB_SHARDS}) id")


@pytest.fixture(scope="module")
def proxy(lab):
    with start_proxy(lab, {"cancel_wait_timeout": "1s", "deadlock_check_interval": "200ms"}) as proxy:
        yield proxy


def lock(connection):
    """Both rows, at once, or an error; and whether both are there for who skips what is locked."""
    ask(connection, "BEGIN")
    assert ask(connection, LOCK + " SKIP LOCKED") == [(0,), (1,)]
    ask(connection, LOCK + " NOWAIT")
    ask(connection, "ROLLBACK")


def plain(connection):
    ask(connection, "BEGIN")
    for key in (0, 1):
        ask(connection, f"SELECT * FROM held WHERE id = {key} FOR UPDATE")
    ask(connection, "ROLLBACK")


def failed(connection):
    """Its end is the same, and COMMIT is one too."""
    ask(connection, "BEGIN")
    for key in (0, 1):
        ask(connection, f"UPDATE held SET n = 1 WHERE id = {key}")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        ask(connection, "SELECT 1 / n FROM held WHERE id = 2")
    assert ask(connection, "COMMIT") == "ROLLBACK"


def chained(connection):
    ask(connection, "BEGIN")
    for key in (0, 1):
        ask(connection, f"SELECT * FROM held WHERE id = {key} FOR UPDATE")
    ask(connection, "ROLLBACK AND CHAIN")


def statement(connection):
    """Nobody says BEGIN: one shard has done its part when the other one fails."""
    with pytest.raises(psycopg2.errors.CheckViolation):
        ask(connection, "UPDATE held SET n = n + 10 * id WHERE id IN (0, 1)")


@pytest.mark.parametrize("way", [plain, failed, chained, statement])
def test_who_comes_behind_the_answer_finds_no_lock(proxy, way):
    with contextlib.closing(proxy.psycopg2()) as first, contextlib.closing(proxy.psycopg2()) as second:
        for _ in range(ROUNDS):
            way(first)
            lock(second)
            if way is chained:
                ask(first, "ROLLBACK")


def test_a_statement_of_the_extended_protocol(proxy):
    with psycopg.connect(proxy.dsn, autocommit=True) as first, contextlib.closing(proxy.psycopg2()) as second:
        for _ in range(ROUNDS):
            with pytest.raises(psycopg.errors.CheckViolation):
                first.execute("UPDATE held SET n = n + 10 * id WHERE id IN (%s, %s)", (0, 1))
            lock(second)
        assert first.execute("SELECT sum(n) FROM held").fetchone() == (0,)


def test_a_shard_that_does_not_answer_is_not_waited_for_for_ever(proxy, lab):
    with contextlib.closing(proxy.psycopg2()) as connection, contextlib.closing(proxy.psycopg2()) as other:
        ask(connection, "BEGIN")
        ask(connection, "UPDATE held SET n = 2 WHERE id = 0")
        ((pid,),) = ask(connection, "SELECT pg_backend_pid() FROM held WHERE id = 0")
        ask(connection, "UPDATE held SET n = 2 WHERE id = 1")
        os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert ask(connection, "ROLLBACK") == "ROLLBACK"
            assert 0.8 < time.monotonic() - began < 10
            assert ask(other, "SELECT id FROM held WHERE id = 1 FOR UPDATE NOWAIT") == [(1,)]
        finally:
            os.kill(pid, signal.SIGCONT)
        assert ask(connection, "SELECT n FROM held WHERE id IN (0, 1)") == [(0,), (0,)]
