"""Random SELECTs give through the proxy what one PostgreSQL gives, on clusters of 1, 2, 3 and 7 shards.

SEED=n other schemas and statements (printed); DIFFERENTIAL=n so many statements. Of each: equal, refused, slow,
indeterminate (PostgreSQL itself has several answers), wrong. Wrong must be 0, and what is refused
little, in all and of any class of statements.
"""
import collections
import os
import random
import time

import pytest
from compare import MODES, Side, contrast, judge
from nodes import node_types
from proxies import STANDIN
from rawwire import TYPES
from schema import Schema
from shrink import shrink
from statements import Generator, Statement
from world import World, tiers

pytestmark = pytest.mark.skipif(bool(STANDIN), reason="what is tested is the proxy's own")
FULL = bool(os.environ.get("PGMOSAIC_FULL"))
STATEMENTS = int(os.environ.get("DIFFERENTIAL") or (20000 if FULL else 2000))
SCHEMAS = 4 if FULL else 1
SECONDS_MOST = 2400 if FULL else 240  # a loaded machine; alone it takes a tenth
CLUSTERS = [1, 2, 3, 7]
TURNS = [0, 1, 1, 1, 1, 2, 2, 2, 2, 3]  # which cluster: the fewest statements where there is one shard
REFUSED_MOST, REFUSED_OF_A_CLASS = 0.03, 0.20
TIERS_LEAST = {1: 0.05, 2: 0.10, 3: 0.10, 4: 0.20}  # shares
COUNTED_FROM = 25  # statements of a class


class Run:
    """Statements over one schema, and what became of them."""

    def __init__(self, world, seed):
        self.world, self.seed = world, seed
        self.counts, self.nodes = collections.Counter(), collections.Counter()
        self.classes = collections.defaultdict(collections.Counter)
        self.tiers = collections.defaultdict(collections.Counter)  # of clusters of several shards
        self.reasons, self.examples, self.many, self.filled, self.wrong = collections.Counter(), {}, 0, 0, []
        self.twin = None
        self.oracle = Side(world.oracle, self.types(world.oracle.database))
        self.sides = [Side(proxy, self.types(cluster.databases[0])) for cluster, proxy in world.clusters]

    def types(self, database):
        return dict(self.world.query_database(database, TYPES))

    def turn(self, number):
        self.number, rng = number, random.Random(self.seed * 1000003 + number)
        size = 1 + 3 * number // (STATEMENTS // SCHEMAS + 1)
        statement = Generator(self.world.schema, rng.random(), min(size, 3)).statement()
        which, mode = rng.choice(TURNS), rng.choice(MODES)
        if mode == "copy" and statement.is_loose and "every shard" in statement.classes:
            mode = "simple"  # COPY does not tell of types, whose equal values may be written in two ways
        verdict, why = self.compare(statement, which, mode)
        self.count(statement, which, mode, verdict, why)
        if verdict == "wrong":
            self.wrong.append(self.report(number, statement, which, mode))

    def compare(self, statement, which, mode):
        expected = self.oracle.ask(statement, mode)
        self.expected_rows = len(expected.rows)
        got = self.sides[which].ask(statement, mode)
        verdict, why = judge(expected, got, statement.order, mode, statement.is_loose, statement.may_lose_modifiers)
        if verdict == "wrong":
            twin = self.world.twin()
            self.twin = self.twin or Side(twin, self.types(twin.database))
            if judge(expected, self.twin.ask(statement, mode), statement.order, mode, statement.is_loose)[0] == "wrong":
                return "indeterminate", why
        return verdict, why

    def count(self, statement, which, mode, verdict, why):
        self.counts[verdict] += 1
        self.filled += self.expected_rows > 0
        self.many += statement.is_many and CLUSTERS[which] > 1
        for name in (*statement.classes, f"{CLUSTERS[which]} shards"):
            self.classes[name][verdict] += 1
        if CLUSTERS[which] > 1:
            tier = self.sides[which].tier(statement)
            for name in (*statement.classes, "all"):
                self.tiers[name][tier] += 1
        if verdict == "refused":
            reason = why.split(";")[0][:90]
            self.reasons[reason] += 1
            text = " ".join(statement.text().split())
            self.examples.setdefault(reason, f"{self.number}, {mode}, {CLUSTERS[which]} shards: {text}")
        self.nodes.update(node_types(statement.text()))

    def report(self, number, statement, which, mode):
        """A failing case as small as it gets, with both answers."""
        order = None

        def made(tree):
            return Statement(tree, statement.classes, order, True, statement.is_loose)

        def fails(tree):
            return self.compare(made(tree), which, mode)[0] == "wrong"
        if not fails(statement.tree):
            order = "all" if statement.order == "all" else None  # what differs is the order
        small = made(shrink(statement.tree, fails)) if fails(statement.tree) else statement
        answers = [side.ask(small, mode) for side in (self.oracle, self.sides[which])]
        text = small.text()
        schema = self.world.schema
        tables = [table.ddl() for table in [*schema.tables, *schema.views] if table.name in text]
        head = f"SEED={self.seed} statement {number}, {CLUSTERS[which]} shards, {mode}:"
        return "\n  ".join([head, text, *tables, *contrast(*answers)])

    def close(self):
        for side in (self.oracle, *self.sides, *([self.twin] if self.twin else [])):
            side.close()


