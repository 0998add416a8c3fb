"""The experiment of tests/bench/experiment/, small: every way of saving runs, and what it saves is stored once."""

import json
import os
import subprocess
import sys
import unittest

import support

RUN = support.TREE / "tests/bench/experiment/run.py"
EXCHANGES, MESSAGES = 3, 40


class Experiment(unittest.TestCase):
    def test_what_is_saved_is_stored_once(self):
        command = [sys.executable, RUN, "--exchanges", str(EXCHANGES), "--messages", str(MESSAGES), "--runs", "1", "--idle", "0.1", "--no-plot"]
        done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=5 * support.TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        (results,) = json.loads((support.BUILD / "experiment.json").read_text())["results"]
        self.assertGreaterEqual(len(results), 12)
        for result in results:
            self.assertEqual(result["messages"], EXCHANGES * MESSAGES)
            self.assertGreater(result["saves"], 0)
            if result["rows"] is not None:
                self.assertEqual(result["rows"], result["expected"], result["writer"])
            self.assertGreater(result["save_ns"]["p50"], 0)
            self.assertGreater(result["delay_ns"]["p50"], 0)

    def test_a_writer_that_does_not_exist_is_named(self):
        done = subprocess.run([sys.executable, RUN, "--writers", "none,paper"], capture_output=True, text=True, timeout=support.TIMEOUT)
        self.assertEqual(done.returncode, 2)
        self.assertIn("there is no paper", done.stderr)


if __name__ == "__main__":
    support.main()
