"""Growing out of one database: `pgmosaic apply` moves tables that stand on the home shard alone."""
import contextlib
import copy
import signal
import subprocess
import threading
import time

import psycopg2
import pytest

from conftest import COMMAND, at_points, environment, run_command, superuser
from proxies import ask, eventually, start_proxy
from test_apply import Cluster
from test_twophase import wait_stopped

LAB_SHARDS = 3

pytestmark = pytest.mark.light


@pytest.fixture
def cluster(lab, directory):
    return Cluster(lab, directory)


# ---- a table of the home shard is spread ----------------------------------------------------------------------------

ORDERS = """
    CREATE SCHEMA sales; CREATE TYPE sales.mood AS ENUM ('sad', 'ok', 'happy');
    CREATE DOMAIN sales.positive AS int CHECK (VALUE > 0); CREATE TYPE sales.place AS (x int, m sales.mood);
    CREATE FUNCTION sales.twice(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * i';
    CREATE FUNCTION sales.touch() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN IF TG_OP = ''DELETE'' THEN RAISE ''no''; END IF; NEW.note := coalesce(NEW.note, ''none''); RETURN NEW; END';
    CREATE TABLE sales.orders (customer_id bigint NOT NULL, id int NOT NULL, note text, price numeric(12, 3), f float8,
        at timestamptz, day date, span interval, raw bytea, tags text[], doc jsonb, mood sales.mood, moods sales.mood[],
        qty sales.positive, spot sales.place, net inet, r int4range, "Odd ""x" text DEFAULT 'é', flags bit(3),
        uid uuid, x xml, cash money, twice int GENERATED ALWAYS AS (sales.twice(id)) STORED,
        PRIMARY KEY (customer_id, id), CHECK (sales.twice(id) >= id));
    CREATE INDEX orders_note ON sales.orders (lower(note)) WHERE note IS NOT NULL;
    COMMENT ON TABLE sales.orders IS 'what was ordered'; COMMENT ON COLUMN sales.orders.note IS 'a note';
    CREATE TRIGGER touch BEFORE INSERT OR UPDATE OR DELETE ON sales.orders FOR EACH ROW EXECUTE FUNCTION sales.touch();
    ALTER TABLE sales.orders ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON sales.orders USING (qty IS NOT NULL);
    GRANT SELECT ON sales.orders TO PUBLIC;
    INSERT INTO sales.orders (customer_id, id, note, price, f, at, day, span, raw, tags, doc, mood, moods, qty, spot,
        net, r, flags, uid, x, cash)
    SELECT c, i, CASE WHEN i % 3 > 0 THEN E'tab\\t new\\nline \\\\ ' || i END, c / 7.0, c / 3.0::float8,
        '2025-01-01 12:00+02'::timestamptz + i * interval '1 h', '2024-02-29', i * interval '1 mon 1 day',
        decode('00ff5c', 'hex'), ARRAY['a,b', NULL, '"'], '{"a": [1, null]}', 'ok', ARRAY['sad', 'happy']::sales.mood[],
        i + 1, ROW(i, 'happy')::sales.place, '10.0.0.1/8', int4range(i, i + 2), B'101',
        md5(c::text || i)::uuid, '<a>&amp;</a>', 12.5
    FROM generate_series(-50, 149) c, generate_series(0, 4) i"""
SHARDED = "name: sales.orders, key: customer_id, function: modulo"
ROWS = "SELECT o::text FROM sales.orders o ORDER BY customer_id, id"


def rows_of(cluster, sql, shards=range(3)):
    return sorted(row for shard in shards for row in cluster.lab.query(shard, sql))


def clean_others(cluster):
    for shard in (1, 2):
        cluster.lab.query(shard, "DROP SCHEMA IF EXISTS sales CASCADE")


def moved(cluster, table, before, sql):
    """Every row is there once, on its owner; the constraint is valid; nothing is left of the move."""
    assert rows_of(cluster, sql) == before
    for shard in range(3):
        assert cluster.constraint(shard, table)[1]
        assert cluster.lab.query(shard, "SELECT count(*) FROM mosaic.arrival") == [(0,)]
        assert cluster.lab.query(shard, f"SELECT count(*) FROM {table}")[0][0] > 0
    assert len(set(cluster.epochs())) == 1
    assert "nothing to change" in cluster.applied().stdout


def test_a_table_with_all_kinds_of_types_moves(cluster):
    cluster.lab.query(0, ORDERS)
    before = rows_of(cluster, ROWS, [0])
    assert len(before) == 1000
    cluster.lab.query(0, "ANALYZE sales.orders")
    cluster.tables = [SHARDED]
    plan = cluster.apply("--dry-run")
    assert "~ table sales.orders: 1000 rows (estimated) move from home shard s0 by customer_id" in plan.stdout
    assert cluster.lab.query(1, "SELECT to_regnamespace('sales')") == [(None,)]
    done = cluster.applied()
    assert "table sales.orders: 670 rows moved to other shards, compared" in done.stderr, done.stderr
    moved(cluster, "sales.orders", before, ROWS)
    for shard in range(3):
        assert cluster.lab.query(shard, "SELECT count(*) FROM sales.orders WHERE mod(mod(customer_id, 3) + 3, 3) <> "
                                        f"{shard}") == [(0,)]
    definition = """
        SELECT 'k', conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE conrelid = 'sales.orders'::regclass AND conname <> 'mosaic_owner'
        UNION ALL SELECT 'i', indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
        WHERE indrelid = 'sales.orders'::regclass
        UNION ALL SELECT 't', tgname, pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger
        WHERE tgrelid = 'sales.orders'::regclass
        UNION ALL SELECT 'p', polname, pg_get_expr(polqual, polrelid) FROM pg_policy
        UNION ALL SELECT 'c', relacl::text, relrowsecurity || obj_description(oid) || relowner::regrole FROM pg_class
        WHERE oid = 'sales.orders'::regclass
        UNION ALL SELECT 'a', attname, format_type(atttypid, atttypmod) || attnotnull || coalesce(col_description(attrelid,
            attnum), '') || coalesce(pg_get_expr(adbin, adrelid), '') FROM pg_attribute
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attrelid = 'sales.orders'::regclass AND attnum > 0 ORDER BY 1, 2, 3"""
    first = cluster.lab.query(0, definition)
    assert len(first) > 28
    for shard in (1, 2):
        assert cluster.lab.query(shard, definition) == first


