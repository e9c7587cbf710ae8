"""The life of a server, told with a small one of our own."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, ClassVar

import pytest

from devstack import Settings, ports
from devstack.errors import InterruptedUpError, PortTakenError, StartError, UnhealthyError
from devstack.launch import Launch
from devstack.process import ProcessId
from devstack.server import Server
from devstack.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Web(Server):
    """Python's own web server."""

    name: ClassVar[str] = "web"
    port_names: ClassVar[tuple[str, ...]] = ("http",)
    code = (
        "import http.server as web, sys; print('hello', flush=True); "
        "web.test(web.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')"
    )
    prepared = 0

    def prepare(self, chosen: Mapping[str, int]) -> Launch:
        self.prepared += 1
        self.data_folder().mkdir(parents=True, exist_ok=True)
        return Launch([sys.executable, "-c", self.code, str(chosen["http"])], folder=self.data_folder())

    def local_address(self, chosen: Mapping[str, int]) -> str:
        return f"http://127.0.0.1:{chosen['http']}/"

    def check(self, address: str, timeout: float) -> None:
        try:
            urllib.request.urlopen(address, timeout=timeout).close()
        except OSError as error:
            raise UnhealthyError(str(error)) from error


class Broken(Web):
    code = "print('the disk is made of cheese'); raise SystemExit(3)"


class Mute(Web):
    start_seconds: ClassVar[float] = 0.5
    code = "import time; print('hm', flush=True); time.sleep(60)"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(Settings.from_environment({}, home=tmp_path))


@pytest.fixture
def web(workspace: Workspace) -> Iterator[Web]:
    server = Web(workspace)
    yield server
    server.stop()


def process_of(server: Server) -> ProcessId:
    assert server.pid is not None
    found = ProcessId.of(server.pid)
    assert found is not None
    return found


def test_start_is_idempotent(web: Web) -> None:
    web.start()
    first = process_of(web)
    web.start()
    assert process_of(web) == first
    assert web.prepared == 1
    assert web.status().state == "running"


def test_stop_is_idempotent_and_a_new_start_has_the_same_address_and_data(web: Web) -> None:
    web.start()
    address = web.address
    (web.data_folder() / "kept").touch()
    web.stop()
    web.stop()
    assert web.status().state == "stopped"
    web.start()
    assert web.address == address
    assert (web.data_folder() / "kept").exists()


def test_kill_leaves_no_time_to_say_goodbye(web: Web) -> None:
    web.start()
    before = process_of(web)
    web.kill()
    assert not before.is_alive()
    assert web.pid is None


def test_a_server_that_died_alone_is_said_to_have_died_and_starts_again(web: Web) -> None:
    web.start()
    before = process_of(web)
    os.kill(before.pid, signal.SIGKILL)
    assert before.wait(10)
    assert web.status().detail == "died; see its log"
    web.start()
    assert process_of(web) != before


def test_another_object_for_the_same_home_knows_it(web: Web, workspace: Workspace) -> None:
    web.start()
    other = Web(Workspace(workspace.settings))
    assert other.pid == web.pid
    other.stop()
    assert web.pid is None


def test_stop_does_not_touch_a_stranger_who_got_the_pid(web: Web, workspace: Workspace) -> None:
    web.start()
    mine = process_of(web)
    record = workspace.record("web")
    workspace.state.write("web", record.running(ProcessId(mine.pid, "another boot/1")))
    web.stop()
    assert mine.is_alive()
    workspace.state.write("web", record)


def test_a_server_in_its_own_session_is_not_hit_by_ctrl_c(web: Web) -> None:
    web.start()
    pid = process_of(web).pid
    assert os.getsid(pid) == pid != os.getsid(0)


def test_death_while_starting_shows_the_log(workspace: Workspace) -> None:
    server = Broken(workspace)
    with pytest.raises(StartError, match="the disk is made of cheese"):
        server.start()
    assert server.pid is None


def test_only_the_log_of_this_start_is_shown(workspace: Workspace) -> None:
    server = Broken(workspace)
    server.log.parent.mkdir()
    server.log.write_text("an old story\n")
    with pytest.raises(StartError) as caught:
        server.start()
    assert "an old story" not in str(caught.value)


def test_silence_ends_at_the_deadline_and_leaves_no_orphan(workspace: Workspace) -> None:
    server = Mute(workspace)
    with pytest.raises(StartError, match=r"(?s)web is not healthy after .*hm"):
        server.start()
    assert server.pid is None


def test_an_interrupted_start_leaves_no_orphan(workspace: Workspace) -> None:
    class Patient(Mute):
        start_seconds: ClassVar[float] = 60

    server = Patient(workspace)
    seen: list[int] = []

    def interrupt() -> None:
        deadline = time.monotonic() + 10
        while server.pid is None and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.extend([server.pid] if server.pid else [])
        workspace.cancelled.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(InterruptedUpError):
        server.start()
    thread.join()
    assert seen
    assert ProcessId.of(seen[0]) is None


def test_a_port_taken_meanwhile_is_an_error_for_start_and_replaced_by_up(web: Web) -> None:
    web.start()
    port = int(web.address.rpartition(":")[2].strip("/"))
    web.stop()
    with socket.create_server((ports.LOOPBACK, port)):
        with pytest.raises(PortTakenError, match=f"port {port} now belongs to another process"):
            web.start()
        web.ensure_running(may_move=True)
    assert str(port) not in web.address


def test_wiping_forgets_data_and_ports(web: Web) -> None:
    web.start()
    web.stop()
    web.wipe()
    assert not web.folder.exists()
    assert web.status().state == "absent"
