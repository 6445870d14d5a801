"""What stands in databases: read whole, compared, put back; and whether each row is on the shard that owns it."""
import collections
import contextlib
import time

import psycopg2


def connect(lab, database):
    connection = psycopg2.connect(lab.conninfo(0).replace(f"dbname={lab.name}", f"dbname={database}"))
    connection.autocommit = True
    return connection


class Contents:
    """Of one PostgreSQL, and of a cluster beside it with the same tables."""

    def __init__(self, lab, schema, one, cluster):
        self.schema, self.one = schema, connect(lab, one)
        self.shards = [connect(lab, database) for database in cluster.databases]
        self.sharded = [table for table in schema.tables if table.kind == "sharded"]
        self.everything = " UNION ALL ".join(f"SELECT '{table.name}', (SELECT ROW({', '.join(table.names())})::text), t::text "
                                             f"FROM {table.name} t" for table in schema.tables)
        self.strays = self.owner_checks()

    def owner_checks(self):
        """For each shard, what finds rows that its own constraints would not let in."""
        find = "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conname = 'mosaic_owner' AND conrelid = %s::regclass"
        made = []
        for shard in self.shards:
            parts = []
            for table in self.sharded:
                found = run(shard, find, (table.name,))
                assert len(found) == 1, f"{table.name} has no mosaic_owner"
                parts.append(f"SELECT '{table.name}', t::text FROM {table.name} t WHERE ({found[0][0]}) IS NOT TRUE")
            made.append(" UNION ALL ".join(parts))
        return made

    def read(self):
        """(rows of one PostgreSQL, rows of each shard): lists of (table, stored columns, row)."""
        return run(self.one, self.everything), [run(shard, self.everything) for shard in self.shards]

    def problems(self):
        """None, or how the cluster differs from the one, or what stands on a shard that does not own it."""
        one, shards = self.read()
        copied = {table.name: table.kind for table in self.schema.tables}
        expected = {kind: collections.Counter((table, row) for table, _, row in one if copied[table] == kind)
                    for kind in ("sharded", "reference", "home")}
        found = [{kind: collections.Counter((table, row) for table, _, row in rows if copied[table] == kind) for kind in expected}
                 for rows in shards]
        lines = differing("of the shards", expected["sharded"], sum((each["sharded"] for each in found), collections.Counter()))
        for shard, each in enumerate(found):
            lines += differing(f"copies on shard {shard}", expected["reference"], each["reference"])
            lines += differing(f"home rows on shard {shard}", collections.Counter() if shard else expected["home"], each["home"])
        for shard, connection in enumerate(self.shards):
            lines += [f"shard {shard} has a row of another: {row}" for row in run(connection, self.strays[shard])]
        return lines + self.apart(shards)

    def apart(self, shards):
        """Equal keys of tables that share shards, on two of them."""
        places, lines = {}, []
        for shard, connection in enumerate(self.shards if len(shards) > 1 else []):
            for table in self.sharded:
                for (key,) in run(connection, f"SELECT DISTINCT ROW({', '.join(table.key)})::text FROM {table.name}"):
                    kind = table.name.partition("_")[2]
                    if places.setdefault((kind, key), shard) != shard:
                        lines.append(f"key {key} of {kind} on shards {places[kind, key]} and {shard}")
        return lines

    def left(self, seconds=5):
        """What a commit over shards has left behind. Its word goes when all shards have heard it, the client mostly before."""
        sql = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() UNION ALL SELECT gid FROM mosaic.decision"
        until = time.monotonic() + seconds
        while True:
            found = [f"left behind: {gid}" for shard in self.shards for gid, in run(shard, sql)]
            if not found or time.monotonic() > until:
                return found
            time.sleep(0.01)

    def size(self):
        return {table.name: run(self.one, f"SELECT count(*) FROM {table.name}")[0][0] for table in self.schema.tables}

    def put_back(self, saved):
        """What read() gave, in the place of what is there now."""
        one, shards = saved
        for connection, rows in zip([self.one, *self.shards], [one, *shards]):
            run(connection, f"TRUNCATE {', '.join(table.name for table in self.schema.tables)}")
            for table in self.schema.tables:
                texts = [stored for name, stored, _ in rows if name == table.name]
                if texts:
                    kinds = ", ".join(f"{name} {declared}" for name, declared in table.columns)
                    run(connection, f"DROP TYPE IF EXISTS stored; CREATE TYPE stored AS ({kinds})")
                    run(connection, f"INSERT INTO {table.name} ({', '.join(table.names())}) "
                                    "SELECT (each::stored).* FROM unnest(%s) each", (texts,))
                    run(connection, "DROP TYPE stored")

    def close(self):
        for connection in [self.one, *self.shards]:
            with contextlib.suppress(psycopg2.Error):
                connection.close()


def differing(what, expected, found, most=6):
    lines = []
    for name, more in (("only one PostgreSQL has", expected - found), ("more than one PostgreSQL has", found - expected)):
        lines += [f"{what}: {name}: {count} × {row}" for row, count in list(more.items())[:most]]
    return lines


def run(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []
