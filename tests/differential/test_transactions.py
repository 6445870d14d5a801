"""Random transactions that write leave behind, and answer, through the proxy what they do on one PostgreSQL: on clusters of
1, 2, 3 and 7 shards, each with a PostgreSQL of its own beside it.

SEED=n other schemas and transactions (printed); TRANSACTIONS=n so many. Each statement is asked of the cluster first: what it
refuses (0A000) is not asked of the one PostgreSQL, whose transaction is then failed as the cluster's is. Of each: equal,
refused, slow, other error (two errors of one statement, of which each side met another first), wrong. Wrong must be 0. After
each transaction all tables are compared, and each row must stand on the shard that owns it.
"""
import collections
import concurrent.futures
import os
import random
import time

import pytest
from changing import ChangingSchema
from clients import FORMS, WIRE_MODES, make_client
from compare import contrast, judge
from contents import Contents
from proxies import STANDIN
from rawwire import TYPES
from shrink import shrink
from world import World
from writes import Statement, Writes

pytestmark = pytest.mark.skipif(bool(STANDIN), reason="what is tested is the proxy's own")
FULL = bool(os.environ.get("PGMOSAIC_FULL"))
TRANSACTIONS = int(os.environ.get("TRANSACTIONS") or (2000 if FULL else 300))
SECONDS_MOST = 1200 if FULL else 120  # a loaded machine; alone it takes a fourth
SHARES = {1: 1, 2: 3, 3: 4, 7: 2}  # of ten transactions, on clusters of so many shards
REFUSED_MOST, OTHER_ERRORS_MOST = 0.15, 0.03
ROWS_MOST = 60  # of a table


class Transaction:
    """form: of clients.py. kind: alone (each statement for itself), explicit, segment, text. steps: (what to ask, mode)."""

    def __init__(self, writes, rng):
        self.form = rng.choice(FORMS)
        self.kind = rng.choices(["alone", "explicit", "segment", "text"], [25, 60, 10, 5])[0]
        if self.kind in ("segment", "text"):
            self.form = "wire"
        self.mode = "extended" if self.kind == "segment" else "simple"
        self.steps = []
        for _ in range(rng.randint(1, 8 if self.kind == "explicit" else 4)):
            self.steps.append((writes.statement(), rng.choice(WIRE_MODES)))
        if self.kind == "explicit":
            if rng.random() < 0.25:  # one that has but read yet
                self.steps[:0] = [(each, rng.choice(WIRE_MODES)) for each in writes.reads()]
            self.with_savepoints(rng)
            begin = rng.choice(["BEGIN", "BEGIN", "START TRANSACTION", "BEGIN ISOLATION LEVEL READ COMMITTED"])
            self.steps.insert(0, (begin, "simple"))
            self.steps.append((rng.choice(["COMMIT"] * 4 + ["ROLLBACK"]), rng.choice(["simple", "extended"])))

    def with_savepoints(self, rng):
        if rng.random() < 0.4:
            return
        names, at = [], 0
        while at < len(self.steps):
            pick = rng.random()
            word = None
            if pick < 0.25:
                names.append(rng.choice("ab") if rng.random() < 0.9 else '"S c"')
                word = f"SAVEPOINT {names[-1]}"
            elif pick < 0.4 and names:
                word = f"ROLLBACK TO {'SAVEPOINT ' if pick < 0.3 else ''}{rng.choice(names)}"
            elif pick < 0.48 and names:
                word = f"RELEASE {names.pop()}"
            if word:
                self.steps.insert(at, (word, rng.choice(["simple", "simple", "extended"])))
                at += 1
            at += 1

    def with_steps(self, steps):
        made = object.__new__(Transaction)
        made.form, made.kind, made.mode, made.steps = self.form, self.kind, self.mode, steps
        return made


def text_of(step):
    return step if isinstance(step, str) else step.text()


class Wrong(Exception):
    """What differs, in lines."""