def show(run, seconds):
    done = sum(run.counts.values())
    print(f"SEED={run.seed}: {done} statements in {seconds:.0f} s: {dict(run.counts)}; "
          f"{100 * run.many // done} % over several shards, {100 * run.filled // done} % with rows")
    print("  node types:", ", ".join(f"{name} {count}" for name, count in sorted(run.nodes.items())))
    for name, counts in sorted(run.classes.items()):
        print(f"  {name}: {dict(counts)}")
    print("  tiers:", ", ".join(f"{tier}: {count}" for tier, count in sorted(run.tiers["all"].items())))
    answered = sum((collections.Counter(tiers(proxy)) for cluster, proxy in run.world.clusters if cluster.shards > 1),
                   collections.Counter())
    print("  at run time:", ", ".join(f"{tier}: {count}" for tier, count in sorted(answered.items())))
    for reason, count in run.reasons.most_common(20):
        print(f"  {count} {reason}\n      {run.examples[reason][:400]}")


def check_bounds(run):
    done = sum(run.counts.values())
    if done >= 500:
        few = [tier for tier, share in TIERS_LEAST.items() if run.tiers["all"][tier] < share * done]
        assert not few, f"too few of tiers {few}: {dict(run.tiers['all'])}"
    assert run.many >= 0.6 * done, "too few statements were for several shards"
    assert run.counts["refused"] <= REFUSED_MOST * done
    assert run.counts["indeterminate"] <= 0.01 * done, "the generator makes statements that have no one answer"
    for name, counts in run.classes.items():
        if sum(counts.values()) >= COUNTED_FROM:
            assert counts["refused"] <= REFUSED_OF_A_CLASS * sum(counts.values()), f"{name}: {dict(counts)}"


@pytest.mark.plain
@pytest.mark.deadline(SECONDS_MOST + 200)
@pytest.mark.parametrize("part", range(SCHEMAS))
def test_random_statements(make_lab, part):
    seed = int(os.environ.get("SEED") or random.randrange(2**31)) + part
    print(f"SEED={seed}")
    world = World(make_lab(1, f"diff{part}"), Schema(seed), CLUSTERS, f"d{part}_")
    run = Run(world, seed)
    started = time.monotonic()
    try:
        for number in range(STATEMENTS // SCHEMAS):
            run.turn(number)
            if time.monotonic() - started > SECONDS_MOST / SCHEMAS or len(run.wrong) >= 8:
                break
    finally:
        show(run, time.monotonic() - started)
        run.close()
        world.close()
    if run.wrong:
        pytest.fail("\n\n".join(run.wrong), pytrace=False)
    check_bounds(run)
