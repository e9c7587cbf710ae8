"""Browsers, systems and device classes, and what is a bot, from user agents as they are met."""

from __future__ import annotations

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from clickstream.contracts.clicks import EnrichedClick
from clickstream.enrichment import bot, user_agent

CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"
APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5"
WEBVIEW = "AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"

BROWSERS = [
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36", "Chrome", "126.0", "Windows", "desktop"),
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36 Edg/126.0.0.0", "Edge", "126.0", "Windows",
     "desktop"),
    (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {APPLE} Safari/605.1.15", "Safari", "17.5", "Mac OS X",
     "desktop"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0", "Firefox", "127.0", "Linux", "desktop"),
    (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {CHROME} Safari/537.36", "Chrome", "126.0", "Chrome OS", "desktop"),
    (f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {APPLE} Mobile/15E148 Safari/604.1", "Mobile Safari",
     "17.5", "iOS", "mobile"),
    (f"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) {APPLE} Mobile/15E148 Safari/604.1", "Mobile Safari", "17.5",
     "iOS", "tablet"),
    (f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Mobile Safari/537.36", "Chrome Mobile", "126.0", "Android",
     "mobile"),
    (f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Safari/537.36", "Chrome", "126.0", "Android", "tablet"),
    ("Mozilla/5.0 (Android 13; Tablet; rv:127.0) Gecko/127.0 Firefox/127.0", "Firefox Mobile", "127.0", "Android",
     "tablet"),
    ("Dalvik/2.1.0 (Linux; U; Android 13; Pixel 7 Build/TQ3A)", "Android", "13", "Android", "mobile"),
    ("MyShop/1.0 CFNetwork/1494 Darwin/23.4.0", "MyShop", "1.0", "iOS", "mobile"),
    ("okhttp/4.9.3", "okhttp", "4.9", None, "other"),
]  # fmt: skip

OTHER_SCREENS = [
    f"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) {CHROME} TV Safari/537.36",
    "Mozilla/5.0 (PlayStation; PlayStation 5/6.00) AppleWebKit/605.1.15 (KHTML, like Gecko)",
    f"Mozilla/5.0 (Linux; Android 9; AFTMM) {CHROME} Safari/537.36",
]

BOTS = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    f"Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) {CHROME} Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "AdsBot-Google (+http://www.google.com/adsbot.html)",
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/126.0.0.0 Safari/537.36",
    "curl/8.5.0",
    "Wget/1.21",
    "python-requests/2.32",
    "Go-http-client/2.0",
    "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
    "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
    "Mozilla/5.0 (compatible; YandexImages/3.0; +http://yandex.com/bots)",
    "SomeNewCrawler/0.1",
    "my-own-monitoring",
    "kube-probe/1.34",
    "Mozilla/5.0 (compatible; SomeThing 3.1)",
    "SomeThing/3.1 (https://thing.example)",
    "SomeThing/3.1 (ops@thing.example)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
]

PEOPLE = [
    f"Mozilla/5.0 (Linux; Android 13; CUBOT NOTE 21) {CHROME} Mobile Safari/537.36",
    "MyBottleShop/2.0 CFNetwork/1494 Darwin/23.4.0",
    "Dart/3.4 (dart:io)",
    "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)",
    "Mozilla/5.0 (compatible; Konqueror/4.5; Linux) KHTML/4.5.4 (like Gecko)",
    f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Mobile Safari/537.36 (Ecosia android@150.0.0.0)",
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {APPLE} Mobile/15E148 Instagram 334.0 (iPhone15,2; en_DE)",
    # Pages that are opened in an app.
    *(
        f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {WEBVIEW} {app}"
        for app in (
            "Snapchat/12.89.0.40 (like Safari/8618.1.15, panda)",
            "[LinkedInApp]/9.29.8962",
            "[FBAN/FBIOS;FBAV/470.0;FBBV/617;FBDV/iPhone15,2;FBSV/17.5]",
            "[Pinterest/iOS]",
            "Safari Line/14.8.0",
            "KAKAOTALK 10.8.5",
            "Flipboard/4.3.29",
            "musical_ly_34.5.0 BytedanceWebview/d8a21c6",
        )
    ),
    *(row[0] for row in BROWSERS),
]


@pytest.fixture(scope="module")
def agents() -> user_agent.Agents:
    return user_agent.agents()


def enriched(agents: user_agent.Agents, text: str | None) -> EnrichedClick:
    draft = EnrichedClick("e", 0, 0, 0, "undated", "u", "s", "/", "/", "home", user_agent=text)
    user_agent.enrichment(agents)(draft)
    bot.enrichment(agents)(draft)
    return draft


@pytest.mark.parametrize(("text", "browser", "version", "os", "device"), BROWSERS)
def test_a_browser_is_recognized(agents, text, browser, version, os, device):
    draft = enriched(agents, text)
    assert (draft.browser, draft.browser_version, draft.os, draft.device) == (browser, version, os, device)


@pytest.mark.parametrize("text", OTHER_SCREENS)
def test_televisions_and_consoles_are_other_devices(agents, text):
    assert enriched(agents, text).device == "other"


@pytest.mark.parametrize("text", BOTS)
def test_a_bot_is_flagged_and_its_device_is_bot(agents, text):
    draft = enriched(agents, text)
    assert (draft.bot, draft.device) == (True, "bot")


def test_of_the_lists_own_examples_only_the_libraries_of_apps_are_people(agents):
    examples = {text for each in CRAWLER_USER_AGENTS_DATA for text in each["instances"]}
    people = {text for text in examples if not enriched(agents, text).bot}
    assert len(examples) > 2_000
    assert len(people) / len(examples) < 0.01
    assert all("okhttp" in text for text in people)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
            "ai",
        ),
        ("Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)", "ai"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "search"),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "preview"),
        ("WhatsApp/2.23.20.0 A", "preview"),
        ("Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "monitor"),
        ("kube-probe/1.30", "monitor"),
        ("FeedFetcher-Google; (+http://www.google.com/feedfetcher.html)", "feed"),
        ("Mediapartners-Google", "ad"),
        ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "seo"),
        ("Mozilla/5.0 (compatible; archive.org_bot +http://www.archive.org/details/archive.org_bot)", "archive"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/120.0.0.0 Safari/537.36", "automation"),
        ("curl/8.5.0", "tool"),
        ("python-requests/2.31", "tool"),
        ("OurOwnBot/1.0", "other"),
        ("Something (+https://example.org/why)", "other"),
    ],
)
def test_a_bot_has_a_kind(agents, text, kind):
    assert enriched(agents, text).bot_kind == kind


def test_the_kind_is_one_of_the_lists_tags_nearly_always(agents):
    """Where not, the text has another pattern, too, whose kind comes first, or one of our words."""
    right = [
        enriched(agents, text).bot_kind in {kind for kind, tag in bot.KINDS.items() if tag in each["tags"]}
        for each in CRAWLER_USER_AGENTS_DATA
        for text in each["instances"]
    ]
    assert sum(right) / len(right) > 0.98


@pytest.mark.parametrize("text", PEOPLE)
def test_people_are_not_flagged(agents, text):
    draft = enriched(agents, text)
    assert (draft.bot, draft.bot_kind) == (False, None)


@pytest.mark.parametrize("text", [None, ""])
def test_no_user_agent_is_no_bot_and_an_unknown_device(agents, text):
    draft = enriched(agents, text)
    assert (draft.bot, draft.device, draft.browser, draft.os) == (False, "other", None, None)


@pytest.mark.parametrize("text", [" ", "-", "x" * 8_192, "Mozilla/5.0 (" * 600, "\ufffd", "🛒"])
def test_nonsense_is_an_unknown_device(agents, text):
    draft = enriched(agents, text)
    assert (draft.bot, draft.device) == (False, "other")
