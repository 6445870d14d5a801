"""The command's own behaviour: help, usage errors, outputs that cannot be written."""
import os
import subprocess

import pytest

from conftest import COMMAND, environment, run_command


def test_version_names_itself(pgmosaic):
    done = pgmosaic("--version", check=True)
    assert done.stdout.startswith("pgmosaic ") and done.stdout.count("\n") == 1


def test_no_command_is_a_usage_error(pgmosaic):
    done = pgmosaic()
    assert done.returncode == 2 and done.stdout == ""
    assert "pgmosaic --help" in done.stderr


@pytest.mark.parametrize("typed, meant", [("hlep", "help")])
def test_a_misspelt_command_gets_the_nearest_name(pgmosaic, typed, meant):
    done = pgmosaic(typed)
    assert done.returncode == 2
    assert f'did you mean "{meant}"' in done.stderr


def test_help_stands_on_stdout_and_fits(pgmosaic):
    done = pgmosaic("--help", check=True)
    assert "Commands:" in done.stdout and done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_full_disk_is_a_failure():
    with open("/dev/full", "w") as full:
        done = subprocess.run([COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_a_reader_that_goes_away_is_no_message():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([COMMAND, "--help"], stdout=write, stderr=subprocess.PIPE, text=True, timeout=20,
                          env=environment())
    os.close(write)
    assert done.stderr == "" and done.returncode == -13
