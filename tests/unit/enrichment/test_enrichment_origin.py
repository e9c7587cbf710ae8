"""Where a click came from: referrers, mediums, sources and campaigns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clickstream.contracts.clicks import EnrichedClick
from clickstream.enrichment import campaign, page, referrer
from clickstream.enrichment.channels import _DOMAINS, AI, EMAIL, SEARCH, SOCIAL

SHOP = "https://www.shop.example/products/item-7"


def enriched(page_url: str, referrer_url: str | None, own_domains: tuple[str, ...] = ()) -> EnrichedClick:
    draft = EnrichedClick("e", 0, 0, 0, "undated", "u", "s", page_url, "", "", referrer=referrer_url)
    for enrich in (page.enrichment([]), referrer.enrichment(own_domains), campaign.enrichment()):
        enrich(draft)
    return draft


@pytest.mark.parametrize(
    ("url", "host", "medium", "source"),
    [
        (None, None, "direct", None),
        ("", None, "direct", None),
        ("about:blank", None, "direct", None),
        ("null", None, "direct", None),
        ("file:///home/me/page.html", None, "direct", None),
        ("data:text/html,hello", None, "direct", None),
        ("https://", None, "direct", None),
        ("http://[broken", None, "direct", None),
        ("https://" + "a" * 300 + ".example/", None, "direct", None),
        ("https://www.shop.example/cart", "www.shop.example", "internal", None),
        ("https://shop.example/cart", "shop.example", "internal", None),
        ("HTTPS://WWW.SHOP.EXAMPLE:443/", "www.shop.example", "internal", None),
        ("/cart", None, "internal", None),
        ("https://other.shop.example/", "other.shop.example", "internal", None),
        ("https://notshop.example/", "notshop.example", "referral", "notshop.example"),
        ("https://www.google.com/", "www.google.com", "search", "google"),
        ("https://www.google.co.uk/search?q=shoes", "www.google.co.uk", "search", "google"),
        ("https://google.de", "google.de", "search", "google"),
        ("https://www.google.com.br/", "www.google.com.br", "search", "google"),
        ("https://notgoogle.com/", "notgoogle.com", "referral", "notgoogle.com"),
        ("https://google.evil.example/", "google.evil.example", "referral", "google.evil.example"),
        ("https://www.bing.com/search", "www.bing.com", "search", "bing"),
        ("https://cn.bing.com/", "cn.bing.com", "search", "bing"),
        ("https://duckduckgo.com/", "duckduckgo.com", "search", "duckduckgo"),
        ("https://de.search.yahoo.com/", "de.search.yahoo.com", "search", "yahoo"),
        ("https://search.yahoo.co.jp/", "search.yahoo.co.jp", "search", "yahoo"),
        ("https://yandex.ru/search", "yandex.ru", "search", "yandex"),
        ("https://ya.ru/", "ya.ru", "search", "yandex"),
        ("https://www.baidu.com/s", "www.baidu.com", "search", "baidu"),
        ("https://www.ecosia.org/", "www.ecosia.org", "search", "ecosia"),
        ("https://l.facebook.com/l.php?u=x", "l.facebook.com", "social", "facebook"),
        ("https://www.instagram.com/", "www.instagram.com", "social", "instagram"),
        ("https://t.co/abc", "t.co", "social", "twitter"),
        ("https://x.com/", "x.com", "social", "twitter"),
        ("https://netflix.com/", "netflix.com", "referral", "netflix.com"),
        ("https://www.linkedin.com/feed", "www.linkedin.com", "social", "linkedin"),
        ("https://old.reddit.com/r/shoes", "old.reddit.com", "social", "reddit"),
        ("https://m.youtube.com/watch", "m.youtube.com", "social", "youtube"),
        ("https://www.tiktok.com/", "www.tiktok.com", "social", "tiktok"),
        ("https://www.pinterest.de/", "www.pinterest.de", "social", "pinterest"),
        ("https://mail.google.com/mail/u/0", "mail.google.com", "email", "gmail"),
        ("https://outlook.live.com/", "outlook.live.com", "email", "outlook"),
        ("https://mail.yahoo.com/", "mail.yahoo.com", "email", "yahoo"),
        ("https://webmail.company.example/", "webmail.company.example", "email", "webmail.company.example"),
        ("https://mail.evil.example/", "mail.evil.example", "referral", "mail.evil.example"),
        ("https://tw.search.yahoo.com/", "tw.search.yahoo.com", "search", "yahoo"),
        ("http://us.yhs4.search.yahoo.com/", "us.yhs4.search.yahoo.com", "search", "yahoo"),
        ("https://go.mail.ru/", "go.mail.ru", "search", "mail.ru"),
        ("https://suche.web.de/", "suche.web.de", "search", "web.de"),
        ("https://search.google.com/", "search.google.com", "search", "google"),
        ("https://m.baidu.com/", "m.baidu.com", "search", "baidu"),
        ("https://maps.google.com/", "maps.google.com", "referral", "google"),
        ("https://ads.google.de/", "ads.google.de", "referral", "google"),
        ("https://sports.yahoo.com/", "sports.yahoo.com", "referral", "yahoo"),
        ("https://market.yandex.ru/", "market.yandex.ru", "referral", "yandex"),
        ("https://mail.yandex.ru/", "mail.yandex.ru", "email", "yandex"),
        ("https://pan.baidu.com/", "pan.baidu.com", "referral", "baidu"),
        ("https://google.xyz/", "google.xyz", "referral", "google.xyz"),
        ("https://evil.google.tk/", "evil.google.tk", "referral", "evil.google.tk"),
        ("https://yandex.win/", "yandex.win", "referral", "yandex.win"),
        ("https://deref-gmx.net/mail/client/I_f/dereferrer/", "deref-gmx.net", "email", "gmx"),
        ("http://webmail1m.orange.fr/webmail/fr_FR/read.html", "webmail1m.orange.fr", "email", "webmail1m.orange.fr"),
        ("https://chatgpt.com/", "chatgpt.com", "ai", "chatgpt"),
        ("https://chat.openai.com/", "chat.openai.com", "ai", "chatgpt"),
        ("https://www.perplexity.ai/", "www.perplexity.ai", "ai", "perplexity"),
        ("https://gemini.google.com/app", "gemini.google.com", "ai", "gemini"),
        ("https://copilot.microsoft.com/", "copilot.microsoft.com", "ai", "copilot"),
        ("https://claude.ai/", "claude.ai", "ai", "claude"),
        ("https://chat.mistral.ai/", "chat.mistral.ai", "ai", "mistral"),
        ("https://meta.ai/", "meta.ai", "ai", "meta ai"),
        ("https://www.bing.com/chat", "www.bing.com", "search", "bing"),
        ("https://lm.facebook.com/l.php?u=x", "lm.facebook.com", "social", "facebook"),
        ("https://go.bsky.app/redirect?u=x", "go.bsky.app", "social", "bluesky"),
        ("android-app://com.slack/", "com.slack", "social", "slack"),
        ("android-app://m.facebook.com/", "m.facebook.com", "social", "facebook"),
        ("https://docs.google.com/document", "docs.google.com", "referral", "google"),
        ("https://blog.example.org/post", "blog.example.org", "referral", "blog.example.org"),
        ("https://www.blog.example/", "www.blog.example", "referral", "blog.example"),
        ("//cdn.example/x", "cdn.example", "referral", "cdn.example"),
        ("android-app://com.google.android.gm/", "com.google.android.gm", "email", "gmail"),
        ("android-app://com.google.android.googlequicksearchbox", "com.google.android.googlequicksearchbox", "search",
         "google"),
        ("android-app://com.reddit.frontpage/https/x", "com.reddit.frontpage", "social", "reddit"),
        ("android-app://org.unknown.app", "org.unknown.app", "referral", "org.unknown.app"),
    ],
)  # fmt: skip
def test_the_referrer_tells_medium_and_source(url, host, medium, source):
    draft = enriched(SHOP, url)
    assert (draft.referrer_host, draft.medium, draft.referrer_source) == (host, medium, source)


@pytest.mark.parametrize(
    ("page", "url", "medium"),
    [
        ("https://www.shop.co.uk/", "https://help.shop.co.uk/", "internal"),
        ("https://www.shop.co.uk/", "https://other.co.uk/", "referral"),
        ("https://shop.github.io/", "https://friend.github.io/", "referral"),
        ("https://co.uk/", "https://shop.co.uk/", "referral"),
        ("https://127.0.0.1/", "https://127.0.0.1:8080/cart", "internal"),
        ("https://10.0.0.1/", "https://127.0.0.1/", "referral"),
        ("https://[::1]/", "https://[::1]/cart", "internal"),
        ("http://localhost/", "http://localhost:3000/", "internal"),
        ("https://shop.example/", "https://pay.example/done", "internal"),
        ("https://shop.example/", "https://eu.pay.example/done", "internal"),
        ("https://shop.example/", "https://notpay.example/", "referral"),
        ("https://shop.example/", "https://accounts.google.com/", "internal"),
        ("https://shop.example/", "https://www.google.com/", "search"),
        ("/cart", "https://pay.example/done", "internal"),
    ],
)
def test_a_site_is_its_registrable_domain_and_the_domains_that_are_its_own(page, url, medium):
    draft = enriched(page, url, ("pay.example", "accounts.google.com"))
    assert draft.medium == medium
    assert draft.referrer_source is None or medium != "internal"
    assert draft.referrer_host is not None


@given(st.text(max_size=300).map(str.lower) | st.from_regex(r"[a-z0-9.\-:]{1,60}", fullmatch=True))
def test_any_host_has_a_site(host):
    site = referrer.registrable(host)
    assert host.rstrip(".").endswith(site)
    assert referrer.registrable(site) in {site, site.removeprefix("www.")}


def test_a_page_without_a_host_has_only_paths_as_internal_referrers():
    assert enriched("/cart", "https://shop.example/").medium == "referral"
    assert enriched("/cart", "/products").medium == "internal"


@pytest.mark.parametrize(
    ("query", "medium", "source"),
    [
        ("utm_source=news&utm_medium=email&utm_campaign=spring", "email", "news"),
        ("utm_source=Google&utm_medium=cpc", "paid", "google"),
        ("utm_medium=CPM", "paid", None),
        ("utm_medium=paid-social&utm_source=facebook", "paid", "facebook"),
        ("utm_medium=social&utm_source=facebook", "social", "facebook"),
        ("utm_medium=organic", "search", None),
        ("utm_medium=referral&utm_source=partner.example", "referral", "partner.example"),
        ("utm_medium=affiliate", "affiliate", None),
        ("utm_medium=poster", "campaign", None),
        ("utm_campaign=spring", "campaign", None),
        ("UTM_SOURCE=news", "campaign", "news"),
        ("utm_source=newsletter&amp;utm_medium=email&amp;utm_campaign=feb", "email", "newsletter"),
        ("utm_source=chatgpt.com", "ai", "chatgpt"),
        ("utm_source=perplexity", "ai", "perplexity"),
        ("utm_source=copilot.com", "ai", "copilot"),
        ("utm_source=www.facebook.com&utm_medium=referral", "social", "facebook"),
        ("utm_source=fb&utm_campaign=spring", "social", "facebook"),
        ("utm_source=medium", "campaign", "medium"),
        ("utm_source=" + "a." * 126 + "a", "campaign", ("a." * 126 + "a")),
        ("fbclid=abc&utm_medium=cpc", "paid", None),
    ],
)
def test_a_tagged_page_overrules_the_referrer(query, medium, source):
    draft = enriched(f"{SHOP}?{query}", "https://blog.example/")
    assert (draft.medium, draft.referrer_source, draft.referrer_host) == (medium, source, "blog.example")


@pytest.mark.parametrize(
    ("query", "referrer_url", "medium", "source"),
    [
        ("gclid=abc", None, "paid", "google"),
        ("gclid=abc", "https://www.google.com/", "paid", "google"),
        ("gclid=abc", "https://googleads.g.doubleclick.net/", "paid", "google"),
        ("gclid=abc&utm_source=adwords&utm_medium=organic", None, "paid", "google"),
        ("msclkid=abc", "https://duckduckgo.com/", "paid", "bing"),
        ("fbclid=abc", "https://l.facebook.com/", "social", "facebook"),
        ("fbclid=abc", None, "social", "facebook"),
        ("fbclid=abc&gclid=abc", None, "paid", "google"),
        # Copied, mailed or linked to: somebody else's click.
        ("gclid=abc", "https://www.linkedin.com/", "social", "linkedin"),
        ("gclid=abc", "https://news.example/", "referral", "news.example"),
        ("gclid=abc", "https://www.shop.example/", "internal", None),
        ("fbclid=abc", "https://www.google.com/", "search", "google"),
        ("utm_source=linkedin&gclid=abc", None, "social", "linkedin"),
        ("utm_source=news&utm_medium=email&gclid=abc", None, "email", "news"),
    ],
)
def test_a_click_id_counts_for_its_networks_visitors_as_they_come(query, referrer_url, medium, source):
    draft = enriched(f"{SHOP}?{query}", referrer_url)
    assert (draft.medium, draft.referrer_source) == (medium, source)


@pytest.mark.parametrize("medium", [SEARCH, SOCIAL, EMAIL, AI])
def test_a_source_has_one_channel_by_its_host_and_by_its_name(medium):
    for host, channel in _DOMAINS.items():
        if channel[0] == medium:
            assert enriched(SHOP, f"https://{host}/").medium == medium
            tagged = enriched(f"{SHOP}?utm_source={host}", None)
            assert (tagged.medium, tagged.referrer_source) == channel


@pytest.mark.parametrize(
    "query", ["", "q=shoes", "utm_source=", "gclid=", "utm_campaign=%20", "=x", "&&&", "utm_source"]
)
def test_a_page_that_is_not_tagged_leaves_the_referrer_alone(query):
    draft = enriched(f"{SHOP}?{query}", "https://blog.example/")
    assert (draft.medium, draft.referrer_source, draft.campaign_source) == ("referral", "blog.example", None)


def test_utm_parameters_are_decoded_the_first_counts_and_long_ones_are_cut():
    query = (
        "utm_campaign=spring%20sale+%C3%A4&utm_campaign=second&utm_term=a%00b&utm_content=%ff&utm_source=" + "s" * 300
    )
    draft = enriched(f"/?{query}#utm_medium=fragment", None)
    assert draft.campaign == "spring sale ä"
    assert draft.campaign_term == "a\ufffdb"
    assert draft.campaign_content == "\ufffd"
    assert draft.campaign_source == "s" * 256
    assert draft.campaign_medium is None


@given(st.text(min_size=1, max_size=100), st.text(max_size=100) | st.none())
def test_no_page_or_referrer_breaks_it(page_url, referrer_url):
    draft = enriched(page_url, referrer_url)
    assert draft.medium
    assert draft.page_path
    assert draft.page_category


@given(st.sampled_from(("http://", "https://[", "//", "android-app://", "https://a@b:")), st.text(max_size=30))
def test_nor_does_what_looks_like_a_url(start, rest):
    assert enriched(start + rest, start + rest).medium
