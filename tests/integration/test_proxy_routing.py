"""Routing exactness: statements through the proxy on 1, 2 and 5 shards give what one PostgreSQL gives, or are refused.

Where test_routing.py asks what is planned, this goes the whole way: both protocols, parameters as text and binary,
prepared statements, search_path, transactions, enums whose OIDs differ between the shards, row level security.
SEED=n makes other statements; ROUTING_TURNS=n more of them. The share that is answered is printed; wrong must be 0.
"""
import collections
import contextlib
import os
import random
import struct

import pytest
import rawwire
import routing_statements
from proxies import STANDIN, direct_target, start_proxy

pytestmark = pytest.mark.light

SEED = os.environ.get("SEED", "1")
TURNS = int(os.environ.get("ROUTING_TURNS", "300"))
CLUSTERS = [1] if STANDIN else [1, 2, 5]
KEYS = range(1, 13)
SCHEMA = routing_statements.SCHEMA + """
CREATE TABLE secrets (id bigint PRIMARY KEY, owner text, v text);
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON secrets USING (owner = 'a') WITH CHECK (owner <> 'c');
CREATE TABLE moods (id bigint PRIMARY KEY, m mood, ms mood[], d app.amount);
"""
TABLES = routing_statements.TABLES + " - {name: secrets, key: id, function: modulo}\n - {name: moods, key: id}\n"
ALL = ["users", "orders", "events", "docs", "pairs", "secrets", "moods", "countries", "settings", "app.users"]
SHARDED = ALL[:7]


class Cluster:
    def __init__(self, shards, lab, target):
        self.shards, self.lab, self.target = shards, lab, target


def first_rows(rng):
    """Statements that fill the tables; each belongs to one shard, or to all (countries)."""
    for key in KEYS:
        yield f"INSERT INTO users VALUES ({key}, 'name{key % 3}', '{rng.choice(['sad', 'ok', 'glad'])}', {rng.randrange(9)})"
        yield f"INSERT INTO orders VALUES ({key}, 1, {rng.randrange(1, 99)}), ({key}, 2, 7.50)"
        yield f"INSERT INTO events (id, day, what) VALUES ({key}, '202{rng.choice('46')}-03-01', 'e')"
        yield f"INSERT INTO docs VALUES ('{chr(96 + key)}', {key}, 'body')"
        yield f"INSERT INTO pairs VALUES ({key}, 'x', 1)"
        yield f"INSERT INTO secrets VALUES ({key}, '{rng.choice('ab')}', 's{key}')"
        yield f"INSERT INTO moods VALUES ({key}, 'ok', '{{sad,NULL,glad}}', 1.5)"
        yield f"INSERT INTO settings VALUES ({key}, 'v{key}')"
        yield f"INSERT INTO app.users VALUES ({key}, 'app{key}', 'ok', {key})"


@pytest.fixture(scope="module")
def alone(make_lab):
    lab = make_lab(1, "town")
    lab.everywhere(SCHEMA)
    with direct_target(lab).wire() as wire:
        for sql in first_rows(random.Random(5)):
            wire.ask(sql)
        wire.ask("INSERT INTO countries SELECT g, 'land' || g FROM generate_series(1, 8) g")
    return lab


@pytest.fixture(scope="module", ids=lambda n: f"{n} shards",
                params=[count if count == 2 else pytest.param(count, marks=pytest.mark.light) for count in CLUSTERS])
def cluster(request, make_lab, alone):
    lab = make_lab(request.param, "town")
    for shard in range(request.param):
        # The later a shard, the greater its OIDs.
        lab.query(shard, "".join(f"CREATE TYPE other{i} AS ENUM ('x');" for i in range(shard * 3)) or "SELECT 1")
    lab.everywhere(SCHEMA)
    lab.everywhere("INSERT INTO countries SELECT g, 'land' || g FROM generate_series(1, 8) g")
    lab.add_tables(TABLES)
    lab.run("apply", "--yes", check=True)
    with start_proxy(lab) as proxy:
        with proxy.wire() as wire:
            for sql in first_rows(random.Random(5)):
                wire.ask(sql)
        yield Cluster(request.param, lab, proxy)


# ---- statements ----

