#!/usr/bin/python3
"""What the proxy costs, beside a direct connection and PgBouncer, measured in the same run: make bench-proxy.

`pgbench -S`'s statement over two shards. Two pgbench have half of the clients each: of a peer that cannot route, each asks
one shard for rows that it has; ours is asked for any row by both, so that all have the same servers and clients. (One
client alone is one pgbench, which other peers pass to the first shard.) Runs of all peers are interleaved, figures are
medians. CPU is the whole process's, user and system, over all transactions of a
run (/proc/PID/stat). Peers: direct; Debian's PgBouncer; a newer one, needed for prepared statements, where
$PGBOUNCER names it (or one is found in PATH).

    BENCH_ROUNDS=5 BENCH_TRANSACTIONS=40000 BENCH_PARTS=cpu,idle,many,copy make bench-proxy
"""
import collections
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
COMMAND = TOP / "build" / "pgmosaic"
ROUNDS = int(os.environ.get("BENCH_ROUNDS") or 3)
TRANSACTIONS = int(os.environ.get("BENCH_TRANSACTIONS") or 20000)
PARTS = (os.environ.get("BENCH_PARTS") or "cpu,idle,many,copy").split(",")
MODES = (os.environ.get("BENCH_MODES") or "simple,extended,prepared").split(",")
CLIENTS = [int(n) for n in (os.environ.get("BENCH_CLIENTS") or "1,8,64").split(",")]
ROWS = 200_000
POOL = 8  # of each pooler: with all of them and 64 direct clients, a server has less than its 100
IDLE, MANY, COPIED_ROWS = 2000, 10000, 1_000_000
BARS = []  # name, value, unit, bar, met


def say(text):
    print(text, file=sys.stderr, flush=True)


def bar(name, value, unit, limit):
    met = value >= float(limit[2:]) if limit[0] == ">" else value <= float(limit[2:])
    BARS.append((name, f"{value:.3g}" if value < 1000 else f"{value:.0f}", unit, limit, "yes" if met else "NO"))
    say(f"  {name}: {value:.3g} {unit} (bar {limit})")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lab:
    """Two shards with pgbench_accounts spread over them."""

    def __init__(self, scratch):
        self.directory = scratch
        self.run("lab", "up", "bench", "--shards", "2")
        out = subprocess.run([COMMAND, "lab", "env", "bench"], cwd=scratch, capture_output=True, text=True, check=True).stdout
        self.env = {**os.environ, **dict(re.findall(r"^export (\w+)='?([^'\n]*)'?$", out, re.MULTILINE))}
        self.config = pathlib.Path(self.env["PGMOSAIC_CONFIG"])
        self.ports = [int(port) for port in re.findall(r'conninfo:.*?port=(\d+)', self.config.read_text())]
        lines = pathlib.Path(self.env["PGPASSFILE"]).read_text().splitlines()
        self.password = next(line.split(":")[4] for line in lines if len(line.split(":")) > 4)
        for shard, port in enumerate(self.ports):
            self.psql(port, "CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));"
                            f"INSERT INTO pgbench_accounts SELECT i, 1, 0, '' FROM generate_series(1, {ROWS}) i "
                            f"WHERE i % 2 = {shard}")
            self.psql(port, "VACUUM ANALYZE pgbench_accounts")
        with open(self.config, "a") as config:
            config.write("\n  - {name: pgbench_accounts, key: aid, function: modulo}\n")
        self.run("apply", "--yes")

    def run(self, *words):
        subprocess.run([COMMAND, *words], cwd=self.directory, check=True, timeout=200, stdout=subprocess.DEVNULL,
                       env=getattr(self, "env", None))

    def psql(self, port, sql):
        subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port), "-c", sql], check=True,
                       timeout=200, env=self.env, stdout=subprocess.DEVNULL)


EVEN, ODD, ANY = (f"2 * random(1, {ROWS // 2})", f"2 * random(1, {ROWS // 2}) - 1", f"random(1, {ROWS})")
Half = collections.namedtuple("Half", "port database account")  # what one pgbench asks for


