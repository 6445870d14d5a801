"""Frameworks with migrations and objects, as programs use them: each runs on one PostgreSQL and through the proxy, on a
fresh cluster whose tables are spread between two versions of the program, and must print the same.

What they are told stands in frameworks/. One that the machine lacks is skipped, with the reason.
"""
import difflib
import pathlib
import re
import shutil
import subprocess

import pytest
from conftest import environment, run_command
from proxies import STANDIN, make_one, one_target, shown, start_proxy

FRAMEWORKS = pathlib.Path(__file__).parent / "frameworks"
LAB_SHARDS = 3
PYTHON = "/usr/bin/python3"

pytestmark = [pytest.mark.skipif(bool(STANDIN), reason="only the proxy knows several shards"), pytest.mark.long, pytest.mark.light,
              pytest.mark.deadline(300)]


class Pair:
    """One PostgreSQL, and a cluster behind a proxy."""

    def __init__(self, lab, proxy, directory):
        self.lab, self.proxy, self.directory = lab, proxy, directory
        self.targets = {"one": one_target(lab), "proxy": proxy}

    def project(self, name):
        return shutil.copytree(FRAMEWORKS / name, self.directory / name, ignore=shutil.ignore_patterns("__pycache__"))

    def begin(self, name, words, cwd, version=1):
        env = environment({**self.targets[name].env, "PYTHONDONTWRITEBYTECODE": "1", "SHOP_VERSION": version})
        return subprocess.Popen(list(map(str, words)), env=env, cwd=cwd, stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, words, cwd, version=1, name="proxy"):
        return finished(self.begin(name, words, cwd, version), words)

    def same(self, words, cwd, version=1, minimum=1):
        """Both print the same, so many lines at least."""
        running = [self.begin(name, words, cwd, version) for name in ("one", "proxy")]
        direct, proxied = (finished(process, words).splitlines() for process in running)
        if direct != proxied:
            pytest.fail("\n".join(list(difflib.unified_diff(direct, proxied, "one", "proxy", lineterm="", n=0))[:60]),
                        pytrace=False)
        assert len(direct) >= minimum and "Traceback" not in "".join(direct), "\n".join(direct)
        return direct

    def apply(self):
        run_command("apply", self.proxy.config, "--yes", cwd=self.directory, check=True)
        shown(self.proxy, "RELOAD")

    def spread(self, lines):
        """Tables that refer to each other are spread together."""
        text = self.proxy.config.read_text()
        self.proxy.config.write_text(text.rstrip().removesuffix("[]") + "\n" + lines)
        self.apply()

    def is_healthy(self):
        done = run_command("status", cwd=self.directory, env={"PGMOSAIC_CONFIG": self.proxy.config})
        return "healthy" in done.stdout


def finished(process, words):
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, f"{words} exited {process.returncode}:\n{out[-3000:]}{errors[-4000:]}"
    return out


@pytest.fixture(scope="module")
def pair(lab, module_directory):
    lab.run("apply", "--yes", check=True)
    make_one(lab, "SELECT 1").close()
    with start_proxy(lab, {"schema_check_interval": "1h"}) as proxy:
        yield Pair(lab, proxy, module_directory)


def needs(module, package):
    if subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True).returncode != 0:
        pytest.skip(f"this machine has no {package}")


FILLED = """
        migrations.RunPython(
            lambda apps, _: [customer.save() for customer in apps.get_model("shop", "Customer").objects.filter(rank=7)
                             for customer.rank in [customer.id % 5]], migrations.RunPython.noop),
        migrations.RunSQL("UPDATE shop_customer SET rank = rank + 10 WHERE rank < 3", migrations.RunSQL.noop),
    ]
"""


