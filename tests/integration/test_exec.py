"""`pgmosaic exec`: where it runs, what it prints, and that a script is all or nothing over the shards."""
import csv
import io
import json
import os
import pty
import subprocess

import pytest

from conftest import COMMAND, environment, peak_memory

pytestmark = pytest.mark.light

LAB_SHARDS = 3


@pytest.fixture(scope="module", autouse=True)
def tables(lab):
    """Nothing was applied yet when the tables are made."""
    done = lab.run("exec", "--all", "CREATE TABLE users (id bigint PRIMARY KEY, name text); CREATE TABLE log (t text)")
    assert done.returncode == 0, done.stderr
    assert "CREATE TABLE on each of 3 shards" in done.stderr
    lab.add_tables("  - {name: users, key: id, function: modulo}")
    lab.run("apply", "--yes", check=True)


@pytest.fixture(autouse=True)
def empty(lab):
    lab.everywhere("TRUNCATE users, log")


def rows(text):
    return list(csv.reader(io.StringIO(text)))


def counts(lab, table="log"):
    return [lab.query(shard, f"SELECT count(*) FROM {table}")[0][0] for shard in range(lab.shards)]


def refused(lab, *arguments, code=1, **options):
    done = lab.run("exec", *arguments, **options)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stderr


def test_where_to_run_must_be_said(lab):
    for arguments in (["SELECT 1"], ["--all", "--shard", "s0", "SELECT 1"], ["--key", "1", "SELECT 1"],
                      ["--table", "users", "SELECT 1"], ["--all", "--table", "users", "--key", "1", "SELECT 1"]):
        said = refused(lab, *arguments, code=2)
        assert "--table TABLE --key KEY" in said and "--shard NAME" in said and "--all" in said
    assert "as one argument, or a file" in refused(lab, "--all", code=2)
    assert "as one argument, or a file" in refused(lab, "--all", "-f", "x", "SELECT 1", code=2)
    assert "there is no SQL" in refused(lab, "--all", " ; -- nothing", code=2)


def test_rows_of_all_shards_are_tagged_in_shard_order(lab):
    out = lab.run("exec", "--all", "SELECT current_setting('port') AS port, NULL AS n, '' AS e, 'a\"b,c' AS q",
                  check=True).stdout
    table = rows(out)
    assert table[0] == ["shard", "port", "n", "e", "q"]
    assert [row[0] for row in table[1:]] == ["s0", "s1", "s2"]
    assert len({row[1] for row in table[1:]}) == 3
    assert ',,"","a""b,c"' in out  # NULL is nothing, an empty text is quoted


def test_one_shard_has_no_tag(lab):
    assert rows(lab.run("exec", "--shard", "s1", "SELECT 1 AS one", check=True).stdout) == [["one"], ["1"]]
    assert "has no shard s9" in refused(lab, "--shard", "s9", "SELECT 1")


def test_key_goes_to_its_owner_and_no_other(lab):
    for key in (0, 1, 2, -1, 12345):
        lab.run("exec", "--table", "users", "--key", key, f"INSERT INTO users VALUES ({key}, 'x')", check=True)
        owner = lab.run("route", "users", key, check=True).stdout.split("\t")[3].strip()
        shard = int(owner.removeprefix("s"))
        assert lab.query(shard, "SELECT count(*) FROM users WHERE id = %s", (key,)) == [(1,)]
    assert sum(counts(lab, "users")) == 5


def test_key_that_is_none(lab):
    assert "bigint" in refused(lab, "--table", "users", "--key", "abc", "SELECT 1")
    assert "nosuch" in refused(lab, "--table", "nosuch", "--key", "1", "SELECT 1")


def test_a_row_on_a_foreign_shard_is_refused_with_the_way_out(lab):
    said = refused(lab, "--shard", "s0", "INSERT INTO users VALUES (1, 'x')")
    assert "mosaic_owner" in said and "pgmosaic route users" in said
    assert sum(counts(lab, "users")) == 0


def test_json_has_one_object_a_row(lab):
    out = lab.run("exec", "--all", "--json", "SELECT 9223372036854775807 AS big, true AS b, NULL AS n, 1.50 AS x, "
                  "'é' AS t, 1 AS t", check=True).stdout
    found = [json.loads(line) for line in out.splitlines()]
    assert found[2] == {"shard": "s2", "big": 9223372036854775807, "b": True, "n": None, "x": "1.50", "t": "é", "t_2": 1}


def test_aligned_on_a_terminal_only(lab):
    primary, secondary = pty.openpty()
    process = subprocess.Popen([COMMAND, "exec", "--all", "SELECT 5 AS number, 'text' AS word"], stdout=secondary,
                               stderr=subprocess.PIPE, cwd=lab.directory,
                               env=environment({"PGMOSAIC_CONFIG": lab.config, "NO_COLOR": "1"}))
    os.close(secondary)
    out = b""
    try:
        while piece := os.read(primary, 4096):
            out += piece
    except OSError:
        pass  # the other end was closed
    assert process.wait(timeout=20) == 0
    os.close(primary)
    lines = out.decode().replace("\r", "").splitlines()
    assert lines[0] == "shard  number  word"
    assert lines[1] == "s0          5  text" and lines[-1] == "(3 rows)"


def test_a_failure_on_one_shard_changes_none(lab):
    lab.query(2, "INSERT INTO log VALUES ('only here')")
    said = refused(lab, "--all", "INSERT INTO log VALUES ('x'); SELECT 1 / (2 - count(*)) FROM log")
    assert "[shard s2] division by zero" in said and "nothing was changed on any shard" in said
    assert counts(lab) == [0, 0, 1]


