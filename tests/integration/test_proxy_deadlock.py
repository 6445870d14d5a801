"""Deadlocks over shards, of which each shard sees a part: found, and broken as one PostgreSQL breaks its own, by 40P01."""
import contextlib
import random
import threading
import time
import urllib.request

import psycopg
import psycopg2
import psycopg2.errors
import pytest
from conftest import PATIENCE
from proxies import STANDIN, ask, eventually, free_port, shown, start_proxy

LAB_SHARDS = 3
SCHEMA = """
CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);
CREATE TABLE owners (account_id bigint REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED, n int, PRIMARY KEY (account_id, n));
"""
TABLES = " - {name: accounts, key: id, function: modulo}\n - {name: owners, key: account_id, function: modulo}\n"
QUICK = {"deadlock_check_interval": "200ms", "schema_check_interval": "200ms"}
ENOUGH = 20 * PATIENCE

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]


@pytest.fixture(scope="module", autouse=True)
def applied(lab):
    lab.everywhere(SCHEMA)
    lab.add_tables(TABLES)
    lab.run("apply", "--yes", check=True)


@pytest.fixture(scope="module")
def proxy(lab):
    port = free_port()
    with start_proxy(lab, {**QUICK, "metrics_listen": f"127.0.0.1:{port}"}) as proxy:
        proxy.metrics = port
        yield proxy


@pytest.fixture(autouse=True)
def rows(lab, proxy):
    for shard in range(LAB_SHARDS):
        lab.query(shard, "TRUNCATE owners, accounts")
        lab.query(shard, f"INSERT INTO accounts SELECT id, 100 FROM generate_series({shard}, 29, {LAB_SHARDS}) id")
    yield
    for shard in range(LAB_SHARDS):
        assert lab.query(shard, "SELECT gid FROM pg_prepared_xacts") == []


def balances(lab):
    return dict(row for shard in range(LAB_SHARDS) for row in lab.query(shard, "SELECT id, balance FROM accounts"))


