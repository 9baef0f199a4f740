# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What looks like a secret in a text: the rules of the package detect-secrets, and the formats that it lacks.

Of its plugins only the expressions are used. What its own scan does beside them, such as asking a provider whether a key works,
would send what was found over the network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Dict, Iterator, List, Mapping, Pattern, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import MissingLibrary
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_formats import (
    ABOUT,
    FORMATS,
    is_placeholder,
)

FORMAT, KEYWORD, ENTROPY = "format", "keyword", "entropy"
_LONGEST_LINE = 500
_WINDOW = 200
_SHORTEST = 8
_SHORTEST_RANDOM = 20
_BASE64_LIMIT, _HEX_LIMIT = 4.2, 3.0
_DIGESTS = frozenset((32, 40, 56, 64, 96, 128))
"""Digits of MD5, SHA-1, git and the SHA-2 family: randomness of that length alone tells nothing."""

# Module, class, texts of which one is always in what it finds, and whether it is strict enough for other people's code.
_PLUGINS: Tuple[Tuple[str, str, Tuple[str, ...], bool], ...] = (
    ("aws", "AWSKeyDetector", ("AKIA", "ASIA", "ABIA", "ACCA", "A3T", "aws", "AWS"), True),
    ("basic_auth", "BasicAuthDetector", ("://",), False),
    ("discord", "DiscordBotTokenDetector", (".",), False),
    ("github_token", "GitHubTokenDetector", ("gh",), True),
    ("jwt", "JwtTokenDetector", ("eyJ",), True),
    ("mailchimp", "MailchimpDetector", ("-us",), True),
    ("npm", "NpmDetector", ("npm_", "_authToken", "NPM"), False),
    ("sendgrid", "SendGridDetector", ("SG.",), True),
    ("slack", "SlackDetector", ("xox", "XOX", "hooks.slack"), True),
    ("square_oauth", "SquareOAuthDetector", ("sq0csp",), True),
    ("stripe", "StripeDetector", ("k_live_",), True),
    ("twilio", "TwilioKeyDetector", ("AC", "SK"), False),
)
_ABOUT_DIGESTS = re.compile(
    r"sha-?[0-9]|md5|integrity|checksum|digest|commit|revision|\bref\b|etag|fingerprint|hash|uuid|guid|public|\"(?:n|x|y|kid|x5[ct]|e)\"\s*:"
    r"|ssh-|ecdsa-|cert|data:|base64,|version|resolved|[^\w](?:rev|sig|signature)[^\w]",
    re.IGNORECASE,
)
_RANDOM = re.compile(r"[0-9A-Za-z+/_=-]{20,200}")
_WORD = re.compile(r"[A-Z]?[a-z]{4,}")
_MOST_IN_WORDS = 0.35
_NAME = re.compile(r"([A-Za-z_][\w.-]{0,59})[\"']?\s*(?:[:=]|:=|=>)\s*[\"']?$")
_LINE = re.compile(r"[^\n]*")
_AS_SETTINGS = re.compile(
    r"(?:^|/)(?:\.env[^/]*|[^/]+\.(?:env|conf|cnf|cfg|config|ini|properties|ya?ml|toml|tfvars|sh|bash|profile)|\.[a-z]+rc|Dockerfile[^/]*)$"
)
_NO_WORDS = re.compile(r"\.(?:min\.js|js\.map|css|svg|map|lock|sum|po|mo|md|rst|html?|patch|diff)$")


@dataclass(frozen=True)
class Hit:
    """A place in a text that looks like a secret.

    :param rule: what it looks like, for people; ``kind`` is one of the three above.
    :param start: where the value stands; ``name`` is that of its variable, where one can be seen.
    """

    kind: str
    rule: str
    start: int
    value: str = field(repr=False)
    name: str = ""


def _plugin(module: str, name: str) -> Any:
    return getattr(import_module(f"detect_secrets.plugins.{module}"), name)()


@dataclass(frozen=True)
class _Package:
    """What is used of detect-secrets."""

    plugins: Tuple[Tuple[Any, Tuple[str, ...], bool], ...]
    keyword: Any
    keyword_module: Any
    words: Pattern[str]
    base64: Any
    hexadecimal: Any
    heuristic: Any


def _load() -> _Package:
    try:
        words = import_module("detect_secrets.plugins.keyword")
        entropy = import_module("detect_secrets.plugins.high_entropy_strings")
        return _Package(
            plugins=tuple(
                (_plugin(module, name), hints, strict) for module, name, hints, strict in _PLUGINS
            ),
            keyword=words.KeywordDetector(),
            keyword_module=words,
            words=re.compile("|".join(words.DENYLIST), re.IGNORECASE),
            base64=entropy.Base64HighEntropyString(limit=_BASE64_LIMIT),
            hexadecimal=entropy.HexHighEntropyString(limit=_HEX_LIMIT),
            heuristic=import_module("detect_secrets.filters.heuristic"),
        )
    except (ImportError, AttributeError) as error:
        raise MissingLibrary(
            f"the rules of detect-secrets are not there for this Python ({type(error).__name__}): pip install bc-detect-secrets (or "
            "detect-secrets) on the host that the image is looked at on, for the Python that Ansible uses there"
        ) from None


def name_before(text: str, start: int) -> str:
    """The name of the variable whose value begins there; empty where none can be seen."""
    line = text[max(text.rfind("\n", 0, start) + 1, start - 100) : start]
    found = _NAME.search(line)
    return found.group(1) if found else ""


