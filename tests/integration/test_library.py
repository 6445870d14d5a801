"""libpgmosaic on real servers: C programs that use only the public header (tests/integration/library/*.c), and its package."""
import os
import pathlib
import random
import re
import shutil
import subprocess
import time

import pytest

from conftest import BUILD, CHECKOUT, SANITIZER_MARKS, environment

LAB_SHARDS = 3
PROGRAMS = BUILD / "tests" / "integration" / "library"

SCHEMA = """
CREATE TABLE users (id bigint PRIMARY KEY, name text);
CREATE TABLE members (user_id text PRIMARY KEY, note text);
CREATE TABLE docs (id uuid PRIMARY KEY, note text);
CREATE TABLE blobs (id bytea PRIMARY KEY, note text);
CREATE TABLE pairs (a bigint, b text, note text, PRIMARY KEY (a, b));
CREATE TABLE countries (code text PRIMARY KEY);
CREATE TABLE parents (id bigint, n bigint, wanted bigint, PRIMARY KEY (id, n),
    FOREIGN KEY (id, wanted) REFERENCES parents (id, n) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE every (id bigint PRIMARY KEY, i2 smallint, i4 integer, i8 bigint, n numeric, f4 real, f8 double precision,
    b boolean, d date, ts timestamp, tz timestamptz, u uuid, y bytea, t text COLLATE "C", v varchar(20) COLLATE "C",
    c char(12) COLLATE "C");
"""
TABLES = """
  - {name: users, key: id, function: modulo}
  - {name: members, key: user_id, function: hash}
  - {name: docs, key: id, function: hash}
  - {name: blobs, key: id, function: hash}
  - {name: pairs, key: [a, b], function: hash}
  - {name: parents, key: id, function: modulo}
  - {name: every, key: id, function: modulo}
  - {name: countries, kind: reference}
"""


@pytest.fixture(scope="module")
def cluster(lab):
    lab.everywhere(SCHEMA)
    lab.add_tables(TABLES)
    lab.run("apply", "--yes", check=True)
    return lab


@pytest.fixture
def empty(cluster):
    cluster.everywhere("TRUNCATE users, members, docs, blobs, pairs, parents")
    return cluster


def run_program(name, *words, timeout=120, env=None, expect=0):
    done = subprocess.run([str(PROGRAMS / f"library_{name}"), *map(str, words)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=timeout, env=environment(env))
    assert not any(mark in done.stderr for mark in SANITIZER_MARKS), done.stderr
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("program", ["keys", "statements", "threads", "deadlines", "batches", "transactions",
                                     "event_loop", "memory"])
def test_program(empty, program):
    assert run_program(program, empty.config).endswith("ok\n")


# ---- all shards as one stream of rows ---------------------------------------------------------------------

def scatter(lab, sql, order="-", limit=0, form="text", **env):
    """(rows, status, summary) of a statement on all shards."""
    out = run_program("scatter", lab.config, form, order, limit, sql,
                      env={name.upper(): value for name, value in env.items()}).splitlines()
    return [tuple(line.split("\t")) for line in out[:-1]], out[-1].split()[0], out[-1]


SPECIAL = {
    "i2": ["-32768", "32767", "0", "-1"],
    "i4": ["-2147483648", "2147483647", "0"],
    "i8": ["-9223372036854775808", "9223372036854775807", "0", "-1", "10", "9"],
    "n": ["NaN", "Infinity", "-Infinity", "0", "0.0", "-0.00", "0.1", "0.10", "-0.1", "-0.09", "9.9", "10", "1e30", "1e-30",
          "-1e30", "99999999", "100000000", "0.0001", "0.00010001", "12345678.9", "12345678.90001"],
    "f4": ["NaN", "Infinity", "-Infinity", "0", "-0", "1e-40", "3.4e38", "-1.5", "0.1"],
    "f8": ["NaN", "Infinity", "-Infinity", "0", "-0", "5e-324", "1.7e308", "-1.7e308", "0.1", "0.30000000000000004", "0.3"],
    "b": ["true", "false"],
    "d": ["infinity", "-infinity", "0044-03-15 BC", "0001-01-01", "0001-12-31 BC", "9999-12-31", "12345-06-07", "5874897-12-31",
          "4713-01-01 BC", "2000-02-29"],
    "ts": ["infinity", "-infinity", "0044-03-15 01:02:03 BC", "294276-12-31 23:59:59.999999", "2000-01-01 00:00:00",
           "2000-01-01 00:00:00.1", "2000-01-01 00:00:00.000001", "1999-12-31 23:59:59.999999", "4713-01-01 00:00:00 BC"],
    "tz": ["infinity", "-infinity", "0044-03-15 01:02:03+00 BC", "2000-01-01 00:00:00+14", "2000-01-01 00:00:00-12",
           "1850-01-01 00:00:00+00", "294276-12-31 23:59:59.999999+00", "0001-01-01 00:00:00+00", "0001-12-31 23:00:00+00 BC"],
    "u": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "0a000000-0000-0000-0000-000000000001"],
    "y": ["", "\\x00", "\\x0000", "\\xff", "\\x7f80", "\\x7f"],
    "t": ["", "a", "A", "aa", "a ", "é", "z", "\U0001F600", "-", "\u0001"],
    "v": ["", "a", "B", "ab", "ÿ"],
    "c": ["", "a", "a b", "A", "é", "a!"],
}


