"""`pgmosaic explain`: with a cluster and without one, one statement and logs; what it says is what the shards hold."""
import json
import re
import time

import psycopg2
import pytest

from conftest import run_command
from proxies import STANDIN, start_proxy

pytestmark = pytest.mark.light

LAB_SHARDS = 3

SCHEMA = """
CREATE TABLE users (id bigint PRIMARY KEY, name text);
CREATE TABLE orders (user_id bigint NOT NULL REFERENCES users, n int NOT NULL, total numeric, PRIMARY KEY (user_id, n));
CREATE TABLE countries (code text PRIMARY KEY, name text);
CREATE TABLE settings (k text PRIMARY KEY);
CREATE VIEW totals AS SELECT u.id, sum(o.total) AS total FROM users u JOIN orders o ON o.user_id = u.id GROUP BY u.id;
"""
TABLES = " - {name: users, key: id}\n - {name: orders, key: user_id}\n - {name: countries, kind: reference}\n"


@pytest.fixture(scope="module")
def cluster(lab, module_directory):
    lab.everywhere(SCHEMA)
    lab.add_tables(TABLES)
    lab.run("apply", "--yes", check=True)
    lab.schema = module_directory / "schema.sql"
    lab.schema.write_text(SCHEMA)
    return lab


def explain(lab, *arguments, **options):
    return lab.run("explain", *arguments, check=True, **options).stdout


def test_the_shard_is_the_one_that_has_the_row(cluster):
    for key in range(1, 9):
        said = json.loads(explain(cluster, "--json", f"SELECT * FROM users WHERE id = {key}"))
        route = json.loads(cluster.run("route", "users", str(key), "--json", check=True).stdout)
        assert (said["shard"], said["bucket"]) == (route["shard"], route["bucket"])
        if key < 4:
            cluster.query(int(said["shard"][1:]), f"INSERT INTO users VALUES ({key}, 'x')")  # the owner takes it


def test_text_says_tier_shard_bucket_and_what_proved_it(cluster):
    assert explain(cluster, "SELECT * FROM totals WHERE id = 42") == (
        "tier 1: one shard, s0\n"
        "  bucket 2658 of 4096, by hash of users\n"
        "  users: sharded by id; bound by id = 42\n"
        "  orders: sharded by user_id; bound by user_id = 42\n")


def test_what_is_not_proved_is_shown_with_its_place(cluster):
    lines = explain(cluster, "SELECT * FROM countries c, users u WHERE u.name = c.name").splitlines()
    why = lines.index("  why not one shard: it is not proved that one shard has all the statement needs of users")
    assert lines[0] == "tier 2: all 3 shards, merged here"
    place = lines[why + 1].index("users u")
    assert lines[why + 2] == " " * place + "^"
    assert any(line.startswith("  to lower the tier: ") and "id" in line for line in lines)
    assert explain(cluster, "UPDATE users SET name = 'x'").startswith("tier 2: writes on all 3 shards: s0, s1, s2\n")
    lines = explain(cluster, "UPDATE users u SET name = (SELECT max(name) FROM users) WHERE u.name = 'y'").splitlines()
    assert lines[0].startswith("refused (0A000): ")
    place = lines[1].index("users u")
    assert lines[2] == " " * place + "^"
    assert any(line.startswith("  to prove it: ") and "id" in line for line in lines)


def test_without_a_server_it_says_the_same(cluster, directory):
    config = directory / "mosaic.yaml"
    text = open(cluster.config).read()
    config.write_text(re.sub(r'conninfo: "[^"]*port=(\d+)[^"]*"', r'conninfo: "host=nowhere.invalid port=\1"', text))
    for sql in ("SELECT * FROM users WHERE id = 42", "SELECT * FROM totals WHERE id = 7", "SELECT count(*) FROM users",
                "SELECT * FROM settings", "SELECT 1", "INSERT INTO orders VALUES (1, 2, 3), (1, 3, 4)"):
        done = run_command("explain", "-c", config, "--schema", cluster.schema, sql, check=True)
        assert done.stdout == explain(cluster, sql)
        assert "no server was asked" in done.stderr


