"""PostgreSQL's own regression files over three shards, with their big tables distributed, beside one PostgreSQL.

PGMOSAIC_POSTGRES_SOURCE=path of PostgreSQL 15's source tree; skipped without it. Of each file's statements: equal, refused
(0A000: then the one PostgreSQL is not asked), indeterminate (a second PostgreSQL, with its rows in another order, has another
answer), left out (EXPLAIN, and what psql alone could send), wrong. Wrong must be 0 but for what KNOWN explains.
"""
import collections
import io
import os
import re
import time

import pytest
from clients import WireClient
from compare import contrast, judge
from nodes import is_ordered
from proxies import STANDIN, start_proxy
from rawwire import TYPES, copy_data, copy_done, query
from regression import Regression, bare
from world import Cluster, World

SOURCE = os.environ.get("PGMOSAIC_POSTGRES_SOURCE")
FILES = ["select", "join", "aggregates", "window", "with", "union", "subselect", "groupingsets", "insert", "update", "copy"]
SHARDS = 3
DATA = {"onek": "onek", "tenk": "tenk1", "person": "person", "emp": "emp", "student": "student", "stud_emp": "stud_emp",
        "streets": "road"}  # file → table
# What differs, and why that is no wrong answer: a part of the statement, and the reason.
KNOWN = {}
LEFT_OUT = re.compile(r"explain\b|vacuum\b|analyze\b", re.IGNORECASE)

pytestmark = [pytest.mark.skipif(not SOURCE, reason="PGMOSAIC_POSTGRES_SOURCE names no source tree of PostgreSQL"),
              pytest.mark.skipif(bool(STANDIN), reason="what is tested is the proxy's own"), pytest.mark.plain]


class Databases(World):
    """One PostgreSQL, its twin and a cluster, all with the rows of test_setup.sql."""

    def __init__(self, lab, regression):
        self.lab, self.schema, self.name = lab, regression, "regress"
        lab.query_database, lab.copy_into = self.query_database, self.copy_into
        names = ["regress_one", "regress_twin"]
        cluster = Cluster(lab, "r3", SHARDS, moved=False)
        self.create([*names, *cluster.databases], [f"{cluster.name}_coordinator"])
        for name in names:
            self.query_database(name, regression.ddl())
        self.fill_one(names[0])
        self.take_rows(names[0])
        for table in self.everything():
            self.copy_into(names[1], table, backwards=True)
        cluster.build(regression, None)
        self.fill_home(cluster)
        self.cluster, self.one, self.twin_target = cluster, self.target(names[0]), self.target(names[1])

    def fill_one(self, database):
        with self.connect(database) as cursor:
            for name, table in DATA.items():
                cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO(self.schema.data(name)))
            copies = ["INSERT INTO onek2 SELECT * FROM onek", "INSERT INTO tenk2 SELECT * FROM tenk1"]
            for text in [*copies, *self.schema.inserts]:
                cursor.execute(text)

    def take_rows(self, database):
        self.home = []
        kinds = {table.name: table for table in self.schema.tables}
        with self.connect(database) as cursor:
            cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
                           "ORDER BY oid")
            for name, in cursor.fetchall():
                out = io.StringIO()
                cursor.copy_expert(f"COPY {name} TO STDOUT", out)
                table = kinds.get(name) or Home(name)
                table.copy_text = as_text(out.getvalue())
                table.rows = [None]  # some
                self.home += [table] if isinstance(table, Home) else []

    def everything(self):
        return [*self.schema.tables, *self.home]

    def fill_home(self, cluster):
        for table in self.home:
            self.copy_into(cluster.databases[0], table)


class Home:
    def __init__(self, name):
        self.name, self.kind = name, "home"


def as_text(text):
    """A table's copy_text."""
    lines = text.splitlines(keepends=True)
    return lambda backwards=False: "".join(reversed(lines)) if backwards else text


class Session(WireClient):
    def run(self, text, data):
        if data is None:
            return self.ask(text, "simple")
        self.exchange(b"", 0)
        self.wire.send(query(text) + copy_data(data) + copy_done())
        return self.read(self.wire.until("Z"), "simple")


class Files:
    def __init__(self, databases, proxy):
        targets = [databases.one, databases.twin_target, proxy]
        names = [databases.one.database, databases.twin_target.database, databases.cluster.databases[0]]
        self.types = [dict(databases.query_database(name, TYPES)) for name in names]
        self.databases, self.targets, self.counts, self.wrong = databases, targets, collections.defaultdict(collections.Counter), []
        self.reasons = collections.Counter()

    def run(self, name, file):
        self.sessions = [Session(target, types, seconds=30) for target, types in zip(self.targets, self.types)]
        self.counts[name]["left out"] += file.left_out
        for text, data in file.statements:
            if LEFT_OUT.match(bare(text)):
                self.counts[name]["left out"] += 1
                continue
            verdict = self.statement(name, text, data)
            self.counts[name][verdict] += 1
        for session in self.sessions:
            session.close()

    def follow_definitions(self):
        """The coordinator is made of the definitions at the last apply; the files change them all the time."""
        self.databases.cluster.run("apply", "--yes")
        time.sleep(0.5)  # until the proxy has read them

    def statement(self, name, text, data):
        one, twin, cluster = self.sessions
        got = cluster.run(text, data)
        if got.code == "0A000" and "it is not ready" in got.message and got.status == "I":
            self.follow_definitions()
            got = cluster.run(text, data)
        if got.code == "0A000":
            for session in (one, twin):
                session.ask({"E": "SELECT 1 / 0", "I": "ROLLBACK"}.get(got.status, "SELECT 1"), "simple")
            self.reasons[re.sub(r'"[^"]*"|\b[a-z_0-9]+_(tbl|test)\b', "…", got.message.split(";")[0])[:90]] += 1
            return "refused"
        expected, second = one.run(text, data), twin.run(text, data)
        order = "all" if is_ordered(text) else None
        verdict, why = judge(expected, got, order, "simple", True, may_lose=True)
        if verdict == "equal" and expected.status != got.status:
            verdict, why = "wrong", f"status {expected.status} became {got.status}"
        if verdict == "wrong" and judge(expected, second, order, "simple", True, may_lose=True)[0] == "wrong":
            return "indeterminate"
        if verdict == "wrong" and any(part in text for part in KNOWN):
            return "known"
        if verdict == "wrong":
            self.wrong.append("\n  ".join([f"{name}: {text}", why, *contrast(expected, got)]))
        return verdict


@pytest.mark.deadline(1200)
def test_regression_files(make_lab):
    regression = Regression(SOURCE)
    databases = Databases(make_lab(1, "regress"), regression)
    with start_proxy(databases.cluster, {"schema_check_interval": "200ms"}) as proxy:
        proxy.database = databases.cluster.name
        files = Files(databases, proxy)
        for name in FILES:
            files.run(name, regression.file(name))
            print(f"{name}: {dict(files.counts[name])}")
    for reason, count in files.reasons.most_common(30):
        print(f"  {count} {reason}")
    print("all:", dict(sum(files.counts.values(), collections.Counter())))
    assert not files.wrong, f"{len(files.wrong)} wrong:\n" + "\n\n".join(files.wrong[:12])
