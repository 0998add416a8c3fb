"""A Redis Cluster of real servers: masters and replicas on this machine, slots that are moved, nodes that die, come and go."""

import secrets

import engines

SLOTS = 16384
NODE_TIMEOUT_MS = 1000  # a master that is silent for so long is dead; its replica takes over within as much again


def slot_of(key):
    """CRC16 as Redis takes it, for keys without a hash tag."""
    crc = 0
    for byte in key.encode():
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc % SLOTS


def third_of(key):
    return slot_of(key) * 3 // SLOTS


def in_third_of(key, prefix, name):
    """The name with a number behind it, so that both keys are on the same of three masters."""
    return next(f"{name}{number}" for number in range(1000) if third_of(f"{prefix}{name}{number}") == third_of(key))


class Cluster:
    """`masters` nodes that share the slots, each with `replicas`. engines.Engines ends them.

    settings() gives each node's own, beside ours.
    """

    def __init__(self, servers, masters=3, replicas=0, settings=tuple):
        self._servers = servers
        self._settings = settings
        places = [(secrets.token_hex(20), engines.free_port(), engines.free_port()) for _ in range(masters * (1 + replicas))]
        self.nodes = [self._start(self._configuration(places, number, masters), port=place[1]) for number, place in enumerate(places)]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:masters])
        self.await_agreement()
        for node in self.nodes[masters:]:
            self._await_in_step(node)

    def _start(self, configuration=None, port=None, bus=None):
        """The file that a node keeps by itself, written before it starts: to meet one by one takes eight seconds."""
        folder = self._servers.folder()
        if configuration:
            (folder / "nodes.conf").write_text(configuration[0])
            bus = configuration[1]
        node = self._servers.redis(
            "--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT_MS, "--cluster-port", bus or engines.free_port(),
            "--cluster-config-file", folder / "nodes.conf", "--cluster-replica-validity-factor", 0, *self._settings(), port=port,
        )  # fmt: skip
        node.configuration = folder / "nodes.conf"
        return node

    @staticmethod
    def _configuration(places, myself, masters):
        lines = []
        for number, (identity, port, bus) in enumerate(places):
            role, master, slots = "master", "-", ""
            if number >= masters:
                role, master = "slave", places[number % masters][0]
            else:
                slots = f" {SLOTS * number // masters}-{SLOTS * (number + 1) // masters - 1}"
            flags = ("myself," if number == myself else "") + role
            lines.append(f"{identity} 127.0.0.1:{port}@{bus} {flags} {master} 0 0 {number % masters + 1} connected{slots}")
        return "\n".join([*lines, f"vars currentEpoch {masters} lastVoteEpoch 0", ""]), places[myself][2]

    def ask(self, node, *words):
        with engines.RedisClient(node.port) as client:
            answer = client(*words)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    def tries(self, node, *words):
        """The same, but an error or a dead node is an answer, too."""
        try:
            with engines.RedisClient(node.port, 0.5) as client:
                return client(*words)
        except OSError as error:
            return RuntimeError(str(error))

    def identity(self, node):
        return self.ask(node, "CLUSTER", "MYID")

    def alive(self):
        return [node for node in self.nodes if node.process.poll() is None]

    def slot(self, key):
        return self.ask(self.alive()[0], "CLUSTER", "KEYSLOT", key)

    def owner(self, key):
        """The master that serves the key, once one does: nodes may disagree for a moment."""
        engines.await_true(lambda: self.owner_now(key), f"a node serves {key}")
        return self.owner_now(key)

    def owner_now(self, key):
        """None: none does."""
        for node in self.alive():
            if not isinstance(self.tries(node, "XRANGE", key, "+", "-"), RuntimeError):
                return node
        return None

    def _meet(self, node):
        other = self.nodes[0]
        bus = int(self.ask(other, "CONFIG", "GET", "cluster-port")[1])
        self.ask(node, "CLUSTER", "MEET", "127.0.0.1", other.port, bus)

    def _knows(self, node, count):
        lines = str(self.tries(node, "CLUSTER", "NODES")).strip().split("\n")
        fine = [line for line in lines if " connected" in line and "handshake" not in line and "fail" not in line.split()[2]]
        return len(lines) == len(fine) == count and "cluster_state:ok" in str(self.tries(node, "CLUSTER", "INFO"))

    def await_agreement(self):
        engines.await_true(lambda: all(self._knows(node, len(self.alive())) for node in self.alive()), "the nodes agree")

    def _await_in_step(self, replica):
        engines.await_true(lambda: "master_link_status:up" in str(self.tries(replica, "INFO", "replication")), "the replica is in step")

    # --- slots ---

    def begin_move(self, slot, source, target):
        """The slot is MIGRATING and IMPORTING, its keys are where they were: here a dead reshard may stop."""
        self.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.identity(source))
        self.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.identity(target))

    def move_keys(self, slot, source, target, only=None):
        for key in self.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000):
            if only is None or key in only:
                self.ask(source, "MIGRATE", "127.0.0.1", target.port, key, 0, 5000)

    def end_move(self, slot, source, target):
        identity = self.identity(target)
        for node in (target, source, *(node for node in self.alive() if node not in (source, target))):
            self.tries(node, "CLUSTER", "SETSLOT", slot, "NODE", identity)  # a replica refuses, and hears of it
        # The next move would be lost if its target had not heard of this one: it would not claim more.
        engines.await_true(self._one_map, "the nodes agree on the slots")

    def _one_map(self):
        maps = []
        for node in self.alive():
            lines = [line.split() for line in self.ask(node, "CLUSTER", "NODES").strip().split("\n")]
            maps.append(sorted((words[0], words[6], *words[8:]) for words in lines if "master" in words[2]))
        return all(map == maps[0] for map in maps)

    def move(self, slot, source, target):
        """As redis-cli --cluster reshard does it. New keys may come while the old ones are moved."""
        self.begin_move(slot, source, target)
        self.finish_move(slot, source, target)

    def finish_move(self, slot, source, target):
        while self.ask(source, "CLUSTER", "COUNTKEYSINSLOT", slot) > 0:
            self.move_keys(slot, source, target)
        self.end_move(slot, source, target)

    # --- nodes ---

    def add(self):
        """A master without slots."""
        node = self._start()
        self.nodes.append(node)
        self._meet(node)
        self.await_agreement()
        return node

    def remove(self, node):
        """A master that has no slots any more: the others forget it, and it ends."""
        identity = self.identity(node)
        node.kill()
        for other in self.alive():
            self.ask(other, "CLUSTER", "FORGET", identity)
        self.nodes.remove(node)

    def accepts_write(self, key, other_than):
        """Does another node take writes for the key's slot?"""
        return any(self.tries(node, "SET", f"probe:{{{key}}}", 1) == "OK" for node in self.alive() if node is not other_than)
