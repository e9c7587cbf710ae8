"""Which hosts are search engines, social networks and mail: the tables behind referrer.py.

Facts gathered by hand, kept short: the ones that a shop or a news site meets. A host is looked up by itself and then by
each of its parent domains, so that the more specific entry wins (`mail.google.com` before `google.com`).
"""

from __future__ import annotations

import re
from typing import Final

SEARCH: Final = "search"
SOCIAL: Final = "social"
EMAIL: Final = "email"
REFERRAL: Final = "referral"

Channel = tuple[str, str]
"""(medium, source)."""


def _table(medium: str, sources: dict[str, str]) -> dict[str, Channel]:
    return {domain: (medium, source) for source, domains in sources.items() for domain in domains.split()}


_DOMAINS: Final = {
    **_table(
        SEARCH,
        {
            "google": "google.com",
            "bing": "bing.com",
            "duckduckgo": "duckduckgo.com",
            "yahoo": "yahoo.com search.yahoo.co.jp",
            "yandex": "yandex.com ya.ru",
            "baidu": "baidu.com",
            "ecosia": "ecosia.org",
            "qwant": "qwant.com",
            "startpage": "startpage.com",
            "brave": "search.brave.com",
            "kagi": "kagi.com",
            "aol": "search.aol.com",
            "ask": "ask.com",
            "naver": "search.naver.com",
            "daum": "search.daum.net",
            "seznam": "search.seznam.cz",
            "sogou": "sogou.com",
            "so.com": "so.com",
            "swisscows": "swisscows.com",
            "mojeek": "mojeek.com",
            "metager": "metager.org metager.de",
            "petal": "petalsearch.com",
        },
    ),
    **_table(
        SOCIAL,
        {
            "facebook": "facebook.com fb.com fb.me messenger.com",
            "instagram": "instagram.com",
            "threads": "threads.net threads.com",
            "twitter": "twitter.com t.co x.com",
            "linkedin": "linkedin.com lnkd.in",
            "reddit": "reddit.com redd.it",
            "youtube": "youtube.com youtu.be",
            "tiktok": "tiktok.com",
            "pinterest": "pinterest.com pin.it",
            "snapchat": "snapchat.com",
            "whatsapp": "whatsapp.com wa.me",
            "telegram": "telegram.org t.me",
            "discord": "discord.com discord.gg",
            "mastodon": "mastodon.social",
            "bluesky": "bsky.app",
            "tumblr": "tumblr.com",
            "quora": "quora.com",
            "vk": "vk.com vk.ru",
            "weibo": "weibo.com weibo.cn",
            "xing": "xing.com",
            "twitch": "twitch.tv",
            "hackernews": "news.ycombinator.com",
        },
    ),
    **_table(
        EMAIL,
        {
            "gmail": "mail.google.com",
            "outlook": "outlook.com outlook.live.com outlook.office.com outlook.office365.com hotmail.com "
            "mail.live.com",
            "yahoo": "mail.yahoo.com mail.yahoo.co.jp",
            "yandex": "mail.yandex.com mail.yandex.ru",
            "proton": "mail.proton.me",
            "icloud": "icloud.com",
            "gmx": "gmx.net gmx.com gmx.de navigator.gmx.net",
            "web.de": "web.de",
            "mail.ru": "e.mail.ru",
            "seznam": "email.seznam.cz",
            "qq": "mail.qq.com",
        },
    ),
    # Products of search engines that link out but are no search.
    **_table(
        REFERRAL,
        {
            "google": "accounts.google.com calendar.google.com classroom.google.com docs.google.com drive.google.com"
            " groups.google.com meet.google.com play.google.com sites.google.com support.google.com "
            "translate.google.com",
            "yahoo": "finance.yahoo.com news.yahoo.com",
        },
    ),
}

_COUNTRY_BRANDS: Final = re.compile(r"(?:.*\.)?(google|yahoo|yandex|pinterest)\.(?:(?:com?|ne)\.)?[a-z]{2,3}")
"""Brands with a domain in every country; the brand's .com entry says what they are."""

_WEBMAIL: Final = re.compile(r"(?:e|web)?mail\d*\..+|roundcube\..+")

_APPS: Final = {
    "com.google.android.gm": (EMAIL, "gmail"),
    "com.microsoft.office.outlook": (EMAIL, "outlook"),
    "com.yahoo.mobile.client.android.mail": (EMAIL, "yahoo"),
    "com.google.android.googlequicksearchbox": (SEARCH, "google"),
    "com.google.android.youtube": (SOCIAL, "youtube"),
    "com.facebook.katana": (SOCIAL, "facebook"),
    "com.facebook.orca": (SOCIAL, "facebook"),
    "com.instagram.android": (SOCIAL, "instagram"),
    "com.instagram.barcelona": (SOCIAL, "threads"),
    "com.twitter.android": (SOCIAL, "twitter"),
    "com.linkedin.android": (SOCIAL, "linkedin"),
    "com.reddit.frontpage": (SOCIAL, "reddit"),
    "com.pinterest": (SOCIAL, "pinterest"),
    "com.snapchat.android": (SOCIAL, "snapchat"),
    "com.zhiliaoapp.musically": (SOCIAL, "tiktok"),
    "com.whatsapp": (SOCIAL, "whatsapp"),
    "org.telegram.messenger": (SOCIAL, "telegram"),
}


def channel_of_host(host: str) -> Channel:
    """Medium and source of a lower-case host that is not the site's own; an unknown one is a referral from itself."""
    domain = host.removeprefix("www.")
    while domain:
        channel = _DOMAINS.get(domain)
        if channel is not None:
            return channel
        domain = domain.partition(".")[2]
    if _WEBMAIL.fullmatch(host):
        return EMAIL, host
    brand = _COUNTRY_BRANDS.fullmatch(host)
    if brand is not None:
        return _DOMAINS[f"{brand[1]}.com"]
    return REFERRAL, host.removeprefix("www.")


def channel_of_app(package: str) -> Channel:
    """Medium and source of a mobile app; an unknown one is a referral from its package."""
    return _APPS.get(package, (REFERRAL, package))
