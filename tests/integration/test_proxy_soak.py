"""A soak: clients that check every answer for their own tag, while clients, server connections and shards are killed.

No answer of another's, no client that is stuck, no query cancelled but by its own client, no memory that grows.
SOAK_SECONDS=n (20; 600 in the full run); SEED=n.
"""
import collections
import contextlib
import os
import random
import re
import signal
import socket
import threading
import time

import pytest
import rawwire
from conftest import BUILD, FULL
from proxies import STANDIN, direct_target, start_proxy

LAB_SHARDS = 2
SECONDS = int(os.environ.get("SOAK_SECONDS") or (600 if FULL else 20))
CLIENTS = 24
STUCK = 30  # seconds without an answer
SEED = os.environ.get("SEED", "1")
# What a client may be told when its server, or its shard, goes away.
EXPECTED = re.compile(r"08...|57P0[1-5]|25P02|53300|58000")


@pytest.fixture(scope="module")
def proxy(lab):
    lab.everywhere("CREATE TABLE account (id bigint PRIMARY KEY, n bigint NOT NULL DEFAULT 0)")
    if not STANDIN:
        lab.add_tables("  - {name: account, key: id, function: modulo}\n")
        lab.run("apply", "--yes", check=True)
    for shard in range(LAB_SHARDS):
        lab.query(shard, f"INSERT INTO account SELECT g, 0 FROM generate_series(1, {CLIENTS}) g "
                         + ("" if STANDIN else f"WHERE g % {LAB_SHARDS} = {shard}"))
    with start_proxy(lab, {"pool_size": 6, "server_login_retry": "200ms", "query_wait_timeout": "20s",
                            "plan_cache_size": "1MB"}) as started:
        yield started


class Wrong(Exception):
    pass


class Client:
    """One client: its key is its number, its tag is in all that it asks for."""

    def __init__(self, number, target, seed):
        self.number, self.target = number, target
        self.rng = random.Random(f"{seed} {number}")
        self.wire, self.turn, self.name = None, 0, 0
        self.committed = self.unsure = 0
        self.counts = collections.Counter()

    def tag(self):
        self.turn += 1
        return f"tag-{self.number}-{self.turn}"

    def answer(self, messages, expected):
        """The rows are these, or there is an error that may be."""
        for kind, body in messages:
            if kind == "E":
                code = rawwire.error_fields(body).get("C", "")
                if not EXPECTED.fullmatch(code):
                    raise Wrong(f"client {self.number}: {rawwire.error_fields(body)}")
                self.counts[code] += 1
                return False
        rows = [rawwire.row_values(body) for kind, body in messages if kind == "D"]
        if rows != expected:
            raise Wrong(f"client {self.number}: {str(rows)[:300]} instead of {str(expected)[:300]}")
        return True

    def plain(self):
        tag = self.tag()
        self.answer(self.wire.exchange(rawwire.query(f"SELECT '{tag}', id FROM account WHERE id = {self.number}")),
                    [[tag, str(self.number)]])

    def prepared(self):
        self.name = (self.name + 1) % 300
        tag, name = self.tag(), f"s{self.name}"
        data = (rawwire.close("S", name) + rawwire.parse("SELECT $1::text, id FROM account WHERE id = $2", name)
                + rawwire.bind([tag, str(self.number)], name) + rawwire.execute() + rawwire.sync())
        self.answer(self.wire.exchange(data), [[tag, str(self.number)]])

    def pipeline(self):
        tags = [self.tag() for _ in range(4)]
        data = b"".join(rawwire.parse(f"SELECT $1::text, '{self.number}'") + rawwire.bind([tag]) + rawwire.execute()
                        + rawwire.sync() for tag in tags)
        self.answer(self.wire.exchange(data, ready=4), [[tag, str(self.number)] for tag in tags])

    def transaction(self):
        if not self.answer(self.wire.exchange(rawwire.query("BEGIN")), []):
            return
        done = self.answer(self.wire.exchange(rawwire.query(f"UPDATE account SET n = n + 1 WHERE id = {self.number}")), [])
        if not done or self.rng.random() < 0.2:
            self.answer(self.wire.exchange(rawwire.query("ROLLBACK")), [])
            return
        self.unsure += 1
        messages = self.wire.exchange(rawwire.query("COMMIT"))
        if self.answer(messages, []):
            if ("C", b"COMMIT\0") not in messages:
                raise Wrong(f"client {self.number}: a transaction without an error ended with {messages}")
            self.unsure -= 1
            self.committed += 1

    def setting(self):
        tag = self.tag()
        if self.answer(self.wire.exchange(rawwire.query(f"SET application_name = '{tag}'")), []):
            self.answer(self.wire.exchange(rawwire.query("SHOW application_name")), [[tag]])

    def large(self):
        tag = self.tag()
        self.answer(self.wire.exchange(rawwire.query(f"SELECT repeat('{tag}', 20000)")), [[tag * 20000]])

    def leave(self):
        """Goes away in the middle of something."""
        if self.rng.random() < 0.5:
            self.wire.send(rawwire.query(f"SELECT pg_sleep(0.2), '{self.tag()}'"))
        if self.rng.random() < 0.3:
            self.wire.send(rawwire.query("SELECT 1")[:7])
        self.wire.socket.close()
        self.wire = None

    def cancel(self):
        """Its own query, and no other, is cancelled."""
        self.wire.send(rawwire.query("SELECT pg_sleep(25)"))
        time.sleep(self.rng.random() * 0.1)
        self.send_cancel()
        self.wire.socket.settimeout(2)
        while True:
            try:
                kind, body = self.wire.read()
                break
            except TimeoutError:
                self.send_cancel()  # the first came before the query was there
        self.wire.socket.settimeout(STUCK)
        messages = [(kind, body)] + (self.wire.until("Z") if kind != "Z" else [])
        codes = [rawwire.error_fields(b).get("C") for k, b in messages if k == "E"]
        if not codes or not (codes == ["57014"] or EXPECTED.fullmatch(codes[0])):
            raise Wrong(f"client {self.number}: a cancelled query ended with {codes}")
        self.counts["cancelled"] += codes == ["57014"]

    def send_cancel(self):
        with contextlib.suppress(OSError), socket.create_connection((self.target.host, self.target.port),
                timeout=5) as other:
            other.sendall(rawwire.cancel_request(self.wire.pid, self.wire.key))
            other.settimeout(10)
            other.recv(1)

    def run(self, until):
        kinds = [(self.plain, 30), (self.prepared, 30), (self.pipeline, 10), (self.transaction, 15),
                 (self.setting, 8), (self.large, 2),
                 (self.leave, 2), (self.cancel, 1)]
        while time.monotonic() < until:
            try:
                if self.wire is None:
                    self.wire = self.target.wire(timeout=STUCK)
                    self.counts["logins"] += 1
                self.rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()
                self.counts["turns"] += 1
            except (rawwire.Closed, rawwire.Refused, ConnectionError, BrokenPipeError) as end:
                self.counts["ends"] += 1
                code = end.fields.get("C", "") if isinstance(end, rawwire.Refused) else "08006"
                if not EXPECTED.fullmatch(code):
                    raise Wrong(f"client {self.number}: {end}") from None
                if self.wire is not None:
                    self.wire.socket.close()
                self.wire = None
                time.sleep(0.05)
        if self.wire is not None:
            self.wire.close()


