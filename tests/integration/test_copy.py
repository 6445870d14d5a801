"""pgmosaic copy between clusters of every kind: shards, one PostgreSQL, Citus; what it carries, and what is left of one
that fails. In test-full a million rows go round; else fewer."""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

from conftest import COMMAND, FULL, citus_missing, environment, run_command, run_json

pytestmark = pytest.mark.light

ROWS = 1_000_000 if FULL else 30_000
SCHEMA = """
CREATE TABLE things (id bigint PRIMARY KEY, price numeric(20,5), free numeric, doc jsonb, tags text[], grid int[],
  raw bytea, at timestamptz, day date, u uuid, name text DEFAULT 'x', ok boolean, real8 float8, span interval,
  twice numeric GENERATED ALWAYS AS (price * 2) STORED);
CREATE INDEX things_at ON things (at DESC, id);
"""
THINGS = """
SELECT g::bigint AS id,
 CASE WHEN g % 11 <> 0 THEN (g * 1.00001)::numeric(20,5) END AS price,
 CASE g % 7 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' WHEN 2 THEN 1e-30 * g WHEN 3 THEN 1e40 + g WHEN 4 THEN 1.0 ELSE -g END AS free,
 CASE WHEN g % 5 <> 0 THEN jsonb_build_object('g', g, 'a', ARRAY[g, NULL], 'ü', 'ß"\\' || g) END AS doc,
 CASE WHEN g % 6 = 0 THEN '{}' WHEN g % 13 <> 0 THEN ARRAY['a,b', 'q"uo', NULL, 'ünï' || g] END AS tags,
 CASE WHEN g % 3 = 0 THEN ARRAY[[1,2],[3,g]] END AS grid,
 CASE WHEN g % 4 <> 0 THEN decode(md5(g::text), 'hex') END AS raw,
 CASE WHEN g % 1000 = 1 THEN 'infinity' WHEN g % 9 <> 0 THEN timestamptz '2020-01-01+00' + g * interval '1.000001 s' END AS at,
 date '2000-01-01' + g % 20000 AS day, md5(g::text)::uuid AS u,
 CASE g % 8 WHEN 0 THEN '' WHEN 1 THEN NULL WHEN 2 THEN E'tab\\tnew\\nline\\\\N'
  WHEN 3 THEN '日本語 😀 ' || g ELSE 'n' || g END AS name,
 g % 2 = 0 AS ok, CASE WHEN g % 10 = 0 THEN 'NaN' ELSE g / 3.0 END::float8 AS real8, g * interval '1 minute' AS span
FROM generate_series(1, COUNT) g
"""
COLUMNS = "id, price, free, doc, tags, grid, raw, at, day, u, name, ok, real8, span"
SUM = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0), coalesce(sum(twice), 0) FROM things t"


def things(count):
    return THINGS.replace("COUNT", str(count))


class Side:
    """A cluster and its config; made anew by each test that needs it empty."""

    def __init__(self, lab, nodes):
        self.lab, self.nodes, self.config = lab, nodes, lab.config
        self.head = pathlib.Path(lab.config).read_text().partition("\ntables:")[0]

    def use(self, *entries):
        text = "".join(f"  - {entry}\n" for entry in entries) or "  []\n"
        pathlib.Path(self.config).write_text(f"{self.head}\ntables:\n{text}")
        return self

    def query(self, sql, node=0):
        return self.lab.query(sql) if self.nodes == 1 else self.lab.query(node, sql)

    def everywhere(self, sql):
        return [self.query(sql, node) for node in range(self.nodes)]

    def empty(self):
        """No table, and no rule of one."""
        self.use()
        self.everywhere("DROP TABLE IF EXISTS things, parts, kinds, plain CASCADE")
        if self.query("SELECT to_regclass('mosaic.map') IS NOT NULL OR to_regclass('mosaic.epoch') IS NOT NULL")[0][0]:
            run_command("apply", "-c", self.config, "--yes", check=True)
        return self

    def sums(self):
        every = [row for rows in self.everywhere(SUM) for row in rows]
        return tuple(sum(column) for column in zip(*every))

    def leftovers(self):
        return self.everywhere("SELECT relname FROM pg_class WHERE relname IN ('things', 'parts', 'kinds', 'copy') AND "
                               "relkind = 'r'")


