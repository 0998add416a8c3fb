"""Servers and drainers that a test starts, stops and looks at by itself: Redis with its own settings, sentinels, `blotter drain`, fake servers.

PostgreSQL comes from support.Servers. Everything started here ends with the test, by its process.
"""

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import support


# Another server of the same protocol: valkey-server.
REDIS = os.environ.get("BLOTTER_REDIS_SERVER", "redis-server")


_reserved = []  # sockets that keep a port from other tests, by a name that tests/fixture/servers.c gives as well


def free_port():
    """Nobody else is given it until this process ends. It lies below those of outgoing connections: one of these may come before a server does."""
    for port in random.sample(range(15000, 31000), 10000):
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            name.bind(f"\0blotter-test-port-{port}")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            name.close()
            continue
        _reserved.append(name)
        return port
    raise AssertionError("no free loopback port")


def await_true(condition, what, timeout=support.TIMEOUT):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(0.02)


class RedisClient:
    """Commands and answers, nothing else. An error answer is returned as an exception object."""

    def __init__(self, port, timeout=support.TIMEOUT):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._file = self._socket.makefile("rb")

    def close(self):
        self._file.close()
        self._socket.close()

    def shut(self):
        """Whoever waits for an answer gets none."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, *words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))

    def __call__(self, *words):
        self.send(*words)
        return self.answer()

    def answer(self):
        line = self._file.readline()
        if not line:
            raise ConnectionError("Redis has closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if int(rest) < 0 else self._file.read(int(rest) + 2)[:-2].decode("latin-1")
        return None if int(rest) < 0 else [self.answer() for _ in range(int(rest))]


class Process:
    """A program in a folder of its own, which is removed with it."""

    def __init__(self, arguments, folder, environment=None):
        self.folder = Path(folder)
        self.log = self.folder / "log"
        self._arguments = [str(argument) for argument in arguments]
        self._environment = environment
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._arguments, cwd=self.folder, stdout=log, stderr=log, env=self._environment or support.plain_environment()
            )

    def text(self):
        return self.log.read_text(errors="replace")

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(support.TIMEOUT)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def memory_kib(self):
        """The most it has used so far."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1])
        raise AssertionError("no VmHWM")


class Engines:
    """Starts processes, and ends them all."""

    def __init__(self):
        self._folder = Path(tempfile.mkdtemp(prefix="blotter-engines-"))
        self._processes = []

    def close(self):
        for process in self._processes:
            process.kill()
        shutil.rmtree(self._folder)

    def _start(self, kind, arguments, environment=None):
        folder = self._folder / f"{kind}{len(self._processes)}"
        folder.mkdir()
        process = Process(arguments, folder, environment)
        self._processes.append(process)
        return process

    def folder(self):
        """An empty one, which goes with the rest."""
        return Path(tempfile.mkdtemp(dir=self._folder))

    def redis(self, *settings, port=None):
        port = port or free_port()
        # A replica is in step at once: by itself Redis waits five seconds for others.
        process = self._start("redis", [REDIS, "--port", port, "--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", 0, *settings])
        process.port = port
        process.url = f"redis://127.0.0.1:{port}"
        await_redis(process)
        return process

    def sentinels(self, master, replica):
        """Three that know each other and the replica, as if they had written that down before: to find out takes them seconds."""
        places = [(free_port(), secrets.token_hex(20)) for _ in range(3)]
        started = []
        for port, identity in places:
            lines = [f"sentinel myid {identity}", f"sentinel known-replica blotter 127.0.0.1 {replica.port}"]
            lines += [f"sentinel known-sentinel blotter 127.0.0.1 {at} {other}" for at, other in places if at != port]
            started.append(self.sentinel(master, more="".join(line + "\n" for line in lines), port=port))
        return started

    def sentinel(self, master, name="blotter", down_after_ms=1000, quorum=2, failover_timeout_ms=10000, more="", port=None):
        port = port or free_port()
        folder = self._folder / f"sentinel{len(self._processes)}.conf"
        folder.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor {name} 127.0.0.1 {master.port} {quorum}\n"
            f"sentinel down-after-milliseconds {name} {down_after_ms}\nsentinel failover-timeout {name} {failover_timeout_ms}\n{more}"
        )
        process = self._start("sentinel", [REDIS, folder, "--sentinel"])
        process.port = port
        await_redis(process)
        return process

    def drain(self, url, *settings, postgres=None):
        """A drainer with --metrics; its trouble is in ready()."""
        port = free_port()
        environment = support.plain_environment(BLOTTER_REDIS=url, BLOTTER_REBALANCE_INTERVAL="100ms")
        if postgres:
            environment["BLOTTER_POSTGRES"] = postgres
        process = self._start(
            "drain", [support.BUILD / "blotter", "drain", "--metrics", f"127.0.0.1:{port}", *settings], environment
        )
        process.port = port
        return process

    def start(self, kind, *arguments, **environment):
        return self._start(kind, arguments, support.plain_environment(**environment))


def await_redis(process):
    def answers():
        try:
            with RedisClient(process.port) as client:
                return client("PING") == "PONG"
        except OSError:
            return False

    try:
        await_true(answers, f"Redis on port {process.port}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {process.text()[-500:]}") from None


