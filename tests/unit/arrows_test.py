"""Include arrows point upward only: a folder of src/ includes from itself and from those above it in the list."""
import pathlib
import re

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
# As in docs/design/architecture.md, first to last.
ORDER = ["base", "core", "config", "copy", "wire", "sql", "plan", "merge", "pq", "catalog", "citus", "engine", "client",
         "lab", "transfer", "proxy", "cli"]
# Pure: values in, values out. No I/O, clock, randomness or signals, so none of their headers (config reads one file).
PURE = ["base", "core", "copy", "wire", "sql", "plan", "merge"]
IMPURE = {"unistd.h", "time.h", "sys/time.h", "sys/socket.h", "sys/stat.h", "fcntl.h", "pthread.h", "poll.h",
          "libpq-fe.h", "signal.h", "sys/random.h"}
EXCEPTIONS = {("base/control_point.c", "signal.h")}  # it exists to kill the process, in test builds only


def includes(path):
    return re.findall(r'^\s*#\s*include\s*["<]([^">]+)[">]', path.read_text(), re.MULTILINE)


def sources(folder):
    return sorted((TOP / "src" / folder).glob("**/*.[ch]"))


def test_every_folder_is_in_the_list():
    assert sorted(path.name for path in (TOP / "src").iterdir() if path.is_dir()) == sorted(ORDER)


@pytest.mark.parametrize("folder", ORDER)
def test_a_folder_includes_only_from_those_above(folder):
    allowed = set(ORDER[:ORDER.index(folder) + 1])
    wrong = []
    for path in sources(folder):
        for name in includes(path):
            first = name.split("/")[0]
            if (TOP / "src" / name).exists() and "/" in name and first not in allowed:
                wrong.append(f"{path.relative_to(TOP)} includes {name}")
    assert not wrong


@pytest.mark.parametrize("folder", PURE)
def test_pure_folders_know_no_clock_file_or_socket(folder):
    wrong = [f"{path.relative_to(TOP)} includes {name}" for path in sources(folder) for name in includes(path)
             if name in IMPURE and (str(path.relative_to(TOP / "src")), name) not in EXCEPTIONS]
    assert not wrong


def test_examples_see_the_public_header_alone():
    wrong = [f"{path.relative_to(TOP)} includes {name}" for path in sorted((TOP / "examples").glob("*.c"))
             for name in includes(path) if (TOP / "src" / name).exists()]
    assert not wrong
