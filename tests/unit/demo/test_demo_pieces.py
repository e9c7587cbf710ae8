"""The demo's smaller parts: settings, folder, ledger tail, metrics, children."""

import json
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from clickstream.contracts.clicks import Click
from clickstream.contracts.durations import duration_ms
from clickstream.contracts.pipeline import dump_pipeline, parse_pipeline
from clickstream.simulator.ledger import LedgerWriter, State
from clickstream.tracking_api.requests import decode_body
from clickstream.tracking_api.validation.event import RequestContext, parse_event
from demo.children import Family, end_leftovers
from demo.document import BROWSER, SIMULATED, demo_pipeline, demo_topics, write_key
from demo.latency import LedgerTail
from demo.metrics import parse_metrics, values
from demo.processes import PRODUCTS
from demo.screen import addresses
from demo.settings import Home, read_settings
from devstack.child import Child, ChildDiedError
from devstack.errors import DevstackError


def test_settings_come_from_the_environment_and_flags_win():
    settings = read_settings(
        ["--rate", "50"], {"DEMO_RATE": "2000", "DEMO_SECONDS": "60", "DEMO_BEFORE_CHECK": "a 'b c'"}
    )
    assert (settings.rate, settings.seconds, settings.keep) == (50.0, 60.0, False)
    assert settings.before_check == ("a", "b c")
    assert settings.home == Path(".demo").absolute()


def test_unset_and_empty_variables_mean_the_defaults():
    settings = read_settings([], {"DEMO_SECONDS": "", "DEMO_RATE": ""})
    assert (settings.seconds, settings.rate, settings.batch) == (None, 200.0, 50)
    assert duration_ms(settings.session_gap) == 60_000  # ten minutes, ten times faster


@pytest.mark.parametrize("wrong", [["--rate", "0"], ["--rate", "x"], ["--seconds", "-1"], ["--speed", "inf"]])
def test_wrong_settings_end_with_status_2(wrong):
    with pytest.raises(SystemExit) as ended:
        read_settings(wrong, {})
    assert ended.value.code == 2