class Rules:
    """All rules, ready to be used on any number of texts.

    :raises MissingLibrary: the package is not installed.
    """

    def __init__(self) -> None:
        self._of = _load()

    def formats(self, text: str, strict: bool = False) -> Iterator[Hit]:
        """Values in known formats.

        :param strict: leave out those that other people's code resembles by chance.
        """
        for name, hints, expression in FORMATS:
            if any(hint in text for hint in hints):
                for match in expression.finditer(text):
                    group = 1 if expression.groups else 0
                    yield from self._hit(text, name, match.group(group), match.start())
        for plugin, hints, in_code in self._of.plugins:
            if (in_code or not strict) and any(hint in text for hint in hints):
                place = 0
                for value in plugin.analyze_string(text):
                    place = max(text.find(value, place), text.find(value))
                    yield from self._hit(text, plugin.secret_type, value, place)

    @staticmethod
    def _hit(text: str, rule: str, value: str, start: int) -> Iterator[Hit]:
        if not is_placeholder(value[:80]):
            yield Hit(FORMAT, rule, start, value, name_before(text, start))

    def keywords(self, path: str, text: str) -> Iterator[Hit]:
        """Values of variables whose name tells that they are secret."""
        groups = self._groups(path)
        seen = -1
        for match in self._of.words.finditer(text):
            start, line = _line_at(text, match.start())
            if start == seen:
                continue
            seen = start
            for value in self._of.keyword.analyze_string(line, groups):
                bare = value.strip().rstrip(";,").strip("\"'")
                place = text.find(bare, start) if bare else -1
                name = name_before(text, place) if place >= 0 else ""
                if place >= 0 and not ABOUT.search(name) and self._is_value(bare, line):
                    yield Hit(KEYWORD, self._of.keyword.secret_type, place, bare, name)
                    break

    def _groups(self, path: str) -> Mapping[Any, int]:
        module = self._of.keyword_module
        if _AS_SETTINGS.search(path):
            settings: Mapping[Any, int] = module.CONFIG_DENYLIST_REGEX_TO_GROUP
            return settings
        kind = module.determine_file_type(path)
        found: Mapping[Any, int] = module.REGEX_BY_FILETYPE.get(
            kind, module.QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP
        )
        return found

    def _is_value(self, value: str, line: str) -> bool:
        """Whether this may be a value that somebody chose or made, and no word, name or call."""
        of = self._of.heuristic
        if len(value) < _SHORTEST or re.search(r"[\s(){}<>]", value) or is_placeholder(value):
            return False
        if not re.search(r"[0-9]", value) or not re.search(r"[A-Za-z]", value):
            return False
        if value.startswith(("/", "./", "http://", "https://")) or re.search(r"^[\w-]+\.\w", value):
            return False
        return not (
            of.is_sequential_string(value)
            or of.is_potential_uuid(value)
            or of.is_templated_secret(value)
            or of.is_prefixed_with_dollar_sign(value)
            or of.is_indirect_reference(line)
        )

    def random(self, text: str) -> Iterator[Hit]:
        """Values of assignments that are too random for a word, and no digest of something."""
        seen = -1
        for match in _RANDOM.finditer(text):
            start, line = _line_at(text, match.start())
            if start == seen or len(line) > _LONGEST_LINE or _ABOUT_DIGESTS.search(line):
                continue
            for value in self._random_values(line):
                seen = start
                place = text.find(value, start)
                yield Hit(ENTROPY, "random value", place, value, name_before(text, place))
                break

    def _random_values(self, line: str) -> Iterator[str]:
        for plugin in (self._of.hexadecimal, self._of.base64):
            for value in plugin.analyze_string(line):
                if self.is_random(value, line):
                    yield value

    def is_random(self, value: str, line: str = "") -> bool:
        """Whether a value is too random for a word, and does not have the shape of a digest, an id or a path."""
        if not _SHORTEST_RANDOM <= len(value) <= 200 or is_placeholder(value):
            return False
        if self._of.heuristic.is_potential_uuid(value) or value.count("/") > len(value) // 8:
            return False
        if re.search(r"\A[0-9a-fA-F]+\Z", value):
            digits = self._of.hexadecimal.calculate_shannon_entropy(value)
            return len(value) not in _DIGESTS and digits > _HEX_LIMIT and not value.isdigit()
        mixed = all(re.search(some, value) for some in ("[0-9]", "[A-Z]", "[a-z]"))
        in_words = sum(map(len, _WORD.findall(value)))
        if not mixed or in_words > _MOST_IN_WORDS * len(value):
            return False
        return bool(self._of.base64.calculate_shannon_entropy(value) > _BASE64_LIMIT)

    def of_file(self, path: str, text: str, of_others: bool) -> List[Hit]:
        """All hits in a file's text, one for each line: the most telling one."""
        found = list(self.formats(text, strict=of_others))
        lock = self._of.heuristic.is_lock_file(path) or _NO_WORDS.search(path)
        if not of_others and not lock:
            found += [*self.keywords(path, text), *self.random(text)]
        return first_of_each_line(text, found)


def _line_at(text: str, place: int) -> Tuple[int, str]:
    """The line around this place and where it begins; of a very long one the part around."""
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    end = len(text) if end < 0 else end
    if end - start > 2 * _LONGEST_LINE:
        start, end = max(start, place - _WINDOW), min(end, place + _WINDOW)
    return start, text[start:end].rstrip("\r")


def first_of_each_line(text: str, hits: List[Hit]) -> List[Hit]:
    """One hit for each line, in the order of the lines; of several the one that came first."""
    kept: Dict[int, Hit] = {}
    for hit in hits:
        kept.setdefault(text.count("\n", 0, hit.start) + 1, hit)
    return [kept[line] for line in sorted(kept)]