# A statement and its values. K, L: keys; N: a small number; S: a text key.
READS = [
    "SELECT * FROM users WHERE id = K", "SELECT id, name FROM users WHERE id = K AND n > N",
    "SELECT u.*, o.* FROM users u JOIN orders o "
    "ON o.user_id = u.id WHERE u.id = K", "SELECT count(*), sum(total), avg(total) FROM orders WHERE user_id = K",
    "SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.user_id = K",
    "SELECT * FROM events WHERE id = K",
    "SELECT * FROM events_new WHERE id = K", "SELECT * FROM v_join WHERE id = K",
    "SELECT * FROM v_group WHERE id = K",
    "SELECT * FROM v_first WHERE id = K", "SELECT * FROM docs WHERE tag = S",
    "SELECT * FROM pairs WHERE a = K AND b = 'x'",
    "SELECT * FROM pairs WHERE (a, b) = (K, 'x')", "SELECT * FROM pairs WHERE a = K",
    "SELECT * FROM users WHERE id = K OR id = L",
    "SELECT * FROM users WHERE id IN (K, L)", "SELECT * FROM users WHERE id = ANY (ARRAY[K, L]::bigint[])",
    "SELECT * FROM users WHERE id IS NOT DISTINCT FROM K", "SELECT * FROM users WHERE (id = K) IS NOT TRUE",
    "SELECT count(*) FILTER (WHERE id = K), count(*) FROM users",
    "SELECT * FROM users WHERE id = K UNION ALL SELECT * FROM users WHERE id = L",
    "SELECT * FROM moods WHERE id = K", "SELECT m, ms FROM moods WHERE id = K AND m = 'ok'",
    "SELECT v FROM secrets WHERE id = K",
    "SELECT c.name, u.name FROM users u JOIN countries c ON c.code = u.n WHERE u.id = K",
    "SELECT * FROM countries ORDER BY code",
    "SELECT * FROM settings WHERE k = N", "SELECT s.v, u.name FROM settings s, users u WHERE u.id = K AND s.k = N",
    "SELECT 1 + N",
    "SELECT name FROM users WHERE id = K FOR UPDATE",
    "WITH w AS (SELECT * FROM users WHERE id = K) SELECT w.name, o.k FROM w JOIN orders o "
    "ON o.user_id = w.id", "SELECT EXISTS (SELECT FROM users WHERE id = K)",
    "SELECT (SELECT name FROM users WHERE id = K), "
    "(SELECT n FROM users WHERE id = L)", "SELECT row_number() OVER (ORDER BY k), k FROM orders WHERE user_id = K",
    "SELECT count(*) FROM (SELECT * FROM users LIMIT 3) x",
    "SELECT name, count(*) FROM users WHERE id = K GROUP BY name HAVING count(*) > 0",
    "SELECT * FROM users WHERE id >= K AND id <= K",
    "SELECT * FROM app.users WHERE id = K", "SELECT * FROM public.users WHERE id = K",
    "SELECT \"id\" FROM \"users\" WHERE \"id\" = K",
    "SELECT 'WHERE id = K' FROM users WHERE id = L", "SELECT nope FROM users WHERE id = K",
    "SELECT 1 / (id - K) FROM users WHERE id = K",
    "SELECT * FROM users WHERE id = K AND name = 'name1' COLLATE \"C\"",
    "SELECT x.* FROM (SELECT * FROM users WHERE id = K) x WHERE x.id = K",
    "SELECT max(id) FROM users", "SELECT DISTINCT name FROM users",
    "SELECT pg_typeof(m), m::text FROM moods WHERE id = K",
]
WRITES = [
    "INSERT INTO users VALUES (K, 'new', 'sad', N) ON CONFLICT (id) DO UPDATE SET n = users.n + 1 RETURNING *",
    "INSERT INTO orders "
    "VALUES (K, N + 10, 1.5) RETURNING *", "INSERT INTO users VALUES (K, 'again', 'ok', 1)",
    "INSERT INTO orders VALUES (K, 50, 1), (L, 51, 2)",
    "UPDATE users SET n = n + 1 WHERE id = K RETURNING id, n",
    "UPDATE orders SET total = total + 1 FROM users u WHERE u.id = orders.user_id "
    "AND user_id = K RETURNING k, total", "UPDATE users SET id = L WHERE id = K", "UPDATE users SET n = 0",
    "DELETE FROM orders WHERE user_id = K "
    "AND k > 1 RETURNING *", "DELETE FROM orders WHERE k = N",
    "UPDATE moods SET m = 'glad', ms = ms || 'ok'::mood WHERE id = K RETURNING m, ms",
    "INSERT INTO orders SELECT id, 70 + N, 5 FROM users WHERE id = K",
    "WITH d AS (DELETE FROM events WHERE id = K RETURNING *) INSERT INTO events "
    "SELECT * FROM d RETURNING *",
    "MERGE INTO users u USING (SELECT K::bigint AS id) q ON u.id = q.id AND u.id = K WHEN MATCHED THEN UPDATE SET n = 5",
    "INSERT INTO docs VALUES (S, N, 'more') RETURNING *", "UPDATE docs SET n = n + 1 WHERE tag = S",
    "INSERT INTO secrets VALUES (K + 100, 'c', 'x')",
    "UPDATE secrets SET v = v || '!' WHERE id = K RETURNING id, v", "INSERT INTO orders VALUES (K, 1, 1)",
    "INSERT INTO orders VALUES (K, 90, -1)",
    "INSERT INTO moods VALUES (K, 'bad')", "UPDATE settings SET v = v || '+' WHERE k = N RETURNING *",
    "UPDATE countries SET name = 'x' WHERE code = N",
    "INSERT INTO users (name) VALUES ('no key')", "INSERT INTO users VALUES (NULL, 'null')",
    "UPDATE app.users SET n = n + 1 WHERE id = K RETURNING n",
    "DELETE FROM users WHERE id = K AND id = L", "INSERT INTO events VALUES (K, '2025-06-01', 'new') RETURNING day",
    "TRUNCATE orders",
]