def test_several_tables_with_foreign_keys_and_a_reference_table(cluster):
    cluster.lab.query(0, """
        CREATE TABLE countries (code text PRIMARY KEY); INSERT INTO countries VALUES ('de'), ('fr');
        CREATE TABLE users (id int PRIMARY KEY, country text REFERENCES countries, boss int);
        ALTER TABLE users ADD FOREIGN KEY (id) REFERENCES users ON DELETE CASCADE;
        CREATE TABLE notes (user_id int REFERENCES users ON DELETE RESTRICT, n int, PRIMARY KEY (user_id, n));
        CREATE TABLE logs (user_id int REFERENCES users ON DELETE CASCADE, at int) PARTITION BY RANGE (at);
        CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (5);
        CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM (5) TO (10);
        CREATE TABLE settings (k text, country text REFERENCES countries);
        INSERT INTO users SELECT i, 'de' FROM generate_series(1, 100) i;
        INSERT INTO notes SELECT i, n FROM generate_series(1, 100) i, generate_series(1, 3) n;
        INSERT INTO logs SELECT i, n FROM generate_series(1, 100) i, generate_series(0, 9) n""")
    queries = {table: f"SELECT t::text FROM {table} t" for table in ("users", "notes", "logs")}
    before = {table: rows_of(cluster, sql, [0]) for table, sql in queries.items()}
    cluster.tables = ["name: users, key: id", "name: notes, key: user_id", "name: logs, key: user_id",
                      "name: countries, kind: reference"]
    done = cluster.applied()
    assert "table countries: 2 rows copied to every shard, compared" in done.stderr
    for table, sql in queries.items():
        moved(cluster, table, before[table], sql)
    for shard in range(3):
        assert cluster.lab.query(shard, "SELECT code FROM countries ORDER BY 1") == [("de",), ("fr",)]
        assert cluster.constraint(shard, "logs_1")[1]
        assert cluster.lab.query(shard, """SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE contype = 'f' AND conparentid = 0 AND conrelid::regclass::text NOT IN ('settings', 'mosaic.relation')
            ORDER BY 1, 2""") == [
            ("logs", "FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE"),
            ("notes", "FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE RESTRICT"),
            ("users", "FOREIGN KEY (country) REFERENCES countries(code)"),
            ("users", "FOREIGN KEY (id) REFERENCES users(id) ON DELETE CASCADE")]


def test_what_cannot_move_is_refused_before_anything_is_done(cluster):
    cluster.lab.query(0, "CREATE TABLE t (id int, n int UNIQUE); INSERT INTO t VALUES (1, 1), (NULL, 2), (NULL, 3);"
                         "CREATE TABLE u (t int REFERENCES t (n) ON DELETE CASCADE)")
    cluster.tables = ["name: t, key: id"]
    text = cluster.refused("2 rows have no key that a shard owns; keys: NULL, NULL", "t_n_key", "leaves out the sharding key",
                           "foreign key u_t_fkey of public.u, which stays on the home shard")
    assert "table t on shard s0" in text
    cluster.tables = ["name: ordres, key: id"]
    cluster.refused("table ordres on shards s0, s1, s2", "does not exist (SQLSTATE 42P01)")
    cluster.lab.query(0, "CREATE TABLE l (c text); INSERT INTO l VALUES ('de'), ('xx')")
    cluster.tables = ['name: l, key: c, function: list, lists: [{values: [de], shard: s0}, {values: [it], shard: s2}]']
    cluster.refused("1 rows have no key that a shard owns; keys: xx")
    cluster.lab.query(1, "CREATE TABLE l (c text)")
    cluster.refused("table l on shard s2", "the table is not there")


def test_foreign_keys_of_partitions_and_to_them_are_seen(cluster):
    """Rows of what stays at home would be deleted by a cascade of the deletion of what has moved."""
    cluster.lab.query(0, """
        CREATE TABLE users (id bigint PRIMARY KEY); INSERT INTO users SELECT generate_series(1, 9);
        CREATE TABLE logs (user_id bigint, at int) PARTITION BY RANGE (at);
        CREATE TABLE logs_1 PARTITION OF logs (CONSTRAINT own FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE)
            FOR VALUES FROM (0) TO (5);
        INSERT INTO logs SELECT i, 1 FROM generate_series(1, 9) i;
        CREATE TABLE events (id bigint PRIMARY KEY, what text) PARTITION BY RANGE (id);
        CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (50);
        INSERT INTO events SELECT generate_series(1, 9);
        CREATE TABLE notes (event bigint CONSTRAINT of_part REFERENCES events_1 ON DELETE CASCADE);
        INSERT INTO notes SELECT generate_series(1, 9)""")
    cluster.tables = ["name: users, key: id, function: modulo"]
    cluster.refused("foreign key own of public.logs_1, which stays on the home shard, references it")
    cluster.tables = ["name: events, key: id, function: modulo"]
    cluster.refused("foreign key of_part of public.notes, which stays on the home shard, references it")
    assert cluster.lab.query(0, "SELECT (SELECT count(*) FROM logs), (SELECT count(*) FROM notes)") == [(9, 9)]
    cluster.tables = ["name: users, key: id, function: modulo", "name: logs, key: user_id, function: modulo"]
    cluster.applied()
    moved(cluster, "logs", [(i, 1) for i in range(1, 10)], "SELECT user_id, at FROM logs")
    cluster.tables = ["name: logs, key: user_id, function: modulo"]
    cluster.refused("foreign key own of public.logs references the table, which is to be dropped here")
    cluster.tables = ["name: users, key: id, function: modulo"]
    cluster.refused("foreign key own references users, which stays spread")


def test_triggers_of_partitions_are_not_told_of_rows_that_move(cluster):
    cluster.lab.query(0, """
        CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''told by %'', TG_NAME; END';
        CREATE TABLE logs (user_id bigint, at int) PARTITION BY RANGE (at);
        CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (5);
        CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM (5) TO (10) PARTITION BY RANGE (at);
        CREATE TABLE logs_2a PARTITION OF logs_2 FOR VALUES FROM (5) TO (7);
        CREATE TABLE logs_2b PARTITION OF logs_2 FOR VALUES FROM (7) TO (10);
        INSERT INTO logs SELECT i, n FROM generate_series(1, 9) i, generate_series(0, 9) n;
        CREATE TRIGGER all_of_them AFTER DELETE ON logs FOR EACH ROW EXECUTE FUNCTION no();
        CREATE TRIGGER one AFTER DELETE ON logs_1 FOR EACH ROW EXECUTE FUNCTION no();
        CREATE TRIGGER two AFTER DELETE ON logs_2 FOR EACH ROW EXECUTE FUNCTION no();
        ALTER TABLE logs DISABLE TRIGGER all_of_them; ALTER TABLE logs_2b ENABLE ALWAYS TRIGGER all_of_them;
        ALTER TABLE logs_2a DISABLE TRIGGER two""")
    states = "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"
    before, rows = cluster.lab.query(0, states), cluster.lab.query(0, "SELECT * FROM logs ORDER BY 1, 2")
    assert ("logs_2b", "all_of_them", "A") in before and ("logs_2a", "two", "D") in before
    cluster.tables = ["name: logs, key: user_id, function: modulo"]
    cluster.applied()
    moved(cluster, "logs", rows, "SELECT * FROM logs ORDER BY 1, 2")
    assert cluster.lab.query(0, states) == before
    cluster.tables = []
    cluster.applied()
    at_home(cluster, "logs", rows, "SELECT * FROM logs ORDER BY 1, 2")
    assert cluster.lab.query(0, states) == before


