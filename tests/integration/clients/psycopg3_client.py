"""psycopg 3: binary, prepared, pipelines, server cursors, COPY by rows."""
import asyncio
import threading

import psycopg
from psycopg.rows import dict_row

connection = psycopg.connect("", autocommit=True, prepare_threshold=2)


def ask(sql, parameters=None, **options):
    try:
        with connection.cursor(binary=options.pop("binary", False)) as cursor:
            cursor.execute(sql, parameters, **options)
            types = [(c.name, c.type_code,
                      c._data[5] if len(c._data) > 5 else None) for c in cursor.description or []]
            print(sql.split()[0], cursor.statusmessage, types, cursor.fetchall() if cursor.description else None)
    except psycopg.Error as error:
        print(sql.split()[0], "error", error.sqlstate, error.diag.message_primary, error.diag.message_detail)


for binary in (False, True):
    ask("SELECT 1, 2::int8, 1.50::numeric, 'x'::text, true, NULL, '2024-02-03'::date, '{1,2}'::int[], '{\"a\": 1}'::jsonb, "
        "'\\x00ff'::bytea, interval '1 day', timestamptz '2024-01-01 00:00:00+00', '[1,5)'::int4range", binary=binary)
for key in range(1, 7):
    ask("INSERT INTO account (id, owner, balance, flags) VALUES (%s, %s, %s, %s) RETURNING *",
        (key, f"owner {key}", 10.25, [key, None]), binary=key % 2 == 0)
for turn in range(6):
    ask("SELECT id, owner, flags FROM account WHERE id = %s", (turn,), binary=turn % 2 == 0)
    ask("SELECT owner FROM account WHERE id = %s", (turn,), prepare=True)
ask("INSERT INTO account (id, owner) VALUES (%s, %s)", (1, "again"))
ask("SELECT owner FROM account WHERE id = %b", (3,))
ask("SELECT owner FROM account WHERE id = %t", (3,))
ask("SELECT %s::int / 0", (1,))
ask("SELECT * FROM nowhere WHERE id = %s", (1,))

with connection.transaction():
    ask("INSERT INTO entry SELECT 3, g, 'w' || g FROM generate_series(1, 30) g WHERE false")
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO entry VALUES (3, %s, %s)", [(n, f"w{n}") for n in range(30)])
        print("executemany", cursor.rowcount)
    try:
        with connection.transaction():
            ask("INSERT INTO entry VALUES (3, 1, 'twice')")
            raise ValueError
    except ValueError:
        pass
    ask("SELECT count(*) FROM entry WHERE account = 3")

with connection.transaction(), connection.cursor("walk", binary=True, scrollable=True) as cursor:
    cursor.execute("SELECT n, what FROM entry WHERE account = 3 ORDER BY n")
    print("server cursor", cursor.fetchmany(4), cursor.fetchone())
    cursor.scroll(-2)
    print(cursor.fetchmany(3))

with connection.pipeline() as pipeline:
    cursors = [connection.execute("SELECT owner, %s::int FROM account WHERE id = 3", (n,)) for n in range(8)]
    pipeline.sync()
    cursors += [connection.execute("SELECT n FROM entry WHERE account = 3 AND n = %s", (n,)) for n in range(4)]
    print("pipeline", [cursor.fetchall() for cursor in cursors])
try:
    with connection.pipeline() as pipeline:
        connection.execute("SELECT owner FROM account WHERE id = 1")
        bad = connection.execute("SELECT 1/0")
        later = connection.execute("SELECT owner FROM account WHERE id = 1")
        pipeline.sync()
        print(later.fetchall())
except psycopg.Error as error:
    print("pipeline error", error.sqlstate)
ask("SELECT 'usable'")

with connection.cursor() as cursor:
    with cursor.copy("COPY plain (id, v) FROM STDIN") as copy:
        for n in range(500):
            copy.write_row((n, f"v{n}" if n % 3 else None))
    print("copied", cursor.rowcount)
    with cursor.copy("COPY plain FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "text"])
        copy.write_row((1000, "binary"))
    with cursor.copy("COPY (SELECT n, what FROM entry WHERE account = 3 ORDER BY n LIMIT 5) TO STDOUT") as copy:
        print(list(copy.rows()))
    try:
        with cursor.copy("COPY plain FROM STDIN") as copy:
            copy.write("1\tx\n")
            raise ValueError("no more")
    except psycopg.Error as error:
        print("copy broken off", error.sqlstate)
ask("SELECT count(*), count(v), max(v) FROM plain")
ask("DELETE FROM plain")

notices = []
connection.add_notice_handler(lambda diagnostic: notices.append((diagnostic.sqlstate, diagnostic.message_primary)))
ask("ROLLBACK")
print(notices)
ask("SET application_name = 'three'")
print(connection.info.parameter_status("application_name"), connection.info.transaction_status.name)
threading.Timer(0.3, connection.cancel).start()
ask("SELECT pg_sleep(20)")
with connection.cursor(row_factory=dict_row) as cursor:
    print(cursor.execute("SELECT id, owner FROM account WHERE id = 2").fetchall())
connection.close()


async def side_by_side():
    async def one(key):
        async with await psycopg.AsyncConnection.connect("", autocommit=True) as own:
            found = []
            for _ in range(5):
                cursor = await own.execute("SELECT id, owner FROM account WHERE id = %s", (key,))
                found.append(await cursor.fetchone())
            return found
    print("async", await asyncio.gather(*(one(key) for key in range(1, 7))))


asyncio.run(side_by_side())
