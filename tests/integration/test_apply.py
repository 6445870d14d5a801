"""`pgmosaic apply` against real servers: what it makes, refuses, says and leaves alone, and being cut off."""
import json
import os
import pty
import re
import subprocess
import threading
import time

import psycopg2
import pytest

from conftest import COMMAND, at_points, environment, run_command

pytestmark = pytest.mark.light

LAB_SHARDS = 3
USERS = "CREATE TABLE users (id bigint PRIMARY KEY, name text)"


class Cluster:
    """A config of its own over the lab's emptied databases."""

    def __init__(self, lab, directory):
        self.lab, self.directory, self.path = lab, directory, directory / "mosaic.yaml"
        self.names = [f"s{i}" for i in range(lab.shards)]
        self.order = list(range(lab.shards))
        self.weights, self.tables, self.name, self.extra = {}, [], "shop", ""
        for shard in range(lab.shards):
            with lab.connect(shard) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT string_agg(quote_ident(nspname), ', ') FROM pg_namespace"
                               " WHERE nspname !~ '^(pg_|information_schema)'")
                cursor.execute(f"DROP SCHEMA {cursor.fetchone()[0]} CASCADE; CREATE SCHEMA public")

    def write(self):
        lines = [f"cluster: {self.name}", self.extra, "shards:"]
        for shard in self.order:
            weight = f", weight: {self.weights[shard]}" if shard in self.weights else ""
            lines.append(f'  - {{name: {self.names[shard]}, conninfo: "{self.lab.conninfo(shard)}"{weight}}}')
        self.path.write_text("\n".join(lines + ["tables:"] + [f"  - {{{table}}}" for table in self.tables]) + "\n")

    def apply(self, *options, **more):
        self.write()
        options = options or ("--yes",)
        return run_command("apply", self.path, *options, cwd=self.directory, timeout=120, **more)

    def applied(self):
        done = self.apply()
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def refused(self, *words, options=("--yes",)):
        """Applying fails with exit 1, says every word, and changes nothing."""
        self.write()
        before = self.snapshot()
        done = self.apply(*options)
        assert done.returncode == 1, done.stdout + done.stderr
        for word in words:
            assert word in done.stderr, f"{word!r} is not in:\n{done.stderr}"
        assert self.snapshot() == before
        return done.stderr

    def snapshot(self):
        """Everything that apply could change, on every shard."""
        sql = """SELECT 'c', conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated::text
                 FROM pg_constraint
                 WHERE connamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'mosaic'))
                 UNION ALL SELECT 'r', nspname, relname, '', '' FROM pg_class
                 JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('public', 'mosaic')
                 UNION ALL SELECT 'f', nspname, proname, '', '' FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace
                 WHERE nspname = 'mosaic' ORDER BY 1, 2, 3, 4, 5"""
        found = []
        for shard in range(self.lab.shards):
            with self.lab.connect(shard) as connection, connection.cursor() as cursor:
                cursor.execute(sql)
                found.append(cursor.fetchall())
                cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r'"
                               " AND relnamespace = to_regnamespace('mosaic') ORDER BY 1")
                for table, in cursor.fetchall():
                    cursor.execute(f"SELECT t::text FROM mosaic.{table} t ORDER BY 1")
                    found.append((table, cursor.fetchall()))
        return found

    def epochs(self):
        return [self.lab.query(shard, "SELECT epoch FROM mosaic.epoch")[0][0] for shard in range(self.lab.shards)]

    def owners(self, table):
        return self.lab.query(0, f"""SELECT array(SELECT s.name FROM unnest(owners) WITH ORDINALITY u(id, n)
            JOIN mosaic.shard s USING (id) ORDER BY n) FROM mosaic.relation
            JOIN mosaic.colocation c ON c.id = colocation WHERE table_name = '{table}'""")[0][0]

    def constraint(self, shard, table):
        rows = self.lab.query(shard, f"""SELECT pg_get_constraintdef(oid), convalidated FROM pg_constraint
            WHERE conname = 'mosaic_owner' AND conrelid = '{table}'::regclass""")
        return rows[0] if rows else None


@pytest.fixture
def cluster(lab, directory):
    return Cluster(lab, directory)


@pytest.fixture
def users(cluster):
    """A cluster with the table users on every shard and in the config, not applied."""
    cluster.lab.everywhere(USERS)
    cluster.tables = ["name: users, key: id, function: modulo"]
    return cluster


# ---- what it makes --------------------------------------------------------------------------------------------------