def get(drainer, path):
    """(status, body) of the drainer's monitor; (0, "") while it does not listen."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{drainer.port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def ready(drainer):
    return get(drainer, "/readyz")


def sample(drainer, name):
    """A number of /metrics; None: it is not there."""
    for line in get(drainer, "/metrics")[1].splitlines():
        if line.startswith(name + " "):
            return float(line.split()[-1])
    return None


class FakeRedis:
    """Answers +OK to everything, but for what a test's function has to say: answer(words) returns bytes, several in turn, or None."""

    def __init__(self, answer, host="127.0.0.1"):
        self._answer = answer
        self._listener = socket.create_server((host, 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            file = connection.makefile("rb")
            while line := file.readline():
                words = []
                for _ in range(int(line[1:])):
                    length = int(file.readline()[1:])
                    words.append(file.read(length + 2)[:-2].decode("latin-1"))
                answer = self._answer(words) or b"+OK\r\n"
                for part in (answer,) if isinstance(answer, bytes) else answer:
                    connection.sendall(part)
        except (OSError, ValueError):
            pass


def lines(first, count, exchange="okx"):
    """Orders for `blotter publish`."""
    return "".join(
        f'{{"kind": "order", "order_id": "{exchange}-{i}", "status": "open", "symbol": "BTC/USDT"}}\n' for i in range(first, first + count)
    )


def packed(value):
    """msgpack, for XADD."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        return b"\xda" + struct.pack(">H", len(value.encode())) + value.encode()
    if isinstance(value, list):
        return b"\xdc" + struct.pack(">H", len(value)) + b"".join(map(packed, value))
    return b"\xde" + struct.pack(">H", len(value)) + b"".join(packed(part) for pair in value.items() for part in pair)


def order(order_id):
    return packed({"order_id": str(order_id), "symbol": "A/B", "status": "open"})


def publish(url, text, *settings, journal, exchange="okx"):
    """Runs `blotter publish` to its end; returns (status, what it printed)."""
    done = subprocess.run(
        [support.BUILD / "blotter", "publish", "--redis", url, "--exchange", exchange, "--journal", journal, *settings],
        input=text,
        capture_output=True,
        text=True,
        timeout=support.TIMEOUT,
        env=support.plain_environment(),
    )
    return done.returncode, done.stdout + done.stderr

class Forwarder:
    """A port that leads to another: new connections go where it points at the time, old ones stay where they are, as with a name that is repointed."""

    def __init__(self, port):
        self.target = port
        self._listener = self._listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _listen(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        return listener

    def _greet(self, near):
        """Does what comes before the first request, and returns the line to whoever connected."""
        return near

    def _connect(self):
        return socket.create_connection(("127.0.0.1", self.target))

    def _requests(self, near):
        """What goes to where it points, until it ends."""
        while data := near.recv(65536):
            yield data

    def _answers(self, far):
        """What goes back to whoever connected, until it ends."""
        while data := far.recv(65536):
            yield data

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                near = self._greet(near)
                far = self._connect()
            except OSError:
                near.close()
                continue
            for source, target, chunks in ((near, far, self._requests(near)), (far, near, self._answers(far))):
                threading.Thread(target=self._pump, args=(source, target, chunks), daemon=True).start()

    @staticmethod
    def _pump(source, target, chunks):
        with contextlib.suppress(OSError):
            for data in chunks:
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Cut(Forwarder):
    """A forwarder that can be cut for all but some: clients of Redis, by the names that they have given themselves."""

    def __init__(self, port):
        self._pairs = []
        self._is_cut = False
        super().__init__(port)

    def _greet(self, near):
        if self._is_cut:
            raise OSError("cut")
        return near

    def _connect(self):
        far = super()._connect()
        self._pairs.append(far)
        return far

    def cut_but_for(self, names):
        self._is_cut = True
        with RedisClient(self.target) as client:
            clients = [dict(word.split("=", 1) for word in line.split(" ")) for line in client("CLIENT", "LIST").strip().split("\n")]
        kept = {entry["addr"] for entry in clients if entry["name"] in names}
        for far in self._pairs:
            with contextlib.suppress(OSError):
                if "%s:%d" % far.getsockname() not in kept:
                    far.shutdown(socket.SHUT_RDWR)


class FarRedis(Forwarder):
    """A forwarder through which a read of a group takes so many seconds more."""

    def __init__(self, port, seconds):
        self._seconds = seconds
        super().__init__(port)

    def _requests(self, near):
        for data in super()._requests(near):
            time.sleep(self._seconds if b"XREADGROUP" in data else 0)
            yield data


class Feed:
    """`blotter publish` that is fed orders, so many a second, until finish()."""

    def __init__(self, url, journal, exchange="okx", per_second=200, until="committed", first=1):
        self.exchange = exchange
        self.accepted = 0
        self._first = first
        self._going = True
        self._process = subprocess.Popen(
            [support.BUILD / "blotter", "publish", "--redis", url, "--exchange", exchange, "--journal", journal, "--until", until],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=support.plain_environment(),
        )
        self._thread = threading.Thread(target=self._run, args=(1 / per_second,), daemon=True)
        self._thread.start()

    def _run(self, pause):
        while self._going:
            self._process.stdin.write(lines(self._first + self.accepted, 1, self.exchange))
            self._process.stdin.flush()
            self.accepted += 1
            time.sleep(pause)

    def finish(self, timeout=support.TIMEOUT):
        """Waits until all are committed; returns (exit status, what was printed)."""
        self._going = False
        self._thread.join()
        try:
            text, _ = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            text, _ = self._process.communicate()
        return self._process.returncode, text

    def kill(self):
        self._going = False
        self._process.kill()
        self._process.wait()