INTEGERS = [(20, lambda n: struct.pack("!q", n)), (23, lambda n: struct.pack("!i", n)),
            (21, lambda n: struct.pack("!h", n))]


def literal(rng, number):
    return rng.choice([f"{number}", f"{number}", f"'{number}'", f"{number}::bigint", f"CAST({number} AS int)",
                       f"int '{number}'"])


class Call:
    """A statement as it is sent: bytes, and how it reads."""

    def __init__(self, rng, template):
        self.values, self.types, self.formats = [], [], []
        self.by_query = rng.random() < 0.4
        main = rng.choice(KEYS)
        text = ""
        for word in self.words(template):
            text += self.place(rng, word, main) if word in ("K", "L", "N", "S") else word
        self.text = text
        results = [rng.choice([0, 1])]
        if self.by_query:
            self.data = rawwire.query(text)
        else:
            name = rng.choice(["", "", f"s{rng.randrange(1000000)}"])
            self.data = (rawwire.parse(text, name, self.types) + rawwire.bind(self.values, name, formats=self.formats,
                    results=results)
                         + rawwire.describe() + rawwire.execute() + rawwire.sync())

    @staticmethod
    def words(template):
        word = ""
        for i, letter in enumerate(template):
            alone = letter in "KLNS" and not (template[i - 1:i].isalnum() or template[i + 1:i + 2].isalnum())
            if alone:
                yield word
                yield letter
                word = ""
            else:
                word += letter
        yield word

    def place(self, rng, word, main):
        if word == "S":
            value = rng.choice("abcdefzé")
            return "'" + value + "'" if self.by_query else self.parameter(value, rng.choice([0, 25, 1043]), 0)
        number = {"K": main, "L": rng.choice([main, main + 1, rng.choice(KEYS)]), "N": rng.randrange(8)}[word]
        if self.by_query or rng.random() < 0.3:
            return literal(rng, number)
        if rng.random() < 0.5:
            return self.parameter(str(number), rng.choice([0, 0, 20, 23]), 0)
        oid, pack = rng.choice(INTEGERS)
        return self.parameter(pack(number), oid, 1)

    def parameter(self, value, oid, form):
        self.values.append(value)
        self.types.append(oid)
        self.formats.append(form)
        return f"${len(self.values)}"

    def __str__(self):
        return f"{self.text}   -- " + ("simple" if self.by_query else f"{self.values} of {self.types}")


class Side:
    """One connection, with what makes its answers comparable to the other's."""

    def __init__(self, target, home):
        self.wire = target.wire()
        self.names = {}
        with home.wire() as catalog:
            for oid, name in catalog.ask(rawwire.TYPES):
                self.names[int(oid)] = name

    def plain(self, messages):
        """([columns], rows as a multiset, tags) or the SQLSTATE."""
        columns, rows, tags = [], collections.Counter(), []
        for kind, body in messages:
            if kind == "E":
                return rawwire.error_fields(body)["C"]
            if kind == "T":
                columns = [(c[0], self.names.get(c[3], c[3]), c[6]) for c in rawwire.columns(body)]
            elif kind == "D":
                values = rawwire.row_values(body, raw=True)
                rows[tuple(rawwire.type_named(value, name, self.names) if form else value
                           for value, (_, name, form) in zip(values, columns))] += 1
            elif kind == "C":
                tags.append(rawwire.tag(body))
        return columns, rows, tags

    def run(self, data):
        return self.plain(self.wire.exchange(data))

    def ask(self, sql):
        return self.run(rawwire.query(sql))


