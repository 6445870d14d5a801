"""What is read rather than run: format, headers, names, scripts. Each check of each tree is one test."""
import concurrent.futures
import re
import time

from runner.count import run

LONGEST_LINE = 132  # of what clang-format does not format; it holds C to 120
LONGEST_FILE = 1000
# Names that would clash with PostgreSQL's, libpq's or libpg_query's, were both linked.
FORBIDDEN_NAMES = re.compile(r"^(pg_|PQ|list_|palloc)")
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")


def all_files(top):
    listed = run(["git", "ls-files", "-co", "--exclude-standard"], timeout=30, cwd=top).stdout.splitlines()
    return [name for name in listed if (top / name).is_file()]


def changed_files(top):
    """What differs from the last commit; if nothing does, what the last commit changed."""
    names = run(["git", "diff", "--name-only", "HEAD"], timeout=30, cwd=top).stdout.splitlines()
    names += run(["git", "ls-files", "-o", "--exclude-standard"], timeout=30, cwd=top).stdout.splitlines()
    if not names:
        names = run(["git", "diff", "--name-only", "HEAD^", "HEAD"], timeout=30, cwd=top).stdout.splitlines()
    return [name for name in names if (top / name).is_file()]


def read(top, name):
    return (top / name).read_bytes().decode("utf-8", errors="replace")


def check_format(top, files):
    sources = [name for name in files if name.endswith((".c", ".h"))]
    if not sources:
        return ""
    done = run(["clang-format", "--dry-run", "-Werror", *sources], timeout=120, cwd=top)
    return done.stdout if done.returncode != 0 else ""


def check_text(top, files):
    """No tabs (Makefiles need theirs), no over-long lines or files, nothing left to be done."""
    problems = []
    for name in files:
        if not name.endswith((".c", ".h", ".py", ".build", ".sql")) and not name.startswith(("scripts/", "tests/run")):
            continue
        lines = read(top, name).splitlines()
        for number, line in enumerate(lines, 1):
            if "\t" in line:
                problems.append(f"{name}:{number}: a tab")
            if len(line) > LONGEST_LINE and not name.endswith((".c", ".h", ".build")):
                problems.append(f"{name}:{number}: {len(line)} characters")
            if UNFINISHED.search(line):
                problems.append(f"{name}:{number}: something is unfinished")
        if len(lines) > LONGEST_FILE:
            problems.append(f"{name}: {len(lines)} lines")
    return "\n".join(problems)


def check_headers(top, files):
    """Each header compiles alone; the public one as C++ too."""
    # A *_body.h is a template, included several times by its one .c.
    headers = [name for name in files if name.endswith(".h") and name.startswith(("src/", "include/"))
               and not name.endswith("_body.h")]
    flags = ["-Iinclude", "-Isrc", "-I/usr/include/postgresql",
             "-isystem", "/usr/include/postgresql/15/server", "-DMOSAIC_VERSION=\"\"", "-fsyntax-only", "-Wall",
             "-Wextra", "-Werror"]
    problems = []
    for name in headers:
        done = run(["gcc", *flags, "-std=gnu11", "-Wno-unused", "-x", "c", name], timeout=60, cwd=top)
        problems += [done.stdout] if done.returncode != 0 else []
    if "include/pgmosaic.h" in headers:
        done = run(["g++", *flags, "-std=c++11", "-x", "c++", "include/pgmosaic.h"], timeout=60, cwd=top)
        problems += [done.stdout] if done.returncode != 0 else []
    return "\n".join(problems)


def check_names(top, files):
    """No function or variable of ours begins with a name of PostgreSQL's."""
    archive = top / "build" / "libmosaic-internal.a"
    if not archive.exists():
        return ""
    done = run(["nm", "-g", "--defined-only", archive], timeout=60)
    names = [line.split()[-1] for line in done.stdout.splitlines() if len(line.split()) == 3]
    return "\n".join(name for name in names if FORBIDDEN_NAMES.match(name))


def check_scripts(top, files):
    scripts = [name for name in files if re.match(rb"#!/bin/(ba)?sh", (top / name).read_bytes()[:16])]
    if not scripts:
        return ""
    done = run(["shellcheck", "--severity=warning", *scripts], timeout=120, cwd=top)
    return done.stdout if done.returncode != 0 else ""


def check_tidy(top, files):
    sources = [name for name in files if name.endswith(".c") and name.startswith("src/")]
    if not sources or not (top / "build" / "compile_commands.json").exists():
        return ""
    done = run(["clang-tidy", "-p", "build", "--quiet", "--warnings-as-errors=*", *sources], timeout=400, cwd=top)
    return done.stdout if done.returncode != 0 else ""


CHECKS = {
    "clang-format": check_format,
    "text": check_text,
    "headers compile alone": check_headers,
    "names": check_names,
    "shellcheck": check_scripts,
    "clang-tidy": check_tidy,
}


def everything(count, top, files):
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for name, problems in zip(CHECKS, pool.map(lambda check: check(top, files), CHECKS.values())):
            count.add(f"lint: {name}", not problems, problems)
    count.say("lint", started)
