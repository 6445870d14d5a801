"""The databases of a comparison: one PostgreSQL with all rows, and clusters with the same rows behind proxies.

Shards are databases of one server: to pgmosaic that is no difference, and a dozen of them cost as much as one lab. Their
text is ordered by ICU's rules, which no C library upgrade touches. A cluster of several shards has, after its first apply,
another map (`rows moved`): bitmaps for owners, and one shard that owns nothing of the first colocation.
"""
import contextlib
import io
import pathlib
import random

from conftest import superuser
from proxies import direct_target, shown, start_proxy

LOCALE = "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"


def tiers(proxy):
    """Tier → statements that were answered in it."""
    return {row["tier"]: row["statements"] for row in shown(proxy, "SHOW TIERS")}


class Cluster:
    """A cluster of n shards in databases of the lab's server; it is to start_proxy what a lab is."""

    def __init__(self, server, name, shards, moved):
        self.server, self.name, self.shards, self.moved = server, name, shards, moved
        self.directory = pathlib.Path(server.directory) / name
        self.directory.mkdir(mode=0o755)
        self.config = self.directory / "mosaic.yaml"
        self.env = {**server.env, "PGMOSAIC_CONFIG": str(self.config)}
        self.databases = [name if shard == 0 else f"{name}_{shard}" for shard in range(shards)]

    def conninfo(self, shard):
        return self.server.conninfo(0).replace(f"dbname={self.server.name}", f"dbname={self.databases[shard]}")

    def write_config(self, tables):
        shards = "".join(f'  - {{name: s{shard}, conninfo: "{self.conninfo(shard)}"}}\n' for shard in range(self.shards))
        self.config.write_text(f"cluster: {self.name}\nengine: postgres\nshards:\n{shards}\ntables:\n{tables}")

    def run(self, *arguments, **options):
        return self.server.run(*arguments, cwd=self.directory, env={"PGMOSAIC_CONFIG": str(self.config),
                               "PGPASSFILE": self.env["PGPASSFILE"]}, check=True, **options)

    def query(self, shard, sql):
        return self.server.query_database(self.databases[shard], sql)

    def build(self, schema, rng):
        for shard in range(self.shards):
            self.query(shard, schema.ddl())
        self.write_config(schema.yaml(self.shards))
        self.run("apply", "--yes")
        if self.moved:
            self.move_buckets(rng)
        for table in schema.tables:
            if table.kind == "home":
                self.server.copy_into(self.databases[0], table)
            elif table.rows:
                self.run("load", table.name, "--format", "text", input=table.copy_text())

    def move_buckets(self, rng):
        """Another map, while there are no rows: any bucket anywhere, and the last shard without one in the first map."""
        for number, buckets in self.query(0, "SELECT id, cardinality(owners) FROM mosaic.colocation "
                                          "WHERE function !~ '^(range|list)' ORDER BY id"):
            places = self.shards - 1 if number == self.moved and self.shards > 1 else self.shards
            owners = ",".join(str(rng.randrange(places)) for _ in range(buckets))
            self.query(0, f"UPDATE mosaic.colocation SET owners = '{{{owners}}}' WHERE id = {number}")
        self.query(0, "UPDATE mosaic.cluster SET epoch = epoch + 1")
        self.run("apply", "--yes")


class World:
    """oracle: a Target; clusters: (Cluster, Proxy) pairs. Everything follows from schema and seed."""

    def __init__(self, lab, schema, sizes, name="d", settings=None, users=None):
        """settings: the proxies'; users: a file for their passwords."""
        self.lab, self.schema, self.stack = lab, schema, contextlib.ExitStack()
        lab.query_database, lab.copy_into = self.query_database, self.copy_into
        rng = random.Random(len(sizes))
        made = [Cluster(lab, f"{name}{size}", size, moved=size in (3, 7)) for size in sizes]
        one = f"{name}_one"
        self.create([one, *[database for cluster in made for database in cluster.databases]],
                    [f"{cluster.name}_coordinator" for cluster in made if cluster.shards > 1])
        self.query_database(one, schema.ddl())
        for table in schema.tables:
            self.copy_into(one, table)
        self.query_database(one, "ANALYZE")
        self.oracle, self.name, self.twin_target = self.target(one), name, None
        if users:
            users.write_text(f'"{self.oracle.user}" "{self.oracle.password}"\n"smith" "smith"\n')
            users.chmod(0o600)
        self.clusters = []
        for cluster in made:
            cluster.build(schema, rng)
            proxy = self.stack.enter_context(start_proxy(cluster, settings))
            proxy.database = cluster.name
            self.clusters.append((cluster, proxy))

    def target(self, database):
        target = direct_target(self.lab)
        target.database = database
        return target

    def twin(self):
        """The oracle once more with its rows in another order: where the two differ, a statement has no one answer."""
        if self.twin_target is None:
            name = f"{self.name}_twin"
            self.create([name], [])
            self.query_database(name, self.schema.ddl())
            for table in self.schema.tables:
                self.copy_into(name, table, backwards=True)
            self.twin_target = self.target(name)
        return self.twin_target

    def create(self, databases, coordinators):
        with superuser(self.lab, 0) as cursor:
            for database in [*databases, *coordinators]:
                cursor.execute(f'CREATE DATABASE "{database}" OWNER "{direct_target(self.lab).user}" {LOCALE}')
                cursor.execute(f'ALTER DATABASE "{database}" SET jit = off')  # a compiler for a dozen rows
        for database in coordinators:
            with superuser(self.lab, 0, database) as cursor:
                cursor.execute("CREATE EXTENSION postgres_fdw")
                cursor.execute(f'GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO "{direct_target(self.lab).user}"')

    @contextlib.contextmanager
    def connect(self, database):
        import psycopg2
        connection = psycopg2.connect(self.lab.conninfo(0).replace(f"dbname={self.lab.name}", f"dbname={database}"))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def query_database(self, database, sql):
        with self.connect(database) as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def copy_into(self, database, table, backwards=False):
        with self.connect(database) as cursor:
            cursor.copy_expert(f"COPY {table.name} FROM STDIN", io.StringIO(table.copy_text(backwards)))

    def close(self):
        self.stack.close()
