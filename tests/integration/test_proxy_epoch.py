"""The fence of the epoch holds for every role: what a proxy's connection of an ordinary role may read, and is told."""
import contextlib

import psycopg2
import pytest
from conftest import superuser
from proxies import STANDIN, eventually, start_proxy

LAB_SHARDS = 2
USERS = "CREATE TABLE users (id bigint PRIMARY KEY, name text); GRANT ALL ON users TO PUBLIC"
PLAN = "+ every role may read mosaic.epoch on s1"

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy has a map"), pytest.mark.light]


@pytest.fixture(scope="module")
def applied(lab):
    lab.everywhere(USERS)
    lab.add_tables(" - {name: users, key: id, function: modulo}\n")
    lab.run("apply", "--yes", check=True)
    for shard in range(LAB_SHARDS):
        with superuser(lab, shard) as cursor:
            cursor.execute("CREATE ROLE anna LOGIN PASSWORD 'annas'")
    return lab


@pytest.fixture
def proxy(applied, directory):
    users = directory / "users.txt"
    users.write_text('"anna" "annas"\n')
    users.chmod(0o600)
    with start_proxy(applied, {"auth_file": users, "server_login_retry": "50ms"}) as proxy:
        yield proxy


def ask(proxy, sql):
    """As anna, on connections of her own; rows, or the error."""
    with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=proxy.port, user="anna", password="annas",
                                             dbname=proxy.database, sslmode="disable")) as connection:
        with connection.cursor() as cursor:
            try:
                cursor.execute(sql)
                return cursor.fetchall()
            except psycopg2.Error as error:
                return error


def test_every_role_sees_the_epoch_and_nothing_more(applied, proxy):
    assert ask(proxy, "/* mosaic: shard=s1 */ SELECT shard FROM mosaic.epoch") == [("s1",)]
    for shard in range(LAB_SHARDS):
        rows = applied.query(shard, """SELECT relname::text, privilege FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT',
            'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) privilege
            WHERE relnamespace = 'mosaic'::regnamespace AND relkind IN ('r', 'S')
              AND has_table_privilege('anna', c.oid, privilege)""")
        assert rows == [("epoch", "SELECT")]
        assert applied.query(shard, "SELECT has_schema_privilege('anna', 'mosaic', 'CREATE')") == [(False,)]


@pytest.mark.parametrize("revoke", ["USAGE ON SCHEMA mosaic", "SELECT ON mosaic.epoch"])
def test_an_epoch_that_cannot_be_read_is_told_and_apply_grants_it(applied, proxy, revoke):
    applied.query(1, f"REVOKE {revoke} FROM PUBLIC")
    error = ask(proxy, "SELECT * FROM users WHERE id = 1")
    assert isinstance(error, psycopg2.Error) and error.pgcode == "42501"
    assert "role anna may not read the epoch of shard s1" in str(error) and "pgmosaic apply" in error.diag.message_hint
    eventually(lambda: "role anna may not read the epoch" in proxy.log)
    assert PLAN in applied.run("apply", "--dry-run").stdout
    assert PLAN in applied.run("apply", "--yes", check=True).stdout
    assert "nothing to change, epoch 1" in applied.run("apply", "--yes", check=True).stdout
    eventually(lambda: ask(proxy, "SELECT * FROM users WHERE id = 1") == [])


def test_a_stale_map_is_noticed_by_a_role_that_owns_nothing(applied, proxy):
    assert ask(proxy, "SELECT * FROM users WHERE id = 0") == []
    applied.query(1, "UPDATE mosaic.epoch SET epoch = 2")
    try:
        error = ask(proxy, "SELECT * FROM users WHERE id = 1")
        assert isinstance(error, psycopg2.Error) and "the map has changed" in str(error)
        assert ask(proxy, "SELECT * FROM users WHERE id = 0") == []
    finally:
        applied.query(0, "UPDATE mosaic.cluster SET epoch = 2")
        applied.run("apply", "--yes", check=True)
    eventually(lambda: ask(proxy, "SELECT * FROM users WHERE id = 1") == [], seconds=20)