def test_a_trigger_of_a_partition_that_could_touch_other_rows_is_refused(cluster):
    cluster.lab.query(0, """
        CREATE TABLE seen (n int); CREATE TABLE logs (user_id bigint, at int) PARTITION BY RANGE (at);
        CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (5);
        CREATE FUNCTION notes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO seen VALUES (1); RETURN NEW; END';
        CREATE TRIGGER one AFTER INSERT ON logs_1 FOR EACH ROW EXECUTE FUNCTION notes()""")
    cluster.tables = ["name: logs, key: user_id, function: modulo"]
    assert "DROP TRIGGER one ON public.logs_1" in cluster.refused("trigger one may read or write other rows")


def test_what_stands_beside_a_table_that_moves(cluster):
    """Views stay at home: where that breaks a statement it is said before. Publications would delete at subscribers."""
    cluster.lab.query(0, "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT i, i FROM generate_series(1, 99) i;"
                         "CREATE VIEW v AS SELECT id, n FROM t; CREATE VIEW w AS SELECT count(*) AS c FROM v;"
                         "CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE STATISTICS st ON id, n FROM t;"
                         "CREATE TABLE r (id int)")
    with superuser(cluster.lab, 0) as cursor:
        cursor.execute("CREATE PUBLICATION p FOR TABLE t, r; CREATE PUBLICATION q FOR ALL TABLES WITH (publish = 'insert')")
    cluster.tables = ["name: t, key: id, function: modulo", "name: r, kind: reference"]
    text = cluster.refused("publication p would tell its subscribers that the rows which move are deleted")
    assert "publication q" not in text and "table r" not in text
    with superuser(cluster.lab, 0) as cursor:
        cursor.execute("DROP PUBLICATION p, q")
    said = cluster.applied().stderr
    assert "view public.v reads the table and does not come along" in said and "view public.w reads" in said
    assert "materialized view public.m of the table stays as it is" in said and "public.st" not in said
    lab = copy.copy(cluster.lab)
    lab.env, lab.name = {**lab.env, "PGMOSAIC_CONFIG": str(cluster.path)}, cluster.name
    with start_proxy(lab) as proxy:
        assert ask(proxy.psycopg2(), "SELECT n FROM v WHERE id = 3") == [(3,)]
        assert ask(proxy.psycopg2(), "SELECT c, (SELECT max(n) FROM v) FROM w") == [(99, 99)]  # the coordinator has them
        with pytest.raises(psycopg2.errors.UndefinedTable):
            ask(proxy.psycopg2(), "SELECT n FROM v WHERE id = 4")
        for shard in (1, 2):
            cluster.lab.query(shard, "CREATE VIEW v AS SELECT id, n FROM t")
        assert ask(proxy.psycopg2(), "SELECT n FROM v WHERE id = 4") == [(4,)]
        assert ask(proxy.psycopg2(), "SELECT count(*), min(n) FROM v") == [(99, 1)]


def test_roles_grants_and_policies_of_a_table_that_moves(cluster):
    """Roles that the role of apply may not make are asked for; where it may, they are made, members, groups and all."""
    made = """CREATE ROLE growing_readers NOINHERIT; CREATE ROLE growing_anna LOGIN PASSWORD 'x'; CREATE ROLE "growing Staff";
              CREATE ROLE growing_all; CREATE ROLE growing_other; GRANT growing_readers, "growing Staff" TO growing_anna;
              GRANT growing_all TO "growing Staff", growing_other"""
    drop = """DROP OWNED BY growing_readers, growing_anna;
              DROP ROLE IF EXISTS growing_readers, growing_anna, "growing Staff", growing_all, growing_other"""
    role = cluster.lab.query(0, "SELECT current_user")[0][0]
    with superuser(cluster.lab, 0) as cursor:
        cursor.execute(made)
    try:
        cluster.lab.query(0, "CREATE TABLE t (id int PRIMARY KEY, secret text); GRANT SELECT (id) ON t TO growing_readers;"
                             "GRANT USAGE ON SCHEMA public TO growing_readers;"
                             "ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
                             "CREATE POLICY p ON t TO growing_readers USING (id > 10);"
                             "INSERT INTO t SELECT generate_series(1, 99)")
        cluster.tables = ["name: t, key: id, function: modulo"]
        cluster.refused("shards s1, s2: role growing_readers of the home shard is missing, and this role may not make it",
                        "role growing_anna of the home shard is missing", "role growing Staff of the home shard is missing")
        for shard in (1, 2):
            with superuser(cluster.lab, shard) as cursor:
                cursor.execute(f'ALTER ROLE "{role}" CREATEROLE')
        with superuser(cluster.lab, 2) as cursor:
            cursor.execute('CREATE ROLE "growing Staff"')
        out = cluster.applied().stdout
        assert "+ role growing_anna on s1" in out and "+ role growing_all on s1" in out and "growing_other" not in out
        members = [("growing Staff", "growing_anna"), ("growing_readers", "growing_anna")]
        for shard, more in (1, [("growing_all", "growing Staff")]), (2, []):  # there the group was, in none of its own
            assert cluster.lab.query(shard, """SELECT g.rolname, r.rolname FROM pg_auth_members m JOIN pg_roles g
                ON g.oid = roleid JOIN pg_roles r ON r.oid = member WHERE r.rolname ~ 'growing'
                ORDER BY 1""") == members[:1] + more + members[1:]
        for shard in range(3):
            with superuser(cluster.lab, shard) as cursor:
                cursor.execute("SELECT rolcanlogin, rolinherit FROM pg_roles WHERE rolname ~ 'g_(anna|readers)' ORDER BY rolname")
                assert cursor.fetchall() == [(True, True), (False, False)]
                cursor.execute("SET ROLE growing_anna; SET ROLE growing_readers; SELECT min(id) > 10 FROM t")
                assert cursor.fetchall() == [(True,)]
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute("SELECT secret FROM t")
    finally:
        for shard in range(3):
            with superuser(cluster.lab, shard) as cursor, contextlib.suppress(psycopg2.Error):
                cursor.execute(f'ALTER ROLE "{role}" NOCREATEROLE')
                cursor.execute(drop)


