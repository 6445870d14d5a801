"""mosaic.decide and mosaic.forget: what a role that does not own schema mosaic writes of a commit over several shards."""
import contextlib

import psycopg2
import pytest
from conftest import superuser
from proxies import direct_target

LAB_SHARDS = 2

pytestmark = pytest.mark.light

HEX = "0123456789abcdef" * 2
PLAN = "+ functions mosaic.decide and mosaic.forget on s1"


@pytest.fixture(scope="module", autouse=True)
def applied(lab):
    lab.everywhere("CREATE TABLE users (id bigint PRIMARY KEY); GRANT ALL ON users TO PUBLIC")
    lab.add_tables("  - {name: users, key: id, function: modulo}")
    lab.run("apply", "--yes", check=True)
    for role in ("anna", "bob"):
        with superuser(lab, 0) as cursor:
            cursor.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}s'")


@contextlib.contextmanager
def role(lab, name):
    """A function that runs statements as this role, on one connection; rows, or the SQLSTATE and message of the error."""
    target = direct_target(lab)
    connection = psycopg2.connect(host=target.host, port=target.port, user=name, password=f"{name}s", dbname=target.database)
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        def run(sql, *values):
            try:
                cursor.execute(sql, values or None)
            except psycopg2.Error as error:
                return error.pgcode, error.diag.message_primary
            return cursor.fetchall() if cursor.description else None
        yield run


def decisions(lab):
    return lab.query(0, "SELECT gid, outcome, participants, decider_xid::text, decided_by FROM mosaic.decision ORDER BY 1")


def decide(run, end="COMMIT"):
    """A transaction that writes and decides; its gid, and what the decision and the commit answered."""
    run("BEGIN")
    run("DELETE FROM users WHERE id = 0")
    run("INSERT INTO users VALUES (0)")
    xid = run("SELECT pg_current_xact_id()::text")[0][0]
    gid = f"mosaic:{HEX}:s0:{xid}"
    answers = run("SELECT mosaic.decide(%s, %s, %s)", gid, xid, ["s1"])
    run(end)
    return gid, xid, answers


def test_a_role_decides_its_own_commit_and_forgets_its_own_word(lab):
    with role(lab, "anna") as anna, role(lab, "bob") as bob:
        gid, xid, answer = decide(anna)
        assert answer == [("",)] and decisions(lab) == [(gid, "committed", ["s1"], xid, "anna")]
        assert anna("SELECT * FROM mosaic.decision")[0] == anna("DELETE FROM mosaic.decision")[0] == "42501"
        bob("SELECT mosaic.forget(%s)", gid)
        anna("SELECT mosaic.forget(%s)", gid[:-1])
        anna("SELECT mosaic.forget(%s)", gid + ":s1")
        assert len(decisions(lab)) == 1
        anna("SELECT mosaic.forget(%s)", gid)
        assert decisions(lab) == []
        decide(anna, "ROLLBACK")
        assert decisions(lab) == []


def test_nobody_decides_the_commit_of_another(lab):
    refused = ("22023", "a transaction decides nothing but its own commit")
    with role(lab, "anna") as anna, role(lab, "bob") as bob:
        anna("BEGIN")
        anna("INSERT INTO users VALUES (2)")
        xid = anna("SELECT pg_current_xact_id()::text")[0][0]
        assert bob("SELECT mosaic.decide(%s, %s, '{}')", f"mosaic:{HEX}:s0:{xid}", xid) == refused  # no transaction id at all
        for gid in ("mosaic:{hex}:s0:{anna}", "mosaic:{hex}:s0:1{bob}", "mosaic:{hex}:s0:{bob}:s1", "mosaic:{hex}:{bob}",
                    "x:{hex}:s0:{bob}", None):
            bob("BEGIN")
            own = bob("SELECT pg_current_xact_id()::text")[0][0]
            gid = gid and gid.format(hex=HEX, anna=xid, bob=own)
            assert bob("SELECT mosaic.decide(%s, %s, '{}')", gid, own) == refused, gid
            bob("ROLLBACK")
            bob("BEGIN")
            bob("SELECT pg_current_xact_id()")
            assert bob("SELECT mosaic.decide(%s, %s, '{}')", f"mosaic:{HEX}:s0:{xid}", xid) == refused
            bob("ROLLBACK")
        anna("ROLLBACK")
    assert decisions(lab) == []


def test_a_word_that_stands_is_not_overruled_nor_dropped_when_it_is_aborted(lab):
    with role(lab, "anna") as anna:
        anna("BEGIN")
        xid = anna("SELECT pg_current_xact_id()::text")[0][0]
        gid = f"mosaic:{HEX}:s0:{xid}"
        lab.query(0, "INSERT INTO mosaic.decision (gid, outcome, decided_by) VALUES (%s, 'aborted', 'anna')", (gid,))
        assert anna("SELECT mosaic.decide(%s, %s, '{}')", gid, xid)[0] == "23505"
        anna("ROLLBACK")
        anna("SELECT mosaic.forget(%s)", gid)
    assert [row[:2] for row in decisions(lab)] == [(gid, "aborted")]
    lab.query(0, "DELETE FROM mosaic.decision")


def test_objects_of_other_schemas_are_not_taken_for_those_meant(lab):
    with role(lab, "anna") as anna:
        anna("CREATE TEMP TABLE decision (gid text, outcome text)")
        anna("CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT 1/0; SELECT now()'")
        anna("SET search_path = pg_temp, mosaic, public")
        gid, _, answer = decide(anna)
        assert answer == [("",)]
        anna("SELECT mosaic.forget(%s)", gid)
    assert decisions(lab) == []


def test_a_cluster_of_an_older_version_gets_them(lab):
    lab.query(1, "DROP FUNCTION mosaic.decide, mosaic.forget; ALTER TABLE mosaic.decision DROP COLUMN decided_by")
    assert f"not applied: {PLAN}" in lab.run("status").stdout
    assert PLAN in lab.run("apply", "--dry-run").stdout
    assert PLAN in lab.run("apply", "--yes", check=True).stdout
    assert "nothing to change, epoch 1" in lab.run("apply", "--yes", check=True).stdout
    assert lab.query(1, "SELECT has_function_privilege('public', oid, 'EXECUTE') FROM pg_proc WHERE proname IN "
                     "('decide', 'forget')") == [(True,), (True,)]
    lab.query(1, "SELECT decided_by FROM mosaic.decision")
    lab.query(1, "REVOKE EXECUTE ON FUNCTION mosaic.forget FROM PUBLIC")
    assert PLAN in lab.run("apply", "--yes", check=True).stdout


def test_a_commit_before_the_first_apply_makes_them(make_lab):
    lab = make_lab(2, "early")
    lab.run("exec", "--all", "CREATE TABLE t (v int)", check=True)
    assert lab.query(1, "SELECT to_regprocedure('mosaic.decide(text, xid8, text[])') IS NOT NULL, "
                     "has_schema_privilege('public', 'mosaic', 'USAGE')") == [(True, True)]
    assert lab.query(1, "SELECT count(*) FROM mosaic.decision") == [(0,)]