def test_a_failure_at_commit_changes_none(lab):
    lab.everywhere("CREATE TABLE late (v int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    for shard in range(3):
        lab.everywhere("TRUNCATE late")
        lab.query(shard, "INSERT INTO late VALUES (1)")
        assert f"[shard s{shard}] duplicate key" in refused(lab, "--all", "INSERT INTO late VALUES (1)")
        assert counts(lab, "late") == [1 if i == shard else 0 for i in range(3)]
        assert [lab.query(i, "SELECT count(*) FROM pg_prepared_xacts") for i in range(3)] == [[(0,)]] * 3


def test_a_shard_may_wait_longer_for_the_others_than_it_may_be_idle(lab):
    lab.everywhere("ALTER ROLE CURRENT_USER SET idle_in_transaction_session_timeout = 100")
    try:
        sql = "INSERT INTO log VALUES ('x'); SELECT pg_sleep(0.5) FROM mosaic.epoch WHERE shard = 's1'; SELECT 1"
        lab.run("exec", "--all", sql, check=True)
        assert counts(lab) == [1, 1, 1]
    finally:
        lab.everywhere("ALTER ROLE CURRENT_USER RESET idle_in_transaction_session_timeout")


def test_a_script_is_one_transaction_and_its_failures_name_the_line(lab, directory):
    script = directory / "script.sql"
    script.write_text("-- a comment; with a semicolon\nINSERT INTO log VALUES ('é;');\n\n"
                      "DO $$ BEGIN PERFORM 1; END $$;\nSELECT\n  nope\nFROM log;\n")
    said = refused(lab, "--all", "-f", script)
    assert f"{script}:6: column \"nope\" does not exist" in said
    assert counts(lab) == [0, 0, 0]
    script.write_text("INSERT INTO log VALUES ('a');\nSAVEPOINT x;\nINSERT INTO log VALUES ('b');\nROLLBACK TO x;\n")
    lab.run("exec", "--all", "-f", script, check=True)
    assert counts(lab) == [1, 1, 1]
    lab.run("exec", "--shard", "s0", "-f", "-", input="INSERT INTO log VALUES ('from stdin')", check=True)
    assert counts(lab) == [2, 1, 1]


@pytest.mark.parametrize("sql, says", [
    ("SELECT 1;\nBEGIN", ":2: BEGIN, COMMIT and ROLLBACK cannot stand here"),
    ("\nCOMMIT", ":2: BEGIN, COMMIT"),
    ("COPY log FROM STDIN;\nx\n\\.\n", "command of psql|COPY FROM STDIN cannot be run"),
    ("SELECT 1;\n\\d log", "line 2: \\d is a command of psql"),
    ("SELECT 'a\0b'", "byte"),
    ("COPY log TO STDOUT", ":1: COPY to and from the client"),
])
def test_what_exec_cannot_run_is_refused_before_anything_is_done(lab, directory, sql, says):
    script = directory / "script.sql"
    script.write_text("INSERT INTO log VALUES ('x'); " + sql)
    said = refused(lab, "--all", "-f", script)
    assert any(part in said for part in says.split("|")), said
    assert counts(lab) == [0, 0, 0]


def test_a_file_that_is_not_there(lab):
    assert "there is no file nowhere.sql" in refused(lab, "--all", "-f", "nowhere.sql")


def test_statements_that_cannot_be_in_a_transaction(lab):
    assert "--no-transaction" in refused(lab, "--all", "VACUUM log")
    lab.run("exec", "--shard", "s0", "VACUUM log", check=True)
    done = lab.run("exec", "--all", "--no-transaction", "CREATE INDEX CONCURRENTLY log_t ON log (t); VACUUM log", check=True)
    assert done.stderr.count("CREATE INDEX") == 3
    lab.query(1, "DROP INDEX log_t")
    said = refused(lab, "--all", "--no-transaction", "DROP INDEX CONCURRENTLY log_t")
    assert "[shard s1]" in said and "done on: s0, s2; failed on: s1" in said


def test_reading_needs_no_prepared_transaction(lab):
    before = [lab.query(i, "SELECT pg_current_xact_id()::text::bigint")[0][0] for i in range(3)]
    lab.run("exec", "--all", "SELECT count(*) FROM users", check=True)
    after = [lab.query(i, "SELECT pg_current_xact_id()::text::bigint")[0][0] for i in range(3)]
    assert [b - a for a, b in zip(before, after)] == [1, 1, 1]


def test_deadline(lab):
    said = refused(lab, "--all", "--timeout", "1", "INSERT INTO log VALUES ('x'); SELECT pg_sleep(30)")
    assert "deadline passed" in said
    assert counts(lab) == [0, 0, 0]


@pytest.mark.plain
def test_large_results_stream_in_bounded_memory(lab):
    """120 MB of rows: the process must not grow with them."""
    sql = "SELECT i, repeat('x', 1000) FROM generate_series(1, 40000) i"
    with open(os.devnull, "wb") as sink:
        process = subprocess.Popen([COMMAND, "exec", "--all", sql], stdout=sink, cwd=lab.directory,
                                   env=environment({"PGMOSAIC_CONFIG": lab.config}))
        peak = peak_memory(process)
    assert process.returncode == 0
    assert peak < 64 << 20, f"{peak} bytes"


def test_output_that_cannot_be_written(lab):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([COMMAND, "exec", "--all", "SELECT repeat('x', 1000) FROM generate_series(1, 1000)"],
                              stdout=full, stderr=subprocess.PIPE, text=True, cwd=lab.directory, timeout=60,
                              env=environment({"PGMOSAIC_CONFIG": lab.config}))
    assert done.returncode == 1 and "output" in done.stderr
