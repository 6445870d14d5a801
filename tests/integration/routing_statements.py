"""Random statements over a schema with every kind of relation that routing must see through; for test_routing.py."""

SCHEMA = """
CREATE SCHEMA app;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad');
CREATE DOMAIN app.amount AS numeric CHECK (VALUE > 0);
CREATE TABLE users (id bigint PRIMARY KEY, name text, mood mood, n int);
CREATE TABLE orders (user_id bigint NOT NULL, k int NOT NULL, total app.amount, PRIMARY KEY (user_id, k));
CREATE TABLE events (id int NOT NULL, day date NOT NULL, what text) PARTITION BY RANGE (day);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
CREATE TABLE events_new PARTITION OF events FOR VALUES FROM ('2025-01-01') TO (MAXVALUE);
CREATE TABLE docs (tag text NOT NULL, n int, body text);
CREATE TABLE pairs (a int NOT NULL, b text NOT NULL, v int);
CREATE TABLE countries (code int PRIMARY KEY, name text);
CREATE TABLE settings (k int PRIMARY KEY, v text);
CREATE TABLE app.users (id bigint, name text, mood mood, n int);
CREATE VIEW v_users AS SELECT id, name, mood, n FROM users;
CREATE VIEW v_join AS SELECT u.id, u.name, o.k, o.total FROM users u JOIN orders o ON o.user_id = u.id;
CREATE VIEW v_left AS SELECT u.id, u.n, o.k FROM users u LEFT JOIN orders o ON o.user_id = u.id;
CREATE VIEW v_group AS SELECT user_id AS id, count(*) AS n, sum(total) AS total FROM orders GROUP BY user_id;
CREATE VIEW v_total AS SELECT count(*) AS n FROM users;
CREATE VIEW v_first AS SELECT id, n FROM users ORDER BY id LIMIT 5;
CREATE VIEW v_union AS SELECT id, n FROM users UNION ALL SELECT id::bigint, 0 FROM events;
CREATE VIEW v_except AS SELECT id FROM users EXCEPT SELECT user_id FROM orders;
CREATE VIEW v_window AS SELECT id, n, row_number() OVER (ORDER BY n, id) AS r FROM users;
CREATE VIEW v_parted AS SELECT id, n, count(*) OVER (PARTITION BY id) AS r FROM users;
CREATE VIEW v_nested AS SELECT j.id, j.k, c.name AS country FROM v_join j LEFT JOIN countries c ON c.code = j.k;
CREATE VIEW v_barrier WITH (security_barrier) AS SELECT id, n FROM users WHERE n > 1;
CREATE VIEW v_five AS SELECT id, name, n FROM users WHERE id = 5;
CREATE VIEW app.hidden AS SELECT id, n FROM app.users;
"""
TABLES = """ - {name: users, key: id}
 - {name: orders, key: user_id}
 - {name: events, key: id}
 - {name: docs, key: tag}
 - {name: pairs, key: [a, b]}
 - {name: countries, kind: reference}
"""
# What can stand in FROM: its columns that hold ints, its key column (None: it has none), its text column.
RELATIONS = {
    "users": ("id n", "id", "name"), "orders": ("user_id k", "user_id", None), "events": ("id", "id", "what"),
    "events_old": ("id", "id", "what"), "v_users": ("id n", "id", "name"), "v_join": ("id k", "id", "name"),
    "v_left": ("id n k", "id", None), "v_group": ("id n", "id", None), "v_total": ("n", None, None),
    "v_first": ("id n", "id", None), "v_union": ("id n", "id", None), "v_except": ("id", "id", None),
    "v_window": ("id n r", "id", None), "v_parted": ("id n r", "id", None), "v_nested": ("id k", "id", "country"),
    "v_barrier": ("id n", "id", None), "v_five": ("id n", "id", "name"), "countries": ("code", None, "name"),
    "settings": ("k", None, "v"), "app.users": ("id n", "id", "name"), "public.users": ("id n", "id", "name"),
    "app.hidden": ("id n", "id", None),
}
KEYS = range(1, 9)