def random_value(rng, column):
    if rng.random() < 0.15:
        return None
    if rng.random() < 0.4:
        return rng.choice(SPECIAL[column])
    number = rng.choice([rng.randint(-20, 20), rng.randint(-10**6, 10**6)])
    made = {
        "i2": lambda: number % 30000, "i4": lambda: number, "i8": lambda: number * rng.choice([1, 10**12]),
        "n": lambda: f"{number}.{rng.choice(['', '0', rng.randint(0, 9999), rng.randint(0, 10**9)])}".rstrip("."),
        "f4": lambda: repr(rng.uniform(-100, 100)), "f8": lambda: repr(rng.uniform(-1, 1) * 10 ** rng.randint(-20, 20)),
        "b": lambda: str(number % 2 == 0), "d": lambda: f"{1900 + number % 200}-{1 + number % 12:02}-{1 + number % 28:02}",
        "ts": lambda: f"{2000 + number % 3}-01-01 00:{number % 60:02}:00.{abs(number) % 1000}",
        "tz": lambda: f"{2000 + number % 3}-01-01 {number % 24:02}:00:00{rng.choice(['+00', '-05', '+05:45', '+12'])}",
        "u": lambda: "%032x" % rng.getrandbits(128), "y": lambda: "\\x" + rng.randbytes(rng.randint(0, 4)).hex(),
        "t": lambda: "".join(rng.choice("abAB é-~Zß") for _ in range(rng.randint(0, 6))),
    }
    text = made.get(column, made["t"])()
    return text.strip() if column == "c" else text


@pytest.fixture(scope="module")
def every(cluster):
    """The same random rows in the table `every` of the cluster and in one PostgreSQL (a second schema of shard 0)."""
    seed = int(os.environ.get("SEED", random.randrange(2**32)))
    print(f"SEED={seed}")
    rng = random.Random(seed)
    columns = list(SPECIAL)
    rows = [(i, *(random_value(rng, column) for column in columns)) for i in range(600)]
    names, places = "id, " + ", ".join(columns), ", ".join(["%s"] * (len(columns) + 1))
    cluster.query(0, "CREATE SCHEMA single; CREATE TABLE single.every (LIKE every)")
    with cluster.connect(0) as connection, connection.cursor() as cursor:
        for row in rows:
            cursor.execute(f"INSERT INTO single.every ({names}) VALUES ({places})", row)
    for shard in range(LAB_SHARDS):
        with cluster.connect(shard) as connection, connection.cursor() as cursor:
            for row in rows:
                if row[0] % 1536 % LAB_SHARDS == shard:
                    cursor.execute(f"INSERT INTO every ({names}) VALUES ({places})", row)
    return cluster


@pytest.mark.light
@pytest.mark.parametrize("form", ["text", "binary"])
@pytest.mark.parametrize("column", list(SPECIAL))
def test_order_of_every_type(every, column, form):
    collate = ' COLLATE "C"' if column in "tvc" else ""
    for direction, nulls, order in (("", "", "0"), ("DESC", "", "0d"), ("", "NULLS FIRST", "0f"), ("DESC", "NULLS LAST", "0dl")):
        sql = f"SELECT {column}, id FROM every ORDER BY {column}{collate} {direction} {nulls}, id"
        rows, status, summary = scatter(every, sql, f"{order},1", form=form)
        assert status == "OK", summary
        alone = sql.replace("SELECT " + column + ",", "SELECT").replace("FROM every", "FROM single.every")
        expected = [str(row[0]) for row in every.query(0, alone)]
        ids = [row[-1] if form == "text" else str(int(row[-1], 16)) for row in rows]
        assert ids == expected