class Run:
    """Transactions on one cluster and the PostgreSQL beside it."""

    def __init__(self, lab, seed, shards, count):
        self.seed, self.shards, self.count = seed, shards, count
        self.schema = ChangingSchema(seed)
        self.world = World(lab, self.schema, [shards], f"w{shards}_", {"pool_size": 3})
        (self.cluster, self.proxy), = self.world.clusters
        self.contents = Contents(lab, self.schema, self.world.oracle.database, self.cluster)
        self.types = [dict(self.world.query_database(database, TYPES))
                      for database in (self.world.oracle.database, self.cluster.databases[0])]
        self.clients, self.counts, self.codes = {}, collections.Counter(), collections.Counter()
        self.classes, self.tags = collections.defaultdict(collections.Counter), collections.Counter()
        self.reasons, self.examples, self.wrong, self.done, self.others = collections.Counter(), {}, [], 0, []

    def pair(self, form):
        """(one PostgreSQL's client, the cluster's)"""
        if form not in self.clients:
            self.clients[form] = [make_client(form, target, types) for target, types in
                                  zip((self.world.oracle, self.proxy), self.types)]
        return self.clients[form]

    def all(self):
        until = time.monotonic() + SECONDS_MOST
        for number in range(self.count):
            if time.monotonic() > until or len(self.wrong) >= 4:
                break
            self.turn(number)
            self.done += 1
        return self

    def turn(self, number):
        rng = random.Random(self.seed * 1000003 + number * 10 + self.shards)
        transaction = Transaction(Writes(self.schema, rng), rng)
        saved = self.contents.read()
        try:
            self.play(transaction, count=True)
        except Wrong as wrong:
            self.counts["wrong"] += 1
            self.wrong.append(self.report(number, transaction, saved, str(wrong)))
            self.reset(self.contents.read())
        if number % 8 == 7:
            self.prune()

    def play(self, transaction, count=False):
        clients = self.pair(transaction.form)
        if transaction.kind in ("segment", "text"):
            self.play_several(clients, transaction, count)
        else:
            for step, mode in transaction.steps:
                self.step(clients, step, mode, count)
            self.end(clients)
        problems = self.contents.problems() or self.contents.left()
        if problems:
            raise Wrong("\n    ".join(["what is left behind differs:", *problems]))

    def step(self, clients, step, mode, count):
        one, proxy = clients
        got = proxy.ask(step, mode)
        if got.code == "0A000":
            self.note(count, step, "refused", got.message)
            self.follow(one, got.status)
            return
        expected = one.ask(step, mode)
        self.compare(expected, got, step, mode, count)

    def compare(self, expected, got, step, mode, count):
        order = getattr(step, "order", None)
        verdict, why = judge(expected, got, order, mode, True, may_lose=True)
        if verdict == "equal" and not expected.code and expected.tags != got.tags:
            verdict, why = "wrong", f"tags {expected.tags} became {got.tags}"
        if verdict == "equal" and expected.status != got.status:
            verdict, why = "wrong", f"status {expected.status} became {got.status}"
        if verdict == "wrong" and expected.code and got.code and expected.status == got.status and not isinstance(step, str) \
                and got.code != "lost" and got.code[:2] in ("22", "23", "21", "42"):
            verdict = "other error"
            self.others.append(f"{self.shards} shards: {expected.code} became {got.code}: {text_of(step)}")
        self.note(count, step, verdict, why, expected)
        if verdict in ("wrong", "slow"):
            raise Wrong("\n    ".join([why or "slow", f"{mode}: {text_of(step)}", *contrast(expected, got)]))

    @staticmethod
    def follow(one, status):
        """Leaves the one PostgreSQL where a refusal has left the cluster: failed, or outside of a transaction."""
        if status == "E":
            one.ask("SELECT 1 / 0", "simple")
        elif status == "I":
            one.ask("ROLLBACK", "simple")

    def end(self, clients):
        for client in clients:
            client.ask("ROLLBACK", "simple")  # of what a transaction left open: mostly a warning that there is none

    def play_several(self, clients, transaction, count):
        one, proxy = clients
        steps = [step for step, _ in transaction.steps]
        got = proxy.several(steps, transaction.mode)
        if any(answer.code == "0A000" for answer in got):
            self.note(count, steps[len(got) - 1] if len(got) <= len(steps) else steps[-1], "refused", got[-1].message)
            return
        expected = one.several(steps, transaction.mode)
        if len(got) < len(expected) and got[-1].code:
            expected = [*expected[:len(got) - 1], expected[-1]]  # a key is looked at before anything of the text is run
        if len(expected) != len(got):
            raise Wrong("\n    ".join([f"{len(expected)} answers became {len(got)}", *map(text_of, steps),
                                       *contrast(expected[-1], got[-1])]))
        for step, *answers in zip(steps + ["end"], expected, got):
            self.compare(*answers, step, transaction.mode, count)

    def note(self, count, step, verdict, why, expected=None):
        if not count:
            return
        self.counts[verdict] += 1
        for name in getattr(step, "classes", [step.split()[0]] if isinstance(step, str) else []):
            self.classes[name][verdict] += 1
        if expected:
            self.codes[expected.code or "00000"] += 1
        if verdict == "refused":
            reason = why.split("\n")[0].split(";")[0][:100]
            self.reasons[reason] += 1
            self.examples.setdefault(reason, f"{self.shards} shards: {text_of(step)}")

    def prune(self):
        """No table grows without end; asked of both, as all else."""
        for name, size in self.contents.size().items():
            if size > ROWS_MOST:
                for client in self.pair("wire"):
                    client.ask(f"DELETE FROM {name}", "simple")

    # ---- what fails, made smaller ----

    def reset(self, saved):
        for pair in self.clients.values():
            for client in pair:
                client.close()
        self.clients = {}
        time.sleep(0.1)  # servers whose client is gone roll back
        self.contents.put_back(saved)

    def fails(self, transaction, saved):
        self.reset(saved)
        try:
            self.play(transaction)
        except Wrong:
            return True
        return False

    def report(self, number, transaction, saved, why):
        head = f"SEED={self.seed} transaction {number}, {self.shards} shards, {transaction.form}, {transaction.kind}:"
        until = time.monotonic() + 30
        if not self.fails(transaction, saved):
            return "\n  ".join([head, "(not once more)", *[text_of(step) for step, _ in transaction.steps], why])
        at = 0
        while at < len(transaction.steps) and time.monotonic() < until:
            fewer = transaction.with_steps(transaction.steps[:at] + transaction.steps[at + 1:])
            if fewer.steps and self.fails(fewer, saved):
                transaction = fewer
            else:
                at += 1
        for at, (step, mode) in enumerate(transaction.steps):
            if not isinstance(step, str) and time.monotonic() < until:
                transaction = self.with_smaller(transaction, at, step, mode, saved)
        self.reset(saved)
        try:
            self.play(transaction)
        except Wrong as wrong:
            why = str(wrong)
        texts = [f"{mode}: {text_of(step)}" for step, mode in transaction.steps]
        tables = [table.ddl() for table in self.schema.tables if any(table.name in text for text in texts)]
        return "\n  ".join([head, *texts, *tables, why])

    def with_smaller(self, transaction, at, step, mode, saved):
        def made(tree):
            return transaction.with_steps([*transaction.steps[:at], (Statement(tree, [], step.order), mode),
                                           *transaction.steps[at + 1:]])
        return made(shrink(step.tree, lambda tree: self.fails(made(tree), saved), seconds=8, tries=40))

    def close(self):
        for pair in self.clients.values():
            for client in pair:
                client.close()
        self.contents.close()
        self.world.close()