def same(expected, got):
    return expected == got


def calls(rng):
    """One transaction's worth: mostly one statement."""
    if rng.random() < 0.25:
        generated = routing_statements.Statements(rng)
        generated.main = rng.choice(KEYS)
        return [Call(rng, generated.select().replace("K", "k"))]
    return [Call(rng,
                 rng.choice(READS if rng.random() < 0.55 else WRITES)) for _ in range(rng.choice([1, 1, 1, 1, 2, 3]))]


class Turns:
    def __init__(self, one, other, rng):
        self.one, self.other, self.rng = one, other, rng
        self.answered = self.refused = self.errors = 0
        self.wrong = []

    def turn(self, path):
        made = calls(self.rng)
        within = len(made) > 1 or self.rng.random() < 0.2
        end = self.rng.choice(["COMMIT", "COMMIT", "ROLLBACK"])
        if within:
            self.other.ask("BEGIN")
        got = []
        for call in made:
            got.append(self.other.run(call.data))
            if got[-1] == "0A000":
                self.refused += 1
                # What came before may be done: it is undone, so that both sides stay equal.
                assert within or len(made) == 1
                if within:
                    self.other.ask("ROLLBACK")
                return
        if within:
            ended = self.other.ask(end)
            self.one.ask("BEGIN")
        expected = [self.one.run(call.data) for call in made]
        if within and not same(self.one.ask(end), ended):
            self.wrong.append((path, made, end, ended))
        self.answered += len(made)
        self.errors += sum(isinstance(each, str) for each in expected)
        for call, left, right in zip(made, expected, got):
            if not same(left, right):
                self.wrong.append((path, [str(each) for each in made], str(call), left, right))


def content(cluster, alone):
    """Tables whose rows differ: {name: (missing, too many)}."""
    found = {}
    for table in ALL:
        sql = f"SELECT t::text FROM {table} t"
        one = collections.Counter(row[0] for row in alone.query(0, sql))
        shards = range(cluster.shards) if table in SHARDED else [0]
        many = collections.Counter(row[0] for shard in shards for row in cluster.lab.query(shard, sql))
        if one != many:
            found[table] = (one - many, many - one)
    return found


@contextlib.contextmanager
def both(cluster, alone):
    one, other = Side(direct_target(alone), direct_target(alone)), Side(cluster.target, direct_target(cluster.lab))
    try:
        yield one, other
    finally:
        one.wire.close()
        other.wire.close()


def reset(alone):
    """The rows of one PostgreSQL as they were; for each cluster anew."""
    with direct_target(alone).wire() as wire:
        wire.ask("TRUNCATE users, orders, events, docs, pairs, secrets, moods, settings, app.users, countries")
        wire.ask("INSERT INTO countries SELECT g, 'land' || g FROM generate_series(1, 8) g")
        for sql in first_rows(random.Random(5)):
            wire.ask(sql)


def test_random_statements(cluster, alone, capsys):
    reset(alone)
    rng = random.Random(f"{SEED} {cluster.shards}")
    with both(cluster, alone) as (one, other):
        turns = Turns(one, other, rng)
        for turn in range(TURNS):
            if turn % 20 == 0:
                path = rng.choice(["public", "public", "public", "app, public", "public, app"])
                for side in (one, other):
                    side.ask(f"SET search_path = {path}")
            turns.turn(path)
            if len(turns.wrong) >= 5:
                break
    different = content(cluster, alone)
    total = turns.answered + turns.refused
    with capsys.disabled():
        print(f"\n{cluster.shards} shards: {turns.answered} of {total} statements answered ({100 * turns.answered // total} %, "
              f"{turns.errors} with an error of PostgreSQL's), {turns.refused} refused, {len(turns.wrong)} wrong")
    assert not turns.wrong, f"SEED={SEED}: " + "\n".join(map(str, turns.wrong[:3]))
    assert not different, f"SEED={SEED}: rows differ: {different}"
    assert turns.answered > total // 3


# ---- what other sharding proxies answer wrongly ----