def test_order_by_several_columns_and_limit(every):
    sql = "SELECT b, n, i4, id FROM every ORDER BY b DESC, n, i4 DESC NULLS LAST, id LIMIT 37"
    rows, status, _ = scatter(every, sql, "0d,1,2dl,3", limit=37, afterwards=1)
    assert status == "OK"
    assert [int(row[3]) for row in rows] == [row[3] for row in every.query(0, sql.replace("every", "single.every"))]


@pytest.mark.parametrize("sql, order", [
    ("SELECT id FROM every ORDER BY id DESC", "0"),
    ("SELECT id FROM every", "0d"),
    ("SELECT i4 FROM every ORDER BY i4", "0f"),
    ('SELECT t FROM every ORDER BY t COLLATE "C" DESC', "0"),
    ("SELECT t FROM every ORDER BY t", "0"),                         # whose collation is it?
    ("SELECT t::text COLLATE \"en-x-icu\" FROM every ORDER BY 1", "0"),
    ("SELECT '1 day'::interval * id FROM every ORDER BY 1", "0"),     # a type whose order is not ours
    ("SELECT ARRAY[id] FROM every ORDER BY 1", "0"),
])
def test_a_wrong_order_is_never_handed_out(every, sql, order):
    _, status, summary = scatter(every, sql, order, afterwards=1)
    assert status == "UNSUPPORTED", summary


@pytest.mark.parametrize("sql, order, status", [
    ("SELECT id FROM every ORDER BY 1", "3", "USAGE"),
    ("SELECT id FROM every ORDER BY 1", "-1", "USAGE"),
    ("UPDATE users SET name = name", "0", "USAGE"),
    ("SELECT 1/(id - 5) FROM every", "-", "SERVER"),
    ("BEGIN", "-", "USAGE"),
    ("SELECT nonsense", "-", "SERVER"),
    ("COPY every TO STDOUT", "-", "UNSUPPORTED"),
])
def test_scatter_refusals(every, sql, order, status):
    assert scatter(every, sql, order, afterwards=1)[1] == status


def test_values_in_another_form_are_refused_not_guessed(every):
    """A date written as 01/02/2000 has no order of its own."""
    config = pathlib.Path(every.config)
    changed = config.with_name("german.yaml")
    try:
        every.everywhere(f"ALTER ROLE {every.env['PGUSER']} SET DateStyle = 'German'; "
                         f"ALTER ROLE {every.env['PGUSER']} SET bytea_output = 'escape'")
        changed.write_text(config.read_text())
        # The library's own sessions are ISO whatever the role's default; what a role sets for bytea shows.
        sql = "SELECT d, id FROM every ORDER BY d, id"
        assert scatter(every, sql, "0,1")[1] == "OK"
        assert scatter(every, "SELECT y, id FROM every ORDER BY y, id", "0,1")[1] == "UNSUPPORTED"
        assert scatter(every, "SELECT y, id FROM every ORDER BY y, id", "0,1", form="binary")[1] == "OK"
    finally:
        every.everywhere(f"ALTER ROLE {every.env['PGUSER']} RESET ALL")


def test_unordered_rows_are_all_there(every):
    rows, status, summary = scatter(every, "SELECT id FROM every")
    assert status == "OK" and "ends=3" in summary
    assert sorted(int(row[0]) for row in rows) == list(range(600))


def test_limit_is_applied_once_and_the_rest_is_cancelled(cluster):
    # In the select list the series streams; in FROM the server would make all of it first.
    rows, status, summary = scatter(cluster, "SELECT generate_series(1, 100000000)", limit=10, afterwards=1)
    assert status == "OK" and len(rows) == 10 and "rows=10 " in summary
    rows, status, summary = scatter(cluster, "SELECT generate_series(1, 100000000)", "0", limit=7, afterwards=1)
    assert status == "OK" and [int(row[0]) for row in rows] == [1, 1, 1, 2, 2, 2, 3]
    assert_nothing_runs(cluster)


def test_callback_stops_all_shards(cluster):
    rows, status, _ = scatter(cluster, "SELECT generate_series(1, 1000000), pg_sleep(0.001)", stop_after=5, afterwards=1)
    assert status == "STOPPED" and len(rows) == 5
    assert_nothing_runs(cluster)


