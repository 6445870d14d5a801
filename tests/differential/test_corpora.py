"""Fixed SELECTs through the proxy: the numbered cases of what other proxies answer wrongly, analytic queries, and a few
hundred by theme. Each gives one PostgreSQL's answer or is refused; what is refused is counted by theme. Those of which
docs/features.md is made are answered in the tier that it says."""
import collections
import os

import analytic
import features
import pytest
import themes
from compare import Side, contrast, judge
from nodes import is_ordered
from proxies import STANDIN
from rawwire import TYPES
from world import World, tiers

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="what is tested is the proxy's own"), pytest.mark.plain]
FULL = bool(os.environ.get("PGMOSAIC_FULL"))
SIZES = [1, 2, 3, 7] if FULL else [3]
MODES = ["simple", "extended", "binary", "prepared", "in batches", "transaction", "copy"]


class Corpus:
    def __init__(self, lab, schema, name):
        self.world = World(lab, schema, SIZES, name)
        self.oracle = self.side(self.world.oracle, self.world.oracle.database)
        self.twin = self.side(self.world.twin(), self.world.twin().database)
        self.sides = [self.side(proxy, cluster.databases[0]) for cluster, proxy in self.world.clusters]
        self.counts, self.wrong, self.number = collections.defaultdict(collections.Counter), [], 0

    def side(self, target, database):
        types = dict(self.world.query_database(database, TYPES))
        return Side(target, types, seconds=60)

    def check(self, theme, sql):
        """By one mode in turn, on all clusters; in the full run by all modes."""
        self.number += 1
        for mode in MODES if FULL else [MODES[self.number % len(MODES)]]:
            order = "all" if is_ordered(sql) else None
            expected = self.oracle.ask(sql, mode)
            again, why = judge(expected, self.twin.ask(sql, mode), order, mode)
            assert again == "equal", f"{sql}: PostgreSQL itself has several answers ({why})"
            for (cluster, _), side in zip(self.world.clusters, self.sides):
                got = side.ask(sql, mode)
                verdict, why = judge(expected, got, order, mode)
                self.counts[theme][verdict] += 1
                if verdict == "refused":
                    print(f"{cluster.shards} shards refuse: {sql}\n    {why}")
                elif verdict != "equal":
                    self.wrong.append("\n  ".join([f"{cluster.shards} shards, {mode}: {sql}", f"{verdict}: {why}",
                                                   *contrast(expected, got)]))

    def close(self):
        for theme, counts in self.counts.items():
            print(f"{theme}: {dict(counts)}")
        for side in (self.oracle, self.twin, *self.sides):
            side.close()
        self.world.close()
        if self.wrong:
            pytest.fail(f"{len(self.wrong)} wrong\n\n" + "\n\n".join(self.wrong[:20]), pytrace=False)


@pytest.mark.deadline(1800 if FULL else 300)
def test_statements_by_theme(make_lab):
    corpus = Corpus(make_lab(1, "themes"), themes.schema(), "themes_")
    for theme, sql in themes.statements():
        corpus.check(theme, sql)
    corpus.close()


@pytest.mark.deadline(1800 if FULL else 300)
def test_what_the_page_of_features_says(make_lab):
    corpus = Corpus(make_lab(1, "features"), themes.schema(), "features_")
    (_, proxy), side = next(pair for pair in zip(corpus.world.clusters, corpus.sides) if pair[0][0].shards == 3)
    others = []
    for section, feature, at_run_time, sql in features.rows(features.SECTIONS):
        expected = at_run_time or side.tier(sql)
        corpus.check(section, sql)
        before = tiers(proxy)
        side.ask(sql, "simple")
        grown = [tier for tier, count in tiers(proxy).items() if count != before[tier]]
        if grown != [str(expected) if expected else "refused"]:
            others.append(f"{section}, {feature}: tier {expected} became {grown}")
    corpus.close()
    assert others == []


@pytest.mark.deadline(1800 if FULL else 300)
def test_analytic_queries(make_lab):
    corpus = Corpus(make_lab(1, "analytic"), analytic.schema(), "analytic_")
    for number, sql in enumerate(analytic.QUERIES, 1):
        corpus.check(f"query {number}", sql)
    corpus.close()
