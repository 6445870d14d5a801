"""psycopg2: what it sees, a line each. Connects by the environment of libpq."""
import decimal
import io
import threading
import time
import uuid

import psycopg2
import psycopg2.extras

psycopg2.extras.register_uuid()
connection = psycopg2.connect("")
connection.autocommit = True
cursor = connection.cursor()


def ask(sql, parameters=None):
    try:
        cursor.execute(sql, parameters)
        rows = [[bytes(v) if isinstance(v, memoryview) else v for v in row] for row in cursor] if cursor.description else None
        types = [(c.name, c.type_code) for c in cursor.description or []]
        print(sql.split()[0], cursor.statusmessage, types, rows)
    except psycopg2.Error as error:
        print(sql.split()[0], "error", error.pgcode, error.diag.message_primary, error.diag.message_detail,
              error.diag.constraint_name)


ask("SELECT 1, 2::int8, 1.50::numeric, 'x'::text, true, NULL, '2024-02-03'::date, '{1,2}'::int[], '{\"a\": 1}'::jsonb, "
    "'\\x00ff'::bytea, interval '1 day 2 hours', timestamptz '2024-01-01 00:00:00+00', 'NaN'::float8, '10.0.0.1'::inet")
for key in range(1, 7):
    ask("INSERT INTO account (id, owner, balance, flags, info, made, token, raw) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) "
        "RETURNING *", (key, f"o'wner {key}", decimal.Decimal("10.25"), [key, None], psycopg2.extras.Json({"k": key}),
                        "2024-05-06 07:08:09+00", uuid.UUID(int=key), b"\0\xff"))
for key in (1, 5, 99):
    ask("SELECT id, owner, flags, info FROM account WHERE id = %s", (key,))
ask("INSERT INTO account (id, owner) VALUES (%s, %s)", (1, "again"))
ask("INSERT INTO account (id) VALUES (7)")
ask("UPDATE account SET balance = balance - 500 WHERE id = 2")
ask("UPDATE account SET balance = balance - 5 WHERE id = 2 RETURNING balance")
ask("SELEC 1")
ask("SELECT * FROM nowhere WHERE id = 1")
ask("SELECT 1/0")
ask("DELETE FROM account WHERE id = 6")
psycopg2.extras.execute_values(cursor, "INSERT INTO entry VALUES %s", [(3, n, f"what {n}") for n in range(20)])
print(cursor.statusmessage)
ask("SELECT count(*), max(n) FROM entry WHERE account = 3")

connection.autocommit = False
ask("INSERT INTO entry VALUES (4, 1, 'kept')")
ask("SAVEPOINT s")
ask("INSERT INTO entry VALUES (4, 1, 'twice')")
ask("SELECT 1")
ask("ROLLBACK TO s")
ask("SELECT what FROM entry WHERE account = 4")
connection.commit()
ask("DELETE FROM entry WHERE account = 4")
connection.rollback()
ask("SELECT what FROM entry WHERE account = 4")
connection.commit()

named = connection.cursor("walk")
named.itersize = 6
named.execute("SELECT n, what FROM entry WHERE account = 3 ORDER BY n")
print("named cursor", [row for row in named])
named.close()
connection.commit()
connection.autocommit = True

cursor.copy_expert("COPY plain FROM STDIN", io.StringIO("1\tone\n2\ttwo\n"))
print("copied", cursor.rowcount)
out = io.StringIO()
cursor.copy_expert("COPY (SELECT n, what FROM entry WHERE account = 3 ORDER BY n) TO STDOUT (FORMAT csv, HEADER)",
                   out)
print(out.getvalue())
try:
    cursor.copy_expert("COPY plain FROM STDIN", io.StringIO("1\tagain\n"))
except psycopg2.Error as error:
    print("copy error", error.pgcode)
ask("SELECT * FROM plain ORDER BY id")
ask("DELETE FROM plain")

ask("COMMIT")
print([notice.strip() for notice in connection.notices])
ask("SET TIME ZONE 'Asia/Tokyo'")
ask("SELECT timestamptz '2024-01-01 00:00:00+00'::text")
ask("SHOW TIME ZONE")
print(connection.get_parameter_status("TimeZone"), connection.encoding, connection.server_version)
connection.set_client_encoding("UTF8")

started = time.monotonic()
timer = threading.Timer(0.3, connection.cancel)
timer.start()
ask("SELECT pg_sleep(20)")
timer.join()
print("cancelled in time", time.monotonic() - started < 10)
ask("SELECT 'after'")
connection.close()
