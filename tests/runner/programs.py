"""Unit tests (cmocka), fuzzers, and pytest: running them, and counting each test."""
import collections
import json
import pathlib
import re
import tempfile
import time
import xml.etree.ElementTree

from runner.count import run

UNIT_TIMEOUT = 120  # seconds for one program
WORKERS = 4  # of pytest: its tests wait for servers as much as they compute
LONGEST = 12  # files of tests that are named with their time


def programs_of(build, suite="unit"):
    """(name, words) of each test program that the build has."""
    done = run(["meson", "introspect", "--tests", build], timeout=60)
    for test in json.loads(done.stdout):
        if any(each.split(":")[-1] == suite for each in test["suite"]):
            yield test["name"], test["cmd"]


def unit_tests(count, build, label, env=None, wrapper=(), patience=1):
    """patience: how many times the usual limit a program may take."""
    started = time.monotonic()
    for name, words in programs_of(build):
        if name.startswith("fuzz_"):
            continue
        done = run([*wrapper, *words], timeout=UNIT_TIMEOUT * patience, cwd=build,
                   env={**(env or {}), "CMOCKA_MESSAGE_OUTPUT": "TAP"})
        count_tap(count, f"{label}: {name}", done)
    count.say(f"{label} tests of {build.name}", started)


def count_tap(count, name, done):
    """Each test of a program by its line of TAP; a program that died, or said nothing, is one failure more."""
    failed = tests = 0
    for match in re.finditer(r"^(not )?ok \d+ - (.*?)(# SKIP.*)?$", done.stdout, re.MULTILINE):
        tests += 1
        full = f"{name}: {match[2].strip()}"
        if match[3]:
            count.skip(full, match[3].removeprefix("# SKIP").strip() or "the test says so")
            continue
        failed += bool(match[1])
        count.add(full, not match[1], done.stdout)
    if tests == 0 or (done.returncode != 0 and not failed):
        count.add(name, False, f"exit code {done.returncode}\n{done.stdout}")


def mutants(count, build, seconds_of, env):
    """Every fuzzer over its corpus and what is made of it by chance, for seconds_of(name): tests/fuzz/driver.c."""
    started = time.monotonic()
    for name, words in programs_of(build):
        if name.startswith("fuzz_"):
            seconds = seconds_of(name)
            done = run([words[0], "--seconds", seconds, *words[1:]], timeout=seconds + 120, env=env, cwd=build)
            count.add(f"fuzz: {name}", done.returncode == 0, done.stdout[-6000:])
    count.say("fuzzers", started)


def fuzzers(count, build, seconds_of, env):
    """The same, led by what of the program is reached; what it adds to the corpus stays in the build directory."""
    started = time.monotonic()
    for name, words in programs_of(build):
        if not name.startswith("fuzz_"):
            continue
        corpus = [word for word in words[1:] if pathlib.Path(word).is_dir()]
        seconds = seconds_of(name)
        found = build / "corpus" / name
        found.mkdir(parents=True, exist_ok=True)
        done = run([words[0], f"-max_total_time={seconds}", "-timeout=5", "-rss_limit_mb=2048", "-print_final_stats=1",
                    f"-artifact_prefix={build}/crash-{name}-", str(found), *corpus], timeout=seconds + 120, env=env)
        count.add(f"fuzz: {name}", done.returncode == 0, done.stdout[-6000:])
    count.say("fuzzers", started)


def pytest(count, top, words, label, env, timeout, workers=WORKERS):
    started = time.monotonic()
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        done = run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short",
                    "-n", str(workers), "--dist", "loadfile", "--max-worker-restart=0",  # or it waits for ever
                    f"--junit-xml={report.name}", *words], timeout=timeout, cwd=top,
                   env={**env, "PYTHONDONTWRITEBYTECODE": "1"})
        cases, files = 0, collections.Counter()
        try:
            for case in xml.etree.ElementTree.parse(report.name).iter("testcase"):
                cases += 1
                count_case(count, label, case)
                files[case.get("classname", "").split(".")[-1]] += float(case.get("time", 0))
        except xml.etree.ElementTree.ParseError:
            pass
    # 0: all passed, 1: some failed, 5: there were none. Anything else, or a report that is not there, is a failure.
    if done.returncode not in (0, 1, 5) or (cases == 0 and done.returncode != 5):
        count.add(label, False, f"pytest exited {done.returncode}\n{done.stdout}")
    longest = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in files.most_common(LONGEST))
    count.say(f"{label} tests; longest: {longest}", started)


def count_case(count, label, case):
    name = f"{label}: {case.get('classname', '')}::{case.get('name')}"
    skipped = case.find("skipped")
    problem = case.find("failure")
    if problem is None:
        problem = case.find("error")
    if problem is not None:
        count.add(name, False, problem.text or problem.get("message", ""))
    elif skipped is not None:
        count.skip(name, skipped.get("message", ""))
    else:
        count.add(name, True)
