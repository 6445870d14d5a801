"""A bank over four shards, while proxies, clients, shards and server processes are killed at random: no money is made or
lost, every transfer that a client saw committed is there, whole, and none that it saw aborted.

64 clients move money between shards, through two proxies. At the end nothing stays prepared. Kills at each step of a commit:
test_proxy_commit.py. SOAK_SECONDS=n (30; 600 in the full run); SEED=n repeats a run's choices.
"""
import collections
import contextlib
import os
import random
import signal
import socket
import tempfile
import threading
import time

import psycopg
import psycopg2
import pytest
from conftest import COMMAND, FULL, SANITIZER_MARKS, SEED, environment
from proxies import STANDIN, Target, config_with, direct_target, free_port, launch
from test_proxy_soak import guarded
from test_twophase import kill_server, restart, stop_server

LAB_SHARDS = 4
SECONDS = int(os.environ.get("SOAK_SECONDS") or (600 if FULL else 30))
CLIENTS = 64
ACCOUNTS = 400
FIRST = 1000  # of each account
STUCK = 60    # seconds without an answer
SETTLED = 30  # seconds after the last kill, after which nothing may be prepared
SCHEMA = """
CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0), trail text NOT NULL DEFAULT '');
CREATE TABLE history (transfer text, account bigint, amount bigint, PRIMARY KEY (account, transfer));
"""
SETTINGS = {"recovery_interval": "500ms", "recovery_age": "500ms", "server_login_retry": "100ms", "settle_timeout": "8s",
            "pool_size": "12", "query_wait_timeout": "10s"}

pytestmark = pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards")


class Wrong(Exception):
    pass


class Address(Target):
    """A proxy that is started again where it was, whenever it is killed."""

    def __init__(self, lab):
        direct = direct_target(lab)
        super().__init__("127.0.0.1", free_port(), direct.user, direct.password, lab.name)
        self.lab, self.directory, self.logs, self.proxy = lab, tempfile.mkdtemp(dir=lab.directory), [], None
        self.config = config_with(lab, {**SETTINGS, "unix_socket_dir": f'"{self.directory}"'}, self.directory)

    def start(self):
        self.proxy = launch([COMMAND, "proxy", "-c", self.config, "--listen", f"127.0.0.1:{self.port}"], SETTINGS, self.port,
                            (self.host, self.port, self.user, self.password, self.database), cwd=self.directory,
                            env=environment({"PGPASSFILE": self.lab.env["PGPASSFILE"]}))
        self.logs.append(self.proxy)

    def kill(self):
        assert self.proxy.alive(), f"the proxy ended by itself:\n{self.proxy.log[-3000:]}"
        self.proxy.process.kill()
        self.proxy.process.wait()
        until = time.monotonic() + 30
        while not self.proxy.alive():  # the catalog's shard may be down at this moment
            try:
                self.start()
            except AssertionError as failure:
                assert "the proxy exited 1:\npgmosaic: [shard s" in str(failure), failure
                assert time.monotonic() < until, failure
                time.sleep(0.2)

    def pause(self, seconds):
        """Others recover meanwhile what is its own."""
        self.proxy.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.proxy.process.send_signal(signal.SIGCONT)

    def stop(self):
        alive = self.proxy.alive()
        self.proxy.stop()
        assert alive, f"the proxy ended by itself:\n{self.proxy.log[-3000:]}"
        for each in self.logs:
            assert not any(mark in each.log for mark in SANITIZER_MARKS), each.log


@pytest.fixture(scope="module")
def proxies(lab):
    lab.everywhere(SCHEMA)
    lab.add_tables(" - {name: accounts, key: id, function: modulo}\n - {name: history, key: account, function: modulo}\n")
    lab.run("apply", "--yes", check=True)
    for shard in range(LAB_SHARDS):
        lab.query(shard, f"INSERT INTO accounts SELECT g, {FIRST} FROM generate_series(1, {ACCOUNTS}) g "
                         f"WHERE g % {LAB_SHARDS} = {shard}")
    with contextlib.ExitStack() as stack:
        made = [Address(lab) for _ in range(2)]
        for each in made:
            each.start()
            stack.callback(each.stop)
        yield made


# ---- clients --------------------------------------------------------------------------------------------------------------


class Caller:
    """One whose connection the killers may cut."""

    connection = end = None

    def called(self, connection):
        self.connection, self.end = connection, socket.socket(fileno=os.dup(connection.fileno()))

    def hang_up(self):
        with contextlib.suppress(OSError, AttributeError):
            self.end.shutdown(socket.SHUT_RDWR)

    def leave(self):
        for each in (self.end, self.connection):
            with contextlib.suppress(Exception):
                each.close()
        self.end = self.connection = None


