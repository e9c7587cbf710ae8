"""The bot flag and the kind of bot: crawlers, monitors, headless browsers and HTTP libraries, by their user agent.

A bot is what ua-parser knows as a spider, what the list of the package crawler-user-agents has (1,500 of them, kept up
by their community), and what names itself by one of the words below. Bots that pretend to be browsers are not found. An
absent or empty user agent is NOT a bot: browsers always send one (the tracking API fills it in for them), so it means a
server that reports its own visitors' clicks, and a wrong flag would remove those from every number. For the same reason
the HTTP libraries of mobile apps (okhttp, CFNetwork, Dart) do not count, though the list has some.

Its kind is that of the first of `KINDS` that one of its patterns is of, by the tags of the list.

All patterns are one automaton of RE2, which reads a text once, whatever is in it: Python's own expressions take
milliseconds for a browser's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
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
KINDS: Final = {
    "ai": "ai-crawler",
    "search": "search-engine",
    "preview": "social-preview",
    "monitor": "monitoring",
    "feed": "feed-reader",
    "ad": "advertising",
    "seo": "seo",
    "archive": "archiver",
    "scanner": "scanner",
    "research": "academic",
    "automation": "browser-automation",
    "tool": "http-library",
}
"""Kinds of bots and the list's tags for them; the first that applies counts."""
OTHER: Final = "other"
"""The kind of a bot that says no more than that it is one."""

_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "search": (
        r"google-(?:inspectiontool|read-aloud)",
        r"googleother",
        r"slurp\b",
    ),
    "ai": (r"google-extended",),
    "ad": (r"mediapartners-google",),
    "preview": (
        r"meta-external",
        r"facebookexternalhit",
        r"facebookcatalog",
        r"whatsapp/",
        r"skypeuripreview",
        r"embedly",
    ),
    "feed": (r"feedfetcher",),
    "archive": (r"archiver\b",),
    "monitor": (
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
        r"validator\b",
    ),
    "automation": (r"headless", r"phantomjs", r"selenium", r"puppeteer", r"playwright"),
    "tool": (
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
    ),
    OTHER: (
        r"(?:^|[^u]|(?:^|[^c])u)bots?(?:[^a-z]|$)",  # not the phones named Cubot, not "bottle"
        r"crawl(?:er|ing)?\b",
        r"spider",
        r"scrap(?:er|ing|y)\b",
        # A browser has no need to say where its owner can be reached.
        r"https?:",
        r"www\.",
        r"\w@[\w-]+\.[a-z]{2}",
        # What only old browsers said of themselves.
        r"compatible; *(?:[^mk ]|m[^s]|k[^o])",
    ),
}
_RANKS: Final = (*KINDS, OTHER)


class Bots:
    """Patterns with their kinds. Raises re2.error."""

    def __init__(self, patterns: Iterable[tuple[str, str]]) -> None:
        self._patterns, self._ranks = re2.Set.SearchSet(), []
        for pattern, kind in patterns:
            self._patterns.Add(pattern)
            self._ranks.append(_RANKS.index(kind))
        self._patterns.Compile()

    def kind(self, user_agent: str) -> str | None:
        """The kind of bot that a user agent names itself; None: no bot."""
        found = self._patterns.Match(user_agent[:MAX_PARSED].encode("utf-8", "replace"))
        return _RANKS[min(self._ranks[number] for number in found)] if found else None


@cache
def bots() -> Bots:
    """All patterns: a tenth of a second to make, so not before somebody asks."""
    listed = import_module("crawleruseragents").CRAWLER_USER_AGENTS_DATA
    patterns = [(each["pattern"], _kind_of(each["tags"])) for each in listed if each["pattern"] not in _PEOPLE]
    return Bots([*patterns, *((f"(?i:{word})", kind) for kind, words in _WORDS.items() for word in words)])


def enrichment(agents: Agents, most: int = CACHED) -> Enrichment:
    """Sets bot, its kind, and device to `bot` for one; after the user agent, whose device it overrules."""
    kind = bots().kind  # made now, and not at the first click
    known = Memo(lambda text: kind(text) or (OTHER if agents[text].spider else None), min(most, CACHED))

    def enrich(click: EnrichedClick) -> None:
        text = click.user_agent
        if text and (found := known[text]):
            click.bot = True
            click.bot_kind = found
            click.device = "bot"

    return enrich


def _kind_of(tags: Collection[str]) -> str:
    return next((kind for kind, tag in KINDS.items() if tag in tags), OTHER)
