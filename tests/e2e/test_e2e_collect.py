"""docs/collect.md: every snippet is run against a real tracking API, and what it sends is in the store."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from clickstream.tracking_api.rejections import Code
from devstack import Stack
from e2e.tracker_site import served, wait
from support.processes import wait_for
from support.system import KEY, System, system_on

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "collect.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```(html|js|jsx|sh|python)\n(.*?)```", TEXT, re.DOTALL)
ROW = re.compile(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \| (?:`(.*?)`)? ?\| .+ \|$", re.MULTILINE)
ROWS = [(codes.strip("`").split("`, `"), example) for codes, example in ROW.findall(TEXT)]
PAGE = "<!doctype html><title>A page</title>{head}<main id=root></main>"


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A site's origin, and the folder of its files."""
    folder = tmp_path_factory.mktemp("site")
    with served(folder) as origin:
        yield origin, folder


@pytest.fixture(scope="module")
def system(stack: Stack, site: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    sources = [{"name": "web", "writeKey": KEY, "allowedOrigins": [site[0]]}]
    late = {"lateAfter": "3650d"}
    name = f"collect-{os.getpid()}"
    started = system_on(stack, tmp_path_factory.mktemp("system"), name, sources=sources, enricher=late)
    yield started
    started.close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Bundles a program that imports the tracker's package, React or Vue, as an application's build does."""
    folder = tmp_path_factory.mktemp("programs")
    tracker = folder / "clickstream" / "apps" / "tracker_js"
    shutil.copytree(ROOT / "apps" / "tracker_js", tracker, ignore=shutil.ignore_patterns("node_modules", "dist"))
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "tests" / "e2e" / "collect" / name, folder)
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts")
    run(tracker, "npm", "ci", *quiet)
    run(tracker, "npm", "run", "build")
    run(folder, "npm", "ci", *quiet)
    (folder / "node_modules" / "clickstream-tracker").symlink_to(tracker)

    def make(program: str) -> str:
        (folder / "program.jsx").write_text(program, encoding="utf-8")
        options = ("--bundle", "--format=esm", "--jsx=automatic", "--define:process.env.NODE_ENV='development'")
        run(folder, "node_modules/.bin/esbuild", "program.jsx", *options, "--outfile=built.mjs")
        return (folder / "built.mjs").read_text(encoding="utf-8")

    return make


def snippet(language: str, contains: str, system: System) -> str:
    """The one with these words, for this API and key."""
    [found] = [text for each, text in SNIPPETS if each == language and contains in text]
    return found.replace("https://clicks.example.com", system.url).replace("WRITE_KEY", KEY)


def stored(system: System, page: str) -> list[tuple[str, Any]]:
    """(type, a property) of the clicks on a page, in the order of their times."""
    rows = system.stores.sql(
        "SELECT type, properties FROM {s}.clicks WHERE page_path = %s ORDER BY event_time, event_id", page
    )
    return [(row["type"], row["properties"].get("product") or row["properties"].get("order_id")) for row in rows]


def visit(context: BrowserContext, site: tuple[str, Path], name: str, html: str) -> Page:
    (site[1] / f"{name}.html").write_text(html, encoding="utf-8")
    page = context.new_page()
    page.goto(f"{site[0]}/{name}.html")
    return page


def test_there_is_nothing_that_no_test_here_runs() -> None:
    assert sorted(language for language, _ in SNIPPETS) == sorted(
        ["html"] * 3 + ["js"] * 2 + ["jsx"] * 2 + ["sh", "python"]
    )


def test_one_tag_records_page_views_and_no_code_records_a_button(system, context, site) -> None:
    visit(context, site, "tag", PAGE.format(head=snippet("html", 'data-key="WRITE_KEY"></script>\n', system)))
    page = visit(context, site, "button", PAGE.format(head=snippet("html", "data-modules", system)))
    page.wait_for_function("!!window.clickstream?.track")
    page.wait_for_load_state("networkidle")  # the module is a script of its own
    page.get_by_role("button", name="Buy").click()
    wait(page, lambda: stored(system, "/tag.html") == [("page_view", None)], "the page view is stored")
    wait(
        page,
        lambda: stored(system, "/button.html") == [("page_view", None), ("add_to_cart", "item-7")],
        "the button's event is stored",
    )


@pytest.mark.parametrize(
    ("name", "language", "contains", "clicks"),
    [
        ("plain", "js", "modules/links", False),
        ("react", "jsx", "createRoot", True),
        ("vue", "js", "createApp", True),
    ],
)
def test_the_package_works_in_a_bundle(system, context, site, bundle, name, language, contains, clicks) -> None:
    (site[1] / f"{name}.mjs").write_text(bundle(snippet(language, contains, system)), encoding="utf-8")
    page = visit(context, site, name, PAGE.format(head=f"<script type=module src=/{name}.mjs></script>"))
    if clicks:
        page.get_by_role("button", name="Buy").click()
    wait(
        page,
        lambda: sorted(stored(system, f"/{name}.html")) == [("add_to_cart", "item-7"), ("page_view", None)],
        "both events are stored, once",
    )


def test_a_component_that_react_mounts_twice_makes_one_tracker(system, context, site, bundle) -> None:
    component = snippet("jsx", "use client", system)
    program = f"""import {{ createRoot }} from "react-dom/client";
import {{ StrictMode }} from "react";
{component.replace("export default ", "")}
createRoot(document.getElementById("root")).render(<StrictMode><Analytics /><p>Ready</p></StrictMode>);"""
    (site[1] / "next.mjs").write_text(bundle(program), encoding="utf-8")
    page = visit(context, site, "next", PAGE.format(head="<script type=module src=/next.mjs></script>"))
    page.get_by_text("Ready").wait_for()
    page.evaluate("history.pushState(null, '', '/next-route')")
    views = [("page_view", None)]
    wait(page, lambda: stored(system, "/next-route") == views, "the route's view is stored")
    assert stored(system, "/next.html") == views


def test_on_a_server_the_package_does_nothing(bundle, system, tmp_path) -> None:
    program = snippet("js", "modules/links", system) + '\nconsole.log("rendered");'
    (tmp_path / "server.mjs").write_text(bundle(program), encoding="utf-8")
    done = subprocess.run(["node", "server.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "rendered\n"), done.stderr


def test_a_server_sends_one_and_several(system, tmp_path) -> None:
    subprocess.run(["bash", "-ec", snippet("sh", "curl", system)], check=True, capture_output=True)
    program = snippet("python", "urllib", system)
    (tmp_path / "send.py").write_text(program + "\nprint(send([{'event_id': 'no'}]))\n", encoding="utf-8")
    command = [sys.executable, tmp_path / "send.py"]
    told = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(2)]
    assert "missing_field" in told[0]
    wanted = {("purchase", "4711"), ("purchase", "1"), ("purchase", "2")}
    wait_for(lambda: {*stored(system, "/checkout")} == wanted, "all three are stored", *system.processes)
    assert len(stored(system, "/checkout")) == 3, "what was sent twice counts once"


def test_the_pixel_counts_what_is_opened(system, context, site) -> None:
    page = visit(context, site, "mail", snippet("html", "pixel.gif", system))
    wait(page, lambda: stored(system, "/mail/31") == [("mail_opened", None)], "the mail's event is stored")


def test_every_code_is_told_of() -> None:
    assert sorted(code for codes, _ in ROWS for code in codes) == sorted(Code)


@pytest.mark.parametrize(("codes", "example"), [row for row in ROWS if row[1]], ids=lambda each: str(each)[:20])
def test_an_example_is_refused_for_what_the_page_says(system: System, codes: list[str], example: str) -> None:
    good = {
        "event_id": "e",
        "timestamp": "2026-01-31T08:30:00Z",
        "user_id": "u",
        "session_id": "s",
        "page": "/",
        "properties": {},
    }
    example = re.sub(r'"(\w) × (\d+)"', lambda found: json.dumps(found[1] * int(found[2])), example)
    rest = {name: value for name, value in good.items() if name not in json.loads(example)}
    body = f"{json.dumps(rest)[:-1]}, {example[1:]}"
    headers = {"Content-Type": "application/json", "X-Write-Key": KEY}
    request = urllib.request.Request(f"{system.url}/v1/events", body.encode(), headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=15)
    assert refused.value.code == 422
    assert [json.load(refused.value)["error"]["code"]] == codes
