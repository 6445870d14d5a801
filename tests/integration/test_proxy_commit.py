"""A commit over several shards through the proxy is all or nothing, at whatever step the proxy or a shard is cut off, and
the client is told what happened. Random kills: test_proxy_bank.py.

A proxy ends, or stops, once, at the control point that its environment names; so each case has a proxy of its own, and
accounts of its own, and all of them run beside each other. Another proxy, `healer`, settles what they leave.
"""
import concurrent.futures
import contextlib
import itertools
import os
import signal
import socket
import threading
import time

import psycopg2
import pytest
from conftest import PATIENCE, superuser
from proxies import STANDIN, ask, direct_target, eventually, start_proxy
from rawwire import bind, error_fields, execute, flush, parse, query, row_values, sync
from test_twophase import Cutter, kill_server, restart, stop_server, wait_stopped, with_shard_elsewhere

LAB_SHARDS = 3
SCHEMA = """
CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL DEFAULT 100);
CREATE TABLE history (transfer bigint, account bigint, amount bigint, PRIMARY KEY (account, transfer));
CREATE TABLE slow (id bigint NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE checked (id bigint PRIMARY KEY REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED);
"""
TABLES = "".join(f" - {{name: {name}, key: {key}, function: modulo}}\n"
                 for name, key in (("accounts", "id"), ("history", "account"), ("slow", "id"), ("checked", "id")))
# As the steps of src/proxy/commit.c come.
POINTS = ("before_prepare", "prepared_one", "prepared", "decided", "committed_one", "finished", "done")
DECIDED = ("decided", "committed_one", "finished", "done")
PARTICIPANT, DECIDER = 0, 1
transfers = itertools.count(1)

pytestmark = pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards")


@pytest.fixture(scope="module", autouse=True)
def applied(lab):
    lab.everywhere(SCHEMA)
    lab.add_tables(TABLES)
    lab.run("apply", "--yes", check=True)
    for shard in range(LAB_SHARDS):
        lab.query(shard, f"INSERT INTO accounts SELECT g, 100 FROM generate_series(0, 999) g WHERE g % {LAB_SHARDS} = {shard}")


@pytest.fixture
def healer(lab):
    """A proxy that recovers soon: a decider that still runs is ended after 3 seconds."""
    with start_proxy(lab, {"recovery_interval": "200ms", "recovery_age": "300ms"}) as proxy:
        yield proxy


@pytest.fixture
def proxy(lab):
    with start_proxy(lab, {"recovery_interval": "300ms", "recovery_age": "300ms", "pool_size": 1}) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def nothing_is_left(lab):
    yield
    for shard in range(LAB_SHARDS):
        try:
            lab.query(shard, "SELECT 1")
        except psycopg2.OperationalError:
            restart(lab, shard)
    eventually(lambda: left(lab) == [], seconds=30)
    assert sum(lab.query(shard, "SELECT sum(balance) FROM accounts")[0][0] for shard in range(LAB_SHARDS)) == 100000


def left(lab):
    """What stands prepared, and what was decided and is not dropped; a test that leaves it to nobody fails by this."""
    rows = [row for shard in range(LAB_SHARDS) for row in lab.query(
        shard, "SELECT gid, 'prepared' FROM pg_prepared_xacts WHERE database = current_database() "
               "UNION ALL SELECT gid, outcome FROM mosaic.decision")]
    if rows:
        lab.run("doctor")  # where the test has no proxy that recovers any more
    return rows


# ---- transfers ----------------------------------------------------------------------------------------------------------


