"""Which hosts and apps are search engines, social networks, mail and AI assistants: the tables behind referrer.py.

Facts gathered by hand in November 2026, from what these services say of themselves: there is no list on a registry that
is kept up. A host is looked up by itself and then by each of its parent domains, so that the more specific entry wins
(`mail.google.com` before `google.com`); nothing is guessed from how a name begins. Brands with a domain in many
countries are looked up by their `.com` name, in those countries only.
"""

from __future__ import annotations

import re
from typing import Final

SEARCH: Final = "search"
SOCIAL: Final = "social"
EMAIL: Final = "email"
AI: Final = "ai"
REFERRAL: Final = "referral"

Channel = tuple[str, str]
"""(medium, source)."""
MAX_HOST: Final = 253
"""The longest DNS name."""


def _table(medium: str, sources: dict[str, str]) -> dict[str, Channel]:
    return {domain: (medium, source) for source, domains in sources.items() for domain in domains.split()}


_DOMAINS: Final = {
    **_table(
        SEARCH,
        {
            "google": "google.com",
            "bing": "bing.com",
            "duckduckgo": "duckduckgo.com",
            "yahoo": "yahoo.com search.yahoo.com search.yahoo.co.jp",
            "yandex": "yandex.com ya.ru",
            "baidu": "baidu.com",
            "so.com": "so.com haosou.com so.360.cn",
            "alice": "search.alice.it search.alice.fr",
            "altavista": "altavista.com",
            "aol": "search.aol.com search.aol.co.uk search.aol.de search.aol.fr recherche.aol.fr suche.aol.de "
            "aolsearch.com",
            "ask": "ask.com",
            "avast": "search.avast.com",
            "avg": "search.avg.com",
            "babylon": "search.babylon.com isearch.babylon.com",
            "biglobe": "search.biglobe.ne.jp",
            "brave": "search.brave.com",
            "bt": "search.bt.com",
            "centrum.cz": "search.centrum.cz",
            "coccoc": "coccoc.com",
            "comcast": "search.comcast.net search.xfinity.com",
            "conduit": "search.conduit.com",
            "daum": "search.daum.net",
            "dogpile": "dogpile.com",
            "duck.com": "duck.com",
            "ecosia": "ecosia.org",
            "ekoru": "ekoru.org",
            "eniro": "eniro.se",
            "entireweb": "entireweb.com",
            "exalead": "exalead.com",
            "excite": "excite.com excite.co.jp search.excite.com",
            "free": "search.free.fr",
            "gibiru": "gibiru.com",
            "gigablast": "gigablast.com",
            "givero": "givero.com",
            "gmx": "suche.gmx.net search.gmx.com",
            "goo": "search.goo.ne.jp",
            "hotbot": "hotbot.com",
            "info.com": "info.com",
            "interia": "szukaj.interia.pl",
            "ixquick": "ixquick.com",
            "jumpy": "servizi.mediaset.it",
            "kagi": "kagi.com",
            "karma": "karmasearch.org",
            "kvasir": "kvasir.no",
            "libero": "arianna.libero.it ricerca.libero.it",
            "lilo": "lilo.org",
            "lycos": "lycos.com search.lycos.com search.lycos.de search.lycos.fr",
            "mail.ru": "go.mail.ru",
            "meta.ua": "meta.ua",
            "metacrawler": "metacrawler.com",
            "metager": "metager.org metager.de",
            "mojeek": "mojeek.com",
            "msn": "search.msn.com",
            "mysearch": "mysearch.com",
            "mywebsearch": "mywebsearch.com",
            "najdi": "najdi.si",
            "naver": "naver.com search.naver.com",
            "neeva": "neeva.com",
            "neti": "neti.ee",
            "nifty": "search.nifty.com",
            "onet": "szukaj.onet.pl",
            "orange": "lemoteur.orange.fr lemoteur.fr",
            "petal": "petalsearch.com",
            "presearch": "presearch.com",
            "qwant": "qwant.com",
            "rambler": "nova.rambler.ru search.rambler.ru",
            "sapo": "pesquisa.sapo.pt",
            "search.ch": "search.ch",
            "searchencrypt": "searchencrypt.com",
            "searchlock": "searchlock.com",
            "seznam": "search.seznam.cz",
            "sm.cn": "sm.cn",
            "sogou": "sogou.com",
            "sputnik": "sputnik.ru",
            "startpage": "startpage.com",
            "startsiden": "startsiden.no",
            "suche.info": "suche.info",
            "swisscows": "swisscows.com swisscows.ch",
            "t-online": "suche.t-online.de",
            "tiscali": "search.tiscali.it",
            "toutiao": "so.toutiao.com",
            "uol": "busca.uol.com.br",
            "virgilio": "ricerca.virgilio.it search.virgilio.it",
            "voila": "voila.fr",
            "walla": "search.walla.co.il",
            "web.de": "suche.web.de",
            "webcrawler": "webcrawler.com",
            "wow": "search.wow.com",
            "wp.pl": "szukaj.wp.pl",
            "youdao": "youdao.com",
            "zum": "search.zum.com",
        },
    ),
    **_table(
        AI,
        {
            "chatgpt": "chatgpt.com chat.openai.com",
            "claude": "claude.ai",
            "copilot": "copilot.microsoft.com copilot.cloud.microsoft m365.cloud.microsoft copilot.com",
            "deepseek": "chat.deepseek.com deepseek.com",
            "doubao": "doubao.com",
            "duck.ai": "duck.ai",
            "gemini": "gemini.google.com bard.google.com",
            "google": "notebooklm.google.com aistudio.google.com",
            "grok": "grok.com",
            "kimi": "kimi.com kimi.moonshot.cn",
            "meta ai": "meta.ai",
            "mistral": "chat.mistral.ai",
            "perplexity": "perplexity.ai",
            "phind": "phind.com",
            "pi": "pi.ai",
            "poe": "poe.com",
            "qwen": "chat.qwen.ai tongyi.aliyun.com",
            "you.com": "you.com",
        },
    ),
    **_table(
        SOCIAL,
        {
            "500px": "500px.com",
            "ameba": "ameba.jp ameblo.jp",
            "badoo": "badoo.com",
            "behance": "behance.net",
            "bilibili": "bilibili.com b23.tv",
            "bluesky": "bsky.app",
            "buffer": "buffer.com",
            "classmates": "classmates.com",
            "dailymotion": "dailymotion.com dai.ly",
            "delicious": "delicious.com",
            "deviantart": "deviantart.com",
            "digg": "digg.com",
            "discord": "discord.com discord.gg discordapp.com",
            "disqus": "disqus.com disq.us",
            "douban": "douban.com",
            "douyin": "douyin.com",
            "dribbble": "dribbble.com",
            "facebook": "facebook.com fb.com fb.me fb.watch messenger.com facebook.co.uk",
            "flickr": "flickr.com",
            "flipboard": "flipboard.com flip.it",
            "foursquare": "foursquare.com",
            "github": "github.com",
            "goodreads": "goodreads.com",
            "hackernews": "news.ycombinator.com",
            "hatena": "hatena.ne.jp hatenablog.com",
            "hootsuite": "hootsuite.com ow.ly",
            "imgur": "imgur.com",
            "instagram": "instagram.com",
            "kakao": "kakao.com pf.kakao.com story.kakao.com",
            "last.fm": "last.fm",
            "lemmy": "lemmy.world lemmy.ml",
            "line": "line.me",
            "linkedin": "linkedin.com lnkd.in",
            "linktree": "linktr.ee",
            "livejournal": "livejournal.com livejournal.ru",
            "lobsters": "lobste.rs",
            "mastodon": "mastodon.social mastodon.online mas.to fosstodon.org hachyderm.io mstdn.social mstdn.jp",
            "medium": "medium.com",
            "meetup": "meetup.com",
            "mixi": "mixi.jp",
            "myspace": "myspace.com",
            "naver": "blog.naver.com cafe.naver.com",
            "nextdoor": "nextdoor.com",
            "odnoklassniki": "ok.ru odnoklassniki.ru",
            "patreon": "patreon.com",
            "pinterest": "pinterest.com pin.it",
            "plurk": "plurk.com",
            "pocket": "getpocket.com pocket.co",
            "producthunt": "producthunt.com",
            "quora": "quora.com",
            "reddit": "reddit.com redd.it",
            "renren": "renren.com",
            "rumble": "rumble.com",
            "signal": "signal.me signal.group",
            "skyrock": "skyrock.com",
            "slack": "slack.com",
            "slashdot": "slashdot.org",
            "slideshare": "slideshare.net",
            "snapchat": "snapchat.com",
            "soundcloud": "soundcloud.com",
            "stackoverflow": "stackoverflow.com stackexchange.com serverfault.com superuser.com",
            "stumbleupon": "stumbleupon.com mix.com",
            "substack": "substack.com",
            "taringa": "taringa.net",
            "teams": "teams.microsoft.com teams.live.com",
            "telegram": "telegram.org t.me telegram.me",
            "threads": "threads.net threads.com",
            "tiktok": "tiktok.com",
            "tripadvisor": "tripadvisor.com tripadvisor.co.uk tripadvisor.de tripadvisor.fr",
            "truthsocial": "truthsocial.com",
            "tuenti": "tuenti.com",
            "tumblr": "tumblr.com t.umblr.com",
            "twitch": "twitch.tv",
            "twitter": "twitter.com t.co x.com",
            "viadeo": "viadeo.com",
            "viber": "viber.com",
            "vimeo": "vimeo.com",
            "vk": "vk.com vk.ru vkontakte.ru",
            "wattpad": "wattpad.com",
            "wechat": "wechat.com weixin.qq.com mp.weixin.qq.com",
            "weibo": "weibo.com weibo.cn t.cn",
            "whatsapp": "whatsapp.com wa.me",
            "wykop": "wykop.pl",
            "xiaohongshu": "xiaohongshu.com xhslink.com",
            "xing": "xing.com",
            "yammer": "yammer.com",
            "yelp": "yelp.com",
            "youtube": "youtube.com youtu.be",
            "zhihu": "zhihu.com",
        },
    ),
    **_table(
        EMAIL,
        {
            "126": "mail.126.com",
            "163": "mail.163.com",
            "aol": "mail.aol.com mail.aol.co.uk",
            "bigpond": "webmail.bigpond.com email.telstra.com",
            "centrum.cz": "mail.centrum.cz",
            "comcast": "mail.comcast.net connect.xfinity.com",
            "daum": "mail.daum.net mail2.daum.net",
            "fastmail": "fastmail.com",
            "free": "zimbra.free.fr webmail.free.fr",
            "freenet": "webmail.freenet.de email.freenet.de",
            "gmail": "mail.google.com inbox.google.com gmail.com",
            "gmx": "gmx.net gmx.com gmx.de gmx.at gmx.ch gmx.fr gmx.co.uk deref-gmx.net deref-gmx.com deref-gmx.fr",
            "hey": "app.hey.com",
            "icloud": "icloud.com",
            "interia": "poczta.interia.pl",
            "ionos": "mail.ionos.com mail.ionos.de email.ionos.de email.1und1.de deref-1und1.de",
            "laposte": "webmail.laposte.net",
            "libero": "mail.libero.it webmail.libero.it mail1.libero.it",
            "mail.com": "mail.com deref-mail.com",
            "mail.ru": "e.mail.ru touch.mail.ru",
            "naver": "mail.naver.com",
            "o2.pl": "poczta.o2.pl",
            "onet": "poczta.onet.pl",
            "orange": "messagerie.orange.fr mail.orange.fr",
            "outlook": "outlook.com outlook.live.com outlook.office.com outlook.office365.com outlook.cloud.microsoft "
            "hotmail.com mail.live.com eur01.safelinks.protection.outlook.com",
            "proton": "mail.proton.me mail.protonmail.com protonmail.com",
            "qq": "mail.qq.com exmail.qq.com",
            "rambler": "mail.rambler.ru",
            "rediff": "mail.rediff.com f5mail.rediff.com",
            "seznam": "email.seznam.cz",
            "sfr": "webmail.sfr.fr messagerie.sfr.fr",
            "sina": "mail.sina.com.cn",
            "superhuman": "mail.superhuman.com",
            "t-online": "email.t-online.de",
            "tuta": "app.tuta.com mail.tutanota.com tutanota.com",
            "ukr.net": "mail.ukr.net",
            "uol": "email.uol.com.br",
            "virgilio": "mail.virgilio.it",
            "web.de": "web.de deref-web.de deref-web-02.de 3c.web.de",
            "wp.pl": "poczta.wp.pl",
            "yahoo": "mail.yahoo.com mail.yahoo.co.jp mail.yahoo.net",
            "yandex": "mail.yandex.com",
            "zoho": "mail.zoho.com mail.zoho.eu mail.zoho.in",
        },
    ),
}

