#!/usr/bin/python3
"""What the ownership constraint costs of COPY: ownership_bench.py CONNINFO BUILD-FOLDER (a server on this machine).

Prints lines "name value unit bar". CPU time of the backend, the least of many short alternating runs, so that what else runs
on the machine counts little. The constraint is the one that sql_owned gives, made true for every row.
"""
import io
import pathlib
import re
import subprocess
import sys

import psycopg2

ROWS, ROUNDS = 100_000, 15
FORMS = [("modulo", "1024", "4", "initial", 10), ("hash", "4096", "4", "initial", 10), ("hash", "4096", "3", "initial", 10),
         ("hash", "4096", "3", "0,1,0,2,0", 15), ("modulo", "1536", "3", "0,1,0,2,0", 15)]


def constraint(build, function, buckets, shards, owners):
    request = "\t".join(["owned", function, "int8", buckets, shards, "0", owners, "id"]) + "\n"
    answer = subprocess.run([f"{build}/tests/unit/keyprobe"], input=request, capture_output=True, text=True, check=True)
    return re.sub(r"= \d+$", "<> -1", answer.stdout.strip().replace("\\\\", "\\"))


def main():
    connection = psycopg2.connect(sys.argv[1])
    connection.autocommit = True
    cursor = connection.cursor()
    rows = "".join(f"{i},user number {i},user{i}@example.com,2024-01-{i % 28 + 1:02} 10:00:00+00\n"
                   for i in range(1, ROWS + 1)).encode()
    statistics = pathlib.Path(f"/proc/{connection.info.backend_pid}/schedstat")

    def copy(check):
        cursor.execute("DROP TABLE IF EXISTS ownership_bench; CREATE TABLE ownership_bench "
                       "(id bigint PRIMARY KEY, name text, email text, created timestamptz)")
        if check:
            cursor.execute(f"ALTER TABLE ownership_bench ADD CHECK ({check})")
        before = int(statistics.read_text().split()[0])
        cursor.copy_expert("COPY ownership_bench FROM STDIN (FORMAT csv)", io.BytesIO(rows))
        return int(statistics.read_text().split()[0]) - before

    checks = [None] + [constraint(sys.argv[2], *form[:4]) for form in FORMS]
    least = [min(times) for times in zip(*([copy(check) for check in checks] for _ in range(ROUNDS)))]
    cursor.execute("DROP TABLE ownership_bench")
    for (function, _, shards, owners, bar), took in zip(FORMS, least[1:]):
        form = "bitmap" if owners != "initial" else f"of_{shards}"
        print(f"ownership_{function}_{form} {(took / least[0] - 1) * 100:.1f} percent_of_COPY <={bar}")


main()