def test_a_stale_session_never_sees_a_part(cluster):
    """Sessions that were there before the move are ended; statements that waited for it fail, none gives a part."""
    cluster.lab.query(0, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 30000)")
    cluster.tables = ["name: t, key: id"]
    answers, stop = [], threading.Event()

    def read():
        with cluster.lab.connect(0) as connection, connection.cursor() as cursor:
            try:
                while not stop.is_set():
                    cursor.execute("SELECT count(*) FROM t")
                    answers.append(cursor.fetchone()[0])
            except psycopg2.Error as error:
                answers.append(error.pgcode)

    def write():
        """Reads, then writes in the same transaction: it waits for the move, and the move for it."""
        with cluster.lab.connect(0) as connection, connection.cursor() as cursor:
            try:
                while not stop.is_set():
                    cursor.execute("BEGIN; SELECT count(*) FROM t; UPDATE t SET id = id WHERE id = 1; COMMIT")
            except psycopg2.Error as error:
                answers.append(error.pgcode)
    threads = [threading.Thread(target=work) for work in (read, read, write, write)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    cluster.applied()
    stop.set()
    for thread in threads:
        thread.join()
    assert set(answers) - {30000} <= {"57P01", "40P01", None} and answers.count(30000) > 5, set(answers)
    assert sum(1 for answer in answers if answer != 30000) == 4
    moved(cluster, "t", [(i,) for i in range(1, 30001)], "SELECT id FROM t")


@contextlib.contextmanager
def asked_all_the_time(proxy, answers):
    """Each statement of `answers`, a list of pairs, by a client of its own: what it gives, or its error, is appended to the
    list beside it."""
    stop = threading.Event()

    def read(sql, answered):
        while not stop.is_set():
            try:
                with proxy.session() as run:
                    while not stop.is_set():
                        answered.append(run(sql)[0][0])
            except psycopg2.Error as error:
                answered.append(str(error).strip())
                time.sleep(0.02)
    threads = [threading.Thread(target=read, args=pair) for pair in answers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_proxy_that_knows_the_old_map_never_gives_a_part(cluster):
    """It looks for a new map once an hour, and its config does not name the table: it may refuse, and nothing else."""
    cluster.lab.everywhere("CREATE TABLE u (id int PRIMARY KEY)")
    cluster.lab.query(0, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 30000)")
    cluster.tables = ["name: u, key: id"]
    cluster.applied()
    lab = copy.copy(cluster.lab)
    lab.env, lab.name = {**lab.env, "PGMOSAIC_CONFIG": str(cluster.path)}, cluster.name
    answers = []
    queries = ("SELECT count(*) FROM t", "SELECT count(*) FROM t",
               "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM u WHERE id < 0)")  # by the coordinator
    with start_proxy(lab, {"schema_check_interval": "1h", "query_wait_timeout": "2s"}) as proxy:
        assert ask(proxy.psycopg2(), "SELECT count(*) FROM t") == [(30000,)]
        with asked_all_the_time(proxy, [(sql, answers) for sql in queries]):
            eventually(lambda: answers.count(30000) > 20)
            cluster.tables.append("name: t, key: id")
            cluster.applied()
            refused = len(answers)
            time.sleep(1)
            assert 30000 not in answers[refused + 10:]  # nothing reads it by the old map
            config = proxy.config.read_text()
            proxy.config.write_text(config.replace("{name: u, key: id}", "{name: u, key: id}\n  - {name: t, key: id}"))
            proxy.process.send_signal(signal.SIGHUP)
            after = len(answers)
            eventually(lambda: 30000 in answers[after:], 20)
    assert {answer for answer in answers if isinstance(answer, int)} == {30000}


def test_a_proxy_whose_config_is_ahead_never_reads_what_has_not_arrived(cluster, control_points):
    """Left by an apply that was cut off: copies that nobody has kept alike since."""
    cluster.lab.query(0, "CREATE TABLE r (id int); INSERT INTO r VALUES (1); CREATE TABLE l (c text, n int);"
                         "INSERT INTO l VALUES ('de', 1), ('it', 1)")
    cluster.lab.everywhere("CREATE TABLE u (id int)")
    cluster.lab.query(1, "INSERT INTO u VALUES (1)")
    cluster.tables = ["name: u, key: id, function: modulo"]
    cluster.applied()
    cluster.tables += ["name: r, kind: reference", 'name: l, key: c, function: list, '
                      "lists: [{values: [de], shard: s0}, {values: [it], shard: s1}]"]
    cluster.write()
    done = run_command("apply", cluster.path, "--yes", cwd=cluster.directory, env={"MOSAIC_CONTROL_POINT": "grow.made=kill"})
    assert done.returncode == -9 and cluster.lab.query(1, "SELECT * FROM l, r") == [("it", 1, 1)]
    eventually(lambda: not cluster.lab.query(0, "SELECT FROM pg_locks WHERE relation = 'l'::regclass"))
    cluster.lab.query(0, "UPDATE r SET id = 2; UPDATE l SET n = 2")
    lab = copy.copy(cluster.lab)
    lab.env, lab.name = {**lab.env, "PGMOSAIC_CONFIG": str(cluster.path)}, cluster.name
    with start_proxy(lab) as proxy, proxy.session() as run:
        for sql in ("SELECT id FROM r", "SELECT r.id FROM r, u WHERE u.id = 1"):
            with contextlib.suppress(psycopg2.Error):
                assert run(sql) == [(2,)]
        with pytest.raises(psycopg2.Error) as refused:
            run("SELECT n FROM l WHERE c = 'it'")
        assert refused.value.pgcode == "55000" and "has no map" in str(refused.value), refused.value
        cluster.applied()

        def read():
            with contextlib.suppress(psycopg2.Error), proxy.session() as anew:
                return anew("SELECT n FROM l WHERE c = 'it'")
        assert eventually(read, 30) == [(2,)]


@pytest.fixture
def standing(cluster):
    """Tables that stand on every shard, of which the config and a proxy's name one: that looks for changes once an hour."""
    cluster.lab.everywhere("CREATE TABLE u (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, n int);"
                           "CREATE TABLE r (id int PRIMARY KEY)")
    cluster.tables = ["name: u, key: id, function: modulo"]
    cluster.applied()
    lab = copy.copy(cluster.lab)
    lab.env, lab.name = {**lab.env, "PGMOSAIC_CONFIG": str(cluster.path)}, cluster.name
    with start_proxy(lab, {"schema_check_interval": "1h", "query_wait_timeout": "2s"}) as proxy:
        cluster.tables += ["name: t, key: id, function: modulo", "name: r, kind: reference"]
        yield proxy


def test_what_stands_everywhere_is_taken_in_behind_a_fence(cluster, standing):
    """To a proxy of the old map it was a home table, of which it would read a part, and write one copy."""
    statements = ["SELECT count(*) FROM t", BY_COORDINATOR, "UPDATE t SET n = 1", "INSERT INTO r VALUES (1)"]
    with standing.session() as run:
        assert run(statements[0]) == run(BY_COORDINATOR) == [(0,)]
        cluster.applied()
        for shard in range(3):
            cluster.lab.query(shard, f"INSERT INTO t VALUES ({shard}, 0)")
        for sql in statements:
            for ask_it in run, lambda sql: ask(standing.psycopg2(), sql):
                with pytest.raises(psycopg2.Error):
                    pytest.fail(f"{sql} is {ask_it(sql)}")
    assert [cluster.lab.query(shard, "SELECT n FROM t") for shard in range(3)] == [[(0,)]] * 3
    assert [cluster.lab.query(shard, "SELECT count(*) FROM r") for shard in range(3)] == [[(0,)]] * 3
    config, first = standing.config.read_text(), "{" + cluster.tables[0] + "}"
    assert first in config
    standing.config.write_text(config.replace(first, "\n  - ".join(f"{{{table}}}" for table in cluster.tables)))
    standing.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: answered(standing, statements[0]), 20) == [(3,)]
    assert ask(standing.psycopg2(), "INSERT INTO r VALUES (1) RETURNING id") == [(1,)]
    assert eventually(lambda: answered(standing, BY_COORDINATOR), 20) == [(3,)]


def test_a_copy_that_is_written_behind_the_look_is_not_taken_in(cluster, control_points, standing):
    with stopped_at(cluster, "apply.before_catalog") as end:
        assert ask(standing.psycopg2(), "INSERT INTO r VALUES (1) RETURNING id") == [(1,)]
    assert end["code"] == 1 and "table r: 0 rows on shard s1, and 1 that it is to have" in end["text"], end
    assert cluster.epochs() == [1, 1, 1] and ask(standing.psycopg2(), "SELECT id FROM r") == [(1,)]
    cluster.tables.append("name: home, key: id, function: modulo")
    cluster.lab.query(0, "DELETE FROM r; CREATE TABLE home (id int)")
    with stopped_at(cluster, "apply.before_catalog") as end:  # along with one that moves
        cluster.lab.query(0, "INSERT INTO r VALUES (1)")
    assert end["code"] == 1 and "table r: 0 rows on shard s1, and 1 that it is to have" in end["text"], end
    assert cluster.epochs() == [1, 1, 1] and cluster.lab.query(1, "SELECT to_regclass('home')") == [(None,)]
    cluster.lab.query(0, "DELETE FROM r")
    assert "nothing to change" not in cluster.applied().stdout and cluster.epochs() == [2, 2, 2]


def test_a_proxy_hears_of_a_new_map(cluster, standing):
    read = standing.log.count("epoch 1, 3 shards")
    eventually(lambda: cluster.lab.query(0, "NOTIFY mosaic") or standing.log.count("epoch 1, 3 shards") > read)


@pytest.mark.long
def test_a_table_in_use_for_long_stays_as_it_is(cluster):
    cluster.lab.query(0, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)")
    cluster.tables = ["name: t, key: id"]
    cluster.write()
    with cluster.lab.connect(0) as reader, reader.cursor() as cursor:
        cursor.execute("BEGIN; SELECT * FROM t")
        done = cluster.apply()
        assert done.returncode == 1 and "in use: no lock on public.t within 60 s" in done.stderr, done.stderr
        cursor.execute("COMMIT")
    assert cluster.lab.query(0, "SELECT count(*) FROM t") == [(10,)]
    assert cluster.lab.query(1, "SELECT to_regclass('t')") == [(None,)]
    cluster.applied()
    moved(cluster, "t", [(i,) for i in range(1, 11)], "SELECT id FROM t")


GROW_POINTS = ["grow.locked", "grow.created", "grow.copied", "grow.verified", "grow.deleted", "grow.cut", "grow.fenced",
               "grow.made_one=1", "grow.made_one=2", "grow.made", "grow.moved", "apply.schema", "apply.before_catalog",
               "apply.after_catalog", "apply.epoch=1", "apply.epoch=2"]


@at_points(GROW_POINTS, {"grow.copied", "grow.moved"})
def test_killed_at_any_step_of_a_move_and_run_again(cluster, control_points, point):
    name, _, nth = point.partition("=")
    cluster.lab.query(0, "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE t (id int PRIMARY KEY, m mood);"
                         "INSERT INTO t SELECT i, 'b' FROM generate_series(1, 999) i;"
                         "CREATE TABLE r (id int PRIMARY KEY); INSERT INTO r SELECT generate_series(1, 10)")
    cluster.tables = ["name: t, key: id, function: modulo", "name: r, kind: reference"]
    cluster.write()
    done = run_command("apply", cluster.path, "--yes", cwd=cluster.directory,
                       env={"MOSAIC_CONTROL_POINT": f"{name}={nth + ':' if nth else ''}kill"})
    assert done.returncode == -9, done.stdout + done.stderr
    until = time.monotonic() + 10  # the server sees the end of a session a moment later
    while time.monotonic() < until and cluster.lab.query(0, "SELECT FROM pg_locks WHERE relation = 't'::regclass"):
        time.sleep(0.05)
    decided = cluster.lab.query(0, "SELECT count(*) FROM mosaic.relation") != [(0,)] if point != "apply.schema" else False
    assert cluster.lab.query(0, "SELECT count(*) FROM t") == [(333,)] if decided else [(999,)]
    assert decided == (name in ("grow.moved", "apply.after_catalog", "apply.epoch"))
    cluster.applied()
    moved(cluster, "t", [(i, "b") for i in range(1, 1000)], "SELECT * FROM t")
    assert [cluster.lab.query(shard, "SELECT count(*) FROM r") for shard in range(3)] == [[(10,)]] * 3


@contextlib.contextmanager
def stopped_at(cluster, point):
    """An apply that waits at a control point; behind the block it goes on. `end` has its exit code and what it said."""
    cluster.write()
    process = subprocess.Popen([COMMAND, "apply", cluster.path, "--yes"], cwd=cluster.directory, text=True,
                               env=environment({"MOSAIC_CONTROL_POINT": f"{point}=stop"}), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = {}
    try:
        wait_stopped(process)
        yield end
    finally:
        process.send_signal(signal.SIGCONT)
        end["text"] = "".join(process.communicate(timeout=60))
        end["code"] = process.returncode


BY_COORDINATOR = "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM u WHERE id < 0)"


@pytest.fixture
def watched(cluster):
    """A proxy whose coordinator sees a home table, t, and a spread one; it looks for changes once an hour."""
    cluster.lab.everywhere("CREATE TABLE u (id int PRIMARY KEY)")
    cluster.lab.query(0, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 99)")
    cluster.tables = ["name: u, key: id, function: modulo"]
    cluster.applied()
    lab = copy.copy(cluster.lab)
    lab.env, lab.name = {**lab.env, "PGMOSAIC_CONFIG": str(cluster.path)}, cluster.name
    with start_proxy(lab, {"schema_check_interval": "1h"}) as proxy:
        assert ask(proxy.psycopg2(), BY_COORDINATOR) == [(99,)]
        cluster.tables.append("name: t, key: id, function: modulo")
        yield proxy


def answered(proxy, sql):
    with contextlib.suppress(psycopg2.Error):
        return ask(proxy.psycopg2(), sql)


@pytest.mark.long
def test_the_coordinator_serves_on_behind_a_move_that_failed(cluster, control_points, watched):
    with contextlib.ExitStack() as opened:
        with stopped_at(cluster, "grow.verified") as end:
            opened.enter_context(superuser(cluster.lab, 0))  # whose session apply may not end
        assert end["code"] == 1 and "pg_signal_backend" in end["text"], end
    assert eventually(lambda: answered(watched, BY_COORDINATOR)) == [(99,)]
    assert cluster.epochs() == [1, 1, 1]
    with superuser(cluster.lab, 0, f"{cluster.lab.name}_coordinator") as cursor:
        cursor.execute("SELECT epoch FROM mosaic.epoch")
        assert cursor.fetchall() == [(1,)]


def test_the_coordinator_serves_on_behind_a_move_that_was_killed(cluster, control_points, watched):
    """The proxies make it anew by the definitions that there are: no apply is at work."""
    cluster.write()
    done = run_command("apply", cluster.path, "--yes", cwd=cluster.directory, env={"MOSAIC_CONTROL_POINT": "grow.fenced=kill"})
    assert done.returncode == -9
    assert eventually(lambda: answered(watched, BY_COORDINATOR), 30) == [(99,)]


# What may happen to a table between the look at it and the lock on it.
CHANGES = ["ALTER TABLE t ADD note text; UPDATE t SET note = 'kept'", "ALTER TABLE t ALTER n SET DEFAULT 5",
           "CREATE TABLE cascading (id int REFERENCES t ON DELETE CASCADE)",
           "CREATE TRIGGER no BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION no()",
           "CREATE OR REPLACE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END'",
           "CREATE UNIQUE INDEX ON t (n)", "CREATE RULE quiet AS ON DELETE TO t DO INSTEAD NOTHING",
           "ALTER TABLE t ENABLE ROW LEVEL SECURITY"]


@pytest.fixture
def changing(cluster):
    cluster.lab.everywhere("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    cluster.lab.query(0, "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT i, i FROM generate_series(1, 99) i;"
                         "CREATE TRIGGER old BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()")
    cluster.tables = ["name: t, key: id, function: modulo"]
    return cluster


def test_a_table_that_is_changed_behind_the_look_does_not_move(changing, control_points):
    """Nothing of it is known: columns that are not copied would be lost, and a cascade would take other rows along."""
    with stopped_at(changing, "apply.before_catalog") as end:
        changing.lab.query(0, CHANGES[0])
    assert end["code"] == 1 and "table t is not as it was when apply looked at it" in end["text"], end
    assert changing.lab.query(0, "SELECT count(*) FROM t WHERE note = 'kept'") == [(99,)]
    assert changing.lab.query(1, "SELECT to_regclass('t')") == [(None,)] and changing.epochs() == [0, 0, 0]
    changing.applied()
    assert rows_of(changing, "SELECT count(*) FROM t WHERE note = 'kept'") == [(33,)] * 3


@pytest.mark.long
def test_a_table_that_is_changed_behind_the_look_does_not_come_home(changing, control_points):
    changing.applied()
    changing.tables = []
    for shard, change in (0, CHANGES[0]), (2, CHANGES[1]):
        with stopped_at(changing, "apply.before_catalog") as end:
            changing.lab.query(shard, change)
        assert end["code"] == 1 and "table t is not as it was when apply looked at it" in end["text"], end
        assert f"s{shard}" in end["text"] and changing.epochs() == [1, 1, 1]
        for other in (1, 2):
            changing.lab.query(other, CHANGES[0] if shard == 0 else "ALTER TABLE t ALTER n DROP DEFAULT")
    changing.applied()
    at_home(changing, "t", [(i, "kept") for i in range(1, 100)], "SELECT id, note FROM t ORDER BY 1")


@pytest.mark.long
@pytest.mark.parametrize("change", CHANGES[1:])
def test_every_change_behind_the_look_is_seen(changing, control_points, change):
    with stopped_at(changing, "apply.before_catalog") as end:
        changing.lab.query(0, change)
    assert end["code"] == 1 and "table t is not as it was when apply looked at it" in end["text"], end


@pytest.mark.parametrize("point", ["grow.made_one", "grow.made"])
def test_killed_and_given_up(cluster, control_points, point):
    """What had arrived goes, functions over its rows too, and the table is the home shard's, as before."""
    cluster.lab.query(0, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 99);"
                         "CREATE FUNCTION of_row(t) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1.id';"
                         "CREATE FUNCTION rows() RETURNS SETOF t LANGUAGE sql AS 'SELECT * FROM t';"
                         "ALTER TABLE t ADD CHECK (of_row(t) > 0)")
    cluster.tables = ["name: t, key: id"]
    cluster.write()
    done = run_command("apply", cluster.path, "--yes", cwd=cluster.directory, env={"MOSAIC_CONTROL_POINT": f"{point}=kill"})
    assert done.returncode == -9
    cluster.tables = []
    if point == "grow.made":
        cluster.lab.query(2, "CREATE TABLE other (was t)")
        done = cluster.apply()
        assert done.returncode == 1 and "column was of table other depends on a table that was left" in done.stderr, done.stderr
        cluster.lab.query(2, "DROP TABLE other")
    text = cluster.applied().stdout
    assert "left by an apply that was cut off" in text
    assert [cluster.lab.query(shard, "SELECT to_regclass('t')::text") for shard in range(3)] == [[("t",)], [(None,)], [(None,)]]
    assert cluster.lab.query(0, "SELECT count(*) FROM t") == [(99,)] and cluster.constraint(0, "t") is None
    assert "nothing to change" in cluster.applied().stdout


# ---- the way back ---------------------------------------------------------------------------------------------------


def at_home(cluster, table, before, sql):
    """Every row is on the home shard, and nothing of the table anywhere else."""
    assert cluster.lab.query(0, sql) == before
    assert cluster.constraint(0, table) is None
    for shard in range(3):
        assert cluster.lab.query(shard, "SELECT count(*) FROM mosaic.arrival") == [(0,)]
        assert shard == 0 or cluster.lab.query(shard, f"SELECT to_regclass('{table}')") == [(None,)]
    assert len(set(cluster.epochs())) == 1
    assert "nothing to change" in cluster.applied().stdout


def test_a_table_with_all_kinds_of_types_comes_home(cluster):
    cluster.lab.query(0, ORDERS)
    cluster.tables = [SHARDED]
    cluster.applied()
    cluster.lab.everywhere("ANALYZE sales.orders")
    before = rows_of(cluster, ROWS)
    cluster.tables = []
    plan = cluster.apply("--dry-run").stdout
    assert "- table orders: its rule goes; it is a home table" in plan
    assert "~ table sales.orders: its 670 (estimated) rows on s1, s2 move to home shard s0, and the table is dropped " \
           "there; meanwhile it is neither read nor written to" in plan
    assert "mosaic_owner" not in plan and cluster.lab.query(1, "SELECT count(*) > 0 FROM sales.orders") == [(True,)]
    done = cluster.applied()
    assert "table sales.orders: 670 rows moved to the home shard, compared" in done.stderr, done.stderr
    assert rows_of(cluster, ROWS, [0]) == before
    at_home(cluster, "sales.orders", cluster.lab.query(0, ROWS), ROWS)
    assert cluster.lab.query(0, "SELECT tgenabled FROM pg_trigger WHERE tgname = 'touch'") == [("O",)]
    cluster.tables = [SHARDED]
    cluster.applied()
    moved(cluster, "sales.orders", before, ROWS)


def test_several_tables_come_home_with_foreign_keys_partitions_and_sequences(cluster):
    cluster.lab.query(0, """
        CREATE TABLE logs (user_id int, at int) PARTITION BY RANGE (at);
        CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (5);
        CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM (5) TO (10);
        CREATE TABLE countries (code text PRIMARY KEY); INSERT INTO countries VALUES ('de'), ('fr');
        CREATE TABLE users (id serial PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY, country text REFERENCES countries);
        ALTER TABLE logs ADD FOREIGN KEY (user_id) REFERENCES users;
        ALTER TABLE users ADD FOREIGN KEY (id) REFERENCES users;
        INSERT INTO users SELECT i FROM generate_series(1, 100) i;
        INSERT INTO logs SELECT i, n FROM generate_series(1, 100) i, generate_series(0, 9) n""")
    cluster.tables = ["name: logs, key: user_id, function: modulo", "name: users, key: id, function: modulo",
                      "name: countries, kind: reference"]
    cluster.applied()
    cluster.lab.query(2, "INSERT INTO users VALUES (2000)")
    numbers = {row[0] for row in rows_of(cluster, "SELECT n FROM users")}
    users, logs = (rows_of(cluster, f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("users", "logs"))
    cluster.tables = []
    plan = cluster.apply("--dry-run").stdout
    assert "~ table countries: its copies on s1, s2 are compared with home shard s0's, and dropped" in plan
    done = cluster.applied()
    assert "table countries: its copies were alike, and are dropped" in done.stderr
    at_home(cluster, "users", users, "SELECT * FROM users ORDER BY 1, 2")
    at_home(cluster, "logs", logs, "SELECT * FROM logs ORDER BY 1, 2")
    at_home(cluster, "countries", [("de",), ("fr",)], "SELECT * FROM countries ORDER BY 1")
    taken = cluster.lab.query(0, "INSERT INTO users DEFAULT VALUES RETURNING id, n")
    assert taken[0][0] > 2000 and taken[0][1] not in numbers


def test_what_cannot_come_home_is_refused_and_nothing_is_changed(cluster):
    cluster.lab.query(0, """CREATE TABLE u (id int PRIMARY KEY, n int); INSERT INTO u SELECT i, i FROM generate_series(1, 9) i;
        CREATE TABLE t (u int REFERENCES u, n int); INSERT INTO t SELECT i, i FROM generate_series(1, 9) i;
        CREATE TABLE r (id int)""")
    shards = ["name: u, key: id, function: modulo", "name: t, key: u, function: modulo", "name: r, kind: reference"]
    cluster.tables = shards
    cluster.applied()

    def same():
        assert rows_of(cluster, "SELECT id FROM u") == rows_of(cluster, "SELECT u FROM t") == [(i,) for i in range(1, 10)]
        assert len(set(cluster.epochs())) == 1 and all(cluster.constraint(shard, "u")[1] for shard in range(3))
        assert [cluster.lab.query(shard, "SELECT count(*) FROM mosaic.arrival") for shard in range(3)] == [[(0,)]] * 3
    cluster.tables = shards[:1] + shards[2:]
    cluster.refused("foreign key t_u_fkey references u, which stays spread")
    cluster.tables = shards[1:]
    cluster.refused("foreign key t_u_fkey of public.t references the table, which is to be dropped here", "s1", "s2")
    cluster.tables = [*shards[:2], "name: new, key: id"]
    cluster.lab.query(0, "CREATE TABLE new (id int)")
    cluster.refused("tables are to be spread, and others to come home, in one apply")
    cluster.tables = []
    cluster.lab.query(1, "CREATE VIEW v AS SELECT * FROM t; ALTER TABLE u ADD COLUMN more int;"
                         "CREATE FUNCTION f(t) RETURNS int LANGUAGE sql AS 'SELECT 1'")
    cluster.refused("view public.v reads the table, which is to be dropped here", "its columns are not those of the home shard's",
                    "function f(t) depends on the table, which is to be dropped here")
    cluster.lab.query(1, "DROP VIEW v; DROP FUNCTION f; ALTER TABLE u DROP COLUMN more")
    cluster.lab.query(0, "CREATE PUBLICATION p FOR TABLE u, r WITH (publish = 'insert');"
                         "CREATE PUBLICATION q FOR TABLE t WITH (publish = 'delete')")
    text = cluster.refused("table u on shard s0: publication p would tell its subscribers of the rows which come home")
    assert "publication q" not in text and "table r" not in text
    cluster.lab.query(0, "DROP PUBLICATION p, q")
    same()
    cluster.lab.everywhere("UPDATE u SET n = CASE WHEN id < 8 THEN id ELSE 1 END; CREATE UNIQUE INDEX un ON u (n)")
    done = cluster.apply()  # each shard for itself sees no conflict: 1, 7 and 8 are of shards 1, 1 and 2
    assert done.returncode == 1 and "table u: " in done.stderr and "un" in done.stderr, done.stderr
    same()
    cluster.lab.everywhere("DROP INDEX un")
    cluster.lab.query(1, "INSERT INTO r VALUES (1)")
    done = cluster.apply()
    assert done.returncode == 1 and "table r: " in done.stderr + done.stdout and "1 rows on shard s1" in done.stderr + \
        done.stdout or "its 1 rows differ" in done.stderr, done.stderr
    same()
    cluster.lab.query(1, "DELETE FROM r")
    cluster.applied()
    at_home(cluster, "t", [(i, i) for i in range(1, 10)], "SELECT u, n FROM t ORDER BY 1")


def test_a_table_that_the_home_shard_lacks_is_not_taken_out(cluster):
    """Routers take what the config does not name for a home table, and would read nothing."""
    cluster.lab.everywhere("CREATE TABLE t (id int)")
    cluster.lab.query(1, "INSERT INTO t VALUES (1)")
    cluster.tables = ["name: t, key: id, function: modulo"]
    cluster.applied()
    cluster.lab.query(0, "DROP TABLE t")
    cluster.tables = []
    assert "table t on shard s1" in cluster.refused("it would be read on the home shard alone; it has rows here")
    cluster.lab.query(1, "DELETE FROM t")
    assert "- table t: its rule goes; it is a home table" in cluster.applied().stdout


def test_a_proxy_that_knows_the_old_map_never_gives_rows_twice(cluster):
    """Nor a part, nor what other shards still have of a table that has come home: it may refuse, and nothing else."""
    cluster.lab.everywhere("CREATE TABLE u (id int PRIMARY KEY)")
    cluster.lab.query(0, "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT i, 1 FROM generate_series(1, 30000) i;"
                         "CREATE TABLE r (id int PRIMARY KEY, n int); INSERT INTO r VALUES (1, 1)")
    cluster.tables = ["name: u, key: id", "name: t, key: id, function: modulo", "name: r, kind: reference"]
    cluster.applied()
    lab = copy.copy(cluster.lab)
    lab.env, lab.name = {**lab.env, "PGMOSAIC_CONFIG": str(cluster.path)}, cluster.name
    queries = {"SELECT count(*) FROM t": 30000, "SELECT sum(n) FROM t WHERE id <= 3": 3, "SELECT n FROM t WHERE id = 4": 1,
               "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM u WHERE id < 0)": 30000,
               "SELECT u.n FROM r JOIN t u ON u.id = r.id + 4": 1}
    answers = {sql: [] for sql in queries}
    with (start_proxy(lab, {"schema_check_interval": "1h", "query_wait_timeout": "2s"}) as proxy,
          asked_all_the_time(proxy, answers.items())):
        eventually(lambda: all(answers[sql].count(queries[sql]) > 5 for sql in queries))
        cluster.tables = ["name: u, key: id"]
        cluster.write()
        done = run_command("apply", cluster.path, "--yes", cwd=cluster.directory)
        assert done.returncode == 0, done.stderr
        with cluster.lab.connect(0) as connection, connection.cursor() as cursor:
            cursor.execute("UPDATE t SET n = 5; UPDATE r SET n = 5")
        counts = {sql: len(answers[sql]) for sql in queries}
        eventually(lambda: all(len(answers[sql]) > counts[sql] + 3 for sql in queries))
    for sql, expected in queries.items():
        numbers = [answer for answer in answers[sql] if isinstance(answer, int)]
        assert set(numbers) <= {expected, 15 if "sum" in sql else 5 if "n FROM" in sql else expected}, (sql, set(numbers))


HOMEWARD_POINTS = ["homeward.locked", "homeward.gathered", "homeward.verified", "homeward.raised_one=1",
                   "homeward.raised_one=2", "homeward.dropped", "grow.cut", "homeward.fenced", "homeward.moved",
                   "homeward.gone_one=1", "homeward.gone_one=2", "apply.before_catalog", "apply.after_catalog",
                   "apply.epoch=1", "apply.epoch=2"]


def killed_on_the_way_home(cluster, point):
    """Five rows of shards 1 and 2 are on their way. Did the home shard commit?"""
    name, _, nth = point.partition("=")
    cluster.lab.query(0, "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE t (id int PRIMARY KEY, m mood);"
                         "INSERT INTO t SELECT i, 'b' FROM generate_series(1, 999) i;"
                         "CREATE TABLE s (id int REFERENCES t); INSERT INTO s SELECT generate_series(1, 99);"
                         "CREATE TABLE r (id int PRIMARY KEY); INSERT INTO r SELECT generate_series(1, 10)")
    cluster.tables = ["name: t, key: id, function: modulo", "name: s, key: id, function: modulo", "name: r, kind: reference"]
    cluster.applied()
    cluster.tables = []
    cluster.write()
    done = run_command("apply", cluster.path, "--yes", cwd=cluster.directory,
                       env={"MOSAIC_CONTROL_POINT": f"{name}={nth + ':' if nth else ''}kill"})
    assert done.returncode == -9, done.stdout + done.stderr
    for shard in range(3):
        eventually(lambda: not cluster.lab.query(shard, "SELECT FROM pg_locks WHERE relation = to_regclass('t')"))
    decided = cluster.lab.query(0, "SELECT count(*) FROM mosaic.relation") == [(0,)]
    assert cluster.lab.query(0, "SELECT count(*) FROM t") == [(999,)] if decided else [(333,)]
    assert decided == (name in ("homeward.moved", "homeward.gone_one", "apply.after_catalog", "apply.epoch"))
    return decided


@at_points(HOMEWARD_POINTS, {"grow.cut", "homeward.gone_one=1"})
def test_killed_on_the_way_home_and_run_again(cluster, control_points, point):
    killed_on_the_way_home(cluster, point)
    cluster.applied()
    at_home(cluster, "t", [(i, "b") for i in range(1, 1000)], "SELECT * FROM t ORDER BY 1")
    at_home(cluster, "s", [(i,) for i in range(1, 100)], "SELECT * FROM s ORDER BY 1")
    at_home(cluster, "r", [(i,) for i in range(1, 11)], "SELECT * FROM r ORDER BY 1")


@at_points(["homeward.raised_one", "homeward.dropped", "homeward.moved", "homeward.gone_one"],
           {"homeward.raised_one", "homeward.gone_one"})
def test_killed_on_the_way_home_and_put_back(cluster, control_points, point):
    """The table stays spread, or is spread again: every row once."""
    decided = killed_on_the_way_home(cluster, point)
    cluster.tables = ["name: t, key: id, function: modulo", "name: s, key: id, function: modulo", "name: r, kind: reference"]
    done = cluster.applied()
    assert decided == ("rows moved to other shards" in done.stderr)
    moved(cluster, "t", [(i, "b") for i in range(1, 1000)], "SELECT * FROM t")
    moved(cluster, "s", [(i,) for i in range(1, 100)], "SELECT * FROM s")
    assert [cluster.lab.query(shard, "SELECT count(*) FROM r") for shard in range(3)] == [[(10,)]] * 3


def test_nothing_is_committed_that_a_crash_could_lose(cluster):
    """A shard's rows go because another has committed them: a weaker synchronous_commit of the role's is not kept."""
    def written():
        return [cluster.lab.query(shard, "DELETE FROM public.told RETURNING how") for shard in range(3)]
    role = cluster.lab.query(0, "SELECT quote_ident(current_user)")[0][0]
    cluster.applied()
    cluster.lab.everywhere("CREATE TABLE told (how text); CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN"
                           " INSERT INTO public.told VALUES (current_setting(''synchronous_commit'')); RETURN NULL; END';"
                           "CREATE TRIGGER tell AFTER UPDATE ON mosaic.epoch FOR EACH ROW EXECUTE FUNCTION tell()")
    cluster.lab.query(0, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 9)")
    try:
        cluster.lab.everywhere(f"ALTER ROLE {role} SET synchronous_commit = off")
        for tables in ["name: t, key: id, function: modulo"], []:
            cluster.tables = tables
            cluster.applied()
            assert [set(how) for how in written()] == [{("on",)}] * 3
        cluster.lab.everywhere(f"ALTER ROLE {role} SET synchronous_commit = remote_apply")
        cluster.tables = ["name: t, key: id, function: modulo"]
        cluster.applied()
        assert [set(how) for how in written()] == [{("remote_apply",)}] * 3
    finally:
        cluster.lab.everywhere(f"ALTER ROLE {role} RESET synchronous_commit")
