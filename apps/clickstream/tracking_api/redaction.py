"""What a pipeline's `privacy` takes out of an event before it is stored: parameters' values, e-mail and IP addresses.

A parameter keeps its name and loses its value (`?token=`), so that pages stay recognisable. It is found wherever a URL
may lie: in a longer text, percent-encoded in another URL's query, in JSON text as it was sent. An e-mail address keeps
its domain (`@example.org`). Nothing becomes longer than it was; the work is linear in a text's length. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Final, Literal
from urllib.parse import unquote

from clickstream.contracts.pipeline import Privacy
from clickstream.contracts.urls import bytes_without_credentials
from clickstream.enrichment.campaign import CLICK_IDS
from clickstream.tracking_api.address import Address, parse_address, stored_form

_ENCODED_DEEPEST: Final = 8
"""Times that a separator may be percent-encoded; what is encoded more often is taken for this."""

_REMEMBERED: Final = 4_096
_USUAL_NAME: Final = 64

# What begins a parameter, its name, and the equals sign. `\u0026` is how JSON of Go and .NET writes `&`.
_HEAD: Final = re.compile(
    r"(?:[?&;#]|%(?P<level>(?:25)*+)(?:3[fF]|26|23)|\\u00(?:3[fF]|26|23))"
    r"(?P<name>(?:[^?&;#=\s\"\\%]|%(?!(?:25)*+(?:3[dDfF]|26|23)))*+)"
    r"(?:=|%(?:25)*+3[dD]|\\u003[dD])"
)
_VALUE_IN_TEXT: Final = re.compile(r"[^&#\s]*+")
_VALUE_IN_PATH: Final = re.compile(r"[^&#?;/\s\"\\]*+")
"""Of a parameter behind a semicolon, such as `;jsessionid=…`."""
# In JSON text a quotation mark ends the string, and other characters may be escaped.
_VALUE_IN_JSON: Final = re.compile(r"(?:[^&#\s\"\\]|\\[/\\]|\\u(?!00(?:26|23|22|5[cC]))[0-9a-fA-F]{4})*+")
_EMAIL: Final = re.compile(
    # It begins behind an escape such as `%20`, which stays.
    r"(?<![A-Za-z0-9._+\-])(?P<escape>(?:(?<=%)(?:25)*+[0-9A-Fa-f]{2})?)[A-Za-z0-9._+\-]{1,64}+"
    r"(?P<domain>(?:@|%(?:25)*+40)(?!\dx\.)(?=[A-Za-z0-9\-]{1,63}+\.[A-Za-z]))"
)
_LEFT: Final = r"\g<escape>\g<domain>"
_ADDRESS_IN_JSON: Final = re.compile(r"(\"ip\"\s{0,8}:\s{0,8}\")([^\"\\]*+)")
_ADDRESS_IN_QUERY: Final = re.compile(r"((?:^|&)ip=)([^&]*+)")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,20}+(?::|%(?:25)*+3[aA])|/|%(?:25)*+2[fF]|\?|#")
_WORD: Final = re.compile(r"[^\s\"\\<>]++")
# In a query string a space, a quotation mark and a backslash are encoded.
_WORD_OF_QUERY: Final = re.compile(r"(?:%(?:2[02]|5[cC]))++|(?:[^\s\"\\<>&=+%]|%(?!2[02]|5[cC]))++")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_WORD: Final = re.compile(r"[^a-z0-9]+")
# `Windows NT 6.1` is no minor version of 6.
_VERSION: Final = re.compile(r"(?<![\d._])(?<!NT )(\d++)[._]\d[\d._]*+")
_BUILD: Final = re.compile(r" Build/[^;)\s]++")
_CAMPAIGN: Final = "utm_"


@dataclass(frozen=True, slots=True)
class Redaction:
    """A pipeline's rules. `loses_value` tells it of a parameter by its name, as it is written in the URL.

    `address`: what is kept of an IP address; `country`: whether that of the whole one is.
    """

    loses_value: Callable[[str], bool] | None
    emails: bool
    reduce_user_agent: bool
    address: Literal["whole", "cut", "none"] = "cut"
    country: bool = True

    def of_nobody(self) -> Redaction:
        """The same for who asks for privacy: neither address nor country."""
        return replace(self, address="none", country=False)

    def stored_address(self, address: Address) -> str | None:
        """What is kept of an address."""
        return None if self.address == "none" else stored_form(address, anonymize=self.address == "cut")

    def text(self, text: str) -> str:
        """A page, a referrer, a title or a type."""
        text = self.parameters(text)
        return _EMAIL.sub(_LEFT, text) if self.emails and _may_have_email(text) else text

    def value(self, text: str) -> str:
        """A property: e-mail addresses are taken out of its URLs, and left where the site itself has put one."""
        return self._urls_without_emails(self.parameters(text), _WORD)

    def user_agent(self, text: str) -> str:
        """A user agent; if it is to be reduced, with main versions only and without the device's build."""
        text = self.parameters(text)
        return _VERSION.sub(r"\1.0", _BUILD.sub("", text)) if self.reduce_user_agent else text

    def original(self, data: bytes, fields: Collection[str]) -> bytes:
        """What was sent, for a dead letter; bytes that are no text stay.

        `fields`: parameters of a query string that are the event's own fields, not a page's, and stay.
        """
        text = bytes_without_credentials(data).decode("latin-1")
        if text.lstrip()[:1] in {"{", "["}:
            text = self._urls_without_emails(self.parameters(text, _VALUE_IN_JSON), _WORD)
        else:  # perhaps a query string, which begins with a parameter
            text = self._urls_without_emails(self.parameters(f"&{text}", _VALUE_IN_JSON, fields)[1:], _WORD_OF_QUERY)
        if self.address != "whole":
            for pattern in (_ADDRESS_IN_JSON, _ADDRESS_IN_QUERY):
                text = pattern.sub(lambda found: found[1] + self._stored_text(found[2]), text)
        return text.encode("latin-1")

    def parameters(self, text: str, unencoded: re.Pattern[str] = _VALUE_IN_TEXT, fields: Collection[str] = ()) -> str:
        """The text with the values of parameters cut out; the same object where there are none."""
        loses_value = self.loses_value
        if loses_value is None or not ("=" in text or "3d" in text or "3D" in text):
            return text
        kept, position, found = [], 0, _HEAD.search(text)
        while found:
            end = found.end()
            name = found["name"]
            if loses_value(name) and not (name in fields and found[0][0] in "&;"):  # `&amp;` of HTML
                kept.append(text[position:end])
                position = end = _end(_value(found, unencoded), text, end)
            found = _HEAD.search(text, end)
        return "".join(kept) + text[position:] if kept else text

    def _stored_text(self, text: str) -> str:
        """An address of an event as it is stored; empty for what is no address."""
        address = parse_address(text)
        return (self.stored_address(address) if address is not None else None) or ""

    def _urls_without_emails(self, text: str, word: re.Pattern[str]) -> str:
        if not self.emails or not _may_have_email(text):
            return text
        return word.sub(lambda found: _EMAIL.sub(_LEFT, found[0]) if _URL.match(found[0]) else found[0], text)


