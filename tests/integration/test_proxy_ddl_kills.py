"""A change of the schema over several shards is all or nothing, like rows: whatever is killed, and whenever, all shards have the
same schema afterwards, it is what the client was told, and nothing stays prepared.

At each step of the commit a proxy is killed, or stands still while others recover; and proxies, clients, servers and their
processes are killed at random. SOAK_SECONDS=n (6; 60 in the full run); SEED=n repeats a run's choices.
"""
import collections
import concurrent.futures
import contextlib
import os
import random
import signal
import threading
import time

import psycopg2
import pytest
from conftest import FULL, PATIENCE, SEED
from proxies import STANDIN, ask, eventually, start_proxy
from test_proxy_bank import SETTLED, STUCK, Address, Caller, Killer, wait_settled
from test_proxy_commit import DECIDED, POINTS
from test_proxy_soak import guarded
from test_twophase import wait_stopped

LAB_SHARDS = 4  # as the bank's killers have it
CASES = 2 * len(POINTS)
CHOSEN = POINTS if FULL else ("prepared_one", "decided", "committed_one")
CLIENTS = 4
SECONDS = int(os.environ.get("SOAK_SECONDS") or (60 if FULL else 6))
# Statement; what it leaves: a query for one row, or none.
CHANGES = [("ALTER TABLE altered ADD COLUMN c{0} int DEFAULT 7",
            "SELECT 1 FROM pg_attribute WHERE attrelid = 'altered'::regclass AND attname = 'c{0}'"),
           ("CREATE INDEX altered_i{0} ON altered (v)", "SELECT 1 FROM pg_class WHERE relname = 'altered_i{0}'"),
           ("DROP TABLE dropped{0}", "SELECT 1 WHERE to_regclass('dropped{0}') IS NULL"),
           ("CREATE TABLE made{0} (id bigint PRIMARY KEY, n int)", "SELECT 1 WHERE to_regclass('made{0}') IS NOT NULL")]


def kind_of_single(number):
    return number % len(CHANGES)


DROPPED, MADE = ([f"{name}{number}" for number in range(CASES) if number < len(POINTS) or kind_of_single(number) == kind]
                 for name, kind in (("dropped", 2), ("made", 3)))
TABLES = ["altered", "soaked", *DROPPED, *MADE]

pytestmark = pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards")


@pytest.fixture(scope="module", autouse=True)
def applied(lab):
    lab.everywhere("".join(f"CREATE TABLE {name} (id bigint PRIMARY KEY, v int);" for name in TABLES))
    lab.add_tables("".join(f" - {{name: {name}, key: id, function: modulo}}\n" for name in TABLES))
    lab.run("apply", "--yes", check=True)
    lab.everywhere("DROP TABLE " + ", ".join(MADE))


@pytest.fixture
def healer(lab):
    """A decider that still runs is ended after a second."""
    with start_proxy(lab, {"recovery_interval": "100ms", "recovery_age": "100ms"}) as proxy:
        yield proxy


class Change:
    """One statement for each kind of change in a transaction, or one statement alone."""

    def __init__(self, number, alone):
        chosen = [CHANGES[kind_of_single(number)]] if alone else CHANGES
        self.statements = [text.format(number) for text, _ in chosen]
        self.checks = [check.format(number) for _, check in chosen]
        self.told = None

    def run(self, target):
        """told: "committed", "aborted", or "unknown"."""
        alone = len(self.statements) == 1
        self.told = "aborted"
        try:
            with contextlib.closing(target.psycopg2()) as connection:
                for text in self.statements if alone else ["BEGIN", *self.statements]:
                    self.told = "unknown" if alone else "aborted"
                    ask(connection, text)
                if not alone:
                    self.told = "unknown"
                    ask(connection, "COMMIT")
                self.told = "committed"
        except psycopg2.Error as error:
            if error.pgcode and error.pgcode != "08007":
                self.told = "aborted"
        return self.told

    def happened(self, lab):
        """Committed or not; fails where a part is there and another is not."""
        found = {bool(lab.query(shard, check)) for shard in range(LAB_SHARDS) for check in self.checks}
        assert len(found) == 1, (self.statements, self.told)
        return found.pop()


def settled(lab):
    return not any(lab.query(shard, "SELECT 1 FROM pg_prepared_xacts UNION ALL SELECT 1 FROM mosaic.decision")
                   for shard in range(LAB_SHARDS))


@contextlib.contextmanager
def proxies_at(lab, action):
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(len(CHOSEN)) as pool:
        def start(point):
            return stack.enter_context(start_proxy(lab, {"recovery_interval": "1h", "threads": 1},
                                                   env={"MOSAIC_CONTROL_POINT": f"commit.{point}={action}"}))
        yield list(zip(CHOSEN, pool.map(start, CHOSEN)))


def test_a_proxy_killed_at_each_step(lab, control_points, healer):
    with proxies_at(lab, "kill") as made:
        for number, (point, proxy) in enumerate(made):  # one after the other: a change waits for the one before
            change = Change(number, alone=False)
            assert change.run(proxy) == "unknown", point
            assert proxy.process.wait(10) == -signal.SIGKILL
            eventually(lambda: settled(lab), seconds=30)
            assert change.happened(lab) == (point in DECIDED), point
    assert Change(0, alone=False).run(healer) == "committed"  # the first one was not


