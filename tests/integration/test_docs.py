"""The documents say what is true: the tutorial runs as written, the runbook has every status, links lead somewhere."""
import os
import re
import subprocess

import pytest

from conftest import BUILD, CHECKOUT, environment, run_command

pytestmark = pytest.mark.plain
DOCUMENTS = [*sorted((CHECKOUT / "docs").rglob("*.md")), *sorted(CHECKOUT.glob("*.md"))]


def indented(text):
    """The lines of the indented blocks, which are what a reader types."""
    return "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))


@pytest.mark.deadline(300)
def test_the_tutorial_runs_as_written(directory):
    text = (CHECKOUT / "docs/tutorial.md").read_text()
    work = directory / "an empty place"
    work.mkdir()
    (work / ".git").mkdir()  # the labs are this directory's
    env = environment({"PATH": f"{BUILD}:{os.environ['PATH']}"})
    try:
        done = subprocess.run(["bash", "-euxc", indented(text)], cwd=work, env=env, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=280)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        assert "42\thash\t2658\ts0" in done.stdout
        assert done.stdout.count("\nhealthy\n") == text.count("    pgmosaic status\n")
        assert re.search(r"^visits .* 10,000 ", done.stdout, re.M)
        assert "no labs" in run_command("lab", "list", cwd=work).stdout
    finally:
        subprocess.run([BUILD / "pgmosaic", "lab", "down", "shop"], cwd=work, env=env, capture_output=True, timeout=60)


def test_the_examples_of_routing_are_as_written(directory):
    """docs/routing.md has its own config, schema and log; each `$ pgmosaic …` with what stands below it is run."""
    text = (CHECKOUT / "docs/routing.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)
    for name, kind in (("mosaic.yaml", "yaml"), ("schema.sql", "sql"), ("statements.sql", "text")):
        content = next(body for language, body in blocks if language == kind and not body.startswith("$ "))
        (directory / name).write_text(content)
    env = environment({"PATH": f"{BUILD}:{os.environ['PATH']}", "PGMOSAIC_CONFIG": directory / "mosaic.yaml"})
    examples = [body[2:].split("\n", 1) for _, body in blocks if body.startswith("$ ")]
    assert len(examples) > 12
    for command, expected in examples:
        done = subprocess.run(["bash", "-c", command], cwd=directory, env=env, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert done.stdout == expected, command


def test_the_runbook_has_an_entry_for_each_status_and_no_other():
    header = (CHECKOUT / "include/pgmosaic.h").read_text()
    listed = re.search(r"#define MOSAIC_STATUS_LIST\(X\)(.*?)\n\n", header, re.S)[1]
    runbook = (CHECKOUT / "docs/runbook.md").read_text()
    statuses = re.findall(r"X\((\w+),", listed)
    assert len(statuses) > 20
    assert re.findall(r"^## (.*)$", runbook, re.M) == statuses


MESSAGE = re.compile(r'error_(?:set|errno)\(\s*[^,()]+,(?!\s*MOSAIC_INTERNAL)(?:\s*MOSAIC_\w+\s*,)?\s*'
                     r'((?:"(?:[^"\\]|\\.)*"\s*(?:PRI\w+\s*)?)+)')


def errors_that_the_proxy_makes():
    """The constant pieces of each message in src/proxy, the longest one first; none where it is all values."""
    for path in sorted((CHECKOUT / "src/proxy").glob("*.c")):
        for literals in MESSAGE.findall(path.read_text()):
            text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals)).replace('\\"', '"').replace("\\\\", "\\")
            pieces = sorted(re.split(r"%[-.*\w]*?(?:[sducx]|l+[du]|z[du])", text), key=len)
            if len(pieces[-1].strip(' ":;,()')) > 6:
                yield path.name, text, pieces[-1].strip(' ":;,()')


def test_the_runbook_has_each_error_that_the_proxy_makes():
    runbook = (CHECKOUT / "docs/runbook.md").read_text()
    found = list(errors_that_the_proxy_makes())
    assert len(found) > 90
    missing = [f"{name}: {text}" for name, text, piece in found if piece not in runbook]
    assert not missing, "write what to do into docs/runbook.md, Errors of the proxy:\n" + "\n".join(missing)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
    # A file that a document names by its path from the top of the checkout stands there.
    for named in re.findall(r"`((?:docs|examples|scripts|src|tests|include|bench|sql)/[\w./-]+\.\w+)`", path.read_text()):
        if not named.startswith(("src/backend", "src/include")) and "NAME" not in named:  # PostgreSQL's own; a pattern
            assert (CHECKOUT / named).exists(), f"{path.name} names {named}"