def test_every_row_is_taken_by_exactly_one_shard_the_map_s(users):
    users.applied()
    owners = users.owners("users")
    assert len(owners) == 1536 and owners == [f"s{bucket % 3}" for bucket in range(1536)]
    for key in (0, 1, 2, 3, -1, -2, 2**63 - 1, -2**63):
        took = []
        for shard in range(3):
            try:
                users.lab.query(shard, "INSERT INTO users VALUES (%s)", (key,))
                took.append(f"s{shard}")
            except psycopg2.errors.CheckViolation as error:
                assert "mosaic_owner" in str(error)
        assert took == [owners[key % 1536]]


def test_every_kind_of_table_and_a_partitioned_one(cluster):
    cluster.lab.everywhere("""
        CREATE TABLE members (user_id text PRIMARY KEY); CREATE TABLE countries (code text PRIMARY KEY);
        CREATE TABLE events (day date); CREATE TABLE customers (country text, id int, PRIMARY KEY (country, id));
        CREATE TABLE ids (id text PRIMARY KEY); CREATE TABLE pairs (a int, b text, PRIMARY KEY (b, a));
        CREATE SCHEMA "Odd"; CREATE TABLE "Odd"."Ta""ble" ("Ke y" uuid PRIMARY KEY);
        CREATE TABLE parts (id int) PARTITION BY RANGE (id);
        CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (1000)""")
    cluster.tables = ["name: members, key: user_id, function: hash, buckets: 4096", "name: countries, kind: reference",
                      'name: events, key: day, function: range, '
                      'ranges: [{below: "2025-01-01", shard: s0}, {shard: s1}]',
                      "name: customers, key: country, function: list, lists: [{values: [de, fr], shard: s0}, "
                      "{values: [it], shard: s2}]", "name: ids, key: id, function: sha256", "name: pairs, key: [a, b]",
                      """name: '"Odd"."Ta""ble"', key: "Ke y" """, "name: parts, key: id"]
    cluster.applied()
    for shard in range(3):
        for table in ("members", "events", "customers", "ids", "pairs", '"Odd"."Ta""ble"', "parts", "parts_low"):
            assert cluster.constraint(shard, table)[1], table
        assert cluster.constraint(shard, "countries") is None
    for table, column, values in (("members", "user_id", [f"'@u{i}:m.org'" for i in range(20)]),
                                  ("ids", "id", [f"'@u{i}:m.org'" for i in range(20)] + [r"'\\ü'"]),
                                  ("events", "day", ["'2024-12-31'", "'2025-01-01'"]), ("parts", "id", range(20))):
        for value in values:
            took = 0
            for shard in range(3):
                try:
                    cluster.lab.query(shard, f"INSERT INTO {table} ({column}) VALUES ({value})")
                    took += 1
                except psycopg2.errors.CheckViolation:
                    pass
            assert took == 1, (table, value)
    assert cluster.epochs() == [1, 1, 1]
    assert "nothing to change, epoch 1" in cluster.applied().stdout


def test_history_tells_who_when_and_what(users):
    users.applied()
    users.tables = []
    users.applied()
    rows = users.lab.query(0, "SELECT applied_by, client, epoch_before, epoch_after, plan FROM mosaic.history"
                                " ORDER BY id")
    assert [row[2:4] for row in rows] == [(0, 1), (1, 2)]
    assert "+ table users: sharded by id, modulo, 1536 buckets" in rows[0][4] and "- table users" in rows[1][4]
    assert rows[0][0] and re.match(r"pgmosaic \d", rows[0][1])


def test_rows_that_stand_right_are_adopted(users):
    for shard in range(3):
        users.lab.query(shard, f"INSERT INTO users SELECT 3 * i + {shard} FROM generate_series(0, 999) i")
    users.applied()
    assert [users.lab.query(shard, "SELECT count(*) FROM users")[0][0] for shard in range(3)] == [1000] * 3


def test_a_colocated_table_shares_the_map(users):
    users.applied()
    users.lab.everywhere("CREATE TABLE orders (id int, user_id int REFERENCES users, PRIMARY KEY (user_id, id))")
    users.tables.append("name: orders, key: user_id, function: modulo")
    users.applied()
    assert users.lab.query(0, "SELECT count(DISTINCT colocation), count(*) FROM mosaic.relation") == [(1, 2)]


def test_weights_shape_the_first_map(users):
    users.weights = {0: 2, 1: 1, 2: 0}
    users.applied()
    owners = users.owners("users")
    assert [owners.count(f"s{i}") for i in range(3)] == [1024, 512, 0]
    with pytest.raises(psycopg2.errors.CheckViolation):
        users.lab.query(2, "INSERT INTO users VALUES (1)")


