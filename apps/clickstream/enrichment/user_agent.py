"""Browser, operating system and device class from the user agent, by ua-parser's rules on its Rust engine.

`device` is `desktop`, `mobile`, `tablet` or `other` (televisions, consoles, programs, unknown); bot.py sets `bot`.
ua-parser names hardware but does not class it, so the class comes from the platform's own conventions: Android writes
`Mobile` on phones and leaves it out on tablets, an iPad says so unless it asks for the desktop site (then it cannot be
told from a Mac).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from ua_parser import Domain
from ua_parser.loaders import load_builtins
from ua_parser.regex import Resolver

from clickstream.contracts.clicks import EnrichedClick
from clickstream.enrichment import Enrichment
from clickstream.enrichment.memo import Memo

CACHED: Final = 20_000
MAX_PARSED: Final = 1_024
"""Characters of a user agent that are looked at."""

_SCREEN = re.compile(
    r"smart-?tv|\btv\b|bravia|googletv|appletv|hbbtv|roku|crkey|\baft[a-z]|playstation|xbox|nintendo", re.IGNORECASE
)
_TABLET = re.compile(r"ipad|tablet|playbook|kindle|\bkf[a-z]{2,}\b", re.IGNORECASE)
_MOBILE = re.compile(r"mobi|iphone|ipod|windows phone|blackberry|opera mini|dalvik", re.IGNORECASE)
_DESKTOPS: Final = frozenset(
    {
        "Windows",
        "Mac OS X",
        "Linux",
        "Chrome OS",
        "Ubuntu",
        "Fedora",
        "Debian",
        "FreeBSD",
        "OpenBSD",
        "NetBSD",
        "Solaris",
    }
)


class Agent(msgspec.Struct, frozen=True, gc=False):
    """What a user agent says: `version` is `major.minor`; `spider`: ua-parser knows it as a crawler."""

    browser: str | None = None
    version: str | None = None
    os: str | None = None
    device: str = "other"
    spider: bool = False


Agents = Mapping[str, Agent]
"""Agents by user agent, any user agent."""


class AgentParser:
    """Parses user agents. Building one compiles all of ua-parser's rules (about a second)."""

    def __init__(self) -> None:
        self._resolve = Resolver(load_builtins())

    def __call__(self, text: str) -> Agent:
        """What the user agent says; unknown parts are None."""
        text = text[:MAX_PARSED]
        found = self._resolve(text, Domain.ALL)
        os = found.os.family if found.os is not None else None
        browser = found.user_agent
        version = None
        if browser is not None and browser.major:
            version = f"{browser.major}.{browser.minor}" if browser.minor else browser.major
        return Agent(
            browser=browser.family if browser is not None else None,
            version=version,
            os=os,
            device=_device(text, os),
            spider=found.device is not None and found.device.brand == "Spider",
        )


def agents(most: int = CACHED) -> Agents:
    return Memo(AgentParser(), min(most, CACHED))


def enrichment(agents: Agents) -> Enrichment:
    """Sets browser, browser_version, os, device."""

    def enrich(click: EnrichedClick) -> None:
        text = click.user_agent
        if not text:
            return
        agent = agents[text]
        click.browser = agent.browser
        click.browser_version = agent.version
        click.os = agent.os
        click.device = agent.device

    return enrich


def _device(text: str, os: str | None) -> str:
    if _SCREEN.search(text):
        return "other"
    if _TABLET.search(text):
        return "tablet"
    if _MOBILE.search(text) or os == "iOS":
        return "mobile"
    if os == "Android":
        return "tablet"
    return "desktop" if os in _DESKTOPS else "other"