def counted(proxy):
    with urllib.request.urlopen(f"http://127.0.0.1:{proxy.metrics}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("pgmosaic_deadlocks_total "):
                return float(line.split()[1])
    raise AssertionError("no pgmosaic_deadlocks_total")


class Party:
    """A client whose statements run in a thread of its own, one after the other."""

    def __init__(self, target, extended=False):
        self.connection = psycopg.connect(target.dsn, autocommit=True) if extended else target.psycopg2()
        self.extended = extended
        self.thread, self.error, self.began = None, None, 0

    def now(self, sql):
        if self.extended:
            cursor = self.connection.execute(sql, prepare=False, binary=True)
            return cursor.fetchall() if cursor.description else cursor.statusmessage
        return ask(self.connection, sql)

    def start(self, sql):
        def work():
            try:
                self.answer = self.now(sql)
            except (psycopg.Error, psycopg2.Error) as error:
                self.error = error

        self.answer = self.error = None
        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def waits(self):
        return self.thread.is_alive()

    def finish(self):
        self.thread.join(ENOUGH)
        assert not self.waits(), "it hangs"
        return state(self.error)


def state(error):
    return error and (getattr(error, "sqlstate", None) or error.pgcode)


def update(key, by=1):
    return f"UPDATE accounts SET balance = balance + {by} WHERE id = {key}"


@contextlib.contextmanager
def parties(*targets, extended=False):
    made = [Party(target, extended) for target in targets]
    try:
        yield made
    finally:
        for party in made:
            if party.thread and party.waits():
                party.connection.cancel()
                party.thread.join(ENOUGH)
            party.connection.close()


def cross(first, second, one=0, two=1):
    """Each has a row of one shard, and asks for the other's."""
    first.now("BEGIN")
    first.now(update(one))
    second.now("BEGIN")
    second.now(update(two))
    first.start(update(two))
    time.sleep(0.05)
    second.start(update(one))


def split(made):
    """Those that were ended, and those that went on."""
    states = [party.finish() for party in made]
    assert set(states) <= {None, "40P01"}, [str(party.error) for party in made]
    return ([party for party, found in zip(made, states) if found], [party for party, found in zip(made, states) if not found])


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_one_of_two_is_ended_and_the_other_commits(proxy, lab, extended):
    before = counted(proxy)
    with parties(proxy, proxy, extended=extended) as made:
        cross(*made)
        (victim,), (other,) = split(made)
        detail = victim.error.diag.message_detail
        assert victim.error.diag.message_primary == "deadlock detected"
        assert victim.error.diag.message_hint == "run the transaction again"
        assert detail.count("waits for ShareLock on transaction") == 2 and "of shard s0" in detail and "of shard s1" in detail
        assert "of the same transaction as process" in detail
        assert "while updating tuple" in victim.error.diag.context
        # It is a failed transaction as any other: only its end is left. The other has all it waits for, before that end.
        other.now("COMMIT")
        with pytest.raises((psycopg2.errors.InFailedSqlTransaction, psycopg.errors.InFailedSqlTransaction)):
            victim.now("SELECT balance FROM accounts WHERE id = 0")
        assert victim.now("COMMIT") == "ROLLBACK"
        for text in ("BEGIN", update(0), update(1), "COMMIT"):
            victim.now(text)
    assert balances(lab) == {key: 102 if key < 2 else 100 for key in range(30)}
    assert counted(proxy) == before + 1
    assert "deadlock detected" in proxy.log and "40P01" in proxy.log


def test_the_youngest_is_ended(proxy):
    with parties(proxy, proxy) as (old, young):
        old.now("BEGIN")
        old.now(update(0))
        time.sleep(2.1)
        young.now("BEGIN")
        young.now(update(1))
        young.start(update(0))
        time.sleep(0.4)
        old.start(update(1))
        assert (young.finish(), old.finish()) == ("40P01", None)
        old.now("ROLLBACK")


def test_a_ring_of_three(proxy, lab):
    with parties(proxy, proxy, proxy) as made:
        for key, party in enumerate(made):
            party.now("BEGIN")
            party.now(update(key))
        for key, party in enumerate(made):
            party.start(update((key + 1) % 3))
            time.sleep(0.05)
        done = set()
        while len(done) < 3:
            eventually(lambda: any(not party.waits() for party in made if party not in done), ENOUGH)
            for party in made:
                if party not in done and not party.waits():
                    done.add(party)
                    if not party.error:
                        party.now("COMMIT")
        assert sorted(str(state(party.error)) for party in made) == ["40P01", "None", "None"]
        detail = next(party.error for party in made if party.error).diag.message_detail
        assert detail.count("waits for") == 3


def test_updates_of_several_shards_in_two_orders(proxy, lab):
    """Nobody says BEGIN: two statements over several shards, each a transaction of its own."""
    with parties(proxy, proxy, proxy) as (first, second, holder):
        holder.now("BEGIN")
        for key in (0, 1):
            holder.now(f"SELECT * FROM accounts WHERE id = {key} FOR UPDATE")
        first.start("UPDATE accounts SET balance = balance + 1 WHERE id IN (0, 3, 4)")   # has 4, waits for 0, wants 3
        second.start("UPDATE accounts SET balance = balance + 1 WHERE id IN (1, 3, 4)")  # has 3, waits for 1, wants 4
        time.sleep(0.6)
        assert first.waits() and second.waits()
        holder.now("ROLLBACK")
        (victim,), (winner,) = split([first, second])
        keys = (0, 3, 4) if winner is first else (1, 3, 4)
        assert balances(lab) == {key: 101 if key in keys else 100 for key in range(30)}
        for party in (victim, winner):
            assert party.now("SELECT 1") == [(1,)]


def test_statements_of_their_own_transactions(proxy, lab):
    """An implicit transaction of several shards waits for an explicit one, and that for it."""
    with parties(proxy, proxy) as (explicit, implicit):
        explicit.now("BEGIN")
        explicit.now(update(1))
        implicit.start("UPDATE accounts SET balance = balance + 1 WHERE id IN (0, 1)")
        time.sleep(0.3)
        explicit.start(update(0))
        victims, others = split([explicit, implicit])
        assert len(victims) == 1
        explicit.now("COMMIT")
        assert balances(lab)[0] == 101 and balances(lab)[1] == 101
        assert implicit.now("SELECT 1") == [(1,)]


def test_through_two_proxies(proxy, lab):
    with start_proxy(lab, QUICK) as other:
        for turn in range(4):
            with parties(*((proxy, other) if turn % 2 else (other, proxy))) as made:
                cross(*made, one=3 * turn, two=3 * turn + 1)
                (victim,), (winner,) = split(made)
                assert winner.now("COMMIT") == "COMMIT"
                assert victim.now("ROLLBACK") == "ROLLBACK"


def test_who_merely_waits_is_left_alone(proxy, lab):
    before = counted(proxy)
    with parties(proxy, proxy, proxy) as (slow, patient, third):
        slow.now("BEGIN")
        slow.now(update(1))
        slow.now(update(5))
        patient.now("BEGIN")
        patient.now(update(0))
        patient.start(update(1))
        third.start("UPDATE accounts SET balance = balance + 1 WHERE id IN (0, 2)")
        time.sleep(3)
        assert patient.waits() and third.waits()
        slow.now("COMMIT")
        assert patient.finish() is None
        patient.now("COMMIT")
        assert third.finish() is None
    assert counted(proxy) == before
    assert balances(lab)[0] == 102


def test_a_deadlock_within_a_shard_is_postgresqls(proxy):
    before = counted(proxy)
    with parties(proxy, proxy) as made:
        for party in made:
            party.now("BEGIN")
            party.now(update(2 if party is made[0] else 5))  # on a shard more
        cross_within = [(0, 3), (3, 0)]
        for party, (one, _) in zip(made, cross_within):
            party.now(update(one))
        for party, (_, two) in zip(made, cross_within):
            party.start(update(two))
        (victim,), (other,) = split(made)
        assert victim.error.diag.message_hint == "See server log for query details."
        victim.now("ROLLBACK")
        other.now("ROLLBACK")
    assert counted(proxy) == before


def test_a_savepoint_brings_the_victim_back(proxy, lab):
    with parties(proxy, proxy) as (first, second):
        for party, key in ((first, 0), (second, 1)):
            party.now("BEGIN")
            party.now(update(key))
            party.now("SAVEPOINT a")
        first.start(update(1))
        second.start(update(0))
        eventually(lambda: not (first.waits() and second.waits()), ENOUGH)
        victim, other = (first, second) if not first.waits() else (second, first)
        assert state(victim.error) == "40P01"
        victim.now("ROLLBACK TO a")
        victim.now(update(2))
        assert other.waits()  # what the victim did before its savepoint stands
        victim.now("COMMIT")
        assert other.finish() is None
        other.now("COMMIT")
    found = balances(lab)
    assert (found[0] + found[1], found[2]) == (203, 101)


def test_a_commit_that_waits_for_a_lock_takes_part(proxy, lab):
    """Deferred constraints are looked at when a transaction is prepared, or decided: they may wait."""
    for key in (0, 1, 2):
        lab.query(key, f"INSERT INTO owners VALUES ({key}, 1)")
    with parties(proxy, proxy) as (commits, other):
        commits.now("BEGIN")
        commits.now("INSERT INTO owners VALUES (0, 2)")
        commits.now("INSERT INTO owners VALUES (1, 2)")
        commits.now(update(3))
        other.now("BEGIN")
        other.now("DELETE FROM owners WHERE account_id = 1")
        other.now("UPDATE accounts SET id = id WHERE id = 1")
        other.now("SELECT * FROM accounts WHERE id = 1 FOR UPDATE")
        commits.start("COMMIT")       # s0 is prepared; s1 decides, and waits for the key of account 1
        time.sleep(0.5)
        assert commits.waits()
        other.start(update(3))        # which s0's prepared part has
        victims, others = split([commits, other])
        assert victims == [other]
        other.now("ROLLBACK")
        assert commits.finish() is None
    assert sorted(row for shard in (0, 1) for row in lab.query(shard, "SELECT account_id FROM owners WHERE n = 2")) == [(0,), (1,)]


def test_never(proxy, lab):
    with start_proxy(lab, {**QUICK, "deadlock_check_interval": "0"}) as never, parties(never, never) as made:
        cross(*made)
        time.sleep(2)
        assert made[0].waits() and made[1].waits()
        shown(never, "SET deadlock_check_interval = '100ms'")
        (victim,), (other,) = split(made)
        other.now("COMMIT")


def transfer(target, seconds, clients, accounts=12):
    """Clients that move money at random, each for so long, and until it has done so once. How often, and the errors."""
    errors, done = [], []

    def work(seed, ends):
        chance = random.Random(seed)
        with contextlib.closing(target.psycopg2()) as connection:
            while time.monotonic() < ends or seed not in done:
                keys = chance.sample(range(accounts), 3)
                try:
                    ask(connection, "BEGIN")
                    for key, by in zip(keys, (5, -2, -3)):
                        ask(connection, update(key, by))
                        if chance.random() < 0.3:
                            time.sleep(chance.random() / 50)
                    ask(connection, "COMMIT")
                    done.append(seed)
                except psycopg2.Error as error:
                    errors.append(error)
                    ask(connection, "ROLLBACK")

    ends = time.monotonic() + seconds
    threads = [threading.Thread(target=work, args=(seed, ends), daemon=True) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a client hangs"
    assert {error.pgcode for error in errors} <= {"40P01"}, {str(error) for error in errors}
    return len(done), errors


def test_transfers_at_random(proxy, lab):
    """40 clients: none hangs, and no error but 40P01; what is committed is on all shards."""
    # Each has a connection to each shard: who waits for one of the pool waits for no lock.
    with start_proxy(lab, {**QUICK, "pool_size": "40"}) as roomy:
        done, errors = transfer(roomy, 10, 40)
    assert errors and done
    assert sum(balances(lab).values()) == 3000


# ---- pools: all connections belong to those who wait for others' ----

ONE = {**QUICK, "pool_size": "1", "threads": "1"}


def starve(first, second):
    """Each has the only connection to one shard, and asks for the other's; no row is wanted by both."""
    for party in first, second:
        party.now(update(2))  # what is to be known of its session is asked for once, of any shard
    first.now("BEGIN")
    first.now(update(0))
    second.now("BEGIN")
    second.now(update(1))
    first.start(update(4))
    time.sleep(0.05)
    second.start(update(3))


def connections(proxy):
    return max(row["sv_active"] + row["sv_idle"] + row["sv_login"] for row in shown(proxy, "SHOW POOLS"))


def test_one_connection_more_ends_a_deadlock_of_pools(lab):
    with start_proxy(lab, ONE) as tight, parties(tight, tight) as made:
        began = time.monotonic()
        starve(*made)
        for party in made[0], made[1]:  # the older one goes on; the other when that is over
            assert party.finish() is None
            party.now("COMMIT")
        assert time.monotonic() - began < ENOUGH / 2
        eventually(lambda: connections(tight) <= 1, ENOUGH)
    assert [balances(lab)[key] for key in (0, 1, 3, 4)] == [101] * 4


def test_the_youngest_is_ended_where_no_connection_more_may_be(lab):
    with start_proxy(lab, {**ONE, "max_shard_connections": "1"}) as tight, parties(tight, tight) as made:
        starve(*made)
        (victim,), (other,) = split(made)
        assert victim is made[1]
        assert "deadlock of connection pools" in str(victim.error) and "max_shard_connections" in str(victim.error)
        other.now("COMMIT")
        victim.now("ROLLBACK")
        for sql in ("BEGIN", update(1), update(3), "COMMIT"):
            victim.now(sql)
        assert "deadlock of connection pools" in tight.log
    assert [balances(lab)[key] for key in (0, 1, 3, 4)] == [101] * 4


def test_a_statement_of_several_shards_is_ended_so_too(lab):
    with start_proxy(lab, {**ONE, "max_shard_connections": "1"}) as tight, parties(tight, tight) as (explicit, implicit):
        explicit.now("BEGIN")
        explicit.now(update(1))
        implicit.start("UPDATE accounts SET balance = balance + 1 WHERE id IN (0, 4)")  # has s0, waits for s1
        time.sleep(0.3)
        explicit.start(update(3))
        (victim,), (other,) = split([explicit, implicit])
        for party in other, victim:
            party.now("ROLLBACK")
        assert victim.now("SELECT 1") == [(1,)]


def test_who_waits_behind_a_lock_of_its_own_is_helped(lab):
    """The pool's only connection waits for a row of whoever waits for it, by way of another."""
    with start_proxy(lab, ONE | {"pool_size": "2"}) as tight, parties(tight, tight, tight, tight) as made:
        holder, waiter, first, second = made
        for party, key in ((holder, 1), (first, 0), (second, 3)):  # all connections to s0, and one to s1
            party.now(update(2))
            party.now("BEGIN")
            party.now(update(key))
        waiter.start(update(1))                                    # the other one, and waits for a row of holder's
        time.sleep(0.3)
        holder.start(update(6))                                    # waits for a connection to s0
        first.start(update(4))                                     # and they for one to s1
        second.start(update(7))
        for party in holder, first, second:
            assert party.finish() is None
            party.now("COMMIT")
        assert waiter.finish() is None


@pytest.mark.parametrize("size", ["1", "2"])
def test_transfers_through_small_pools(lab, size):
    """Whoever waits for a connection is helped at once, and nobody but a lock's victim has an error."""
    with start_proxy(lab, ONE | {"pool_size": size}) as tight:
        done, errors = transfer(tight, 1, 32, accounts=30)
        assert done >= 32 and not [error for error in errors if "pools" in str(error)]
        eventually(lambda: connections(tight) <= int(size), ENOUGH)
    assert sum(balances(lab).values()) == 3000


def test_transfers_through_small_pools_of_two_threads(lab):
    """What one worker's clients wait for, another worker's may have."""
    with start_proxy(lab, ONE | {"pool_size": "2", "threads": "2"}) as tight:
        began = time.monotonic()
        done, errors = transfer(tight, 1, 64, accounts=30)
        assert done >= 64 and not [error for error in errors if "pools" in str(error)]
        assert time.monotonic() - began < ENOUGH
    assert sum(balances(lab).values()) == 3000


@pytest.mark.parametrize("threads", ["1", "2"])
def test_transfers_where_the_shards_take_no_connection_more(lab, threads):
    """Waits for locks and for connections in one cycle: somebody is ended, and nobody waits for query_wait_timeout."""
    limits = {"pool_size": "2", "max_shard_connections": "2", "threads": threads}
    with start_proxy(lab, ONE | limits) as tight:
        began = time.monotonic()
        done, _ = transfer(tight, 1, 32, accounts=30)
        assert done >= 32
        assert time.monotonic() - began < ENOUGH
    assert sum(balances(lab).values()) == 3000