def test_a_dry_run_changes_nothing_and_shows_the_plan(users):
    users.lab.everywhere("CREATE TABLE ids (id text PRIMARY KEY)")
    users.tables.append("name: ids, key: id, function: sha256")
    before = users.snapshot()
    done = users.apply("--dry-run")
    assert done.returncode == 0 and "+ table users: sharded by id" in done.stdout
    assert "+ constraint mosaic_owner of ids: add on s0, s1, s2" in done.stdout
    assert users.snapshot() == before


def test_json(users):
    plan = json.loads(users.apply("--dry-run", "--json").stdout)
    assert plan["cluster"] == "shop" and plan["epoch_after"] == 1 and not plan["applied"]
    assert any("table users" in line for line in plan["changes"]) and plan["findings"] == []
    assert json.loads(users.apply("--yes", "--json").stdout)["applied"]


def test_without_a_terminal_it_must_be_told_yes(users):
    users.write()
    before = users.snapshot()
    done = run_command("apply", users.path, cwd=users.directory)
    assert done.returncode == 2 and "--yes" in done.stderr
    assert users.snapshot() == before


def test_on_a_terminal_it_asks(users):
    users.write()
    for answer, code in (("n\n", 1), ("y\n", 0)):
        master, slave = pty.openpty()
        process = subprocess.Popen([COMMAND, "apply", users.path], stdin=slave, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=environment(), cwd=users.directory, text=True)
        os.write(master, answer.encode())
        out, err = process.communicate(timeout=60)
        os.close(master)
        os.close(slave)
        assert process.returncode == code and "Apply this?" in err, out + err
    assert users.epochs() == [1, 1, 1]


# ---- changes of a config --------------------------------------------------------------------------------------------


def test_order_of_shards_does_not_matter(users):
    users.applied()
    before = users.snapshot()
    users.order = [2, 0, 1]
    assert "nothing to change" in users.applied().stdout
    assert users.snapshot() == before


def test_a_new_shard_owns_nothing_and_takes_no_row(cluster):
    cluster.order = [0, 1]
    cluster.lab.everywhere(USERS)
    cluster.tables = ["name: users, key: id, function: modulo"]
    cluster.applied()
    before = cluster.owners("users")
    cluster.order = [0, 1, 2]
    assert "+ shard s2" in cluster.applied().stdout
    assert cluster.owners("users") == before and cluster.epochs() == [2, 2, 2]
    for key in range(4):
        with pytest.raises(psycopg2.errors.CheckViolation):
            cluster.lab.query(2, f"INSERT INTO users VALUES ({key})")
    cluster.order = [0, 1]  # and an empty one may go
    assert "- shard s2" in cluster.applied().stdout
    assert cluster.lab.query(0, "SELECT count(*) FROM mosaic.shard") == [(2,)]


def test_a_shard_that_owns_buckets_stays(users):
    users.applied()
    users.order = [0, 1]
    users.refused("shard s2", "owns buckets", "users 512")
    users.order = [1, 2]
    users.refused("the catalog is on shard s0")


def test_a_renamed_shard_is_recognised(users):
    users.applied()
    before = users.owners("users")
    users.names[0], users.names[2] = "first", "last"
    out = users.applied().stdout
    assert "~ shard s0 is now called first" in out and "~ shard s2 is now called last" in out
    assert users.owners("users") == [{"s0": "first", "s2": "last"}.get(name, name) for name in before]
    assert "nothing to change" in users.applied().stdout
    assert users.lab.query(1, "SELECT catalog FROM mosaic.epoch") == [("first",)]


def test_swapped_conninfos_are_found_out(users):
    users.applied()
    users.names = ["s0", "s2", "s1"]
    text = users.refused("this database is shard s1", "this database is shard s2")
    assert "swap" not in text or "conninfo" in text


def test_the_databases_of_another_cluster(users):
    users.applied()
    users.name = "other"
    users.refused("belongs to cluster shop")


@pytest.mark.parametrize("change, words", [
    ("name: users, key: id, function: modulo, buckets: 3072", ["buckets", "1536", "3072"]),
    ("name: users, key: id, function: hash", ["function", "modulo", "hash"]),
    ("name: users, key: other, function: modulo", ["sharding key"]),
    ("name: users, kind: reference", ["kind", "sharded", "reference"]),
])
def test_what_is_applied_does_not_change(users, change, words):
    users.lab.everywhere("ALTER TABLE users ADD other bigint NOT NULL, DROP CONSTRAINT users_pkey")
    users.applied()
    users.tables = [change]
    users.refused("table users", *words)


