"""soak.py [SECONDS]: a strategy in a crash loop, with a shipper and two drainers beside it, for as long as you like (3600).

Each life records some orders, notes what was accepted, and is killed. Every tenth of the time all that could grow is measured.
At the end every accepted record has to be stored once, and nothing may have grown. `make soak SOAK_SECONDS=3600`."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import support

LIVES_JOURNALS = 2  # one that sends by itself, one that the shipper sends for
SAMPLES = 10


def live(folder, journal, sends, notes, seed):
    """One life, in a process of its own: records, and dies in the middle of it."""
    import blotter

    chance = random.Random(seed)
    exchange = "okx" if sends else "binance"
    producer = blotter.Producer(exchange, journal=str(journal), sender="thread" if sends else "none", slots=4096)
    with open(notes, "ab", buffering=0) as accepted:
        for number in range(chance.randrange(1, 200)):
            status = chance.choice(("open", "closed", "canceled"))
            try:
                seq = producer.order(id=f"{exchange}-{seed}-{number}", symbol="BTC/USDT", side="buy", amount="1", status=status)
            except blotter.Full:
                continue
            accepted.write(f"{producer.stats().producer_id} {seq}\n".encode())
            time.sleep(chance.random() / 500)
    os.kill(os.getpid(), signal.SIGKILL)


def redis(*arguments):
    socket = servers.settings["BLOTTER_REDIS"].removeprefix("unix://")
    return subprocess.run(["redis-cli", "-s", socket, *arguments], check=True, capture_output=True, text=True).stdout


def of_process(pid):
    with open(f"/proc/{pid}/status") as status:
        resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    with open(f"/proc/{pid}/maps") as maps:
        return {"descriptors": len(os.listdir(f"/proc/{pid}/fd")), "mappings": sum(1 for _ in maps), "resident KiB": resident}


def measure(programs, journals, logs):
    memory = dict(line.split(":", 1) for line in redis("INFO", "memory").splitlines() if ":" in line)
    # confirmations of each producer are gone after an hour; DBSIZE counts also what has expired and is not removed yet
    count = "return {#redis.call('KEYS', '*'), #redis.call('KEYS', 'blotter-ack:*')}"
    keys, confirmations = map(int, redis("EVAL", count, "0").split())
    found = {
        "Redis KiB": int(memory["used_memory"]) // 1024 - confirmations * CONFIRMATION_KIB,
        "keys": keys - confirmations,
        "entries": sum(int(redis("XLEN", f"blotter:{exchange}")) for exchange in ("okx", "binance")),
        "journals": sum(len(list(folder.iterdir())) for folder in journals),
        "journals KiB": sum(file.stat().st_blocks // 2 for folder in journals for file in folder.iterdir()),
        "sessions": servers.query("SELECT count(*) AS n FROM pg_stat_activity WHERE application_name LIKE 'blotter%%'")[0]["n"],
        "tables": servers.query("SELECT count(*) AS n FROM pg_class WHERE relkind IN ('r', 'p', 'i', 'I')")[0]["n"],
        "log lines": sum(sum(1 for _ in log.open()) for log in logs),
    }
    for name, program in programs.items():
        found |= {f"{name} {what}": value for what, value in of_process(program.pid).items()}
    return found


CONFIRMATION_KIB = 5

# The growth allowed between the third sample and the last: a share, and a number.
ALLOWED = {"Redis KiB": (0.5, 4096), "keys": (0, 4), "entries": (0.5, 2000), "journals": (0, 2), "journals KiB": (0, 16384), "sessions": (0, 3), "tables": (0, 60)}
OF_PROCESSES = {"descriptors": (0, 8), "mappings": (0.1, 40), "resident KiB": (0.25, 16384)}
LOG_LINES_PER_LIFE = 2


def assert_flat(samples, lives):
    early, late, wrong = samples[2], samples[-1], []
    for what in late:
        share, number = ALLOWED.get(what) or OF_PROCESSES.get(what.split(" ", 1)[-1]) or (0, LOG_LINES_PER_LIFE * lives + 200)
        if late[what] > early[what] * (1 + share) + number:
            wrong.append(f"{what}: {early[what]} became {late[what]}")
    assert not wrong, "\n".join(wrong)


def prove(notes):
    """What was accepted is stored, once; what a kill came between may be stored, too."""
    accepted = {tuple(map(int, line.split())) for name in notes for line in name.read_text().splitlines()}
    rows = servers.query("SELECT producer_id, seq FROM blotter.order_events")
    stored = {(row["producer_id"], row["seq"]) for row in rows}
    assert len(rows) == len(stored), f"{len(rows)} rows of {len(stored)} records"
    assert accepted <= stored, f"{len(accepted - stored)} of {len(accepted)} accepted records are not stored"
    assert servers.query("SELECT count(*) AS n FROM blotter.rejects")[0]["n"] == 0
    status, text = servers.run("audit")
    assert status == 0, text
    return len(accepted), len(stored)


def await_drained():
    def drained():
        status, text = servers.run("status", "--json")
        answer = json.loads(text)
        queued = servers.query("SELECT count(*) AS n FROM blotter_internal.book_queue")[0]["n"]
        return answer.get("behind_s") == 0 and queued == 0
    support.wait_until(drained, 600)


def soak(seconds, seed):
    journals = [servers.journal("sends"), servers.journal("shipped")]
    notes = [servers.folder / "notes-0", servers.folder / "notes-1"]
    logs = [servers.folder / f"soak-{name}.log" for name in ("ship", "d1", "d2")]
    with contextlib.ExitStack() as files:
        out = [files.enter_context(log.open("w")) for log in logs]
        programs = {"ship": servers.start(servers.program, "ship", "--journal", str(journals[1]), stderr=out[0])}
        for number, name in enumerate(("d1", "d2"), 1):
            programs[name] = servers.start(
                servers.program, "drain", "--consumer", name, "--keep-entries", "500", "--keep-time", "1s", stderr=out[number])
        began, lives, samples, printed = time.monotonic(), 0, [], 0
        while time.monotonic() - began < seconds:
            children = [
                subprocess.Popen([sys.executable, __file__, "live", str(servers.folder), str(journals[which]), str(which == 0), str(notes[which]), str(seed + lives)])
                for which in range(LIVES_JOURNALS)
            ]
            for child in children:
                assert child.wait(support.TIMEOUT) == -signal.SIGKILL
            lives += 1
            assert all(program.poll() is None for program in programs.values()), "a program has ended"
            if time.monotonic() - began >= printed * seconds / SAMPLES:
                printed += 1
                samples.append(measure(programs, journals, logs))
                print(f"{time.monotonic() - began:7.0f} s, {lives} lives: {json.dumps(samples[-1])}", flush=True)
        for which in range(LIVES_JOURNALS):  # what the last lives have left
            status, text = servers.run("ship", "--journal", str(journals[which]), "--once", "--until", "committed", "--timeout", "300s")
            assert status == 0, text
        await_drained()
        samples.append(measure(programs, journals, logs))
        accepted, stored = prove(notes)
        print(f"{lives} lives, {accepted} accepted, {stored} stored, each once; at the end {json.dumps(samples[-1])}", flush=True)
        assert_flat(samples, lives)


def main():
    if len(sys.argv) == 7 and sys.argv[1] == "live":
        _, _, folder, journal, sends, notes, seed = sys.argv
        live(folder, journal, sends == "True", notes, int(seed))
    global servers
    seed = int(os.environ.get("SOAK_SEED") or time.time())
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3600
    print(f"SOAK_SEED={seed} SOAK_SECONDS={seconds:.0f}", flush=True)
    servers = support.Servers()
    try:
        soak(seconds, seed)
    finally:
        servers.close()


if __name__ == "__main__":
    main()