class Peer:
    """Something that answers at a port."""

    def __init__(self, name, halves, process=None, modes=("simple", "extended", "prepared")):
        self.name, self.halves, self.process, self.modes = name, halves, process, modes
        self.port = halves[0].port

    def cpu(self):
        """Seconds of the whole process."""
        if self.process is None:
            return 0.0
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def launch(words, port, log, **options):
    # A peer takes as many files as the system lets it.
    def unlimited():
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=open(log, "w"),
                               stderr=subprocess.STDOUT, preexec_fn=unlimited, **options)
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.02)
    process.kill()
    raise RuntimeError(f"{words[0]} does not answer: {pathlib.Path(log).read_text()[-600:]}")


def start_pgbouncer(lab, program, name, modes):
    port, place = free_port(), pathlib.Path(tempfile.mkdtemp(dir=lab.directory))
    (place / "users").write_text(f'"{lab.env["PGUSER"]}" "{lab.password}"\n')
    prepared = "max_prepared_statements = 200\n" if "prepared" in modes else ""
    (place / "ini").write_text(
        f"[databases]\nbench = host=127.0.0.1 port={lab.ports[0]}\n"
        f"odd = host=127.0.0.1 port={lab.ports[1]} dbname=bench\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = trust\nauth_file = {place}/users\npool_mode = transaction\n"
        f"unix_socket_dir =\nmax_client_conn = 12000\ndefault_pool_size = {POOL}\nlog_connections = 0\n"
        f"log_disconnections = 0\nignore_startup_parameters = extra_float_digits\n{prepared}")
    options = {}
    if os.geteuid() == 0:
        place.chmod(0o755)
        options = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    process = launch([program, place / "ini"], port, place / "log", **options)
    return Peer(name, [Half(port, "bench", EVEN), Half(port, "odd", ODD)], process, modes)


def start_ours(lab):
    if subprocess.run([COMMAND, "proxy", "--help"], capture_output=True).returncode != 0:
        say("  this build has no proxy: the peers alone")
        return None
    port, place = free_port(), pathlib.Path(tempfile.mkdtemp(dir=lab.directory))
    head, _, tables = lab.config.read_text().partition("\ntables:")
    (place / "mosaic.yaml").write_text(
        f"{head}\nproxy:\n  auth_type: trust\n  unix_socket_dir: \"{place}\"\n  pool_size: {POOL}\n"
        f"  max_client_conn: 12000\n  log_connections: false\n  log_disconnections: false\n\ntables:{tables}")
    process = launch([COMMAND, "proxy", "-c", place / "mosaic.yaml", "--listen", f"127.0.0.1:{port}", "--threads", "1"],
                     port, place / "log", env=lab.env, cwd=place)
    return Peer("pgmosaic", [Half(port, "bench", ANY)] * 2, process)


def version(program):
    out = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"PgBouncer (\d+)\.(\d+)", out)
    return (int(found[1]), int(found[2])) if found else None


def check_answers(lab, ours):
    """A fast proxy that gives no rows would be no wonder."""
    for aid in range(1, 21):
        out = subprocess.run(["psql", "-XAt", "-h", "127.0.0.1", "-p", str(ours.port), "-c",
                              f"SELECT aid FROM pgbench_accounts WHERE aid = {aid}"], env=lab.env, capture_output=True, text=True)
        if out.stdout.strip() != str(aid):
            raise RuntimeError(f"the proxy does not find account {aid}: {out.stdout}{out.stderr}")


def start_peers(lab, peers):
    peers.append(Peer("direct", [Half(lab.ports[0], "bench", EVEN), Half(lab.ports[1], "bench", ODD)]))
    found = {}
    for program in (os.environ.get("PGBOUNCER"), shutil.which("pgbouncer"), "/usr/sbin/pgbouncer"):
        if program and os.access(program, os.X_OK) and version(program) and version(program) not in found:
            found[version(program)] = program
    for number, program in sorted(found.items()):
        modes = ("simple", "extended", "prepared") if number >= (1, 21) else ("simple", "extended")
        peers.append(start_pgbouncer(lab, program, "pgbouncer {}.{}".format(*number), modes))
    if not any("prepared" in peer.modes for peer in peers[1:]):
        say("  no PgBouncer of 1.21 or newer ($PGBOUNCER): nothing to compare prepared statements with")
    ours = start_ours(lab)
    if ours:
        peers.append(ours)
        check_answers(lab, ours)


# ---- transactions ----

Run = collections.namedtuple("Run", "cpu tps p50 p99")  # µs a transaction, 1/s, ms, ms