def test_ranges_and_lists_do_not_change(cluster):
    cluster.lab.everywhere("CREATE TABLE events (day date)")
    table = "name: events, key: day, function: range, ranges: [{{below: {}, shard: {}}}, {{shard: s1}}]"
    cluster.tables = [table.format("2025-01-01", "s0")]
    cluster.applied()
    cluster.tables = [table.format("2026-01-01", "s0")]
    cluster.refused("2025-01-01", "2026-01-01")
    cluster.tables = [table.format("2025-01-01", "s2")]
    cluster.refused("entry 1", "s0", "s2")


def test_a_table_taken_out_loses_its_constraint_and_keeps_its_rows(users):
    users.applied()
    users.lab.query(0, "INSERT INTO users VALUES (3)")
    users.tables = []
    out = users.applied().stdout
    assert "- table users" in out and "mosaic_owner" not in out
    assert users.constraint(0, "users") is None and users.lab.query(0, "SELECT id FROM users") == [(3,)]
    assert [users.lab.query(shard, "SELECT to_regclass('users')") for shard in (1, 2)] == [[(None,)]] * 2


def test_a_table_that_others_lack_is_taken_out_where_it_stands(users):
    users.applied()
    for shard in (1, 2):
        users.lab.query(shard, "DROP TABLE users")
    users.tables = []
    assert "- constraint mosaic_owner of users: drop on s0" in users.applied().stdout
    assert users.constraint(0, "users") is None


def test_a_missing_or_changed_constraint_is_repaired(users):
    users.applied()
    users.lab.query(0, "ALTER TABLE users DROP CONSTRAINT mosaic_owner")
    users.lab.query(1, "ALTER TABLE users DROP CONSTRAINT mosaic_owner; "
                       "ALTER TABLE users ADD CONSTRAINT mosaic_owner CHECK (true); "
                       "COMMENT ON CONSTRAINT mosaic_owner ON users IS 'pgmosaic x'")
    out = users.applied().stdout
    assert "add on s0" in out and "replace on s1" in out
    assert "id & 0" not in users.constraint(0, "users")[0] and "true" not in users.constraint(1, "users")[0]
    assert users.epochs() == [1, 1, 1]


def test_a_key_column_that_grew_from_int_to_bigint(cluster):
    cluster.lab.everywhere("CREATE TABLE t (id int PRIMARY KEY)")
    cluster.tables = ["name: t, key: id"]
    cluster.applied()
    cluster.lab.everywhere("ALTER TABLE t DROP CONSTRAINT mosaic_owner, ALTER id TYPE bigint")
    out = cluster.applied().stdout
    assert "~ table t: key column id is now bigint, was integer" in out
    assert cluster.lab.query(0, "SELECT key_types FROM mosaic.relation") == [(["bigint"],)]
    took = 0
    for shard in range(3):
        try:
            cluster.lab.query(shard, "INSERT INTO t VALUES (5000000000)")
            took += 1
        except psycopg2.errors.CheckViolation:
            pass
    assert took == 1 and cluster.epochs() == [2, 2, 2]
    cluster.lab.everywhere("TRUNCATE t; ALTER TABLE t DROP CONSTRAINT mosaic_owner; ALTER TABLE t ALTER id TYPE text")
    cluster.refused("the key's type was applied as bigint, the config says text")


def test_an_epoch_that_is_behind_is_repaired(users):
    users.applied()
    users.lab.query(1, "UPDATE mosaic.epoch SET epoch = 0")
    assert "~ epoch 1 on s1" in users.applied().stdout
    assert users.epochs() == [1, 1, 1]


# ---- the preflight --------------------------------------------------------------------------------------------------


