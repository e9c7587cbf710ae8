"""The bot flag: crawlers, monitors, headless browsers and HTTP libraries, recognized by their user agent.

A bot is what ua-parser knows as a spider, what the list of the package crawler-user-agents has (1,500 of them, kept up
by their community), and what names itself by one of the words below. Bots that pretend to be browsers are not found. An
absent or empty user agent is NOT a bot: browsers always send one (the tracking API fills it in for them), so it means a
server that reports its own visitors' clicks, and a wrong flag would remove those from every number. For the same reason
the HTTP libraries of mobile apps (okhttp, CFNetwork, Dart) do not count, though the list has some.

All patterns are one automaton of RE2, which reads a text once, whatever is in it: Python's own expressions take
milliseconds for a browser's.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Final

import re2

from clickstream.contracts.clicks import EnrichedClick
from clickstream.enrichment import Enrichment
from clickstream.enrichment.memo import Memo
from clickstream.enrichment.user_agent import CACHED, MAX_PARSED, Agents

_PEOPLE: Final = frozenset({"okhttp"})
"""Patterns of the list that find people: an app's library."""
_WORDS: Final = (
    r"(?:^|[^u]|(?:^|[^c])u)bots?(?:[^a-z]|$)",  # not the phones named Cubot, not "bottle"
    r"crawl(?:er|ing)?\b",
    r"spider",
    r"scrap(?:er|ing|y)\b",
    r"slurp\b",
    r"archiver\b",
    r"headless",
    r"phantomjs",
    r"selenium",
    r"puppeteer",
    r"playwright",
    r"lighthouse",
    r"page ?speed",
    r"gtmetrix",
    r"pingdom",
    r"statuscake",
    r"site24x7",
    r"datadog",
    r"newrelic",
    r"monitor(?:ing)?\b",
    r"health-?check",
    r"kube-probe",
    r"googlehc",
    r"feedfetcher",
    r"mediapartners-google",
    r"google-(?:inspectiontool|read-aloud|extended)",
    r"googleother",
    r"facebookexternalhit",
    r"facebookcatalog",
    r"meta-external",
    r"whatsapp/",
    r"skypeuripreview",
    r"embedly",
    r"validator\b",
    r"curl/",
    r"wget/",
    r"httpie/",
    r"python-(?:requests|urllib|httpx)",
    r"python/",
    r"aiohttp/",
    r"libwww-perl",
    r"go-http-client",
    r"java/",
    r"apache-httpclient",
    r"node-fetch",
    r"axios/",
    r"undici",
    r"guzzlehttp",
    r"postmanruntime",
    r"insomnia/",
    r"k6/",
    r"apachebench",
    r"jmeter",
    r"wrk/",
    r"vegeta",
    # A browser has no need to say where its owner can be reached.
    r"https?:",
    r"www\.",
    r"\w@[\w-]+\.[a-z]{2}",
    # What only old browsers said of themselves.
    r"compatible; *(?:[^mk ]|m[^s]|k[^o])",
)


def compiled(patterns: Iterable[str]) -> re2.Set:
    """What finds any of these patterns in a text. Raises re2.error."""
    found = re2.Set.SearchSet()
    for pattern in patterns:
        found.Add(pattern)
    found.Compile()
    return found


@cache
def bots() -> re2.Set:
    """All patterns: a tenth of a second to make, so not before somebody asks."""
    listed = (each["pattern"] for each in import_module("crawleruseragents").CRAWLER_USER_AGENTS_DATA)
    return compiled([*(pattern for pattern in listed if pattern not in _PEOPLE), *(f"(?i:{word})" for word in _WORDS)])


def names_itself_bot(user_agent: str) -> bool:
    """Whether the user agent holds one of the patterns."""
    return bool(bots().Match(user_agent[:MAX_PARSED].encode("utf-8", "replace")))


def enrichment(agents: Agents, most: int = CACHED) -> Enrichment:
    """Sets bot, and device to `bot` for one; after the user agent, whose device it overrules."""
    bots()  # now, and not at the first click
    known = Memo(lambda text: agents[text].spider or names_itself_bot(text), min(most, CACHED))

    def enrich(click: EnrichedClick) -> None:
        text = click.user_agent
        if text and known[text]:
            click.bot = True
            click.device = "bot"

    return enrich