def total(runs, name):
    return sum((getattr(run, name) for run in runs), collections.Counter())


def show(runs, seed, seconds):
    print(f"SEED={seed}: {sum(run.done for run in runs)} transactions in {seconds:.0f} s: {dict(total(runs, 'counts'))}; "
          f"by shards: {({run.shards: run.done for run in runs})}")
    print("  SQLSTATEs:", ", ".join(f"{code} {count}" for code, count in total(runs, "codes").most_common()))
    classes = collections.defaultdict(collections.Counter)
    for run in runs:
        for name, counts in run.classes.items():
            classes[name] += counts
    for name, counts in sorted(classes.items()):
        print(f"  {name}: {dict(counts)}")
    examples = {reason: text for run in runs for reason, text in run.examples.items()}
    for reason, count in total(runs, "reasons").most_common(25):
        print(f"  {count} {reason}\n      {' '.join(examples[reason].split())[:400]}")
    for line in [line for run in runs for line in run.others][:8]:
        print(f"  other error: {' '.join(line.split())[:500]}")


@pytest.mark.plain
@pytest.mark.deadline(SECONDS_MOST + 300)
def test_random_transactions(make_lab):
    seed = int(os.environ.get("SEED") or random.randrange(2**31))
    print(f"SEED={seed}")
    lab, runs = make_lab(1, "written"), []
    try:
        for shards, share in SHARES.items():
            runs.append(Run(lab, seed, shards, max(1, TRANSACTIONS * share // 10)))
        started = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(len(runs)) as pool:
            for future in [pool.submit(run.all) for run in runs]:
                future.result()
    finally:
        show(runs, seed, time.monotonic() - started if runs else 0)
        for run in runs:
            run.close()
    wrong = [text for run in runs for text in run.wrong]
    if wrong:
        pytest.fail("\n\n".join(wrong), pytrace=False)
    counts = total(runs, "counts")
    assert counts["refused"] <= REFUSED_MOST * sum(counts.values())
    assert counts["other error"] <= OTHER_ERRORS_MOST * sum(counts.values())