CI = "CREATE COLLATION ci (provider = icu, locale = 'und', deterministic = false)"
AGAINST = [
    ("CREATE TABLE t (id int PRIMARY KEY, mail text UNIQUE)", ["t_mail_key", "UNIQUE"]),
    ("CREATE TABLE t (id int, n int PRIMARY KEY)", ["PRIMARY KEY t_pkey", "put id into it"]),
    ("CREATE TABLE t (id int, n int); CREATE UNIQUE INDEX u ON t (lower(n::text))", ["unique index u"]),
    ("CREATE TABLE t (id int, r int4range, EXCLUDE USING gist (r WITH &&))", ["exclusion constraint", "id WITH ="]),
    ("CREATE EXTENSION btree_gist; CREATE TABLE t (id int, x text, EXCLUDE USING gist ((lower(x)) WITH =, id WITH <>))",
     ["exclusion constraint", "leaves out the sharding key"]),
    (f"{CI}; CREATE TABLE t (id text, EXCLUDE USING btree (id COLLATE ci WITH =))",
     ["exclusion constraint t_id_excl compares id", "by another equality"]),
    (f"{CI}; CREATE TABLE t (id text); CREATE UNIQUE INDEX u ON t (id COLLATE ci)",
     ["unique index u compares id", "by another equality"]),
    ("CREATE TABLE t (id varchar); CREATE UNIQUE INDEX u ON t (id bpchar_ops)", ["unique index u compares id"]),
    ("CREATE TABLE t (id int, n int); CREATE UNIQUE INDEX u ON t (n); ALTER TABLE t ADD FOREIGN KEY (id) REFERENCES t (n)",
     ["unique index u leaves out"]),
    ("CREATE TABLE o (x int PRIMARY KEY); CREATE TABLE t (id int, x int REFERENCES o)",
     ["foreign key t_x_fkey", ".o, which is not in the config"]),
    ("CREATE TABLE t (id int, n int) PARTITION BY RANGE (id); CREATE TABLE p PARTITION OF t (UNIQUE (n)) DEFAULT",
     ["UNIQUE constraint p_n_key of partition c", ".p DROP CONSTRAINT p_n_key"]),
    ("CREATE TABLE t (id int, n int) PARTITION BY RANGE (id); CREATE TABLE p PARTITION OF t DEFAULT;"
     "CREATE UNIQUE INDEX u ON p (n)", ["unique index u of partition c"]),
    ("CREATE TABLE o (x int PRIMARY KEY); CREATE TABLE t (id int, x int) PARTITION BY RANGE (id);"
     "CREATE TABLE p PARTITION OF t (FOREIGN KEY (x) REFERENCES o) DEFAULT",
     ["foreign key p_x_fkey of partition c", ".o, which is not in the config"]),
    ("CREATE TABLE t (id int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
     "'BEGIN INSERT INTO t VALUES (1); RETURN NEW; END'; CREATE TRIGGER g AFTER INSERT ON t FOR EACH ROW "
     "EXECUTE FUNCTION f()", ["trigger g", "DISABLE TRIGGER g"]),
    ("CREATE TABLE t (id int); CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING", ["rules (r)"]),
    ("CREATE TABLE t (id int, n smallserial)", ["column n", "t_n_seq", "too few values"]),
    ("CREATE TABLE t (id int, n int GENERATED ALWAYS AS IDENTITY (CYCLE))", ["column n", "cycles"]),
    ("CREATE TABLE t (n int)", ['no column "id"']),
    ("CREATE DOMAIN d AS int; CREATE TABLE t (id d)", ["a domain"]),
    ("CREATE TYPE e AS ENUM ('a'); CREATE TABLE t (id e)", ["an enum"]),
    ("CREATE TABLE t (id jsonb)", ["jsonb", "cannot be a sharding key"]),
    ("CREATE TABLE t (a int, id int GENERATED ALWAYS AS (a + 1) STORED)", ["generated"]),
    (f"{CI}; CREATE TABLE t (id text COLLATE ci)", ["nondeterministic", "ci"]),
    ("CREATE VIEW t AS SELECT 1 AS id", ["a view"]),
    ("CREATE MATERIALIZED VIEW t AS SELECT 1 AS id", ["a materialized view"]),
    ("CREATE UNLOGGED TABLE t (id int)", ["unlogged"]),
    ("CREATE TABLE b (id int); CREATE TABLE t () INHERITS (b)", ["inheritance"]),
    ("CREATE TABLE t (id int); CREATE TABLE b () INHERITS (t)", ["inheritance"]),
    ("CREATE TABLE b (id int) PARTITION BY RANGE (id); CREATE TABLE t PARTITION OF b DEFAULT", ["it is a partition"]),
    ("CREATE TABLE t (id int CONSTRAINT mosaic_owner CHECK (id > 0))", ["pgmosaic did not make"]),
    ("SELECT 1", ["the table is not there", "exec --all -f schema.sql"]),
]