class Statements:
    """random: a random.Random. Each statement's rows are ordered or compared as a multiset."""

    def __init__(self, random):
        self.random, self.aliases = random, 0

    def pick(self, *choices):
        return self.random.choice(choices)

    def chance(self, share):
        return self.random.random() < share

    def alias(self):
        self.aliases += 1
        return f"t{self.aliases}"

    def key(self):
        return self.main if self.chance(0.93) else self.random.choice(KEYS)

    def constant(self):
        """A key as a constant, in one of the forms that PostgreSQL takes for an integer's."""
        key = self.key()
        return self.pick(f"{key}", f"{key}", f"{key}", f"'{key}'", f"{key}::bigint", f"{key}.0", f"int '{key}'",
                         f"(SELECT {key})", f"{key}::numeric", f"+{key}", f"- -{key}", f"{key - 1} + 1", f"{key}::int2",
                         f"({key} - 3) * 1::bigint + 3", f"-(2 - {key}) + 2",
                         f"'{key}'::bigint", "NULL", f"{key}.5")

    def source(self, depth):
        """(text, alias, int columns, key column)"""
        if depth > 0 and self.chance(0.15):
            alias = self.alias()
            return f"({self.query(depth - 1, ('x', 'y'))}) AS {alias}(x, y)", alias, ["x", "y"], "x"
        if self.chance(0.06):
            alias = self.alias()
            return (self.pick(f"generate_series(1, 3) AS {alias}(x)", f"(VALUES (1), ({self.key()})) AS {alias}(x)"),
                    alias, ["x"], None)
        name = self.random.choice(["users", "orders", "events"] if self.chance(0.45) else list(RELATIONS))
        columns, key, _ = RELATIONS[name]
        alias = self.alias()
        return f"{self.pick('', '', '', 'ONLY ') if name in ('users', 'orders') else ''}{name} AS {alias}", alias, \
            columns.split(), key

    def bound(self, alias, key):
        """A condition that binds the key, or looks as if it did."""
        column = f"{alias}.{key}"
        return self.pick(f"{column} = {self.constant()}", f"{column} = {self.constant()}", f"{self.constant()} = {column}",
                         f"{column} IN ({self.constant()}, {self.constant()})",
                         f"{column} = ANY (ARRAY[{self.key()}, {self.key()}])", f"{column} = ANY ('{{{self.key()}}}')",
                         f"{column} IS NOT DISTINCT FROM {self.key()}", f"({column}, 1) = ({self.key()}, 1)",
                         f"({column} = {self.key()} OR {column} = {self.key()})", f"NOT {column} <> {self.key()}",
                         f"({column} = {self.key()}) IS TRUE", f"({column} = {self.key()}) IS NOT TRUE",
                         f"{column} BETWEEN {self.key()} AND {self.key()}", f"{column} >= {self.key()}",
                         f"{column}::text = '{self.key()}'", f"{column} + 0 = {self.key()}",
                         f"coalesce({column}, 0) = {self.key()}", f"NOT ({column} = {self.key()})",
                         f"CASE WHEN {column} = {self.key()} THEN true ELSE {column} > 5 END",
                         f"{column} = {self.key()} AND {column} = {self.key()}", f"{column} NOT IN ({self.key()})")

    def condition(self, scope, depth):
        alias, columns, key = self.random.choice(scope)
        column = f"{alias}.{self.random.choice(columns)}"
        if depth > 0 and self.chance(0.2):
            text, inner, inner_columns, inner_key = self.source(0)
            on = f"{inner}.{inner_key or inner_columns[0]} = {alias}.{key or columns[0]}"
            inside = self.pick(on, on, f"{on} AND {self.condition([(inner, inner_columns, inner_key)], 0)}",
                               self.condition([(inner, inner_columns, inner_key)], 0))
            return self.pick(f"EXISTS (SELECT 1 FROM {text} WHERE {inside})",
                             f"NOT EXISTS (SELECT 1 FROM {text} WHERE {inside})",
                             f"{column} IN (SELECT {inner}.{inner_columns[0]} FROM {text} WHERE {inside})",
                             f"{column} NOT IN (SELECT {inner}.{inner_columns[0]} FROM {text} WHERE {inside})",
                             f"{column} > (SELECT count(*) FROM {text} WHERE {inside})")
        if key and self.chance(0.4):
            return self.bound(alias, key)
        other, other_columns, _ = self.random.choice(scope)
        return self.pick(f"{column} > 2", f"{column} IS NOT NULL", f"{column} = {other}.{self.random.choice(other_columns)}",
                         f"{column} % 2 = 0")

    def equality(self, left, right):
        return f"{left[0]}.{left[2] or left[1][0]} = {right[0]}.{right[2] or right[1][0]}"

    def from_clause(self, depth):
        text, *scope = self.source(depth)
        scope = [tuple(scope)]
        for _ in range(self.pick(0, 0, 1, 1, 2)):
            right, *item = self.source(depth)
            item = tuple(item)
            on = self.equality(self.random.choice(scope), item)
            if self.chance(0.2):
                on = self.condition([*scope, item], 0)
            elif self.chance(0.3):
                on += f" AND {self.condition([*scope, item], 0)}"
            join = self.pick("JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", ", ", "CROSS JOIN", "JOIN LATERAL")
            if len(scope) == 1 and scope[0][2] == item[2] == "id" and self.chance(0.15):
                # The merged column is the left one's, the right one's or both's: who is bound by it depends on the join.
                kind = self.pick("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
                return f"{text} {kind} {right} USING (id)", [(scope[0][0], ["id"], "id"), (item[0], ["id"], "id")]
            if join == ", ":
                text += f", {right}"
            elif join == "CROSS JOIN":
                text += f" CROSS JOIN {right}"
            elif join == "JOIN LATERAL":
                text += f" JOIN LATERAL (SELECT * FROM {right} WHERE {on}) {item[0]} ON true"
            else:
                text += f" {join} {right} ON {on}"
            scope.append(item)
        return text, scope

    def where(self, scope, depth):
        parts = [self.condition(scope, depth) for _ in range(self.pick(0, 1, 1, 2))]
        if self.chance(0.85):
            keyed = [item for item in scope if item[2]] or scope
            for item in self.random.sample(keyed, self.pick(1, len(keyed))):
                if item[2]:
                    parts.append(f"{item[0]}.{item[2]} = {self.key()}" if self.chance(0.7) else self.bound(item[0], item[2]))
        self.random.shuffle(parts)
        return f" WHERE {' AND '.join(f'({part})' for part in parts)}" if parts else ""

    def query(self, depth, names=None):
        """A SELECT of two ints."""
        if depth > 0 and self.chance(0.12):
            word = self.pick("UNION ALL", "UNION", "EXCEPT", "INTERSECT")
            return f"({self.query(depth - 1)}) {word} ({self.query(depth - 1)})"
        text, scope = self.from_clause(depth)
        where = self.where(scope, depth)
        columns = [f"{alias}.{column}" for alias, names_of, _ in scope for column in names_of]
        one, two = self.random.choice(columns), self.random.choice(columns)
        form = self.random.random()
        if form < 0.03:
            return f"SELECT {one}, count(*) FILTER (WHERE {self.condition(scope, 0)}) FROM {text}{where} GROUP BY {one}"
        if form < 0.05:
            return f"SELECT {one}, count(*) FROM {text}{where} GROUP BY GROUPING SETS (({one}), ())"
        if form < 0.08:
            inner, alias, names_of, key = self.source(0)
            on = f"{alias}.{key or names_of[0]} = {one}"
            return f"SELECT {one}, (SELECT max({alias}.{names_of[0]}) FROM {inner} WHERE " \
                   f"{self.pick(on, self.condition([(alias, names_of, key)], 0))}) FROM {text}{where}"
        if form < 0.1:
            inner, alias, names_of, key = self.source(0)
            return f"SELECT {one}, {two} FROM {text}{where or ' WHERE true'} AND ({one}, {two}) IN (SELECT " \
                   f"{alias}.{names_of[0]}, {alias}.{names_of[-1]} FROM {inner})"
        if form < 0.12:
            return f"SELECT {one}, {two} FROM {text}{where} ORDER BY 1, 2 FETCH FIRST 2 ROWS WITH TIES"
        if form < 0.17:
            return f"SELECT {one}, count(*) FROM {text}{where} GROUP BY {one}{self.pick('', ' HAVING count(*) > 1')}"
        if form < 0.23:
            return f"SELECT count(*), coalesce(max({two}), 0) FROM {text}{where}"
        if form < 0.28:
            order = ", ".join(columns)
            return self.pick(
                f"SELECT {one}, row_number() OVER (ORDER BY {order}) FROM {text}{where}",
                f"SELECT {one}, row_number() OVER (PARTITION BY {one} ORDER BY {order}) FROM {text}{where}",
                f"SELECT {one}, sum({two}) OVER w FROM {text}{where} WINDOW v AS (PARTITION BY {two}, {one}), w AS (v)",
                f"SELECT {one}, count(*) OVER (PARTITION BY {one}) + count(*) OVER (PARTITION BY {two}) FROM {text}{where}")
        if form < 0.3:
            return f"SELECT {one}::bigint, {two}::{self.pick('bigint', 'int', 'numeric')} FROM {text}{where}"
        if form < 0.32:
            return f"SELECT DISTINCT {one}, {two} FROM {text}{where}"
        if form < 0.36:
            return f"SELECT DISTINCT ON ({one}) {one}, {two} FROM {text}{where} ORDER BY {one}, {two}"
        if form < 0.42:
            return f"SELECT {one}, {two} FROM {text}{where} ORDER BY 1, 2 LIMIT 3{self.pick('', ' OFFSET 1')}"
        return f"SELECT {one}, {two} FROM {text}{where}"

    def select(self):
        self.main = self.random.choice(KEYS)
        if self.chance(0.05):
            start = self.pick("SELECT id, n FROM users", f"SELECT id, n FROM users WHERE id = {self.key()}",
                              f"SELECT {self.key()}::bigint, 0", "VALUES (1::bigint, 0)")
            on = self.pick("u.id = r.id", "u.id = r.id + 1", f"u.id = {self.key()}", "u.n = r.n")
            return f"WITH RECURSIVE r(id, n) AS ({start} UNION SELECT u.id, r.n + 1 FROM users u JOIN r ON {on} " \
                   f"WHERE r.n < 12) SELECT id, n FROM r WHERE {self.pick('true', f'id = {self.key()}')}"
        if self.chance(0.12):
            inner = self.query(1)
            name = self.pick("w", "users", "orders")  # a WITH query hides a table of its name
            return f"WITH {name}(id, n) AS {self.pick('', 'MATERIALIZED ')}({inner}) SELECT id, n FROM {name} " \
                   f"WHERE {self.pick('true', f'id = {self.key()}')}"
        return self.query(2)

    def write(self):
        self.main = self.random.choice(KEYS)
        key, constant = self.key(), self.constant()
        table, column = self.pick(("users", "id"), ("events", "id"), ("orders", "user_id"), ("v_users", "id"))
        value = {"users": "n = n + 1", "events": "what = 'new'", "orders": "total = total + 1", "v_users": "n = 0"}[table]
        return self.pick(
            f"UPDATE {table} SET {value} WHERE {self.bound(table, column)}",
            f"DELETE FROM {table} WHERE {self.bound(table, column)}",
            f"UPDATE users SET n = o.k FROM orders o WHERE o.user_id = users.id AND o.k = 1 AND users.id = {key}",
            f"UPDATE users SET n = 7, id = {self.key()} WHERE id = {key}",
            f"DELETE FROM orders USING users u WHERE orders.user_id = u.id AND u.{self.pick('id', 'n')} = {key}",
            f"INSERT INTO users (id, n) VALUES ({constant}, 1)",
            f"INSERT INTO users (id, n) VALUES ({key + 100}, 1), ({self.key() + 100}, 2)",
            f"INSERT INTO events SELECT id, '2025-05-05', name FROM users WHERE id = {key}",
            f"INSERT INTO events SELECT id + 1, '2025-05-05', name FROM users WHERE id = {key}",
            f"INSERT INTO orders (user_id, k) SELECT {key}, 50 FROM users WHERE id = {self.key()}",
            f"INSERT INTO users (id, n) VALUES ({key}, 3) ON CONFLICT (id) DO UPDATE SET n = excluded.n",
            f"INSERT INTO users (n) VALUES ({key})",
            f"INSERT INTO v_users (n, id) VALUES ({key}, {constant}) RETURNING *",
            f"INSERT INTO v_users VALUES ({key}, 'v', 'ok', 4) ON CONFLICT (id) DO UPDATE SET n = excluded.n",
            f"UPDATE v_users v SET n = o.k FROM orders o WHERE o.user_id = v.id AND o.k = 1 AND v.id = {key}",
            f"WITH w AS (DELETE FROM v_users WHERE id = {key} RETURNING *) INSERT INTO v_users SELECT * FROM w",
            f"INSERT INTO docs VALUES ('{self.pick('a', 'b', 'c')}', 1, 'x')",
            f"INSERT INTO pairs VALUES ({key}, 'x', 1)",
            f"DELETE FROM pairs WHERE (a, b) = ({key}, '{self.pick('x', 'y')}')",
            f"DELETE FROM pairs WHERE a = {key} AND b IN ('x', 'y')",
            f"WITH gone AS (DELETE FROM orders WHERE user_id = {key} RETURNING k) UPDATE users SET n = "
            f"(SELECT count(*) FROM gone) WHERE id = {self.key()}",
            f"MERGE INTO users u USING (VALUES ({key}, 9)) s(id, n) ON u.id = s.id WHEN MATCHED THEN UPDATE SET n = s.n "
            f"WHEN NOT MATCHED THEN INSERT (id, n) VALUES (s.id, s.n)",
            f"MERGE INTO orders o USING users u ON o.user_id = u.id AND u.id = {key} WHEN MATCHED THEN DELETE",
            f"UPDATE settings SET v = 'x' WHERE k = {key}", f"DELETE FROM docs WHERE tag = '{self.pick('a', 'b')}'")
