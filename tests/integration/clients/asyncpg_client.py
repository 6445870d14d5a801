"""asyncpg: binary always, statements prepared and cached by itself, its own introspection of types."""
import asyncio
import datetime
import decimal
import os
import uuid

import asyncpg


async def main():
    connection = await asyncpg.connect(
        host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]), user=os.environ["PGUSER"],
        password=os.environ["PGPASSWORD"], database=os.environ["PGDATABASE"])

    async def ask(sql, *values):
        try:
            rows = await connection.fetch(sql, *values)
            print(sql.split()[0], [dict(row) for row in rows])
        except asyncpg.PostgresError as error:
            print(sql.split()[0], "error", error.sqlstate, error.args[0], error.detail)

    statement = await connection.prepare("SELECT $1::int8 AS a, $2::numeric[] AS b, $3::jsonb AS c, "
                                         "$4::timestamptz AS d, $5::uuid AS e")
    print([p.name for p in statement.get_parameters()], [(a.name, a.type.name) for a in statement.get_attributes()])
    print(await statement.fetch(2 ** 40, [decimal.Decimal("1.5"), None], '{"x": 1}',
                                datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
                                uuid.UUID(int=5)), statement.get_statusmsg())
    for key in range(1, 7):
        await ask("INSERT INTO account (id, owner, balance, flags, raw) VALUES ($1, $2, $3, $4, $5) RETURNING *", key,
                  f"owner {key}",
                  decimal.Decimal("10.25"), [key, None], b"\0\xff")
    for key in (1, 2, 3, 1, 2, 3, 77):
        await ask("SELECT id, owner, flags FROM account WHERE id = $1", key)
    await ask("INSERT INTO account (id, owner) VALUES ($1, $2)", 1, "again")
    await ask("SELECT 1/$1::int", 0)
    await ask("SELECT * FROM nowhere WHERE id = $1", 1)
    await ask("SELECT id FROM account WHERE id = $1::text::bigint + 0 AND id = $2", "x", 1)

    await connection.executemany("INSERT INTO entry VALUES (3, $1, $2)", [(n, f"w{n}") for n in range(40)])
    try:
        await connection.executemany("INSERT INTO entry VALUES (3, $1, $2)",
                                     [(n, f"w{n}") for n in range(60, 20, -1)])
    except asyncpg.PostgresError as error:
        print("executemany", error.sqlstate)
    await ask("SELECT count(*) FROM entry WHERE account = 3")
    async with connection.transaction():
        try:
            async with connection.transaction():
                await connection.execute("UPDATE account SET balance = 1 WHERE id = 3")
                await connection.execute("UPDATE account SET balance = -1000 WHERE id = 3")
        except asyncpg.PostgresError as error:
            print("inner", error.sqlstate, error.constraint_name)
        print([dict(r) async for r in connection.cursor("SELECT n FROM entry WHERE account = 3 ORDER BY n",
                                                        prefetch=7)])
    await ask("SELECT balance FROM account WHERE id = $1", 3)
    print(await connection.execute("UPDATE account SET balance = 2 WHERE id = 3; SELECT 1"))

    print(await connection.copy_records_to_table("plain", records=[(n, f"v{n}") for n in range(300)]))
    sink = []

    async def write(data):
        sink.append(data)
    print(await connection.copy_from_query("SELECT n FROM entry WHERE account = 3 AND n < $1", 5, output=write),
          b"".join(sink))
    await ask("SELECT count(*) FROM plain")
    print(await connection.execute("DELETE FROM plain"))

    heard = []
    await connection.add_listener("chan", lambda _c, _p, channel, payload: heard.append((channel, payload)))
    await connection.execute("NOTIFY chan, 'loud'")
    for _ in range(50):
        if heard:
            break
        await asyncio.sleep(0.05)
    print("heard", heard)
    try:
        await connection.fetch("SELECT pg_sleep(20)", timeout=0.4)
    except asyncio.TimeoutError:
        print("timed out, so cancelled")
    await ask("SELECT 'after' AS x")
    await connection.reset()
    await connection.close()

    pool = await asyncpg.create_pool(
        host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]), user=os.environ["PGUSER"],
        password=os.environ["PGPASSWORD"],
        database=os.environ["PGDATABASE"], min_size=2, max_size=6)

    async def one(key):
        async with pool.acquire() as own:
            return await own.fetchval("SELECT owner FROM account WHERE id = $1", key)
    print(await asyncio.gather(*(one(1 + i % 6) for i in range(60))))
    await pool.close()


asyncio.run(main())