def test_what_speaks_against_each_of_many_tables(cluster):
    """One apply of all of them, each in a schema of its own: everything is said at once."""
    for number, (schema, _) in enumerate(AGAINST):
        cluster.lab.everywhere(f"CREATE SCHEMA c{number}; SET search_path = c{number}; {schema}")
    cluster.tables = [f"name: c{number}.t, key: id" for number in range(len(AGAINST))]
    text = cluster.refused(f"table c{len(AGAINST) - 1}.t")
    blocks = re.split(r"^(?=error|warning|pgmosaic)", text, flags=re.MULTILINE)
    for number, (schema, words) in enumerate(AGAINST):
        said = "".join(block for block in blocks if block.startswith(f"error: table c{number}.t on"))
        said += "".join(block for block in blocks if block.startswith(f"error: table c{number}.t:"))
        for word in words:
            assert word in said, f"{schema}: {word!r} is not in:\n{said}"


def test_what_is_fine_or_only_a_warning(cluster):
    cluster.lab.everywhere("""
        CREATE TABLE countries (code text PRIMARY KEY); CREATE EXTENSION btree_gist;
        CREATE TABLE parents (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE parents_1 PARTITION OF parents DEFAULT; CREATE UNIQUE INDEX ON parents_1 (id);
        CREATE TABLE kids (id int REFERENCES parents_1);
        CREATE TABLE t (id int REFERENCES parents, n int, country text REFERENCES countries,
            at_updated timestamptz DEFAULT now(),
            PRIMARY KEY (n, id), EXCLUDE USING btree (id WITH =, n WITH =),
            EXCLUDE USING gist (int4range(n, n + 9) WITH &&, id WITH =));
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN /* no update */ IF TG_OP = 'UPDATE' THEN NEW.at_updated := now(); END IF; -- nor insert
            RETURN NEW; END $$;
        CREATE TRIGGER touch BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();
        ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE SEQUENCE q""")
    for shard in range(3):
        cluster.lab.query(shard, f"CREATE SEQUENCE own INCREMENT BY 3 START {shard + 1}; "
                                 "ALTER TABLE t ADD serial bigint DEFAULT nextval('own')")
    cluster.tables = ["name: t, key: id", "name: parents, key: id", "name: kids, key: id",
                      "name: countries, kind: reference"]
    err = cluster.applied().stderr
    assert "warning" in err and "trigger touch" in err and "row level security" in err and "error" not in err


def test_foreign_keys_between_the_kinds(cluster):
    cluster.lab.everywhere("""
        CREATE TABLE a (id int PRIMARY KEY, x int); CREATE TABLE b (id bigint PRIMARY KEY, other int REFERENCES a);
        CREATE TABLE c (id text PRIMARY KEY); CREATE TABLE r (id int PRIMARY KEY REFERENCES a)""")
    cluster.tables = ["name: a, key: id", "name: b, key: id", "name: r, kind: reference"]
    cluster.refused("b_other_fkey", "leaves out the sharding key", "r_id_fkey", "reference table")
    cluster.tables = ["name: a, key: id", "name: r, key: id, function: modulo"]
    cluster.refused("r_id_fkey", "not colocated")


def test_everything_is_said_at_once(cluster):
    cluster.lab.everywhere("CREATE TABLE a (id int, n serial UNIQUE); CREATE TABLE b (id jsonb)")
    cluster.tables = ["name: a, key: id", "name: b, key: id", "name: c, key: id"]
    text = cluster.refused("a_n_key", "jsonb", "the table is not there")
    assert "3 reasons" in text and "on shards s0, s1, s2" in text


def test_differences_between_shards_are_named(cluster):
    cluster.lab.query(0, "CREATE TABLE t (id int, a text NOT NULL, b int DEFAULT 1, c text COLLATE \"C\", d int, "
                         "CHECK (d > 0)); CREATE INDEX i ON t (d)")
    cluster.lab.query(1, "CREATE TABLE t (id int, a varchar(9), b int DEFAULT 2, c text, e int)")
    cluster.lab.query(2, "CREATE TABLE t (id int, a text NOT NULL, b int DEFAULT 1, c text COLLATE \"C\", d int, "
                         "CHECK (d > 1)); CREATE INDEX i ON t (d)")
    for shard, columns in enumerate(["id int, a text, b text", "id int, b text, a text", "id int, a text, b text"]):
        cluster.lab.query(shard, f"CREATE TABLE u ({columns})")
    cluster.tables = ["name: t, key: id", "name: u, key: id"]
    text = cluster.refused("column a is character varying(9), on shard s0 text", "column a is nullable",
                           "default of column b",
                           "collation of column c", "column d is missing", "column e stands here", "t_d_check",
                           "table u on shard s1: column 2 is b, on shard s0 a: rows given without a list of columns")
    assert re.search(r"warning.*index i is missing", text)