def test_scatter_deadline(cluster):
    _, status, summary = scatter(cluster, "SELECT pg_sleep(id) FROM generate_series(20, 20) id", timeout_ms=400, afterwards=1)
    assert status == "TIMEOUT" and float(re.search(r"took=([\d.]+)", summary)[1]) < 2
    assert_nothing_runs(cluster)


def test_a_cut_result_is_a_failure(cluster):
    """Rows came, then the shard failed: the call must not say OK."""
    rows, status, summary = scatter(
        cluster, "SELECT CASE WHEN g = 50000 AND (SELECT shard FROM mosaic.epoch) = 's1' THEN 1/(g - 50000) ELSE g END "
                 "FROM generate_series(1, 100000) g")
    assert status == "SERVER" and "shard=s1" in summary and rows


def assert_nothing_runs(lab):
    """What was cancelled ends soon."""
    deadline = time.monotonic() + 10
    sql = ("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND application_name = 'pgmosaic'"
           " AND query LIKE '%%generate_series%%'")
    while any(lab.query(shard, sql)[0][0] for shard in range(LAB_SHARDS)):
        assert time.monotonic() < deadline, "a statement still runs"
        time.sleep(0.1)


@pytest.mark.both
def test_memory_stays_bounded_whatever_the_shards_send(cluster):
    """90 MB of rows through a merge."""
    sql = "SELECT generate_series(1, 30000), repeat('x', 1000)"
    out = run_program("scatter", cluster.config, "text", "0", "0", sql)
    summary = out[out.rindex("\n", 0, -1):].strip()
    assert summary.startswith("OK rows=90000 ")
    assert int(re.search(r"peak=(\d+)", summary)[1]) < (1024 if is_sanitized() else 40) * 1024