def test_a_proxy_that_stands_still_while_others_recover(lab, control_points, healer):
    with proxies_at(lab, "stop") as made:
        for number, (point, proxy) in enumerate(made, len(POINTS)):
            change = Change(number, alone=True)
            thread = threading.Thread(target=change.run, args=(proxy,), daemon=True)
            thread.start()
            try:
                wait_stopped(proxy.process)
                eventually(lambda: settled(lab), seconds=30)
            finally:
                proxy.process.send_signal(signal.SIGCONT)
            thread.join(30 * PATIENCE)
            committed = change.happened(lab)
            assert change.told == ("committed" if committed else "aborted"), (point, change.told)
            assert committed == (point in (*DECIDED, "before_prepare")), point


# ---- at random -------------------------------------------------------------------------------------------------------------


class Changer(Caller):
    """It adds columns and indexes to the table of all, and remembers what it was told of each."""

    def __init__(self, number, proxies):
        self.number, self.proxies, self.rng = number, proxies, random.Random(f"{SEED} {number}")
        self.turn = 0
        self.told, self.counts = {}, collections.Counter()  # turn: what

    def connect(self):
        self.called(self.rng.choice(self.proxies).psycopg2())
        ask(self.connection, "SET lock_timeout = '5s'")

    def change(self):
        self.turn += 1
        column = f"ALTER TABLE soaked ADD COLUMN c{self.number}_{self.turn} int"
        index = f"CREATE INDEX soaked_i{self.number}_{self.turn} ON soaked (v)"
        steps = self.rng.choice([[column], ["BEGIN", column, index, "COMMIT"], ["BEGIN", column, "ROLLBACK"]])
        told = "aborted"
        try:
            for step in steps:
                told = "unknown" if step in ("COMMIT", column) and step == steps[-1] else "aborted"
                tag = ask(self.connection, step)
            told = "aborted" if tag == "ROLLBACK" else "committed"
        except psycopg2.Error as error:
            self.counts[error.pgcode or "lost"] += 1
            if error.pgcode and error.pgcode[:2] not in ("08", "57"):
                assert error.pgcode in ("55P03", "40001", "40P01", "53300", "25P02"), error
                told = "aborted"
            self.leave()
        self.told[self.turn] = told, index in steps
        self.counts[told] += 1
        return told

    def run(self, until):
        """Until a change that began behind `until` is committed: nothing that was killed stands in the way for ever."""
        began, told = 0, "aborted"
        try:
            while began < until or told != "committed":
                began, told = time.monotonic(), "aborted"
                try:
                    if self.connection is None:
                        self.connect()
                except psycopg2.Error:
                    self.leave()
                    time.sleep(0.1)
                else:
                    told = self.change()
        finally:
            self.leave()


def check(lab, changers):
    """Each shard has what was told, and the same."""
    schemas = {frozenset(name for (name,) in lab.query(
        shard, "SELECT attname FROM pg_attribute WHERE attrelid = 'soaked'::regclass AND NOT attisdropped "
               "UNION ALL SELECT relname FROM pg_class WHERE relname ~ '^soaked_i'")) for shard in range(LAB_SHARDS)}
    assert len(schemas) == 1, f"SEED={SEED}: shards differ: {schemas}"
    schema = schemas.pop()
    for changer in changers:
        for turn, (told, has_index) in changer.told.items():
            name = f"{changer.number}_{turn}"
            column, index = f"c{name}" in schema, f"soaked_i{name}" in schema
            assert told == "unknown" or column == (told == "committed"), f"SEED={SEED}: {name}, told {told}: {column}"
            assert index == (column and has_index), f"SEED={SEED}: {name}, told {told}, is half there"


@pytest.mark.long
@pytest.mark.deadline(SECONDS + 240)
def test_killed_at_random(lab, capsys):
    with contextlib.ExitStack() as stack:
        proxies, problems = [Address(lab) for _ in range(2)], []
        for each in proxies:
            each.start()
            stack.callback(each.stop)
        until = time.monotonic() + SECONDS
        changers = [Changer(number, proxies) for number in range(CLIENTS)]
        killers = [Killer(lab, proxies, changers, *each) for each in ((0.7, "backend", "client"), (2, "proxy"), (3, "shard"))]
        threads = [threading.Thread(target=guarded, args=(each.run, until, problems), daemon=True)
                   for each in [*changers, *killers]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(until + STUCK - time.monotonic(), 0))
        counts, kills = (sum((each.counts for each in those), collections.Counter()) for those in (changers, killers))
        with capsys.disabled():
            print(f"\nDDL of {SECONDS} s, SEED={SEED}: {dict(counts)}; killed: {dict(kills)}")
        assert not problems, f"SEED={SEED}: " + "\n".join(problems[:5])
        assert not any(thread.is_alive() for thread in threads), f"SEED={SEED}: stuck"
        wait_settled(lab, time.monotonic() + SETTLED)
        check(lab, changers)
        assert kills.total() > 2