def test_settings_that_decide_values_are_the_same_on_every_shard(users):
    """Else one midnight is another on each shard. What is said to mend it does."""
    role = users.lab.query(0, "SELECT current_user")[0][0]
    database, other = (users.lab.query(shard, "SELECT quote_ident(current_database())")[0][0] for shard in (0, 1))
    try:
        users.lab.query(0, f"ALTER DATABASE {database} SET TimeZone = 'Asia/Tokyo'")
        users.lab.query(0, f"ALTER DATABASE {database} SET search_path = public, \"$user\"")
        users.lab.query(0, f"ALTER ROLE {role} SET IntervalStyle = 'iso_8601'")
        said = users.refused('TimeZone is "', 'on shard s0 "Asia/Tokyo"', f'for role {role}, on shard s0 "iso_8601"')
        for shard in (1, 2):
            for statement in re.findall(r"ALTER (?:ROLE \S+ IN )?DATABASE .*", said):
                here = users.lab.query(shard, "SELECT current_database()")[0][0]
                users.lab.query(shard, statement.replace(other.strip('"'), here))
        users.applied()
    finally:
        for shard in range(LAB_SHARDS):
            name = users.lab.query(shard, "SELECT quote_ident(current_database())")[0][0]
            users.lab.query(shard, f"ALTER DATABASE {name} RESET ALL")
            users.lab.query(shard, f"ALTER ROLE {role} IN DATABASE {name} RESET ALL; ALTER ROLE {role} RESET ALL")


def test_rows_on_the_wrong_shard_are_counted_and_named(users):
    users.lab.query(1, "INSERT INTO users SELECT generate_series(1, 30)")
    text = users.refused("table users on shard s1", "20 rows do not belong")
    assert len(re.search(r"keys: ([\d, ]+)", text).group(1).split(",")) == 5
    assert users.lab.query(1, "SELECT count(*) FROM users") == [(30,)]


def test_null_keys_are_named(cluster):
    cluster.lab.everywhere("CREATE TABLE t (id int)")
    cluster.lab.query(2, "INSERT INTO t VALUES (NULL)")
    cluster.tables = ["name: t, key: id"]
    cluster.refused("1 rows do not belong", "NULL")


def test_copies_of_a_reference_table_that_differ(cluster):
    cluster.lab.everywhere("CREATE TABLE r (id int, t timestamptz, f float8); "
                           "INSERT INTO r VALUES (1, '2025-01-01 00:00Z', 0.1)")
    cluster.tables = ["name: r, kind: reference"]
    cluster.lab.query(1, "UPDATE r SET id = 2")
    cluster.refused("table r on shard s1", "1 rows differ")
    cluster.lab.query(1, "UPDATE r SET id = 1")
    cluster.applied()


def test_one_database_listed_twice(users):
    real, alias = users.lab.conninfo, users.lab.conninfo(0).replace("127.0.0.1", "127.0.0.2")
    text = f'cluster: shop\nshards:\n  - {{name: s0, conninfo: "{real(0)}"}}\n  - {{name: s1, conninfo: "{alias}"}}\n'
    path = users.directory / "twice.yaml"
    path.write_text(text)
    done = run_command("apply", path, "--yes", cwd=users.directory)
    assert done.returncode == 1
    assert "the same database as shard s0" in done.stderr or "127.0.0.2" in done.stderr
    path.write_text(text.replace("127.0.0.2", "localhost"))
    done = run_command("apply", path, "--yes", cwd=users.directory)
    assert done.returncode == 2 and "have one address" in done.stderr


def test_a_shard_that_does_not_answer_and_a_wrong_database(users):
    users.write()
    text = users.path.read_text()
    port = re.search(r"port=(\d+)", users.lab.conninfo(1)).group(1)
    before = users.snapshot()
    users.path.write_text(text.replace(f"port={port}", "port=1"))
    done = run_command("apply", users.path, "--yes", cwd=users.directory)
    assert done.returncode == 1 and "s1" in done.stderr
    head, _, tail = text.partition(f"port={port}")
    users.path.write_text(head + f"port={port}" + tail.replace("dbname=", "dbname=no", 1))
    done = run_command("apply", users.path, "--yes", cwd=users.directory)
    assert done.returncode == 1 and "s1" in done.stderr
    assert users.snapshot() == before


def test_citus_comes_later(users):
    users.extra = "engine: citus"
    for command in ("apply", "status"):
        users.write()
        arguments = (users.path, "--yes") if command == "apply" else ("-c", users.path)
        done = run_command(command, *arguments, cwd=users.directory)
        assert done.returncode not in (0, 3) and "citus" in done.stderr