class Killer:
    """Ends server connections, and now and then a whole shard."""

    def __init__(self, lab, rng):
        self.lab, self.rng, self.connections, self.shards = lab, rng, 0, 0

    def end_connections(self):
        shard = self.rng.randrange(LAB_SHARDS)
        with contextlib.suppress(Exception):
            self.connections += len(self.lab.query(
                shard, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user "
                       "AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY random() LIMIT 3"))

    def end_shard(self):
        shard = self.rng.randrange(LAB_SHARDS)
        pid, port = None, direct_target(self.lab, shard).port
        for each in os.listdir("/proc"):
            with contextlib.suppress(OSError, ValueError):
                words = open(f"/proc/{int(each)}/cmdline", "rb").read().split(b"\0")
                directory = words[words.index(b"-D") + 1].decode() if b"-D" in words and words[0].endswith(b"postgres") else None
                if directory and open(f"{directory}/postmaster.pid").read().split("\n")[3] == str(port):
                    pid = int(each)
        if pid is None:
            return
        os.kill(pid, self.rng.choice([signal.SIGQUIT, signal.SIGINT]))
        self.shards += 1
        while os.path.exists(f"/proc/{pid}"):
            time.sleep(0.05)
        self.lab.up()

    def run(self, until):
        shard_at = time.monotonic() + min(8, SECONDS / 4)
        while time.monotonic() < until - 4:
            time.sleep(self.rng.random())
            self.end_connections()
            if time.monotonic() > shard_at:
                self.end_shard()
                shard_at = time.monotonic() + max(10, SECONDS / 10)


def guarded(run, until, problems):
    try:
        run(until)
    except Exception as problem:  # the test tells it
        problems.append(f"{type(problem).__name__}: {problem}")


@pytest.mark.both
@pytest.mark.deadline(SECONDS + 180)
def test_soak(lab, proxy, capsys):
    until, problems = time.monotonic() + SECONDS, []
    clients = [Client(number, proxy, SEED) for number in range(1, CLIENTS + 1)]
    killer = Killer(lab, random.Random(SEED))
    threads = [threading.Thread(target=guarded, args=(each.run, until, problems), daemon=True) for each in [*clients,
            killer]]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS / 2)
    middle = 0 if STANDIN else proxy.memory()
    for thread in threads:
        thread.join(until + STUCK + 60 - time.monotonic())
    stuck = sum(thread.is_alive() for thread in threads)
    counts = sum((client.counts for client in clients), collections.Counter())
    end = 0 if STANDIN else proxy.memory()
    with capsys.disabled():
        print(f"\nsoak of {SECONDS} s: {dict(counts)}; ended {killer.connections} connections, {killer.shards} shards; "
              f"{middle >> 10} KiB, then {end >> 10} KiB")
    assert not problems, f"SEED={SEED}: " + "\n".join(problems[:5])
    assert not stuck and proxy.alive()
    for client in clients:
        found = sum(lab.query(shard, f"SELECT coalesce(sum(n), 0) FROM account WHERE id = {client.number}")[0][0]
                    for shard in range(1 if STANDIN else LAB_SHARDS))
        assert client.committed <= found <= client.committed + client.unsure, (client.number, found, client.committed,
                client.unsure)
    assert counts["turns"] > CLIENTS * SECONDS / 4
    if "asan" not in BUILD.name and "tsan" not in BUILD.name:  # they keep freed memory for a while
        assert end < middle * 1.2 + (2 << 20)