_PRODUCTS: Final = {
    # Brands with products on sub-domains: these prefixes are searching too, the others link out and search nothing.
    "google.com": {"search", "images", "m", "encrypted", "ipv4", "cse"},
    "yahoo.com": {"m", "us", "uk", "ca", "de", "fr", "it", "es", "br", "mx", "in", "au", "sg", "tw", "hk", "espanol"},
    "yandex.com": {"m", "images"},
    "baidu.com": {"m", "wap", "image", "www1"},
    "naver.com": {"m"},
    "lycos.com": {"search"},
    "excite.com": {"msxml"},
}

_COUNTRIES: Final = {
    # As in the list of domains that Google publishes.
    "google": "ad ae com.af com.ag al am co.ao com.ar as at com.au az ba com.bd be bf bg com.bh bi bj com.bn com.bo "
    "com.br bs bt co.bw by com.bz ca cat cd cf cg ch ci co.ck cl cm cn com.co co.cr com.cu cv com.cy cz "
    "de dj dk dm com.do dz com.ec ee com.eg es com.et fi com.fj fm fr ga ge gg com.gh com.gi gl gm gr "
    "com.gt gy com.hk hn hr ht hu co.id ie co.il im co.in iq is it je com.jm jo co.jp co.ke com.kh ki kg "
    "co.kr com.kw kz la com.lb li lk co.ls lt lu lv com.ly co.ma md me mg mk ml com.mm mn com.mt mu mv mw "
    "com.mx com.my co.mz com.na com.ng com.ni ne nl no com.np nr nu co.nz com.om com.pa com.pe com.pg "
    "com.ph com.pk pl pn com.pr ps pt com.py com.qa ro rs ru rw com.sa com.sb sc se com.sg sh si sk "
    "com.sl sn so sm sr st com.sv td tg co.th com.tj tl tm tn to com.tr tt com.tw co.tz com.ua co.ug "
    "co.uk com.uy co.uz com.vc co.ve co.vi com.vn vu ws co.za co.zm co.zw",
    "yahoo": "at be ca ch co.id co.in co.kr co.nz co.th co.uk co.za com.ar com.au com.br com.cn com.co com.hk "
    "com.mx com.my com.ph com.sg com.tr com.tw com.ve com.vn cz de dk es fi fr gr hu ie in it nl no pl pt "
    "ro ru se",
    "yandex": "ru by kz uz ua az ee eu fr lt lv md tj tm kg co.il com.tr com.ge com.am com.ru",
    "pinterest": "at ca ch cl co co.at co.in co.kr co.nz co.uk com.au com.mx com.pe de dk es fr ie it jp nl nz ph pt "
    "ru se",
}
_COUNTRY_SUFFIXES: Final = {brand: frozenset(suffixes.split()) for brand, suffixes in _COUNTRIES.items()}

_WEBMAIL: Final = re.compile(r"webmail\d*[a-z]?\..+|roundcube\..+")

_APPS: Final = {
    "com.google.android.gm": (EMAIL, "gmail"),
    "com.google.android.gm.lite": (EMAIL, "gmail"),
    "com.microsoft.office.outlook": (EMAIL, "outlook"),
    "com.yahoo.mobile.client.android.mail": (EMAIL, "yahoo"),
    "ru.yandex.mail": (EMAIL, "yandex"),
    "ch.protonmail.android": (EMAIL, "proton"),
    "com.google.android.googlequicksearchbox": (SEARCH, "google"),
    "com.google.android.apps.searchlite": (SEARCH, "google"),
    "com.duckduckgo.mobile.android": (SEARCH, "duckduckgo"),
    "com.microsoft.bing": (SEARCH, "bing"),
    "com.ecosia.android": (SEARCH, "ecosia"),
    "com.qwant.liberty": (SEARCH, "qwant"),
    "ru.yandex.searchplugin": (SEARCH, "yandex"),
    "com.openai.chatgpt": (AI, "chatgpt"),
    "ai.perplexity.app.android": (AI, "perplexity"),
    "com.google.android.apps.bard": (AI, "gemini"),
    "com.microsoft.copilot": (AI, "copilot"),
    "com.anthropic.claude": (AI, "claude"),
    "com.google.android.youtube": (SOCIAL, "youtube"),
    "com.facebook.katana": (SOCIAL, "facebook"),
    "com.facebook.lite": (SOCIAL, "facebook"),
    "com.facebook.orca": (SOCIAL, "facebook"),
    "m.facebook.com": (SOCIAL, "facebook"),
    "com.instagram.android": (SOCIAL, "instagram"),
    "com.instagram.barcelona": (SOCIAL, "threads"),
    "com.twitter.android": (SOCIAL, "twitter"),
    "com.linkedin.android": (SOCIAL, "linkedin"),
    "com.reddit.frontpage": (SOCIAL, "reddit"),
    "com.pinterest": (SOCIAL, "pinterest"),
    "com.snapchat.android": (SOCIAL, "snapchat"),
    "com.zhiliaoapp.musically": (SOCIAL, "tiktok"),
    "com.ss.android.ugc.trill": (SOCIAL, "tiktok"),
    "com.whatsapp": (SOCIAL, "whatsapp"),
    "com.whatsapp.w4b": (SOCIAL, "whatsapp"),
    "org.telegram.messenger": (SOCIAL, "telegram"),
    "com.discord": (SOCIAL, "discord"),
    "com.slack": (SOCIAL, "slack"),
    "com.Slack": (SOCIAL, "slack"),
    "com.microsoft.teams": (SOCIAL, "teams"),
    "com.vkontakte.android": (SOCIAL, "vk"),
    "ru.ok.android": (SOCIAL, "odnoklassniki"),
    "jp.naver.line.android": (SOCIAL, "line"),
    "com.viber.voip": (SOCIAL, "viber"),
    "com.tencent.mm": (SOCIAL, "wechat"),
    "com.sina.weibo": (SOCIAL, "weibo"),
    "xyz.blueskyweb.app": (SOCIAL, "bluesky"),
    "org.joinmastodon.android": (SOCIAL, "mastodon"),
    "com.quora.android": (SOCIAL, "quora"),
    "com.tumblr": (SOCIAL, "tumblr"),
}