# ---- others at work -------------------------------------------------------------------------------------------------


def test_two_at_once_exclude_each_other(users):
    users.applied()
    with users.lab.connect(0) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('pgmosaic apply'), 1)")
        done = users.apply()
        assert done.returncode == 1 and "another apply is running" in done.stderr
        assert re.search(r"process \d+", done.stderr)
        assert users.apply("--dry-run").returncode == 0
    results = []
    threads = [threading.Thread(target=lambda: results.append(
        run_command("apply", users.path, "--yes", cwd=users.directory).returncode)) for _ in range(3)]
    users.tables = []
    users.write()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(results) <= {0, 1} and 0 in results and users.epochs() == [2, 2, 2]


def test_a_table_in_use_is_not_locked_for_long(users):
    """A long transaction holds the table: apply waits for it, and others get through meanwhile."""
    with users.lab.connect(1) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN; SELECT * FROM users")
        users.write()
        process = subprocess.Popen([COMMAND, "apply", users.path, "--yes"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=environment(), cwd=users.directory, text=True)
        time.sleep(1)
        slowest = 0
        for _ in range(20):
            start = time.monotonic()
            users.lab.query(1, "SELECT count(*) FROM users")
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.05)
        assert process.poll() is None and slowest < 1
        cursor.execute("COMMIT")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert users.constraint(1, "users")[1]


ALWAYS = {"apply.schema=2", "apply.validated", "apply.before_catalog", "apply.epoch=2"}
POINTS = ["apply.schema", "apply.schema=2", "apply.constraint", "apply.constraint=3", "apply.validated",
          "apply.validated=3", "apply.before_catalog", "apply.after_catalog", "apply.epoch",
          "apply.epoch=2"]


@at_points(POINTS, ALWAYS)
def test_killed_at_any_step_and_run_again(users, control_points, point):
    name, _, nth = point.partition("=")
    users.write()
    done = run_command("apply", users.path, "--yes", cwd=users.directory,
                       env={"MOSAIC_CONTROL_POINT": f"{name}={nth + ':' if nth else ''}kill"})
    assert done.returncode == -9, done.stdout + done.stderr
    users.applied()
    assert users.epochs() == [1, 1, 1] and all(users.constraint(shard, "users")[1] for shard in range(3))
    assert "nothing to change" in users.applied().stdout
    assert len(users.lab.query(0, "SELECT id FROM mosaic.history")) == 1


@pytest.mark.parametrize("point", ["adopt.locked", "adopt.fenced"])
def test_killed_while_a_table_that_stands_everywhere_is_taken_in(users, control_points, point):
    tables, users.tables = users.tables, []
    users.applied()
    users.tables = tables
    users.write()
    done = run_command("apply", users.path, "--yes", cwd=users.directory, env={"MOSAIC_CONTROL_POINT": f"{point}=kill"})
    assert done.returncode == -9, done.stdout + done.stderr
    users.applied()
    assert all(users.constraint(shard, "users")[1] for shard in range(3))
    assert "nothing to change" in users.applied().stdout


@at_points(["apply.before_catalog", "apply.after_catalog", "apply.drop", "apply.epoch"], {"apply.drop"})
def test_killed_while_a_table_goes(users, control_points, point):
    name, _, nth = point.partition("=")
    users.applied()
    for shard in (1, 2):
        users.lab.query(shard, "DROP TABLE users")
    users.tables = []
    users.write()
    done = run_command("apply", users.path, "--yes", cwd=users.directory,
                       env={"MOSAIC_CONTROL_POINT": f"{name}={nth + ':' if nth else ''}kill"})
    assert done.returncode == -9, done.stdout + done.stderr
    users.applied()
    assert users.epochs() == [2, 2, 2] and users.constraint(0, "users") is None


# ---- the config, by the command -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text, words", [
    ("", ["mosaic.yaml", "empty"]),
    ("cluster: shop\nshards:\n\t- {name: s0}\n", [":3:", "tab"]),
    ("cluster: shop\nshards: []\n", [":2:"]),
    ("cluster: shop\nshards: &a\n  - *a\n", [":2:", "anchors"]),
    ("cluster: shop\nshards:\n  - {name: s0, conninfo: 'dbname=x', wieght: 3}\n", [":3:", '"wieght"', '"weight"']),
])
def test_a_config_that_cannot_be_used(directory, text, words):
    path = directory / "mosaic.yaml"
    path.write_text(text)
    done = run_command("apply", path, "--yes", cwd=directory)
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr
