"""TLS to each node of a cluster, and to sentinels. A build without TLS (Debian 12's hiredis) says so."""

import subprocess
import tempfile
import unittest
from pathlib import Path

import engines
import redis_cluster
import support

# A hiredis with TLS, as the Makefile looks for it.
HAS_TLS = subprocess.run(["pkg-config", "--exists", "hiredis_ssl", "openssl"]).returncode == 0


class Tls(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.engines = engines.Engines()
        self.addCleanup(self.engines.close)
        self.certificate()

    def certificate(self):
        """One that signs itself, for 127.0.0.1: it is its own authority."""
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=blotter", "-addext",
             "subjectAltName=IP:127.0.0.1", "-keyout", self.folder / "key", "-out", self.folder / "cert"],
            check=True, capture_output=True,
        )  # fmt: skip
        (self.folder / "key").chmod(0o644)

    def settings(self, port):
        cert, key = self.folder / "cert", self.folder / "key"
        return "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no"

    def publish(self, url, exchange="okx"):
        return engines.publish(
            url, engines.lines(1, 10, exchange), "--until", "sent", "--timeout", "20s", journal=self.folder / exchange, exchange=exchange
        )


class Build(Tls):
    def test_one_without_tls_says_so(self):
        for url in ("rediss+cluster://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/m?sentinel_tls=yes"):
            status, text = engines.publish(url, "", "--timeout", "1s", journal=self.folder / "j")
            self.assertNotEqual(status, 0)
            self.assertEqual("needs TLS" in text, not HAS_TLS, text)


if HAS_TLS:

    class Cluster(Tls):
        def test_each_node_and_each_redirection(self):
            ports = [engines.free_port() for _ in range(3)]
            waiting = iter(ports)
            cluster = redis_cluster.Cluster(self.engines, settings=lambda: self.settings(next(waiting)))
            url = f"rediss+cluster://127.0.0.1:{ports[0]}?cacert={self.folder / 'cert'}"

            def all_named():
                """Nodes hear of each other's TLS ports by and by."""
                return all(self.publish(url, exchange)[0] == 0 for exchange in ("gemini", "okx", "kucoin"))

            engines.await_true(all_named, "streams on all three masters take records over TLS")
            lengths = [sum(cluster.ask(node, "DBSIZE") for node in cluster.nodes)]
            self.assertGreaterEqual(lengths[0], 3)
            status, text = self.publish(url.replace("?cacert", "?cert"), "mexc")
            self.assertNotEqual(status, 0, text)

    class Sentinel(Tls):
        def test_sentinels_with_tls_lead_to_a_master_without(self):
            master, port = self.engines.redis(), engines.free_port()
            settings = "".join(f"{name[2:]} {value}\n" for name, value in zip(self.settings(port)[::2], self.settings(port)[1::2]))
            self.engines.sentinel(master, quorum=1, more=settings)
            url = f"redis+sentinel://127.0.0.1:{port}/blotter?sentinel_tls=yes&cacert={self.folder / 'cert'}"
            status, text = self.publish(url)
            self.assertEqual(status, 0, text)
            status, text = self.publish(url.replace("sentinel_tls=yes&", "").split("?")[0], "okx2")
            self.assertNotEqual(status, 0, text)


if __name__ == "__main__":
    support.main()