def test_django(pair):
    needs("django", "Django (python3-django)")
    project = pair.project("django")
    manage = [PYTHON, "manage.py"]
    pair.run([*manage, "makemigrations", "shop"], project)
    pair.same([*manage, "migrate"], project, minimum=15)
    pair.same([PYTHON, "rows.py"], project, minimum=0)
    (project / "migration_2.py").rename(project / "shop/migrations/0002_email.py")
    pair.run([*manage, "makemigrations", "--check"], project, 2)
    pair.same([*manage, "migrate"], project, 2)

    with pair.proxy.session() as session:
        assert session("SELECT mosaic.reference_table('shop_tag')") == [("shop_tag", 2)]
    pair.spread("  - {name: shop_customer, key: id}\n  - {name: shop_order, key: customer_id}\n"
                "  - {name: shop_customer_tags, key: customer_id}\n")
    pair.same([PYTHON, "flows.py"], project, 2, minimum=30)

    pair.run([*manage, "makemigrations", "shop"], project, 3)
    third, = (project / "shop/migrations").glob("0003*.py")
    third.write_text(third.read_text().rstrip()[:-1].rstrip() + FILLED)  # rows of the tables that it has changed
    pair.same([*manage, "migrate"], project, 3)
    with pair.proxy.session() as session:
        assert session("SELECT count(*) > 0 FROM shop_customer") == [(True,)]
        assert session("SELECT count(*) FROM shop_customer WHERE rank <> id % 5 + CASE WHEN id % 5 < 3 THEN 10 ELSE 0 END") \
            == [(0,)]
    pair.apply()  # the coordinator's definitions
    pair.same([PYTHON, "flows.py", "later"], project, 3)
    pair.same([*manage, "migrate", "shop", "0002"], project, 3)
    assert pair.is_healthy()


def test_sqlalchemy_and_alembic(pair):
    needs("alembic", "Alembic (alembic)")
    project = pair.project("alembic")
    (project / "versions").mkdir(exist_ok=True)
    alembic = [PYTHON, "-m", "alembic.config"]
    steps = [PYTHON, "-c", "import sys, alembic.config\nfor step in sys.argv[1:]: alembic.config.main(step.split())"]

    def revision(number):
        pair.run([*alembic, "revision", "--autogenerate", "-m", f"v{number}", "--rev-id", number], project, number)
        return (project / f"versions/{number}_v{number}.py")

    first = revision(1)
    first.write_text(first.read_text() + "    op.execute('DROP TYPE kind')\n")  # as on one PostgreSQL, it is left else
    pair.same([*steps, "upgrade head", "downgrade base", "upgrade head"], project, minimum=0)
    revision(2)
    pair.same([*alembic, "upgrade", "head"], project, 2, minimum=0)

    pair.spread("  - {name: account, key: id}\n  - {name: entry, key: account_id}\n"
                "  - {name: account_label, key: account_id}\n  - {name: label, kind: reference}\n")
    third = revision(3)
    assert "'rank'" in third.read_text()
    third.write_text(third.read_text().replace("\n\ndef downgrade", "    op.execute('UPDATE account SET rank = id % 5')\n\n\n"
                                                                    "def downgrade", 1))
    pair.same([*steps, "upgrade head", "downgrade -1", "upgrade head"], project, 3, minimum=0)
    with pair.proxy.session() as session:
        assert session("SELECT count(*) FROM account WHERE rank IS DISTINCT FROM id % 5") == [(0,)]
    assert "op." not in revision(4).read_text().partition("def upgrade")[2].replace("op.f", "")  # nothing has changed
    pair.apply()  # the coordinator's definitions
    for driver, module in (("psycopg2", "psycopg2"), ("asyncpg", "asyncpg")):
        if subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True).returncode == 0:
            pair.same([PYTHON, "flows.py", driver], project, 3, minimum=18)
    assert pair.is_healthy()


def test_knex(pair):
    for program in ("node", "npm"):
        if not shutil.which(program):
            pytest.skip(f"this machine has no {program}")
    project = pair.project("knex")
    done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], cwd=project,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment())
    if done.returncode != 0 and re.search(r"ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|network", done.stderr):
        pytest.skip("npm's packages are not to be had")
    assert done.returncode == 0, done.stderr
    for count in (2, 0, 2):
        pair.same(["node", "town.js", "migrate", count], project)
    pair.spread("  - {name: town, key: id}\n  - {name: resident, key: town_id}\n  - {name: trade, kind: reference}\n")
    for count in (4, 2, 4):
        pair.same(["node", "town.js", "migrate", count], project)
    pair.apply()  # the coordinator's definitions
    pair.same(["node", "town.js", "flows"], project, minimum=24)
    assert pair.is_healthy()