class Client(Caller):
    """Each by its number has a driver, and a synchronous_commit; for each transfer it remembers what it was told."""

    def __init__(self, number, proxies):
        self.number, self.proxies, self.rng = number, proxies, random.Random(f"{SEED} {number}")
        self.is_extended = number % 2 == 0
        self.turn, self.commits = 0, False
        self.told = {}  # transfer: (what, giver, taker, amount)
        self.counts = collections.Counter()

    def connect(self):
        proxy = self.rng.choice(self.proxies)
        if self.is_extended:
            self.called(psycopg.connect(proxy.dsn, autocommit=True, prepare_threshold=1))
        else:
            self.called(proxy.psycopg2())
        self.ask("SET lock_timeout = '2s'")
        if self.number % 3 == 0:
            self.ask("SET synchronous_commit = " + self.rng.choice(["off", "local", "remote_write"]))

    def ask(self, sql, *values):
        """Its tag."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.statusmessage

    def expect(self, tag, sql, *values):
        found = self.ask(sql, *values)
        if found != tag:
            raise Wrong(f"client {self.number}: {sql} {values} said {found}")

    # Each kind of transfer. From self.commits on what is told is about the whole.

    def in_steps(self, name, giver, taker, amount):
        self.ask("BEGIN")
        for account, change in sorted(((giver, -amount), (taker, amount))):
            self.expect("UPDATE 1", "UPDATE accounts SET balance = balance + %s WHERE id = %s", change, account)
            self.expect("INSERT 0 1", "INSERT INTO history VALUES (%s, %s, %s)", name, account, change)
        self.commit()

    def in_two(self, name, giver, taker, amount):
        self.ask("BEGIN")
        self.expect("UPDATE 2", "UPDATE accounts SET balance = balance + CASE id WHEN %s THEN %s ELSE %s END WHERE id IN (%s, %s)",
                    giver, -amount, amount, giver, taker)
        self.expect("INSERT 0 2", "INSERT INTO history VALUES (%s, %s, %s), (%s, %s, %s)",
                    name, giver, -amount, name, taker, amount)
        if self.rng.random() < 0.1:
            self.expect("ROLLBACK", "ROLLBACK")
            raise GivenUp
        self.commit()

    def at_once(self, name, giver, taker, amount):
        self.commits = True
        self.expect("UPDATE 2", "UPDATE accounts SET balance = balance + CASE id WHEN %s THEN %s ELSE %s END, trail = trail || "
                    "CASE id WHEN %s THEN %s ELSE %s END WHERE id IN (%s, %s)", giver, -amount, amount,
                    giver, f" {name}:{-amount}", f" {name}:{amount}", giver, taker)

    def in_a_pipeline(self, name, giver, taker, amount):
        if not self.is_extended:
            return self.in_steps(name, giver, taker, amount)
        self.commits = True
        steps = [("UPDATE accounts SET balance = balance + %s WHERE id = %s", (change, account), "INSERT INTO history VALUES "
                  "(%s, %s, %s)", (name, account, change)) for account, change in sorted(((giver, -amount), (taker, amount)))]
        with self.connection.pipeline(), self.connection.cursor() as cursor, self.connection.cursor() as last:
            cursor.execute("BEGIN", prepare=False)  # the driver takes what an error had passed over for prepared
            for update, to, insert, of in steps:
                cursor.execute(update, to, prepare=False)
                cursor.execute(insert, of, prepare=False)
            last.execute("COMMIT", prepare=False)
        if last.statusmessage != "COMMIT":
            raise GivenUp
        return None

    def commit(self):
        self.commits = True
        if self.ask("COMMIT") != "COMMIT":
            raise GivenUp

    def transfer(self):
        self.turn += 1
        name = f"t{self.number}-{self.turn}"
        giver = self.rng.randint(1, ACCOUNTS)
        taker = self.rng.choice([other for other in range(1, ACCOUNTS + 1) if other % LAB_SHARDS != giver % LAB_SHARDS])
        amount = self.rng.randint(1, 400)
        self.commits, told = False, "unknown"
        try:
            self.rng.choice([self.in_steps, self.in_two, self.at_once, self.in_a_pipeline])(name, giver, taker, amount)
            told = "committed"
        except GivenUp:
            told = "aborted"
        except (psycopg.Error, psycopg2.Error) as error:
            code = (error.sqlstate if isinstance(error, psycopg.Error) else error.pgcode) or "lost"
            self.counts[code] += 1
            if not self.commits or code[:2] not in ("lo", "08", "57"):
                told = "aborted"
            if code[:2] not in ("lo", "08", "57") and code not in ("23514", "55P03", "25P02", "40001", "40P01", "53300"):
                raise Wrong(f"client {self.number}: {error}") from None
            if code == "lost" or not self.go_on():
                self.leave()
        self.told[name] = told, giver, taker, amount
        self.counts[told] += 1

    def go_on(self):
        try:
            if self.connection.info.transaction_status != 0:
                self.ask("ROLLBACK")
            return True
        except (psycopg.Error, psycopg2.Error):
            return False

    def run(self, until):
        try:
            while time.monotonic() < until:
                self.turn_once()
        finally:
            self.leave()

    def turn_once(self):
        try:
            if self.connection is None:
                self.connect()
        except (psycopg.Error, psycopg2.Error):
            self.leave()
            time.sleep(0.1)
        else:
            self.transfer()


class GivenUp(Exception):
    """It was rolled back, and the client was told so."""


# ---- what ends ------------------------------------------------------------------------------------------------------------


class Killer:
    """One of several: each has kinds of its own, so that none waits until a server has started again."""

    def __init__(self, lab, proxies, clients, pause, *kinds):
        self.lab, self.proxies, self.clients, self.between, self.kinds = lab, proxies, clients, pause, kinds
        self.rng, self.counts, self.last = random.Random(f"{SEED} {kinds}"), collections.Counter(), 0

    def backend(self):
        shard = self.rng.randrange(LAB_SHARDS)
        with contextlib.suppress(psycopg2.Error):
            self.lab.query(shard, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> "
                                  "pg_backend_pid() AND xact_start IS NOT NULL ORDER BY random() LIMIT 3")

    def client(self):
        for client in self.rng.sample(self.clients, 4):
            client.hang_up()

    def shard(self):
        shard = self.rng.randrange(LAB_SHARDS)
        with contextlib.suppress(psycopg2.Error):
            self.rng.choice([kill_server, kill_server, stop_server])(self.lab, shard)
        restart(self.lab, shard)

    def proxy(self):
        self.rng.choice(self.proxies).kill()

    def pause(self):
        self.rng.choice(self.proxies).pause(self.rng.uniform(1, 7 if SECONDS > 60 else 3))

    def run(self, until):
        while time.monotonic() < until - 3:
            time.sleep(self.rng.uniform(0, 2 * self.between))
            kind = self.rng.choice(self.kinds)
            getattr(self, kind)()
            self.counts[kind] += 1
        self.last = time.monotonic()


# ---- what must hold -------------------------------------------------------------------------------------------------------


def left(lab):
    return [row for shard in range(LAB_SHARDS) for row in lab.query(
        shard, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() UNION ALL SELECT gid FROM mosaic.decision")]


def wait_settled(lab, until):
    while rows := left(lab):
        assert time.monotonic() < until, f"SEED={SEED}: left: {rows}"
        time.sleep(0.1)


def booked(lab):
    """All bookings, by transfer: [(account, amount)]; and the balance of each account."""
    bookings, balances = collections.defaultdict(list), {}
    for shard in range(LAB_SHARDS):
        for name, account, amount in lab.query(shard, "SELECT * FROM history"):
            bookings[name].append((account, amount))
        for account, balance, trail in lab.query(shard, "SELECT * FROM accounts"):
            balances[account] = balance
            for entry in trail.split():
                name, amount = entry.split(":")
                bookings[name].append((account, int(amount)))
    return bookings, balances


def check(lab, clients):
    bookings, balances = booked(lab)
    wrong = []
    for name, (told, giver, taker, amount) in {name: told for client in clients for name, told in client.told.items()}.items():
        found = sorted(bookings.pop(name, []))
        if found not in ([], sorted([(giver, -amount), (taker, amount)])):
            wrong.append(f"{name}, told {told}, is half there: {found}")
        elif told != "unknown" and (told == "committed") != bool(found):
            wrong.append(f"{name}, told {told}: {found or 'is not there'}")
    assert not wrong, f"SEED={SEED}: {len(wrong)}: " + "; ".join(wrong[:10])
    assert not bookings, f"SEED={SEED}: nobody made {list(bookings)[:10]}"
    assert sum(balances.values()) == ACCOUNTS * FIRST, f"SEED={SEED}: {sum(balances.values())}"
    sums = collections.Counter({account: FIRST for account in balances})
    for entries in booked(lab)[0].values():
        for account, amount in entries:
            sums[account] += amount
    assert sums == balances, f"SEED={SEED}"


@pytest.mark.deadline(SECONDS + 240)
def test_bank(lab, proxies, capsys):
    until, problems = time.monotonic() + SECONDS, []
    clients = [Client(number, proxies) for number in range(CLIENTS)]
    killers = [Killer(lab, proxies, clients, *each) for each in
               ((0.8, "backend", "client"), (1.5, "proxy", "proxy", "proxy", "pause"), (3, "shard"))]
    threads = [threading.Thread(target=guarded, args=(each.run, until, problems), daemon=True) for each in [*clients, *killers]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(until + STUCK - time.monotonic())
    ended = time.monotonic()
    stuck = [number for number, thread in enumerate(threads) if thread.is_alive()]
    counts, kills = (sum((each.counts for each in those), collections.Counter()) for those in (clients, killers))
    with capsys.disabled():
        print(f"\nbank of {SECONDS} s, SEED={SEED}: {dict(counts)}; killed: {dict(kills)}; the last answer came "
              f"{ended - until:.1f} s later")
    assert not problems, f"SEED={SEED}: " + "\n".join(problems[:5])
    assert not stuck, f"SEED={SEED}: {stuck}"
    wait_settled(lab, max(each.last for each in killers) + SETTLED)
    check(lab, clients)
    assert counts["committed"] > SECONDS and kills.total() >= SECONDS / 3