_ALIASES: Final = {
    "fb": "facebook",
    "meta": "facebook",
    "ig": "instagram",
    "adwords": "google",
    "google_ads": "google",
    "x": "twitter",
    "openai": "chatgpt",
}
"""How campaigns name sources, beside their names here and their hosts."""
_WORDS: Final = frozenset(
    {"alice", "ask", "avast", "avg", "bt", "buffer", "free", "goo", "hey", "jumpy", "karma", "line", "medium", "orange"}
    | {"pi", "pocket", "wow"}
)
"""Names that mean anything as a campaign's source."""
_MEDIA: Final = {source: medium for medium, source in reversed([*_DOMAINS.values()]) if source not in _WORDS}
"""The medium of each source; the first table's where a source is in several."""


def channel_of_host(host: str) -> Channel:
    """Medium and source of a lower-case host that is not the site's own; an unknown one is a referral from itself."""
    name = host.removeprefix("www.")
    known = _com(name)
    domain = known
    while domain:
        channel = _DOMAINS.get(domain)
        if channel is not None:
            return channel if _searches(known, domain) else (REFERRAL, channel[1])
        domain = domain.partition(".")[2]
    return (EMAIL if _WEBMAIL.fullmatch(host) else REFERRAL), name


def channel_of_app(package: str) -> Channel:
    """Medium and source of a mobile app; an unknown one is a referral from its package."""
    return _APPS.get(package, (REFERRAL, package))


def channel_of_source(text: str) -> Channel | None:
    """Medium and source of a campaign's lower-case source: a name of these tables, or a host; None for any other."""
    if "." in text and len(text) <= MAX_HOST:
        channel = channel_of_host(text)
        if channel[0] != REFERRAL:
            return channel
    name = _ALIASES.get(text, text)
    medium = _MEDIA.get(name)
    return None if medium is None else (medium, name)


def _com(name: str) -> str:
    """The name under `.com` of a brand's host in one of its countries; any other host as it is."""
    labels = name.split(".")
    for number, label in enumerate(labels[-3:-1], max(0, len(labels) - 3)):
        suffixes = _COUNTRY_SUFFIXES.get(label)
        if suffixes is not None and ".".join(labels[number + 1 :]) in suffixes:
            return ".".join([*labels[: number + 1], "com"])
    return name


def _searches(name: str, domain: str) -> bool:
    """Whether a host is what its brand's domain is: a search engine's mail or maps are not."""
    prefixes = _PRODUCTS.get(domain)
    return prefixes is None or name == domain or name.removesuffix("." + domain) in prefixes