def test_parameters_decide_when_they_are_given(cluster):
    sql = "SELECT * FROM orders WHERE user_id = $1 AND n = $2"
    assert "if the values of the parameters are of one" in explain(cluster, sql)
    assert json.loads(explain(cluster, "--json", sql))["shard"] is None
    assert json.loads(explain(cluster, "--json", "--param", "42,1", sql))["shard"] == "s0"
    assert json.loads(explain(cluster, "--json", "--param", '"42","a,""b"', sql))["shard"] == "s0"
    assert "22P02" in explain(cluster, "--param", "abc,1", sql)


def test_json_has_the_error_and_each_relation(cluster):
    said = json.loads(explain(cluster, "--json", "DELETE FROM users u USING settings WHERE u.name = k"))
    assert said["tier"] is None and said["way"] == "refused" and said["statement"] == "DELETE"
    assert said["error"]["sqlstate"] == "0A000" and said["error"]["location"] == 12
    assert {relation["name"]: relation["placement"] for relation in said["relations"]} == {
        "users": "sharded", "settings": "home"}
    assert said["epoch"] == 1 and said["map_is_assumed"] is False


def test_json_says_why_it_is_the_coordinator_s(cluster):
    said = json.loads(explain(cluster, "--json", "SELECT count(*) FROM users a, users b"))
    assert (said["tier"], said["way"], said["shard"], said["error"]) == (4, "the coordinator", None, None)
    assert said["why_not_one_shard"] == "it is not proved that one shard has all the statement needs of users"
    assert said["why_not_every_shard"] == "it may look at rows of users that have other keys"
    said = json.loads(explain(cluster, "--json", "SELECT name, count(*) FROM users GROUP BY name"))
    assert (said["tier"], said["why_not_merged"]) == (3, "its GROUP BY puts rows of several keys together")
    assert said["why_not_every_shard"] is None


def test_hints_and_several_statements(cluster):
    out = explain(cluster, "/* mosaic: shard=s2 */ SELECT count(*) FROM users; SELECT 1")
    assert out.startswith("tier 1: one shard, s2: a hint says so\n")
    done = cluster.run("explain", "/* mosaic: shard=s9 */ SELECT 1")
    assert done.returncode == 2 and "its shards are s0, s1, s2" in done.stderr
    key = explain(cluster, "/* mosaic: key=42 table=users */ SELECT count(*) FROM settings")
    assert "s0" in key


def test_a_log_of_the_server_is_counted(cluster, directory):
    log = directory / "server.log"
    statements = ["SELECT * FROM users WHERE id = 1", "SELECT *\n  FROM users\n WHERE name = 'x'",
                  "SELECT * FROM users WHERE name = 'y'", "BEGIN", "SELECT * FROM settings"]
    lines = ["2026-01-01 00:00:00 UTC [1] LOG:  statement: " + text.replace("\n", "\n\t") for text in statements]
    lines += ["2026-01-01 00:00:00 UTC [1] LOG:  execute <unnamed>: SELECT * FROM orders WHERE user_id = $1",
              "2026-01-01 00:00:00 UTC [1] DETAIL:  parameters: $1 = '42'"]
    log.write_text("\n".join(lines) + "\n")
    out = explain(cluster, "-f", log)
    assert re.search(r"^1 +one shard +2 +33\.3 %$", out, re.M)
    assert re.search(r"^2 +several shards, merged +2 +33\.3 %$", out, re.M)
    assert "\n2 beyond one shard: " in out and "line 2: SELECT *   FROM users  WHERE name = 'x'" in out
    report = json.loads(explain(cluster, "-f", log, "--json"))
    assert report["statements"] == 6 and report["reasons"][0]["count"] == 2 and report["reasons"][0]["line"] == 2


def test_standard_input_has_one_statement_a_line(cluster):
    text = "SELECT * FROM users WHERE id = 1\n\nSELECT * FROM users\n"
    report = json.loads(explain(cluster, "-f", "-", "--json", input=text))
    assert report["statements"] == 2
    assert [way["count"] for way in report["ways"] if way["way"] == "one shard"] == [1]