def test_only_a_demos_own_folder_is_ever_wiped(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for act in (Home(tmp_path).renew, Home(tmp_path).remove):
        with pytest.raises(DevstackError, match="not made by a demo"):
            act()
    assert (tmp_path / "thesis.tex").exists()


def test_a_demos_folder_is_renewed_and_removed(tmp_path):
    home = Home(tmp_path / "demo")
    home.renew()
    home.ledger.write_text("old")
    (home.logs / "old.log").write_text("old")
    home.renew()
    assert not home.ledger.exists()
    assert not list(home.logs.iterdir())
    home.remove()
    assert not home.folder.exists()


def test_the_pipeline_has_a_funnel_a_join_and_a_source_for_real_browsers():
    pipeline = demo_pipeline("shop", "60000ms", "127.0.0.1:9092", "http://127.0.0.1:9200", "postgresql://x/y")
    assert parse_pipeline(dump_pipeline(pipeline)) == pipeline
    assert [source.name for source in pipeline.sources] == [SIMULATED, BROWSER]
    assert write_key(pipeline, SIMULATED) != write_key(pipeline, BROWSER)
    catalogue = demo_topics(pipeline)[-1]
    assert catalogue.name == pipeline.enricher.joins[0].topic
    assert catalogue.config["cleanup.policy"] == "compact"


def test_the_shop_has_products_for_the_catalogue():
    rows = json.loads(PRODUCTS.read_bytes())
    assert all({"id", "name", "category", "price"} <= row.keys() for row in rows)


def test_the_tail_of_a_ledger_counts_as_the_writer_does_and_samples_accepted_events(tmp_path):
    path = tmp_path / "ledger"
    tail = LedgerTail(path, share=1.0)
    assert tail.read() == []
    writer = LedgerWriter(path)
    writer.sending([(f"e{number}", number) for number in range(10)])
    assert tail.read() == []
    writer.settle([("e0", State.ACCEPTED), ("e1", State.REJECTED), ("e2", State.UNKNOWN)])
    assert [(sent.event_id, sent.due_ms) for sent in tail.read()] == [("e0", 0)]
    writer.settle([("e2", State.ACCEPTED)])
    assert [sent.event_id for sent in tail.read()] == ["e2"]
    counts = tail.counts
    assert (counts.sent, counts.accepted, counts.rejected, counts.unknown) == (10, 2, 1, 0)
    writer.close()


def test_the_tail_waits_for_the_end_of_a_line(tmp_path):
    path = tmp_path / "ledger"
    tail = LedgerTail(path, share=1.0)
    path.write_text("# clickstream ledger 1\nS 5 a\nA ")
    assert tail.read() == []
    with path.open("a") as file:
        file.write("a\n")
    assert [sent.event_id for sent in tail.read()] == ["a"]


def test_a_share_of_the_accepted_events_is_sampled(tmp_path):
    writer = LedgerWriter(tmp_path / "ledger")
    writer.sending([(f"e{number}", number) for number in range(10_000)])
    writer.settle([(f"e{number}", State.ACCEPTED) for number in range(10_000)])
    writer.close()
    assert 800 < len(LedgerTail(tmp_path / "ledger", share=0.1).read()) < 1_200


def test_metrics_are_read_by_name_and_labels():
    samples = parse_metrics(
        "# HELP x y\n# TYPE stored counter\n"
        'stored_total{kind="click",sink="a \\"b\\""} 5.0\nstored_total{kind="session"} 7.0\nlag 1e3\nplain NaN\n'
        'd_bucket{le="1"} 4\n'
    )
    assert values(samples, "stored_total", kind="click") == [5.0]
    assert sum(values(samples, "stored_total")) == 12.0
    assert values(samples, "lag") == [1000.0]
    assert values(samples, "d_bucket") == []


@pytest.fixture
def home(tmp_path) -> Home:
    made = Home(tmp_path / "demo")
    made.renew()
    return made


SLEEPER = ("-c", "import time; time.sleep(600)")


def test_a_child_that_dies_is_named_and_quoted(home):
    family = Family(home)
    child = family.start("enricher", ["-c", "import sys; print('the last words'); sys.exit(3)"])
    child.popen.wait(20)
    with pytest.raises(ChildDiedError, match=r"(?s)enricher ended with status 3.*the last words"):
        family.raise_if_any_is_dead()
    family.raise_if_any_is_dead(but=child)
    family.end_all()


def test_a_child_that_is_asked_whether_it_is_ready_and_dies_instead_is_reported(home):
    family = Family(home)
    child = family.start("sink", ["-c", "raise SystemExit(1)"])
    with pytest.raises(ChildDiedError, match="sink"):
        child.wait_ready()
    family.end_all()


def test_all_children_are_ended_even_one_that_does_not_listen(home):
    family = Family(home)
    polite = family.start("polite", SLEEPER)
    deaf_code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    deaf = family.start("deaf", ["-c", deaf_code])
    wait_for_log(deaf, "deaf")
    family.end(deaf, seconds=0.2)
    family.end_all()
    assert polite.popen.poll() is not None
    assert deaf.popen.poll() is not None


def test_the_next_demo_ends_what_a_killed_one_left(home):
    family = Family(home)
    child = family.start("orphan", SLEEPER)
    assert end_leftovers(home) == 1
    assert child.popen.poll() is not None
    assert end_leftovers(home) == 0


def test_a_stranger_with_the_same_process_id_is_left_alone(home):
    family = Family(home)
    child = family.start("mine", SLEEPER)
    home.processes.write_text(json.dumps([[child.popen.pid, "another start time"]]))
    assert end_leftovers(home) == 0
    assert child.popen.poll() is None
    family.end_all()


def wait_for_log(child: Child, word: str) -> None:
    deadline = time.monotonic() + 20
    while word not in child.last_words():
        assert time.monotonic() < deadline, child.last_words()
        time.sleep(0.02)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_command_that_sends_a_click_sends_one_that_is_accepted():
    received = []

    class Recorder(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.headers, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_):
            pass

    pipeline = demo_pipeline("d", "60s", "k:9092", "http://e:9200", "postgresql://p:5432/d")
    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        api = f"http://127.0.0.1:{server.server_port}"
        shown = addresses(pipeline, api, "http://shop", None, {"tracking-api": 1}).plain
        (command,) = (line.strip() for line in shown.splitlines() if f"curl {api}/v1/events" in line)
        try:
            subprocess.run(["bash", "-c", command], check=True, timeout=20, capture_output=True)
        finally:
            server.shutdown()
            serving.join()

    ((headers, body),) = received
    assert headers["x-write-key"] == write_key(pipeline, BROWSER)
    text = decode_body(body, headers["content-type"].encode(), b"")
    assert isinstance(parse_event(text, RequestContext(source=BROWSER, received_at=int(time.time() * 1000))), Click)