class Transfer:
    """Money from an account of s0 to one of s1, which decides; s2 is read."""

    def __init__(self, target, settings=()):
        self.number = next(transfers)
        self.giver, self.taker = 3 * self.number, 3 * self.number + 1
        self.target, self.settings, self.told, self.thread = target, settings, None, None

    def steps(self):
        for account, amount in ((self.giver, -30), (self.taker, 30)):
            yield f"UPDATE accounts SET balance = balance + {amount} WHERE id = {account}"
            yield f"INSERT INTO history VALUES ({self.number}, {account}, {amount})"
        yield "SELECT balance FROM accounts WHERE id = 2"

    def run(self):
        """told: "committed", "aborted" with a SQLSTATE behind it, or "unknown"."""
        try:
            with contextlib.closing(self.target.psycopg2()) as connection:
                for setting in self.settings:
                    ask(connection, setting)
                for step in ("BEGIN", *self.steps()):
                    ask(connection, step)
                self.told = "unknown"
                cursor = connection.cursor()
                cursor.execute("COMMIT")
                self.told = "committed" if cursor.statusmessage == "COMMIT" else "aborted " + cursor.statusmessage
        except psycopg2.Error as error:
            code = error.pgcode
            self.told = "unknown" if not code or code == "08007" else f"aborted {code}"

    def start(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def wait(self):
        self.thread.join(60)
        assert self.told is not None and not self.thread.is_alive()
        return self.told

    def happened(self, lab):
        """Committed or not; fails where a part is there and another is not."""
        found = {lab.query(shard, "SELECT a.balance, h.amount FROM accounts a LEFT JOIN history h ON h.account = a.id AND "
                                  "h.transfer = %s WHERE a.id = %s", (self.number, account))[0][0] - 100 == amount
                 and lab.query(shard, "SELECT amount FROM history WHERE account = %s AND transfer = %s",
                               (account, self.number)) == [(amount,)]
                 for shard, account, amount in ((0, self.giver, -30), (1, self.taker, 30))}
        assert len(found) == 1, (self.number, self.told)
        return found.pop()

    def check(self, lab, point):
        """What the client was told is what happened; returns whether it was committed."""
        committed = self.happened(lab)
        assert self.told == "unknown" or (self.told == "committed") == committed, (point, self.told, committed)
        return committed


@contextlib.contextmanager
def proxies_at(lab, points, action):
    """Each with a transfer that is on its way; with "stop" all of them stand still at their point."""
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(len(points)) as pool:
        def start(point):
            return stack.enter_context(start_proxy(lab, {"recovery_interval": "1h", "threads": 1},
                                                   env={"MOSAIC_CONTROL_POINT": f"commit.{point}={action}"}))
        made = dict(zip(points, pool.map(start, points)))
        # What clients set must not make it weaker.
        weak = (["SET synchronous_commit = off"], ["SET synchronous_commit = local"], [])
        cases = {point: Transfer(proxy, weak[number % 3]).start() for number, (point, proxy) in enumerate(made.items())}
        try:
            if action == "stop":
                for proxy in made.values():
                    wait_stopped(proxy.process)
            yield made, cases
        finally:
            wake(made)


def wake(made):
    for proxy in made.values():
        if proxy.alive():
            proxy.process.send_signal(signal.SIGCONT)


def nothing_prepared(lab):
    return not any(lab.query(shard, "SELECT gid FROM pg_prepared_xacts") for shard in range(LAB_SHARDS))


# ---- the proxy is killed, or stands still --------------------------------------------------------------------------------


def test_a_proxy_killed_at_each_step(lab, control_points, healer):
    with proxies_at(lab, POINTS, "kill") as (made, cases):
        for point, transfer in cases.items():
            assert transfer.wait() == "unknown", point
            assert made[point].process.wait(10) == -signal.SIGKILL
    eventually(lambda: nothing_prepared(lab), seconds=30)
    ends = {point: transfer.happened(lab) for point, transfer in cases.items()}
    assert ends == {point: point in DECIDED for point in POINTS}
    for transfer in cases.values():  # no lock was left
        assert ask(healer.psycopg2(), f"UPDATE accounts SET balance = balance WHERE id IN ({transfer.giver}, {transfer.taker})")


def test_recovery_while_proxies_stand_still(lab, control_points, healer):
    """A proxy that wakes up agrees with what was done meanwhile."""
    with proxies_at(lab, POINTS, "stop") as (made, cases):
        eventually(lambda: nothing_prepared(lab), seconds=30)
        before = {point: transfer.happened(lab) for point, transfer in cases.items()}
        assert before == {point: point in DECIDED for point in POINTS}
        wake(made)
        told = {point: transfer.wait() for point, transfer in cases.items()}
        assert told["before_prepare"] == "committed"  # nothing stood prepared yet: nobody had a reason to meddle
        for point in DECIDED:
            assert told[point] == "committed", point
        for point in ("prepared_one", "prepared"):
            assert told[point].split()[1] in ("40001", "08006"), told[point]
        for point, transfer in cases.items():
            transfer.check(lab, point)


@pytest.mark.parametrize("victim, end", [pytest.param(PARTICIPANT, kill_server, marks=pytest.mark.long),
                                         pytest.param(DECIDER, stop_server, marks=pytest.mark.long), (DECIDER, kill_server)])
def test_a_shard_ends_while_proxies_stand_still(lab, control_points, victim, end):
    with proxies_at(lab, POINTS, "stop") as (made, cases):
        end(lab, victim)
        wake(made)
        time.sleep(0.3)  # so that they see it down
        restart(lab, victim)
        told = {point: transfer.wait() for point, transfer in cases.items()}
    with start_proxy(lab, {"recovery_interval": "200ms", "recovery_age": "100ms"}):
        eventually(lambda: nothing_prepared(lab), seconds=30)
        for point, transfer in cases.items():
            committed = transfer.check(lab, point)
            if point in DECIDED:
                assert committed and told[point] == "committed", point
            elif end is stop_server:  # of one that was killed, the children may live a moment longer
                assert not committed, point


def test_the_word_is_kept_while_another_is_about_to_commit_a_part(lab, control_points):
    """COMMIT PREPARED that "is busy" is no acknowledgement: the other one could yet be cut off."""
    with proxies_at(lab, ["decided"], "stop") as (made, cases):
        gid = lab.query(PARTICIPANT, "SELECT gid FROM pg_prepared_xacts")[0][0]
        with superuser(lab, PARTICIPANT) as cursor:
            cursor.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            cursor.execute("SELECT pg_reload_conf()")
        try:
            other = threading.Thread(target=lambda: lab.query(PARTICIPANT, f"COMMIT PREPARED '{gid}'"), daemon=True)
            other.start()
            eventually(lambda: lab.query(PARTICIPANT, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))
            wake(made)
            assert cases["decided"].wait() == "committed"
            time.sleep(0.3)
            assert lab.query(DECIDER, "SELECT outcome FROM mosaic.decision") == [("committed",)]
        finally:
            with superuser(lab, PARTICIPANT) as cursor:
                cursor.execute("SET synchronous_commit = local")
                cursor.execute("ALTER SYSTEM RESET synchronous_standby_names")
                cursor.execute("SELECT pg_reload_conf()")
        other.join(20)
        eventually(lambda: nothing_prepared(lab), seconds=20)
        assert cases["decided"].check(lab, "decided")


# ---- an answer is lost ------------------------------------------------------------------------------------------------


class Elsewhere:
    """The lab as one would see it whose config has a shard behind a Cutter."""

    def __init__(self, lab, shard, words, after):
        self.cutter = Cutter(lab, shard, words, after)
        self.directory = lab.directory / f"cut{self.cutter.port}"
        self.directory.mkdir()
        self.name, self.env, self.conninfo = lab.name, lab.env, lab.conninfo
        self.config = with_shard_elsewhere(lab, self.directory, shard, host="127.0.0.1", port=self.cutter.port)


LOST = [(shard, words, after) for shard, words in ((DECIDER, b"mosaic.decide("), (PARTICIPANT, b"PREPARE TRANSACTION"),
        (PARTICIPANT, b"COMMIT PREPARED")) for after in (False, True)]


def test_an_answer_is_lost(lab, healer):
    """Before, or after the shard has heard what it is told."""
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(len(LOST)) as pool:
        def start(case):
            elsewhere = Elsewhere(lab, *case)
            stack.callback(elsewhere.cutter.close)
            return elsewhere, stack.enter_context(start_proxy(elsewhere, {"recovery_interval": "1h"}))
        made = list(pool.map(start, LOST))
        cases = [Transfer(proxy).start() for _, proxy in made]
        for (shard, words, after), transfer, (elsewhere, _) in zip(LOST, cases, made):
            told = transfer.wait()
            assert elsewhere.cutter.cuts == 1
            committed = words == b"COMMIT PREPARED" or (after and words == b"mosaic.decide(")
            assert told == ("committed" if committed else "aborted 08006"), (words, after)
        eventually(lambda: nothing_prepared(lab), seconds=20)
        for case, transfer in zip(LOST, cases):
            transfer.check(lab, case)


def test_a_decider_that_stays_away_is_in_doubt(lab, control_points):
    with start_proxy(lab, {"settle_timeout": "1s", "recovery_interval": "300ms", "recovery_age": "300ms"},
                     env={"MOSAIC_CONTROL_POINT": "commit.prepared=stop"}) as proxy:
        transfer = Transfer(proxy).start()
        wait_stopped(proxy.process)
        stop_server(lab, DECIDER)
        proxy.process.send_signal(signal.SIGCONT)
        assert transfer.wait() == "unknown"
        restart(lab, DECIDER)
        eventually(lambda: nothing_prepared(lab), seconds=20)
        assert not transfer.happened(lab)
        assert Transfer(proxy).start().wait() == "committed"


def test_the_word_is_on_its_way_when_the_proxy_dies(lab, control_points):
    with proxies_at(lab, ["prepared"], "stop") as (made, cases):
        [(backend,)] = lab.query(DECIDER, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND pid IS NOT NULL")
        os.kill(backend, signal.SIGSTOP)
        wake(made)
        time.sleep(0.5)
        made["prepared"].process.kill()
        assert cases["prepared"].wait() == "unknown"
        assert not nothing_prepared(lab)
        os.kill(backend, signal.SIGCONT)
        eventually(lambda: lab.query(DECIDER, "SELECT 1 FROM mosaic.decision"))
        lab.run("doctor", check=True)
        assert cases["prepared"].happened(lab)


# ---- prepared transactions switched off -------------------------------------------------------------------------------


def test_without_prepared_transactions(lab):
    with superuser(lab, PARTICIPANT) as cursor:
        cursor.execute("ALTER SYSTEM SET max_prepared_transactions = 0")
        cursor.execute("CHECKPOINT")
    try:
        stop_server(lab, PARTICIPANT)
        restart(lab, PARTICIPANT)
        with start_proxy(lab) as proxy, contextlib.closing(proxy.psycopg2()) as connection:
            transfer = Transfer(proxy)
            for text in ("UPDATE accounts SET balance = balance + 1 WHERE id IN (900, 901)", None):
                with pytest.raises(psycopg2.Error, match="prepared transactions are disabled") as found:
                    for step in [text] if text else ["BEGIN", *transfer.steps(), "COMMIT"]:
                        ask(connection, step)
                assert found.value.pgcode == "55000"
                assert "set max_prepared_transactions" in found.value.diag.message_hint
                assert "on shard s0 and restart" in found.value.diag.message_hint
                assert connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
            assert not transfer.happened(lab)
            assert ask(connection, "SELECT sum(balance) FROM accounts WHERE id IN (900, 901)") == [(200,)]
            for text in ("BEGIN", "UPDATE accounts SET balance = balance - 1 WHERE id = 900",
                         "UPDATE accounts SET balance = balance + 1 WHERE id = 903", "COMMIT"):
                ask(connection, text)  # of one shard
    finally:
        with superuser(lab, PARTICIPANT) as cursor:
            cursor.execute("ALTER SYSTEM RESET max_prepared_transactions")
        stop_server(lab, PARTICIPANT)
        restart(lab, PARTICIPANT)


# ---- a shard is lost between a statement and the end of its own transaction --------------------------------------------


def end_backends(lab, shard):
    assert lab.query(shard, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE xact_start IS NOT NULL AND "
                            "datname = current_database() AND pid <> pg_backend_pid()")


def balances(lab, *accounts):
    return [lab.query(account % LAB_SHARDS, f"SELECT balance FROM accounts WHERE id = {account}")[0][0] for account in accounts]


def idle_in_transaction(lab, shard):
    return lab.query(shard, "SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()")


def test_a_shard_that_is_lost_behind_its_answer_while_another_still_works(lab, proxy):
    with contextlib.closing(proxy.psycopg2()) as connection, lab.connect(1) as holder, holder.cursor() as cursor:
        cursor.execute("BEGIN; SELECT 1 FROM accounts WHERE id = 931 FOR UPDATE")
        failed = []

        def work():
            try:
                ask(connection, "UPDATE accounts SET balance = balance + CASE id WHEN 930 THEN -5 ELSE 5 END "
                                "WHERE id IN (930, 931)")
            except psycopg2.Error as error:
                failed.append(error)
        worker = threading.Thread(target=work)
        worker.start()
        eventually(lambda: idle_in_transaction(lab, 0))
        end_backends(lab, 0)
        time.sleep(0.2)
        cursor.execute("ROLLBACK")
        worker.join(20)
        assert [error.pgcode for error in failed] == ["08006"]
        assert balances(lab, 930, 931) == [100, 100]
        assert ask(connection, "SELECT 1") == [(1,)]
    assert not idle_in_transaction(lab, 1)


def test_a_shard_that_hangs_in_the_commit(lab):
    """Its cancel request does nothing: after query_timeout and patience the client is told, and others go on."""
    limits = {"query_timeout": "1s", "cancel_wait_timeout": "1s", "recovery_interval": "300ms", "recovery_age": "300ms"}
    with start_proxy(lab, limits) as proxy, contextlib.closing(proxy.psycopg2()) as connection:
        for sql in ("BEGIN", "UPDATE accounts SET balance = 99 WHERE id = 930", "UPDATE accounts SET balance = 101 WHERE id = 931"):
            ask(connection, sql)
        [(backend,)] = lab.query(0, "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction' AND "
                                    "datname = current_database()")
        os.kill(backend, signal.SIGSTOP)
        try:
            with pytest.raises(psycopg2.Error) as failed:
                ask(connection, "COMMIT")
            assert failed.value.pgcode == "08006" and "shard s0 did not answer COMMIT" in str(failed.value)
            assert ask(connection, "SELECT balance FROM accounts WHERE id = 931") == [(100,)]
        finally:
            os.kill(backend, signal.SIGCONT)
        eventually(lambda: not idle_in_transaction(lab, 0))
        assert balances(lab, 930, 931) == [100, 100]


UPDATE_BOTH = parse("UPDATE accounts SET balance = balance + CASE id WHEN 939 THEN -5 ELSE 5 END WHERE id IN (939, 940)") + \
    bind() + execute()


def test_a_shard_that_is_lost_before_sync(lab, proxy):
    with proxy.wire() as wire:
        wire.send(UPDATE_BOTH + flush())
        assert [kind for kind, _ in wire.until("C")] == list("12C")
        end_backends(lab, 0)
        time.sleep(0.2)
        got = wire.exchange(sync())
        assert [kind for kind, _ in got] == list("EZ") and error_fields(got[0][1])["C"] == "08006"
        assert balances(lab, 939, 940) == [100, 100]
        got = wire.exchange(UPDATE_BOTH.replace(b"-5 ELSE 5", b"-0 ELSE 0") + sync())
        assert [kind for kind, _ in got] == list("12CZ")
    assert not idle_in_transaction(lab, 1)


def test_a_linked_shard_that_is_lost_before_sync(lab, proxy):
    with proxy.wire() as wire:
        wire.send(UPDATE_BOTH + parse("UPDATE accounts SET balance = 0 WHERE id = 941") + bind() + execute() + flush())
        wire.until("C"), wire.until("C")
        end_backends(lab, 2)
        time.sleep(0.2)
        got = wire.exchange(sync())
        assert [kind for kind, _ in got] == list("EZ") and got[-1][1] == b"I"
        assert balances(lab, 939, 940, 941) == [100, 100, 100]
        assert not idle_in_transaction(lab, 0) and not idle_in_transaction(lab, 1)
        assert wire.exchange(query("UPDATE accounts SET balance = balance WHERE id = 939"))[-1][1] == b"I"


# ---- what a commit leaves behind it on its servers ---------------------------------------------------------------------


def test_settings_of_a_part_that_was_prepared_and_rolled_back(lab, proxy):
    """PREPARE keeps what was SET in the session, whatever becomes of it: another client must not get that."""
    with contextlib.closing(proxy.psycopg2()) as connection:
        for text in ("SET work_mem = '5MB'", "BEGIN", "SET work_mem = '7MB'", "UPDATE accounts SET balance = 7 WHERE id = 0",
                     "SELECT balance FROM accounts WHERE id = 2", "INSERT INTO checked VALUES (77776)"):
            ask(connection, text)
        with pytest.raises(psycopg2.errors.ForeignKeyViolation):
            ask(connection, "COMMIT")
        with contextlib.closing(proxy.psycopg2()) as other:
            for each, size in ((connection, "5MB"), (other, "4MB"), (connection, "5MB")):
                for key in range(3):
                    assert ask(each, f"SELECT current_setting('work_mem') FROM accounts WHERE id = {key}") == [(size,)]


@contextlib.contextmanager
def slow_commit(lab, proxy):
    """A commit that waits on s0 until let_go: another transaction has the same value of a deferred constraint."""
    answers = []
    with lab.connect(0) as holder, holder.cursor() as cursor, contextlib.closing(proxy.psycopg2()) as connection:
        number = next(transfers)
        cursor.execute(f"BEGIN; INSERT INTO slow VALUES ({number * 3})")
        for text in ("BEGIN", f"INSERT INTO slow VALUES ({number * 3})", f"INSERT INTO history VALUES ({number}, 1, 0)"):
            ask(connection, text)

        def commit():
            try:
                answers.append(ask(connection, "COMMIT"))
            except psycopg2.Error as error:
                answers.append(error)
        thread = threading.Thread(target=commit, daemon=True)
        thread.start()
        eventually(lambda: lab.query(0, "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"))

        def let_go():
            cursor.execute("ROLLBACK")

        def rows():
            return [lab.query(0, f"SELECT count(*) FROM slow WHERE id = {number * 3}")[0][0],
                    lab.query(1, f"SELECT count(*) FROM history WHERE transfer = {number} AND amount = 0")[0][0]]
        yield connection, thread, answers, let_go, rows


def hang_up(connection):
    with socket.socket(fileno=os.dup(connection.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def test_a_client_that_goes_while_its_commit_is_under_way(lab, proxy):
    with slow_commit(lab, proxy) as (connection, thread, _, let_go, rows):
        hang_up(connection)
        thread.join(10)
        let_go()
        eventually(lambda: rows() == [1, 1])


def test_a_proxy_that_stops_waits_for_commits_under_way(lab, proxy):
    with slow_commit(lab, proxy) as (connection, thread, _, let_go, rows):
        hang_up(connection)
        thread.join(10)
        time.sleep(0.2)
        proxy.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert proxy.alive()
        let_go()
        assert proxy.process.wait(10) == 0
        assert rows() == [1, 1]


@pytest.mark.parametrize("leaves", [True, False])
def test_a_proxy_that_is_ended_in_the_middle_of_a_commit(lab, leaves):
    with start_proxy(lab) as proxy, slow_commit(lab, proxy) as (connection, thread, answers, let_go, rows):
        if leaves:
            hang_up(connection)
            thread.join(10)
        for _ in range(2):
            proxy.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        proxy.process.wait(10)
        proxy.stop()  # what sanitizers say
        let_go()
        thread.join(10)
        assert len(answers) == 1 and isinstance(answers[0], psycopg2.Error)
        eventually(lambda: left(lab) == [], seconds=20)
        assert rows() == [0, 0]


def test_no_client_is_idle_while_its_commit_lasts(lab):
    limit = f"{500 * PATIENCE}ms"
    with start_proxy(lab, {"client_idle_timeout": limit, "idle_transaction_timeout": limit}) as proxy, \
            slow_commit(lab, proxy) as (connection, thread, answers, let_go, rows):
        time.sleep(1.5 * PATIENCE)
        let_go()
        thread.join(10)
        assert answers == ["COMMIT"] and rows() == [1, 1]
        for text in ("BEGIN", "UPDATE accounts SET balance = balance WHERE id IN (950, 951)"):
            ask(connection, text)
        time.sleep(1.5 * PATIENCE)
        assert "idle-in-transaction timeout [25P03]" in proxy.log


@pytest.mark.parametrize("before, last", [
    (["BEGIN", "INSERT INTO slow VALUES (9000)", "INSERT INTO slow VALUES (9001)"], "COMMIT"),
    (["BEGIN", "INSERT INTO slow VALUES (9000)", "SELECT FROM slow WHERE id = 9001"], "COMMIT"),
    ([], "INSERT INTO slow VALUES (9000), (9001)"),
], ids=["several", "one", "without BEGIN"])
@pytest.mark.parametrize("how", ["by its client", "by query_timeout"])
def test_a_commit_that_waits_is_cancelled(lab, how, before, last):
    """Shard s0 cannot prepare, or commit, before somebody else has ended: for its deferred constraint."""
    settings = {"pool_size": 1, "cancel_wait_timeout": "2s", **({} if how == "by its client" else {"query_timeout": "1s"})}
    with start_proxy(lab, settings) as proxy, contextlib.closing(direct_target(lab).psycopg2()) as other, \
            contextlib.closing(proxy.psycopg2()) as connection:
        other.autocommit = False
        ask(other, "INSERT INTO slow VALUES (9000)")
        for sql in before:
            ask(connection, sql)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            told = pool.submit(ask, connection, last)
            try:
                eventually(lambda: lab.query(0, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                                                "AND query ~ '^(PREPARE|COMMIT)'"))
                if how == "by its client":
                    connection.cancel()
                with pytest.raises(psycopg2.errors.QueryCanceled):
                    told.result(timeout=5)
            finally:
                other.rollback()
        for shard in range(2):
            assert ask(connection, f"SELECT count(*) FROM slow WHERE id = {9000 + shard}") == [(0,)]


WRITE = "UPDATE accounts SET balance = {} WHERE id = {}"
# What is lost on its way, and the state in which the client then is.
ENDS = {
    "COMMIT": ([query("BEGIN"), query(WRITE.format(7, 950))], query("COMMIT"), "its COMMIT"),
    "a prepared COMMIT": ([query("BEGIN"), query(WRITE.format(7, 950))], parse("COMMIT") + bind() + execute() + sync(),
                          "its COMMIT"),
    "COMMIT behind it": ([query("BEGIN")], query(WRITE.format(7, 950) + "; COMMIT"), "its COMMIT"),
    "autocommit": ([], query(WRITE.format(7, 950)), "did not answer it"),
    "Sync": ([], parse(WRITE.format("$1", "$2")) + bind(["7", "950"]) + execute() + sync(), "did not answer it"),
}


@pytest.mark.light
@pytest.mark.parametrize("case", ENDS)
@pytest.mark.parametrize("after", [False, True])
def test_the_end_of_a_transaction_of_one_shard_is_lost(lab, case, after):
    """It may have been heard: it was not rolled back for certain."""
    before, last, says = ENDS[case]
    lab.query(2, WRITE.format(100, 950))
    words = b"COMMIT" if "COMMIT" in case else b"UPDATE"
    elsewhere = Elsewhere(lab, 2, words, after)
    with contextlib.closing(elsewhere.cutter), start_proxy(elsewhere, {"recovery_interval": "1h"}) as proxy, proxy.wire() as wire:
        for text in before:
            assert "E" not in [kind for kind, _ in wire.exchange(text)]
        *answers, (error, fields), (ready, status) = wire.exchange(last)
        fields = error_fields(fields)
        assert (error, ready, status, fields["C"]) == ("E", "Z", b"I", "08007"), fields
        assert "is not known" in fields["M"] and says in fields["M"] and "rolled back" not in str(fields), fields
        [[found]] = [row_values(body) for kind, body in
                     wire.exchange(query("SELECT balance FROM accounts WHERE id = 950")) if kind == "D"]
        assert found == ("7" if after else "100")
    assert elsewhere.cutter.cuts == 1
    lab.query(2, WRITE.format(100, 950))


READS = {"reading": ([], query("SELECT balance FROM accounts WHERE id = 950"), b"balance", b"I"),
         "within": ([query("BEGIN")], query(WRITE.format(7, 950)), b"UPDATE", b"E"),
         "rolled back": ([query("BEGIN"), query(WRITE.format(7, 950))], query("ROLLBACK"), b"ROLLBACK", b"E")}


@pytest.mark.parametrize("case", READS)
def test_what_is_lost_and_was_not_to_stay_is_no_doubt(lab, case):
    before, last, words, status = READS[case]
    elsewhere = Elsewhere(lab, 2, words, True)
    with contextlib.closing(elsewhere.cutter), start_proxy(elsewhere, {"recovery_interval": "1h"}) as proxy, proxy.wire() as wire:
        for text in before:
            wire.exchange(text)
        (error, fields), ready = wire.exchange(last)
        assert (error_fields(fields)["C"], ready) == ("08006", ("Z", status)), error