PEERS = {
    1: ["SELECT count(*) FROM (SELECT * FROM users LIMIT 10) x", "SELECT * FROM users ORDER BY id LIMIT 3"],
    2: ["INSERT INTO orders VALUES (1, 201, 1), (2, 201, 2)"],
    3: ["INSERT INTO docs VALUES ('123', 1, 'x')", "INSERT INTO docs VALUES (NULL, 1, 'x')",
        "INSERT INTO users VALUES (NULL, 'x')",
        "SELECT * FROM docs WHERE tag = '123'"],
    4: ["SELECT * FROM users WHERE id = 1 UNION ALL SELECT * FROM users WHERE id = 2",
        "SELECT * FROM users WHERE id IN (1, 3 + 4)"],
    5: ["SELECT * FROM users WHERE (id = 1) IS NOT TRUE",
        "SELECT * FROM orders a LEFT JOIN users t ON t.id = a.user_id AND t.id = 5",
        "SELECT count(*) FILTER (WHERE id = 5), count(*) FROM users",
        "SELECT CASE WHEN id = 5 THEN 1 END FROM users"],
    6: ["SELECT count(*) OVER (), id FROM users", "SELECT row_number() OVER (ORDER BY id), id FROM users"],
    7: ["SELECT coalesce(sum(n), 0) FROM users", "SELECT round(avg(n), 2) FROM users",
        "SELECT sum(n) / sum(id) FROM users"],
    8: ["SELECT name, count(*) FROM users GROUP BY name ORDER BY count(*) DESC, name LIMIT 2",
        "SELECT id FROM users ORDER BY id OFFSET 3"],
    9: ["SELECT DISTINCT ON (lower(name)) lower(name) FROM users ORDER BY lower(name)",
        "SELECT id FROM users ORDER BY lower(name), id",
        "SELECT id FROM users ORDER BY n, id"],
    10: ["COPY users TO STDOUT (FORMAT csv, HEADER)",
         "COPY (SELECT * FROM users WHERE id = 3) TO STDOUT (FORMAT csv, HEADER)"],
    11: ["MERGE INTO users u USING (VALUES (1::bigint), (2)) q(id) ON u.id = q.id WHEN MATCHED THEN UPDATE SET n = 77",
         "INSERT INTO orders SELECT id, 300, 1 FROM users",
         "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM users ORDER BY id"],
    12: ["SELECT * FROM user", "SELECT * FROM userss WHERE id = 1", "INSERT INTO userss VALUES (1)"],
    13: ["SELECT * FROM users WHERE id >= 1", "SELECT * FROM users WHERE id <= 20",
         "SELECT * FROM users WHERE id BETWEEN 3 AND 3"],
    14: ["SELECT id FROM users ORDER BY id", "SELECT name, count(*) FROM users GROUP BY name",
         "SELECT id FROM users UNION SELECT user_id FROM orders",
         "SELECT id FROM users EXCEPT SELECT user_id FROM orders",
         "SELECT count(*) FROM users a JOIN users b ON true"],
    15: ["SELECT (SELECT name FROM users WHERE id = 1), (SELECT name FROM users WHERE id = 2)",
         "SELECT '/* mosaic: shard=s1 */ x'",
         "SELECT name, '/* mosaic: key=1 */' FROM users WHERE id = 2"],
}


@pytest.mark.parametrize("number", PEERS)
def test_wrong_answers_of_peers(cluster, alone, number):
    """Each is right or refused, by both protocols; what is refused has done nothing."""
    with both(cluster, alone) as (one, other):
        for sql in PEERS[number]:
            for data in (rawwire.query(sql),
                         rawwire.parse(sql) + rawwire.bind() + rawwire.describe() + rawwire.execute() + rawwire.sync()):
                other.ask("BEGIN")
                got = other.run(data)
                left = other.ask("ROLLBACK")
                if got == "0A000":
                    assert left[2] == ["ROLLBACK"]
                    continue
                one.ask("BEGIN")
                expected = one.run(data)
                one.ask("ROLLBACK")
                assert expected == got, f"{cluster.shards} shards: {sql}"


def test_copy_into_a_sharded_table_goes_to_the_owners_of_its_rows(cluster, alone):
    """Case 10: COPY FROM without a column list."""
    before = content(cluster, alone)
    with both(cluster, alone) as (_, other):
        data = rawwire.query("COPY docs FROM STDIN") + rawwire.copy_data("q\t1\tx\nr\t2\ty\n") + rawwire.copy_done()
        other.wire.send(data)
        got = other.plain(other.wire.until("Z"))
        assert got[2] == ["COPY 2"]
        assert other.ask("DELETE FROM docs WHERE tag IN ('q', 'r')")[2] == ["DELETE 2"]
        assert other.ask("SELECT 1")[2] == ["SELECT 1"]
    assert content(cluster, alone) == before