def pgbench(lab, peer, mode, clients, transactions):
    place = pathlib.Path(tempfile.mkdtemp(dir=lab.directory))
    halves = peer.halves[:min(clients, 2)]
    each, processes = max(1, transactions // clients), []
    before, started = peer.cpu(), time.monotonic()
    for number, half in enumerate(halves):
        (place / f"{number}.sql").write_text(f"\\set aid {half.account}\n"
                                             "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n")
        processes.append(subprocess.Popen(
            ["pgbench", "-n", "-f", f"{number}.sql", "-M", mode, "-c", str(clients // len(halves)), "-j", "1", "-t", str(each),
             "-l", "-h", "127.0.0.1", "-p", str(half.port), half.database], cwd=place, env=lab.env, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True))
    done = [process.communicate(timeout=300) for process in processes]
    took, used = time.monotonic() - started, peer.cpu() - before
    count = sum(int((re.search(r"actually processed: (\d+)", out) or [0, 0])[1]) for out, _ in done)
    if count != each * clients:
        raise RuntimeError(f"pgbench through {peer.name}: {done[0][1][-600:]}{done[-1][1][-600:]}")
    times = sorted(int(line.split()[2]) for log in place.glob("pgbench_log.*") for line in open(log))
    shutil.rmtree(place)
    return Run(used / count * 1e6, count / took, times[len(times) // 2] / 1000, times[len(times) * 99 // 100] / 1000)


def measure_transactions(lab, peers):
    rows = []
    for mode in MODES:
        able = [peer for peer in peers if mode in peer.modes]
        for clients in CLIENTS:
            runs = collections.defaultdict(list)
            for peer in able:
                pgbench(lab, peer, mode, clients, TRANSACTIONS // 10)  # pools and caches are filled
            for turn in range(ROUNDS):
                for peer in able[turn % len(able):] + able[:turn % len(able)]:
                    runs[peer.name].append(pgbench(lab, peer, mode, clients, TRANSACTIONS))
            for peer in able:
                middle = Run(*(statistics.median(values) for values in zip(*runs[peer.name])))
                rows.append((mode, clients, peer.name, middle))
                say(f"  {mode} {clients:3} {peer.name:15} {middle.cpu:6.1f} µs {middle.tps:8.0f}/s "
                    f"{middle.p50:7.3f} {middle.p99:7.3f} ms")
    return rows


def print_transactions(rows):
    print(f"{'mode':9} {'clients':>7}  {'peer':15} {'CPU µs':>7} {'TPS':>8} {'p50 ms':>7} {'p99 ms':>7}")
    for mode, clients, name, run in rows:
        cpu = f"{run.cpu:7.1f}" if run.cpu else "      -"
        print(f"{mode:9} {clients:7}  {name:15} {cpu} {run.tps:8.0f} {run.p50:7.3f} {run.p99:7.3f}")
    print()


def judge_transactions(rows):
    """The bars at 8 clients: against Debian's PgBouncer, and for prepared statements the one that can."""
    found = {(mode, clients, name): run for mode, clients, name, run in rows}
    for mode, limit in (("simple", 0.95), ("extended", 0.95), ("prepared", 0.80)):
        names = sorted({name for m, _, name in found if m == mode and name.startswith("pgbouncer")},
                       key=lambda name: [int(n) for n in name.split()[1].split(".")])
        for clients in CLIENTS:
            ours = found.get((mode, clients, "pgmosaic"))
            for name in names:
                theirs = found[mode, clients, name]
                if ours and theirs.cpu:
                    barred = clients == 8 and name == (names[-1] if mode == "prepared" else names[0])
                    label = f"CPU, {mode}, {clients} clients, to {name}"
                    if barred:
                        bar(label, ours.cpu / theirs.cpu, "times", f"<={limit}")
                    else:
                        BARS.append((label, f"{ours.cpu / theirs.cpu:.3g}", "times", "-", ""))


# ---- clients that only stand there ----


def connect(lab, port):
    user = lab.env["PGUSER"].encode()
    body = struct.pack("!I", 0x30000) + b"user\0" + user + b"\0database\0bench\0client_encoding\0UTF8\0\0"
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall(struct.pack("!I", len(body) + 4) + body)
    return client


def until_ready(client):
    data = b""
    while data[-6:-1] != b"Z\0\0\0\5":
        got = client.recv(65536)
        if not got:
            raise RuntimeError("the connection was closed: " + repr(data[-200:]))
        data += got
    return data


def ask(client, sql):
    client.sendall(b"Q" + struct.pack("!I", len(sql) + 5) + sql.encode() + b"\0")


def measure_idle(lab, peer):
    """Bytes of resident memory for each of many clients that have said nothing since their login."""
    hold = [connect(lab, peer.port) for _ in range(50)]
    for client in hold:
        until_ready(client)
        ask(client, "SELECT 1")
        until_ready(client)
    for client in hold:
        client.close()
    time.sleep(0.5)
    before = peer.memory()
    hold = []
    for _ in range(IDLE // 50):
        fresh = [connect(lab, peer.port) for _ in range(50)]
        for client in fresh:
            until_ready(client)
        hold += fresh
    time.sleep(0.5)
    each = (peer.memory() - before) / IDLE
    for client in hold:
        client.close()
    time.sleep(0.5)
    return each


def measure_many(lab, peer):
    """How many of so many clients at once get the right answer."""
    hold, right = [], 0
    started = time.monotonic()
    try:
        for _ in range(MANY // 100):
            fresh = [connect(lab, peer.port) for _ in range(100)]
            for client in fresh:
                until_ready(client)
            hold += fresh
        for at in range(0, len(hold), 500):
            for i, client in enumerate(hold[at:at + 500], at):
                ask(client, f"SELECT 'tag {i}'")
            for i, client in enumerate(hold[at:at + 500], at):
                right += f"tag {i}\0".encode() in until_ready(client).replace(b"C\0\0\0", b"\0")
    finally:
        for client in hold:
            client.close()
    say(f"  {right} of {MANY} clients in {time.monotonic() - started:.1f} s, {peer.memory() >> 20} MiB")
    return right


def measure_copy(lab, peer):
    """MB/s of a COPY OUT of a gigabyte, as psql takes it."""
    sql = f"COPY (SELECT repeat('x', 999) FROM generate_series(1, {COPIED_ROWS})) TO STDOUT"
    started = time.monotonic()
    subprocess.run(["psql", "-qX", "-h", "127.0.0.1", "-p", str(peer.port), "-c", sql], check=True, timeout=200, env=lab.env,
                   stdout=subprocess.DEVNULL)
    return COPIED_ROWS / 1000 / (time.monotonic() - started)


def measure_rest(lab, peers):
    ours = next((peer for peer in peers if peer.name == "pgmosaic"), None)
    if "idle" in PARTS:
        for peer in peers:
            if peer.process:
                each = measure_idle(lab, peer)
                if peer is ours:
                    bar(f"{IDLE} idle clients", each / 1024, "KiB each", "<=2")
                else:
                    BARS.append((f"{IDLE} idle clients, {peer.name}", f"{each / 1024:.3g}", "KiB each", "-", ""))
    if "many" in PARTS and ours:
        bar("clients served at once", measure_many(lab, ours), "clients", f">={MANY}")
    if "copy" in PARTS:
        rates = collections.defaultdict(list)
        for _ in range(ROUNDS):
            for peer in peers:
                rates[peer.name].append(measure_copy(lab, peer))
        middle = {name: statistics.median(values) for name, values in rates.items()}
        for name, rate in middle.items():
            BARS.append((f"COPY OUT of 1 GB, {name}", f"{rate:.0f}", "MB/s", "-", ""))
        if ours:
            bar("COPY OUT to direct", middle["pgmosaic"] / middle["direct"], "times", ">=0.9")


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="pgmosaic-bench-"))
    scratch.chmod(0o755)
    lab, peers = None, []
    try:
        lab = Lab(scratch)
        start_peers(lab, peers)
        if "cpu" in PARTS:
            rows = measure_transactions(lab, peers)
            judge_transactions(rows)
            print_transactions(rows)
        measure_rest(lab, peers)
    finally:
        for peer in peers:
            peer.stop()
        subprocess.run([COMMAND, "lab", "down", "bench"], cwd=scratch, stdout=subprocess.DEVNULL)
        shutil.rmtree(scratch, ignore_errors=True)
    widths = [max([len(row[i]) for row in BARS] or [0]) for i in range(5)]
    for row in BARS:
        print("  ".join(cell.rjust(width) if i == 1 else cell.ljust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))).rstrip())
    sys.exit(1 if any(row[4] == "NO" for row in BARS) else 0)


if __name__ == "__main__":
    main()