NOTHING: Final = Redaction(None, emails=False, reduce_user_agent=False)


@lru_cache(8)
def redaction_of(privacy: Privacy) -> Redaction:
    """The rules of a pipeline."""
    if privacy.keep_parameters:
        kept = {name.casefold() for name in privacy.keep_parameters} | set(CLICK_IDS)
        loses_value: Callable[[str], bool] | None = _remembered(lambda name: _is_not_kept(name, kept))
    elif privacy.redact_parameters:
        words = [f"_{_words(word)}_" for word in privacy.redact_parameters]
        loses_value = _remembered(lambda name: _has_word(name, words))
    else:
        loses_value = None
    address: Literal["whole", "cut", "none"] = "cut" if privacy.anonymize_ip else "whole"
    return Redaction(
        loses_value,
        privacy.redact_emails,
        privacy.reduce_user_agent,
        address if privacy.keep_ip else "none",
        privacy.keep_country,
    )


def _remembered(judge: Callable[[str], bool]) -> Callable[[str], bool]:
    """The same, which remembers its answers for names of a usual length."""
    known = lru_cache(_REMEMBERED)(judge)
    return lambda name: known(name) if len(name) <= _USUAL_NAME else judge(name)


def _may_have_email(text: str) -> bool:
    return "@" in text or "40" in text


def _is_not_kept(name: str, kept: Collection[str]) -> bool:
    name = _decoded(name).casefold()
    return name not in kept and not name.startswith(_CAMPAIGN)


def _has_word(name: str, words: Collection[str]) -> bool:
    name = f"_{_words(_decoded(name))}_"
    return any(word in name for word in words)


def _decoded(name: str) -> str:
    for _ in range(3):
        if "%" not in name:
            break
        name = unquote(name)
    return name


def _words(name: str) -> str:
    """`accessToken`, `Access-Token` and `access[token]` are `access_token`."""
    return _NO_WORD.sub("_", _CAMEL.sub("_", name).lower()).strip("_")


def _value(head: re.Match[str], unencoded: re.Pattern[str]) -> re.Pattern[str]:
    level = head["level"]
    if level is not None:
        return _value_encoded(min(len(level) // 2, _ENCODED_DEEPEST))
    return _VALUE_IN_PATH if head[0][0] == ";" else unencoded


def _end(value: re.Pattern[str], text: str, start: int) -> int:
    found = value.match(text, start)
    return start if found is None else found.end()


@cache
def _value_encoded(level: int) -> re.Pattern[str]:
    """The value of a parameter whose separators are percent-encoded `level` times more than once."""
    end = "|".join("25" * times + code for times in range(level + 1) for code in ("26", "23"))
    return re.compile(rf"(?:[^&#\s\"\\%]|%(?!{end}))*+")