class OneLab:
    """A lab of one shard, asked as a Citus lab is: there is no shard to name."""

    def __init__(self, lab):
        self.lab, self.config = lab, lab.config

    def query(self, sql):
        return self.lab.query(0, sql)


@pytest.fixture(scope="module")
def four(make_lab):
    """Four shards by modulo, with rows of every kind."""
    side = Side(make_lab(4, "four"), 4).use("{name: things, key: id, function: modulo}")
    side.everywhere(SCHEMA)
    run_command("apply", "-c", side.config, "--yes", check=True)
    for shard in range(4):
        side.query(f"INSERT INTO things ({COLUMNS}) SELECT * FROM ({things(ROWS)}) t WHERE id % 4 = {shard}", shard)
    return side


@pytest.fixture(scope="module")
def three_shards(make_lab):
    return Side(make_lab(3, "three"), 3)


@pytest.fixture
def three(three_shards):
    return three_shards.empty()


@pytest.fixture(scope="module")
def one_shard(make_lab):
    return Side(OneLab(make_lab(1, "one")), 1)


@pytest.fixture
def one(one_shard):
    return one_shard.empty()


@pytest.fixture(scope="module")
def citus_side(make_citus_lab):
    return Side(make_citus_lab(2, "citus", 4), 1)


@pytest.fixture
def citus(citus_side):
    return citus_side.empty()


def copy(source, target, *options, **more):
    more.setdefault("timeout", 900)
    return run_command("copy", "--from", source.config, "--to", target.config, *options, **more)


# ---- from cluster to cluster -----------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.deadline(1800)
def test_rows_of_every_kind_go_from_shards_to_citus_to_other_shards(four, citus, three):
    citus.use("{name: things, key: id, shard_count: 4}")
    three.use("{name: things, key: id, function: hash}")
    before = four.sums()
    assert before[0] == ROWS
    out = copy(four, citus, check=True).stdout
    assert re.search(rf"things: {ROWS} rows, checksum [0-9a-f]{{32}}, equal on both sides", out)
    assert citus.sums() == before
    assert citus.query("SELECT count(*) FROM citus_shards WHERE table_name = 'things'::regclass") == [(4,)]
    back = copy(citus, three, check=True).stdout
    assert re.search("checksum ([0-9a-f]+)", back)[1] == re.search("checksum ([0-9a-f]+)", out)[1]
    assert three.sums() == before
    for side in (citus, three):
        assert side.query("SELECT indexdef FROM pg_indexes WHERE indexname = 'things_at'")[0][0].endswith("(at DESC, id)")
        assert side.query("SELECT conname FROM pg_constraint WHERE conrelid = 'things'::regclass AND contype = 'p'")
        assert side.query("SELECT column_default FROM information_schema.columns WHERE table_name = 'things' AND "
                          "column_name = 'name'") == [("'x'::text",)]
    assert three.everywhere("SELECT count(*) FROM pg_constraint WHERE conname = 'mosaic_owner'") == [[(1,)]] * 3
    done = copy(four, three, "--verify", check=True)
    assert done.stdout.endswith("equal\n")


def test_differences_are_named_by_key(four, three):
    three.use("{name: things, key: id, function: hash}")
    copy(four, three, check=True)
    three.everywhere("DELETE FROM things WHERE id = 17; UPDATE things SET free = 1 WHERE id = 4; "
                     "UPDATE things SET tags = '{}' WHERE id = 26")
    done = copy(four, three, "--verify")
    assert done.returncode == 1
    assert f"{ROWS} rows on the source, {ROWS - 1} on the target" in done.stdout
    # 1.0 and 1 are equal numbers and other values; {} was there already of 26 or not.
    assert "things: (17) is missing on the target" in done.stdout and "things: (4) differs" in done.stdout
    document = run_json("copy", "--from", four.config, "--to", four.config, "--verify")
    assert document["equal"] is True


