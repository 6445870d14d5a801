"""mosaic.next_id() as the default of a sharding key: an INSERT that leaves the key out is given one here, and goes to the shard
that owns it."""
import concurrent.futures
import contextlib

import psycopg
import psycopg2
import pytest
from proxies import STANDIN, nothing_is_left, start_proxy
from rawwire import bind, describe, execute, kinds, parse, sync

LAB_SHARDS = 3
COMMON = """
CREATE TABLE events (id bigint PRIMARY KEY, what text DEFAULT 'none', n int CHECK (n <> 13));
CREATE TABLE hashed ("the ""key" bigint PRIMARY KEY, n int);
CREATE TABLE plain (id bigint PRIMARY KEY, n int);
"""
TABLES = """ - {name: events, key: id, function: modulo}
 - {name: hashed, key: 'the "key'}
 - {name: plain, key: id, function: modulo}
"""

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.light]


@pytest.fixture(scope="module")
def proxy(lab):
    lab.apply_tables(COMMON, TABLES)
    lab.everywhere("ALTER TABLE events ALTER id SET DEFAULT mosaic.next_id(); "
                   'ALTER TABLE hashed ALTER "the ""key" SET DEFAULT mosaic.next_id()')
    with start_proxy(lab, {"schema_check_interval": "200ms"}) as proxy:
        yield proxy


@pytest.fixture
def session(proxy, lab):
    lab.everywhere("TRUNCATE events, hashed, plain")
    with proxy.session() as run:
        yield run
    nothing_is_left(lab)


def owned(lab, table="events", key="id"):
    """All keys of a table; each row stands where the rule of the table lets it (mosaic_owner sees to that)."""
    found = [made for i in range(LAB_SHARDS) for made, in lab.query(i, f"SELECT {key} FROM {table}")]
    assert len(set(found)) == len(found)
    return found


def test_a_row_goes_to_the_owner_of_the_key_that_is_made(session, lab):
    made = [session(f"INSERT INTO events (what, n) VALUES ('w', {n}) RETURNING id, what, n")[0] for n in range(20, 60)]
    assert [row[1:] for row in made] == [("w", n) for n in range(20, 60)]
    ids = [row[0] for row in made]
    assert ids == sorted(ids) and sorted(owned(lab)) == ids
    assert all(lab.query(i, "SELECT count(*) > 0 FROM events") == [(True,)] for i in range(LAB_SHARDS))
    assert session(f"SELECT what, n FROM events WHERE id = {ids[7]}") == [("w", 27)]


def test_an_id_is_asked_for_by_itself(session):
    made = [session("SELECT mosaic.next_id()")[0][0] for _ in range(20)]
    assert len(set(made)) == 20 and all(0 < each < 1 << 63 for each in made)
    session(f"INSERT INTO plain (id) VALUES ({made[0]})")
    assert session(f"UPDATE plain SET n = mosaic.next_id() % 7 WHERE id = {made[0]} RETURNING n < 7") == [(True,)]
    session("BEGIN")
    assert session("SELECT mosaic.next_id() - mosaic.next_id() < 0") == [(True,)]
    session("COMMIT")
    with pytest.raises(psycopg2.Error) as refused:
        session("SELECT mosaic.next_id() FROM plain a JOIN events b ON b.n = a.n")
    assert refused.value.pgcode == "0A000", refused.value


def test_many_rows_are_given_theirs_in_order(session, lab):
    for count in (2, 300, 1000):
        values = ", ".join(f"({n}, 'it''s, ({n})')" for n in range(100, 100 + count))
        rows = session(f"INSERT INTO events AS e (n, what) VALUES {values} RETURNING e.n, id; ")
        assert [n for n, _ in rows] == list(range(100, 100 + count))
        assert [id for _, id in rows] == sorted(id for _, id in rows)
    assert len(owned(lab)) == 1302
    assert session('INSERT INTO hashed (n) VALUES (1), (2), (3), (4), (5), (6)') == "INSERT 0 6"
    assert len(owned(lab, "hashed", '"the ""key"')) == 6


def test_in_a_transaction(session, lab):
    for end, left in (("ROLLBACK", 0), ("COMMIT", 5)):
        session("BEGIN")
        for n in range(5):
            session(f"INSERT INTO events (n) VALUES ({n})")
        assert session("SELECT count(*) FROM events") == [(5,)]
        session(end)
        assert len(owned(lab)) == left
    session("BEGIN")
    with pytest.raises(psycopg2.errors.CheckViolation):
        session("INSERT INTO events (n) VALUES (13)")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        session("INSERT INTO events (n) VALUES (14)")
    session("ROLLBACK")
    session("BEGIN READ ONLY")
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        session("INSERT INTO events (n) VALUES (14)")
    session("ROLLBACK")
    assert len(owned(lab)) == 5


def test_parameters_and_conflicts(session, proxy, lab):
    with psycopg.connect(proxy.dsn, autocommit=True) as connection:
        for n in range(12):
            cursor = connection.execute("INSERT INTO events (what, n) VALUES (%s, %s), (%s, 3) RETURNING id, what, n",
                                        ("a", n, "b"), prepare=True)
            first, second = cursor.fetchall()
            assert first[0] < second[0] and (first[1:], second[1:]) == (("a", n), ("b", 3))
        connection.execute("INSERT INTO events (n) VALUES (%s) ON CONFLICT (id) DO UPDATE SET n = excluded.n", (5,))
    assert len(owned(lab)) == 25
    with contextlib.closing(proxy.wire()) as wire:
        for _ in range(3):
            answer = wire.exchange(parse("INSERT INTO events (n) VALUES ($1) RETURNING n") + bind(["7"]) + describe() +
                                   execute() + sync())
            assert kinds(answer) == ["1", "2", "T", "D", "C", "Z"]


def test_two_proxies_workers_and_sessions_never_make_the_same(lab, proxy, session):
    with start_proxy(lab, {"schema_check_interval": "200ms"}) as second:
        def insert(target):
            with target.session() as run:
                for n in range(40):
                    run(f"INSERT INTO events (n) VALUES ({n + 20}), ({n + 20})")

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(insert, [proxy, second] * 4))
    assert len(owned(lab)) == 640


def test_what_has_no_such_default_is_refused_as_before(session):
    for sql in ("INSERT INTO plain (n) VALUES (1)", "INSERT INTO events DEFAULT VALUES",
                "INSERT INTO events VALUES (DEFAULT, 'x')"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            session(sql)
    many = ", ".join("(1)" for _ in range(3001))
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        session(f"INSERT INTO events (n) VALUES {many}")


def test_explain_shows_the_rows_with_their_keys(session):
    lines = [line for line, in session("EXPLAIN (MOSAIC) INSERT INTO events (n) VALUES (1)")]
    assert lines[0].startswith("tier 2: writes on 1 of 3 shards")
    assert 'INSERT INTO events (n, "id") VALUES (1, ' in lines[1]