# ---- the map moves ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("first", ["write", "read", "batch"])
def test_stale_map_is_found_out(empty, first):
    """A program that was opened before a move reads and writes on the new owner."""
    program = subprocess.Popen([str(PROGRAMS / "library_stale"), empty.config, first], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        assert program.stdout.readline() == "opened shard 1\n"   # key 1 lives on shard 1
        move_bucket(empty, bucket=1, source=1, target=2)
        if first != "write":   # without it, the old connection is served, and the constraint finds the stale map out
            end_sessions(empty, 1)
        if first == "read":
            empty.query(2, "INSERT INTO users VALUES (1, 'moved')")
        answers, errors = program.communicate("go\n", timeout=60)
    finally:
        program.kill()
        move_bucket(empty, bucket=1, source=2, target=1)
    assert answers == "read 1 row\nok\n", errors


def end_sessions(lab, shard):
    lab.query(shard, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                     " WHERE application_name = 'pgmosaic' AND pid <> pg_backend_pid()")


def move_bucket(lab, bucket, source, target):
    """What a cutover does: ownership, map and epoch change, and the source's sessions end."""
    lab.everywhere("DELETE FROM users")
    epoch = lab.query(0, "UPDATE mosaic.cluster SET epoch = epoch + 1 RETURNING epoch")[0][0]
    group = lab.query(0, "SELECT colocation FROM mosaic.relation WHERE table_name = 'users'")[0][0]
    lab.query(0, f"UPDATE mosaic.colocation SET owners[{bucket + 1}] = {target} WHERE id = {group}")
    for shard in range(LAB_SHARDS):
        lab.query(shard, f"UPDATE mosaic.epoch SET epoch = {epoch}")
    home = bucket % LAB_SHARDS
    for shard in (source, target):
        mine = f"(id % 1536 + 1536) % 1536 % {LAB_SHARDS} = {shard}"
        this = f"(id % 1536 + 1536) % 1536 = {bucket}"
        owned = f"({mine}) AND NOT ({this})" if shard == home != target else f"({mine}) OR ({this})" if shard == target else mine
        lab.query(shard, "ALTER TABLE users DROP CONSTRAINT mosaic_owner; "
                         f"ALTER TABLE users ADD CONSTRAINT mosaic_owner CHECK (id IS NOT NULL AND ({owned}))")


# ---- a shard goes and comes back --------------------------------------------------------------------------

class Conversation:
    """A program that answers one line for each line."""

    def __init__(self, name, *words):
        self.process = subprocess.Popen([str(PROGRAMS / f"library_{name}"), *map(str, words)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def end(self):
        _, errors = self.process.communicate(timeout=30)
        assert self.process.returncode == 0 and not any(mark in errors for mark in SANITIZER_MARKS), errors


def milliseconds(answer):
    return float(re.search(r"ms=(\d+)", answer)[1])


def test_shard_down_and_up_again(cluster):
    talk = Conversation("shard_down", cluster.config)
    assert talk.ask("1").startswith("OK ")
    cluster.run("lab", "stop", cluster.name, "s1", check=True)
    try:
        for _ in range(4):
            answer = talk.ask("1")
            assert answer.startswith("UNREACHABLE shard=s1 ") and milliseconds(answer) < 1000, answer
            assert talk.ask("0").startswith("OK "), "the others are not affected"
            answer = talk.ask("all")
            assert answer.startswith("UNREACHABLE shard=s1 ") and milliseconds(answer) < 1000, answer
    finally:
        cluster.run("lab", "start", cluster.name, "s1", check=True)
    deadline = time.monotonic() + 10
    while not (answer := talk.ask("1")).startswith("OK "):
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    assert talk.ask("all").startswith("OK ")
    talk.end()


def test_shard_dies_under_a_statement(cluster):
    """The server's backends end while a statement runs: a failure that names the shard, at once; then a reconnect."""
    talk = Conversation("shard_down", cluster.config)
    talk.process.stdin.write("sleep\n")
    talk.process.stdin.flush()
    deadline = time.monotonic() + 10
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(30)%%'"
    while not cluster.query(1, sql):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    answer = talk.process.stdout.readline()
    assert answer.startswith("UNREACHABLE shard=s1 ") and milliseconds(answer) < 15000, answer
    assert talk.ask("1").startswith("OK ")
    talk.end()


def test_conninfo_of_another_shard_is_noticed(cluster, directory):
    """Two addresses swapped in the config would answer with other shards' rows."""
    text = pathlib.Path(cluster.config).read_text()
    one, two = cluster.conninfo(1), cluster.conninfo(2)
    swapped = directory / "mosaic.yaml"
    swapped.write_text(text.replace(one, "@").replace(two, one).replace("@", two))
    done = subprocess.run([str(PROGRAMS / "library_scatter"), str(swapped), "text", "-", "0", "SELECT 1"],
                          capture_output=True, text=True, timeout=60, env=environment())
    assert done.stdout.splitlines()[-1].startswith("STALE "), done.stdout + done.stderr


# ---- the package ------------------------------------------------------------------------------------------

def symbols(*words):
    out = subprocess.run(["nm", *map(str, words)], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in out.splitlines() if re.match(r"^[0-9a-f]+ [A-Za-z] ", line)}


def public_names():
    header = (CHECKOUT / "include" / "pgmosaic.h").read_text()
    return set(re.findall(r"MOSAIC_API\b[^;]*?\b(mosaic_\w+)\(", header))


def is_sanitized():
    return "-Db_sanitize" in (BUILD / "meson-info" / "intro-buildoptions.json").read_text() or \
        '"value": "none"' not in re.search(r'\{[^{}]*"name": "b_sanitize"[^{}]*\}',
                                            (BUILD / "meson-info" / "intro-buildoptions.json").read_text())[0]


def test_only_the_public_names_are_visible():
    names = public_names()
    assert len(names) > 30
    shared = symbols("-D", "--defined-only", BUILD / "include" / "libpgmosaic.so")
    static = symbols("-g", "--defined-only", BUILD / "include" / "libpgmosaic.a")
    if is_sanitized():
        shared, static = ({name for name in found if not name.startswith(("__", "_"))} for found in (shared, static))
    assert shared == names
    assert static == names


@pytest.fixture(scope="module")
def installed(module_directory):
    destination = module_directory / "dest with blank"
    env = environment({"DESTDIR": str(destination)})
    subprocess.run(["meson", "install", "-C", str(BUILD), "--no-rebuild"], check=True, capture_output=True, env=env)
    return destination


PROGRAM = """
#include <pgmosaic.h>
#include <stdio.h>
int main(void) {
    mosaic_cluster *cluster = NULL; mosaic_error error;
    mosaic_status status = mosaic_open("/nowhere", NULL, &cluster, &error);
    mosaic_key key = mosaic_key_int64(1);
    (void)key;
    printf("%s %s\\n", mosaic_version(), mosaic_status_name(status));
    return 0;
}
"""


def flags_of(installed, *words):
    pc = next(installed.rglob("pgmosaic.pc"))
    # The prefix of the installed file, moved below DESTDIR: what pkg-config does with a sysroot, but for libpq's own flags.
    text = pc.read_text()
    moved = installed.parent / "pkgconfig"
    moved.mkdir(exist_ok=True)
    prefix = re.search(r"^prefix=(.*)$", text, re.M)[1]
    escaped = f"{installed}{prefix}".replace(" ", "\\ ")
    (moved / "pgmosaic.pc").write_text(text.replace(f"prefix={prefix}", f"prefix={escaped}", 1))
    out = subprocess.run(["pkg-config", *words, "pgmosaic"], capture_output=True, text=True, check=True,
                         env={**os.environ, "PKG_CONFIG_PATH": str(moved)}).stdout
    import shlex
    return shlex.split(out)


@pytest.mark.plain
@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("kind", ["shared", "static"])
def test_a_program_is_built_against_the_installed_library(installed, directory, kind, language):
    compiler = shutil.which("g++" if language == "c++" else "cc")
    source = directory / ("program.cc" if language == "c++" else "program.c")
    source.write_text(PROGRAM)
    strict = ["-std=c++11"] if language == "c++" else ["-std=c11"]
    flags = flags_of(installed, "--cflags", "--libs", *(["--static"] if kind == "static" else []))
    if kind == "static":
        assert "-lcyaml" in flags and "-lcrypto" in flags and "-lpq" in flags
        flags = ["-l:libpgmosaic.a" if flag == "-lpgmosaic" else flag for flag in flags]
    built = subprocess.run([compiler, *strict, "-Wall", "-Wextra", "-pedantic", "-Werror", "-o", str(directory / "program"),
                            str(source), *flags], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    libraries = next(installed.rglob("libpgmosaic.a")).parent
    needed = subprocess.run(["readelf", "-d", str(directory / "program")], capture_output=True, text=True, check=True).stdout
    assert ("libpgmosaic.so.0" in needed) == (kind == "shared")
    done = subprocess.run([str(directory / "program")], capture_output=True, text=True, timeout=20,
                          env={**os.environ, "LD_LIBRARY_PATH": str(libraries)})
    version = re.search(r"version: '([^']*)'", (CHECKOUT / "meson.build").read_text())[1]
    assert done.stdout == f"{version} NOT_FOUND\n", done.stderr


@pytest.mark.plain
def test_installed_files(installed):
    found = {str(path.relative_to(installed)) for path in installed.rglob("*") if "pgmosaic" in path.name}
    names = {pathlib.Path(name).name for name in found}
    assert {"pgmosaic.h", "pgmosaic.pc", "libpgmosaic.a", "libpgmosaic.so", "libpgmosaic.so.0", "pgmosaic"} <= names


@pytest.mark.plain
def test_every_collision_is_impossible(installed, directory):
    """A program may have functions called as ours are inside."""
    source = directory / "program.c"
    source.write_text(PROGRAM + "int buffer_add(void); int buffer_add(void) { return 1; }\n"
                                "int map_count(void); int map_count(void) { return 1; }\n"
                                "int pq_connect(void); int pq_connect(void) { return 1; }\n")
    flags = flags_of(installed, "--cflags", "--libs", "--static")
    flags = ["-l:libpgmosaic.a" if flag == "-lpgmosaic" else flag for flag in flags]
    subprocess.run(["cc", "-o", str(directory / "program"), str(source), *flags], check=True)
    assert subprocess.run([str(directory / "program")], capture_output=True, text=True).stdout.endswith("NOT_FOUND\n")




def test_a_compiler_of_several_words_makes_the_static_library(directory):
    """As `ccache cc` is, which Meson takes where ccache is installed."""
    (directory / "one.c").write_text("int one(void); int one(void) { return 1; }\n")
    subprocess.run("cc -c one.c && ar rcs in.a one.o", shell=True, cwd=directory, check=True)
    subprocess.run([CHECKOUT / "scripts/static-library", "out.a", "in.a", "objcopy", "ar", "env", "LC_ALL=C", "cc"],
                   cwd=directory, check=True)
    assert "one" in subprocess.run(["nm", "out.a"], cwd=directory, capture_output=True, text=True, check=True).stdout