def test_one_postgresql_that_knows_nothing_is_copied_to_shards_and_to_citus(one, three, request):
    one.use()
    one.query("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    targets = [three] + ([] if citus_missing() else [request.getfixturevalue("citus")])
    for target in targets:
        target.everywhere("DROP TYPE IF EXISTS mood CASCADE; CREATE TABLE wasted (); DROP TABLE wasted;"
                          "CREATE TYPE mood AS ENUM ('sad', 'glad')")
    try:
        one.query("CREATE TABLE kinds (code text PRIMARY KEY, name text);"
                  "CREATE TABLE parts (id int GENERATED BY DEFAULT AS IDENTITY, thing bigint, kind text REFERENCES kinds,"
                  " m mood, PRIMARY KEY (thing, id));"
                  "INSERT INTO kinds SELECT g, 'kind ' || g FROM generate_series(1, 20) g;"
                  "INSERT INTO parts (thing, kind, m) SELECT g / 3, 1 + g % 20, 'glad' FROM generate_series(1, 2000) g")
        for target in targets:
            target.use("{name: kinds, kind: reference}", "{name: parts, key: thing}")
            if target is three:  # each shard would number by itself
                one.query("ALTER TABLE parts ALTER id DROP IDENTITY")
            out = copy(one, target, check=True).stdout
            assert "parts: 2000 rows" in out and "kinds: 20 rows" in out
            assert sum(rows[0][0] for rows in target.everywhere("SELECT count(*) FROM parts WHERE m = 'glad'")) == 2000
            assert target.everywhere("SELECT count(*) FROM kinds") == [[(20,)]] * target.nodes
            assert target.query("SELECT count(*) FROM pg_constraint WHERE conrelid = 'parts'::regclass AND contype = 'f'"
                                ) == [(1,)]
            one.query("ALTER TABLE parts ALTER id ADD GENERATED BY DEFAULT AS IDENTITY" if target is three else "SELECT 1")
    finally:
        one.query("DROP TABLE IF EXISTS parts, kinds; DROP TYPE mood")
        for target in targets:
            target.empty().everywhere("DROP TYPE mood")


@pytest.mark.parametrize("made", [False, True], ids=["made-by-copy", "made-before"])
def test_sequences_go_on_behind_what_was_copied(one, three, made):
    tables = ("CREATE TABLE kinds (id serial PRIMARY KEY, name text);"
              "CREATE TABLE parts (id serial, thing bigint, code text, PRIMARY KEY (thing, id));"
              "CREATE SEQUENCE codes OWNED BY parts.code; ALTER TABLE parts ALTER code SET DEFAULT nextval('codes');"
              "CREATE SEQUENCE down INCREMENT -1 OWNED BY kinds.id;")
    one.query(tables + "ALTER TABLE kinds ADD depth int DEFAULT nextval('down');"
              "INSERT INTO kinds (name) SELECT 'k' FROM generate_series(1, 20);"
              "INSERT INTO parts (thing) SELECT g % 50 FROM generate_series(1, 2000) g;"
              "INSERT INTO parts VALUES (1, 99, 'none')")
    # A sharded table with a sequence is to be made, and applied, beforehand.
    three.use("{name: kinds, kind: reference}", *["{name: parts, key: thing}"] * made)
    if made:
        three.everywhere(tables + "ALTER TABLE kinds ADD depth int DEFAULT nextval('down')")
        run_command("apply", "-c", three.config, "--yes", check=True)
        three.query("SELECT setval('kinds_id_seq', 70)", 1)
    copy(one, three, check=True)
    assert three.everywhere("SELECT nextval('kinds_id_seq'), nextval('down')") == \
        [[(21, -21)], [(71 if made else 21, -21)], [(21, -21)]]
    for sequence in ("parts_id_seq", "codes") if made else ():
        given = [value for _ in range(2) for [(value,)] in three.everywhere(f"SELECT nextval('{sequence}')")]
        assert min(given) > 2000 and len(set(given)) == 6, given


# ---- what it refuses -------------------------------------------------------------------------------------------------


def test_nothing_is_mixed_and_nothing_changed_by_a_look(four, three):
    three.use("{name: things, key: id, function: hash}")
    assert "things: from 4 nodes, made on the target" in copy(four, three, "--dry-run", check=True).stdout
    assert three.leftovers() == [[]] * 3
    three.everywhere(SCHEMA)
    three.query(f"INSERT INTO things ({COLUMNS}) {things(1)}", 1)
    done = copy(four, three)
    assert done.returncode == 1 and "on s1: the target's table has rows" in done.stderr
    three.query("TRUNCATE things; ALTER TABLE things DROP span", 1)
    done = copy(four, three)
    assert done.returncode == 1 and "other columns than the source's" in done.stderr
    three.use("{name: things, key: day, function: hash}").everywhere("DROP TABLE things")
    done = copy(four, three)
    assert done.returncode == 1 and "things_pkey leaves out the sharding key" in done.stderr
    done = copy(four, three, "nosuch")
    assert done.returncode == 1 and "no table nosuch" in done.stderr
    assert three.leftovers() == [[]] * 3


def test_rows_that_a_policy_hides_are_refused_and_not_left_behind(one, three):
    """The owner is under its own policies where they are forced: the copy and both sums would leave the same rows out."""
    one.query("CREATE TABLE kinds (code text PRIMARY KEY, name text); INSERT INTO kinds VALUES ('a', 'A'), ('b', 'B');"
              "CREATE POLICY seen ON kinds USING (code = 'a'); ALTER TABLE kinds ENABLE ROW LEVEL SECURITY")
    three.use("{name: kinds, kind: reference}")
    copy(one, three, check=True)
    assert three.everywhere("SELECT count(*) FROM kinds") == [[(2,)]] * 3
    one.query("ALTER TABLE kinds FORCE ROW LEVEL SECURITY")
    for options in (["--verify"], []):
        three.everywhere("DROP TABLE kinds" if not options else "SELECT 1")
        done = copy(one, three, *options)
        assert done.returncode == 1 and "row-level security policy" in done.stderr, done.stderr
    assert three.leftovers() == [[]] * 3
    one.query("ALTER TABLE kinds NO FORCE ROW LEVEL SECURITY")
    three.everywhere("CREATE TABLE kinds (code text PRIMARY KEY, name text); INSERT INTO kinds VALUES ('c', 'C');"
                     "CREATE POLICY seen ON kinds USING (code = 'a');"
                     "ALTER TABLE kinds ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    done = copy(one, three)
    assert done.returncode == 1 and "row-level security policy" in done.stderr, done.stderr


def test_an_empty_table_that_is_there_is_filled_and_emptied_again_by_a_failure(four, citus):
    citus.use("{name: things, key: id, shard_count: 4}")
    citus.query(SCHEMA + "ALTER TABLE things ADD CHECK (id <> 1001)")
    run_command("apply", "-c", citus.config, "--yes", check=True)
    done = copy(four, citus)
    assert done.returncode == 1 and "violates check constraint" in done.stderr
    assert citus.query("SELECT count(*) FROM things") == [(0,)]
    assert citus.query("SELECT to_regclass('mosaic.copy')") == [(None,)]
    citus.query("ALTER TABLE things DROP CONSTRAINT things_id_check")
    copy(four, citus, check=True)
    assert citus.sums() == four.sums()


# ---- cut off ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def held(source, target):
    """A copy that has stopped itself in the middle of its rows."""
    process = subprocess.Popen([COMMAND, "copy", "--from", source.config, "--to", target.config], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True,
                               env=environment({"MOSAIC_CONTROL_POINT": f"load.row={ROWS // 2}:stop"}))
    try:
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        yield process
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_removes_what_was_made(four, citus, control_points):
    citus.use("{name: things, key: id, shard_count: 4}")
    with held(four, citus) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
    assert citus.leftovers() == [[]]


def test_a_worker_killed_in_the_middle_loses_nothing_and_leaves_nothing(four, citus, control_points):
    lab = citus.lab
    citus.use("{name: things, key: id, shard_count: 4}")
    with held(four, citus) as process:
        lab.run("lab", "stop", lab.name, "w1", check=True)
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate(timeout=120)
        lab.run("lab", "start", lab.name, "w1", check=True)
        assert process.returncode == 1 and f":{lab.nodes[1]['port']}" in said, said
    # While a node was down not everything could be removed; the next copy does it first, and is whole.
    done = copy(four, citus, check=True)
    assert done.stdout.endswith("copied and verified\n")
    assert citus.sums() == four.sums()
    assert citus.query("SELECT count(*) FROM pg_dist_shard") == [(4,)]


def copy_again(source, target, *options):
    """The server may not know yet that the one before was killed."""
    end = time.monotonic() + 30
    while "another copy" in (done := copy(source, target, *options)).stderr:
        assert time.monotonic() < end
        time.sleep(0.1)
    return done


def test_a_copy_that_was_killed_is_removed_by_the_next_or_by_abort(four, three, control_points):
    three.use("{name: things, key: id, function: hash}")
    points = ("copy.marked=kill", "copy.created=kill", f"load.row={ROWS // 2}:kill", "load.before_prepare=3:kill",
              "copy.finished=kill")
    for point in points if FULL else points[::2]:
        killed = copy(four, three, env={"MOSAIC_CONTROL_POINT": point})
        assert killed.returncode == -signal.SIGKILL
        options = ["--abort"] if point != points[-1] else []
        done = copy_again(four, three, *options)
        assert done.returncode == 0 and "cut off" in done.stdout, done.stderr
        if options:
            assert three.leftovers() == [[]] * 3
            assert three.everywhere("SELECT count(*) FROM pg_prepared_xacts") == [[(0,)]] * 3
    assert three.sums() == four.sums()


@pytest.mark.parametrize("point", [pytest.param("copy.made=kill", marks=pytest.mark.long), "copy.rows=kill"])
def test_a_table_made_since_a_copy_was_killed_is_not_taken_for_the_copys(four, three, control_points, point):
    three.use("{name: things, key: id, function: hash}")
    assert copy(four, three, env={"MOSAIC_CONTROL_POINT": point}).returncode == -signal.SIGKILL
    three.everywhere("DROP TABLE things; CREATE TABLE things (id bigint PRIMARY KEY); INSERT INTO things VALUES (1)")
    for options in (["--abort"], []):
        done = copy_again(four, three, *options)
        assert done.returncode == 1 and "things is not the one of the copy that was cut off" in done.stderr, done.stderr
        assert "DROP TABLE mosaic.copy on shard s0" in done.stderr
        assert three.everywhere("SELECT count(*) FROM things") == [[(1,)]] * 3
    three.query("DROP TABLE things", 0)
    three.everywhere("ALTER TABLE IF EXISTS things RENAME TO parts")
    copy(four, three, "--abort", check=True)
    assert three.leftovers() == [[], [("parts",)], [("parts",)]]


def test_an_empty_table_made_anew_since_is_not_emptied_by_the_next_copy(four, three, control_points):
    three.use("{name: things, key: id, function: hash}")
    three.everywhere(SCHEMA)
    assert copy(four, three, env={"MOSAIC_CONTROL_POINT": "copy.rows=kill"}).returncode == -signal.SIGKILL
    three.everywhere(f"DROP TABLE things; {SCHEMA} INSERT INTO things (id) VALUES (1)")
    done = copy_again(four, three)
    assert done.returncode == 1 and "things is not the one of the copy that was cut off" in done.stderr, done.stderr
    three.query("DROP TABLE mosaic.copy")
    assert copy(four, three, "--abort", check=True).stdout.startswith("there is no copy that was cut off")
    assert three.everywhere("SELECT count(*) FROM things") == [[(1,)]] * 3
