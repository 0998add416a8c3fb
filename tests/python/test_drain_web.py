"""`drain --web`: the page beside the drainer, in a process of its own: its death costs loading nothing, and it ends with the drainer."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import unittest
import urllib.request
from pathlib import Path

import support

TOKEN = "a-token-of-a-test-0123456789"


def setUpModule():
    global servers, address, drainer
    servers = support.Servers()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    token_file = servers.folder / "token"
    token_file.touch(0o600)
    token_file.write_text(TOKEN + "\n")
    drainer = servers.start(servers.program, "drain", "--web", "--listen", address, "--web-token-file", token_file, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def answers():
    request = urllib.request.Request(f"http://{address}/api/overview", headers={"Authorization": "Bearer " + TOKEN})
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=support.TIMEOUT) as answer:
        return answer.status == 200
    return False


def page_process():
    """The drainer's child that serves, or None."""
    children = Path(f"/proc/{drainer.pid}/task/{drainer.pid}/children").read_text().split()
    return int(children[0]) if children else None


class Beside(unittest.TestCase):
    def test_1_it_serves_and_its_command_line_tells_nothing(self):
        support.wait_until(answers)
        self.assertEqual(Path(f"/proc/{page_process()}/cmdline").read_bytes(), b"blotter\0web\0")

    def test_2_killed_it_comes_back_and_the_drainer_goes_on(self):
        support.wait_until(answers)
        killed = page_process()
        os.kill(killed, signal.SIGKILL)
        support.wait_until(lambda: page_process() not in (None, killed) and answers())
        self.assertIsNone(drainer.poll())

    def test_3_it_dies_with_the_drainer(self):
        support.wait_until(answers)
        drainer.kill()
        drainer.wait()
        support.wait_until(lambda: not answers())


class Address(unittest.TestCase):
    def printed(self, listen, *more):
        web = servers.start(servers.program, "web", "--listen", listen, *more, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = web.stdout.readline().strip()
        web.kill()
        web.wait()
        web.stdout.close()
        return line

    def test_the_printed_address_is_one_that_can_be_opened(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for listen, where in ((f"{port}", "127.0.0.1"), (f":{port}", "127.0.0.1"), (f"0.0.0.0:{port}", "127.0.0.1"), (f"localhost:{port}", "localhost")):
            with self.subTest(listen):
                self.assertRegex(self.printed(listen), rf"^http://{re.escape(where)}:{port}/#[0-9a-f]{{48}}$")
        file = servers.folder / "token"
        self.assertEqual(self.printed(f":{port}", "--web-token-file", file), f"http://127.0.0.1:{port}/#TOKEN, with the token of {file}")


if __name__ == "__main__":
    support.main()
