"""Counting tests, and running programs with a deadline."""
import os
import signal
import subprocess
import threading
import time


def run(words, timeout, env=None, cwd=None):
    """Runs a program in a process group of its own; its output, both streams, is in .stdout. Expired: exit code 124."""
    process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace", cwd=cwd,
                               env={**os.environ, **(env or {})}, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=timeout)
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            out, _ = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
        out += f"\nit took longer than {timeout} s, and was ended\n"
        code = 124
    return subprocess.CompletedProcess(words, code, out, None)


class Count:
    def __init__(self):
        self.passed, self.failures, self.skips = 0, [], []
        self.lock = threading.Lock()
        self.started = time.monotonic()

    def add(self, name, passed, text=""):
        """One test. The text of a failed one is printed at once, and its name again at the end."""
        with self.lock:
            if passed:
                self.passed += 1
                return
            self.failures.append(name)
            print(f"FAILED {name}\n{text.rstrip()}\n", flush=True)

    def skip(self, name, reason):
        with self.lock:
            self.skips.append((name, reason))

    def say(self, what, started):
        with self.lock:
            print(f"[{time.monotonic() - self.started:4.0f} s] {what} ({time.monotonic() - started:.0f} s)", flush=True)

    def close(self):
        """Prints what was skipped and what failed, then the count. Returns the exit code."""
        for name, reason in self.skips:
            print(f"skipped {name}: {reason}")
        for name in self.failures:
            print(f"failed  {name}")
        print(f"\n{self.passed} passed, {len(self.failures)} failed, {len(self.skips)} skipped", flush=True)
        return 1 if self.failures or self.passed == 0 else 0
