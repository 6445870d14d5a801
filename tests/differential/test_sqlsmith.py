"""sqlsmith, which makes SQL of a grammar and of the catalogs, against the proxy: no crash, no lost connection, no XX000.

Its role may only read. What it makes of TABLESAMPLE, which is refused over several shards, becomes a reading of all rows.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest
import rawwire
import themes
from conftest import superuser
from proxies import STANDIN
from relay import Relay
from world import World

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="what is tested is the proxy's own"), pytest.mark.plain]
SECONDS = int(os.environ.get("SMITH_SECONDS") or (300 if os.environ.get("PGMOSAIC_FULL") else 30))
PROGRAM = shutil.which("sqlsmith") or "/usr/bin/sqlsmith"
SEED = os.environ.get("SEED", "1")
OF_TYPES = {"timestamp.c", "ruleutils.c", "genfile.c"}
TABLES = ["users", "orders", "events", "docs", "pairs", "t", "countries", "settings"]


def schema():
    made = themes.schema()
    for view in [*TABLES, "v_users", "v_spent", "v_rank", "v_region", "v_top", "v_nested"]:
        made.add_view(f"GRANT SELECT ON {view} TO smith")
    return made


@pytest.fixture
def world(make_lab):
    lab = make_lab(1, "grammar")
    with superuser(lab, 0) as cursor:
        cursor.execute("CREATE ROLE smith LOGIN PASSWORD 'smith'")
    users = pathlib.Path(lab.directory) / "users"
    made = None
    try:
        made = World(lab, schema(), [3], "smith_", {"auth_file": users}, users)
        yield made
    finally:
        if made:
            made.close()


def without_samples(sql):
    return re.sub(r"tablesample (system|bernoulli) \([^()]*\)", "", sql)


def is_hidden(sql, row):
    """What sqlsmith does not hear of: tables of pgmosaic's own."""
    return "information_schema.tables" in sql and b"mosaic" in row


def run_sqlsmith(relay, database, directory):
    """Its whole output."""
    out = pathlib.Path(directory) / "sqlsmith"
    words = [PROGRAM, f"--target=host=127.0.0.1 port={relay.port} user=smith password=smith dbname={database} sslmode=disable "
             "options='-c statement_timeout=1000'", "--exclude-catalog", f"--seed={SEED}", "--verbose"]
    with out.open("w") as file:
        process = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait(20)
    return out.read_text(errors="replace")


def is_postgresqls_own(world, sql, fields):
    """Is it one that a function of PostgreSQL's raises for its arguments, or does one PostgreSQL say the same?"""
    if fields.get("F") in OF_TYPES:
        return True
    with world.oracle.wire() as wire:
        wire.exchange(rawwire.query("SET statement_timeout = '5s'"))
        return any(kind == "E" and rawwire.error_fields(body)["C"] == fields["C"]
                   for kind, body in wire.exchange(rawwire.query(sql)))


@pytest.mark.deadline(SECONDS + 150)
def test_sqlsmith(world):
    if not pathlib.Path(PROGRAM).exists():
        pytest.skip("sqlsmith is not installed")
    cluster, proxy = world.clusters[0]
    relay = Relay(proxy, without_samples, is_hidden)
    text = run_sqlsmith(relay, proxy.database, world.lab.directory)
    relay.close()
    print(f"SEED={SEED}: {relay.statements} statements; errors: {dict(relay.codes.most_common())}\n{text[-2000:]}")
    internal = [(sql, fields) for sql, fields in relay.internal if not is_postgresqls_own(world, sql, fields)]
    assert proxy.alive(), proxy.log[-3000:]
    assert not internal, "\n\n".join(f"{fields}\n{sql}" for sql, fields in internal[:5])
    assert relay.lost == 0, f"{relay.lost} connections were lost\n{proxy.log[-3000:]}"
    assert relay.statements > 20