def test_usage_errors(cluster):
    for arguments in ([], ["SELECT 1", "-f", "x"], ["-f", "x", "--param", "1"], ["--param", '"1', "SELECT $1"]):
        done = cluster.run("explain", *arguments)
        assert done.returncode == 2, arguments
    assert cluster.run("explain", "-f", "/nowhere").returncode != 0
    done = cluster.run("explain", "--schema", "/nowhere", "SELECT 1")
    assert done.returncode != 0 and "/nowhere" in done.stderr


def test_a_wrong_schema_file_is_refused_with_its_line(cluster, directory):
    wrong = directory / "wrong.sql"
    wrong.write_text("CREATE TABLE users (id bigint);\nCREATE TABEL x ();\n")
    done = cluster.run("explain", "--schema", wrong, "SELECT 1")
    assert done.returncode == 1 and "wrong.sql:2: syntax error" in done.stderr
    wrong.write_text("CREATE TABLE users (id bigint);\n")
    done = cluster.run("explain", "--schema", wrong, "SELECT 1")
    assert done.returncode != 0 and "orders" in done.stderr


# ---- within a session with the proxy ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session(cluster):
    """A function that runs a statement through the proxy: its rows."""
    if STANDIN:
        pytest.skip("a stand-in knows no EXPLAIN (MOSAIC)")
    with start_proxy(cluster, {"schema_check_interval": "300ms"}) as proxy:
        connection = proxy.psycopg2()
        cursor = connection.cursor()

        def run(sql):
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else None
        yield run
        connection.close()


def test_explain_mosaic_gives_the_same_lines(cluster, session):
    for sql in ("SELECT * FROM totals WHERE id = 42", "SELECT * FROM settings", "INSERT INTO orders VALUES (5, 1, 1)"):
        assert [line for line, in session(f"EXPLAIN (MOSAIC) {sql}")] == explain(cluster, sql).splitlines()
    lines = [line for line, in session("EXPLAIN (MOSAIC) SELECT * FROM users")]
    why = next(i for i, line in enumerate(lines) if line.startswith("  why not one shard"))
    assert lines[0] == "tier 2: all 3 shards, merged here"
    assert lines[why + 2].index("^") == lines[why + 1].index("users")
    assert session("SELECT count(*) FROM users WHERE id = 42") == [(0,)]  # nothing was run, and the session goes on


def test_hints_of_a_session_are_checked_when_they_are_set(session):
    assert session("/* mosaic: shard=s1 */ SELECT current_setting('port')") != session(
        "/* mosaic: shard=s2 */ SELECT current_setting('port')")
    with pytest.raises(psycopg2.Error) as refused:
        session("SET mosaic.shard = 's9'")
    assert refused.value.pgcode == "22023" and "s0, s1, s2" in refused.value.diag.message_hint
    with pytest.raises(psycopg2.Error) as refused:
        session("SET mosaic.shards = 's1'")
    assert refused.value.pgcode == "42704"
    session("SET mosaic.shard = 's1'")
    assert session("EXPLAIN (MOSAIC) SELECT count(*) FROM users")[0] == ("tier 1: one shard, s1: a hint says so",)
    session("RESET mosaic.shard")
    session("SET mosaic.key = '42'")
    assert session("EXPLAIN (MOSAIC) SELECT count(*) FROM users")[0] == ("tier 1: one shard, s0: a hint says so",)
    session("RESET mosaic.key")
    with pytest.raises(psycopg2.Error) as refused:
        session("DELETE FROM users WHERE random() > 2")
    assert refused.value.pgcode == "0A000"


def test_a_change_of_the_schema_past_the_proxy_is_noticed(cluster, session):
    question = "EXPLAIN (MOSAIC) SELECT * FROM late WHERE id = 5"
    assert "home shard" in session(question)[0][0]  # nobody knows it: the home shard says so
    cluster.everywhere("CREATE VIEW late AS SELECT id FROM users")
    deadline = time.monotonic() + 15
    while "home shard" in session(question)[0][0]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "users: sharded by id; bound by id = 5" in session(question)[2][0]
    assert session("SELECT * FROM late WHERE id = 5") == []
