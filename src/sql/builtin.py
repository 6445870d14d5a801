"""Writes src/sql/builtin.inc, what a fresh PostgreSQL 15 has in pg_catalog and information_schema: relations, types and
functions, facts only. Reads the server that libpq's environment names:

    python3 src/sql/builtin.py > src/sql/builtin.inc
"""
import subprocess
import sys

# Everything below 16384 was made by initdb (access/transam.h, FirstNormalObjectId).
TYPES = """
SELECT concat_ws(' ', 't', n.nspname, t.typname, t.oid, t.typtype, t.typcategory, t.typbasetype, t.typtypmod,
  CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END, t.typarray, t.typrelid)
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid < 16384 AND n.nspname IN ('pg_catalog', 'information_schema') ORDER BY t.oid"""
FUNCTIONS = """
SELECT concat_ws(' ', 'f', n.nspname, p.proname, p.oid, p.prokind, p.provolatile, p.proretset::text, p.proisstrict::text,
  p.prorettype, NULLIF(p.proargtypes::text, ''))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.oid < 16384 AND n.nspname IN ('pg_catalog', 'information_schema') ORDER BY p.proname COLLATE "C", p.oid"""
RELATIONS = """
SELECT concat_ws(' ', 'r', n.nspname, c.relname, c.oid, c.relkind,
  (SELECT string_agg(concat_ws(' ', a.attname, a.attnum, a.atttypid, a.atttypmod, a.attnotnull::text), ' '
     ORDER BY a.attnum)
   FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid < 16384 AND c.relkind IN ('r', 'v') AND n.nspname IN ('pg_catalog', 'information_schema') ORDER BY c.oid"""


def lines(sql):
    asked = subprocess.run(["psql", "-XAtc", f"SELECT string_agg(line, E'\\n') FROM ({sql}) AS q(line)"], check=True,
                           capture_output=True, text=True)
    return asked.stdout.splitlines()


version = subprocess.run(["psql", "-XAtc", "SHOW server_version_num"], check=True, capture_output=True, text=True).stdout
if not version.startswith("15"):
    sys.exit(f"builtin.py: this server is {version.strip()}; the facts are those of PostgreSQL 15")
# pg_catalog and information_schema are written p and i, true and false t and f: the text is a third shorter.
SHORT = {"pg_catalog": "p", "information_schema": "i", "true": "t", "false": "f"}
print("/* Made by src/sql/builtin.py from PostgreSQL 15. */")
for line in [*lines(RELATIONS), *lines(TYPES), *lines(FUNCTIONS)]:
    words = line.split(" ")
    assert '"' not in line and "\\" not in line
    words = [words[0], SHORT[words[1]], words[2], *(SHORT.get(word, word) for word in words[3:])]
    print(f'"{" ".join(words)}\\n"')
