"""Passes run in threads, and msgspec's first look at a type crashes a process in which two threads do it at once."""

from __future__ import annotations

import subprocess
import sys

FIRST_USE = """
import sys, threading
sys.setswitchinterval(1e-6)
from support.golden import pipeline_of
from clickstream_operator.document import build_document, parse_document
resource = pipeline_of("full")
gate = threading.Barrier(8)
def work():
    gate.wait()
    for _ in range(5):
        parse_document(build_document("web", "shop", resource.spec()))
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_many_threads_may_be_the_first_to_read_a_pipeline():
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", FIRST_USE], env={"PYTHONPATH": "tests"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
