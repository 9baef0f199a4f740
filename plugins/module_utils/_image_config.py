# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image's configuration says: environment, history, labels, what it runs. Every text in it is looked at. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._image_formats import (
    ABOUT,
    TELLING,
    is_placeholder,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._image_rules import Rules

ENVIRONMENT, BUILD_ARG, HISTORY, LABEL = "environment", "build_arg", "history", "label"
ENTRYPOINT, COMMAND, CONFIGURATION = "entrypoint", "command", "configuration"
BY_NAME, UNEXPECTED = "secret by its name", "unexpected name"

EXPECTED_ENV: Tuple[str, ...] = (
    "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED",
    "PATH", "HOME", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "container", "DEBIAN_FRONTEND",
    "PYTHON_VERSION", "PYTHON_SHA256", "PYTHON_PIP_VERSION", "PYTHON_SETUPTOOLS_VERSION",
    "PYTHON_GET_PIP_URL", "PYTHON_GET_PIP_SHA256", "GPG_KEY",
)  # fmt: skip
"""The runbook's three, those of every base image, and those of the official Python images."""

_NO_OPERATION = "#(nop)"
_ARGUMENTS = re.compile(r"^(?:RUN )?\|(\d{1,3}) ")
_ASSIGNED = re.compile(r"(?:^| )([A-Za-z_]\w{0,80})=(.*?)(?= [A-Za-z_]\w{0,80}=| /bin/| /usr/|$)")
_IN_SHELL = re.compile(
    r"(?<![\w.$-])(-{0,2}[A-Za-z_][\w.-]{0,59})(?:=|:\s+|\s+(?=[^-\s=]))([\"']?)([^\s\"'`;&|<>]{4,})"
)
_QUOTED = re.compile(r"(?<![\w.-])([A-Za-z_][\w.-]{0,59})=\"([^\"]{4,})\"")
_WORDS_ALONE = re.compile(
    r"-?(?:password|passwd|passphrase|secret|token|credentials?)", re.IGNORECASE
)
_USER = re.compile(r"(?:^|\s)(?:-u|--user)[ =]([^\s:]{1,60}):([^\s\"']{4,})")
_INSTRUCTIONS = frozenset(
    (
        "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "RUN",
        "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Text:
    """A text of the configuration.

    :param place: what it is, one of the words above.
    :param step: of the history, from 1; ``made_by`` is its instruction.
    """

    place: str
    text: str = field(repr=False)
    name: str = ""
    step: Optional[int] = None
    made_by: str = ""


@dataclass(frozen=True)
class Seen:
    """A text that looks like a secret."""

    where: Text
    rule: str
    value: str = field(repr=False)
    name: str = ""


def _bare(step: str) -> str:
    """The text of a step without what the builder put before it."""
    return step.split(_NO_OPERATION, 1)[1].strip() if _NO_OPERATION in step[:60] else step.strip()


def instruction(step: str) -> str:
    """The instruction that a step of the history was made by, as far as it can be told without quoting it."""
    bare = _bare(step)
    word = bare.split(" ", 1)[0].upper()
    if word in _INSTRUCTIONS:
        return word
    return "RUN" if bare.startswith(("/bin/", "|", "sh ", "cmd ")) else ""


def _environment(items: Sequence[Any]) -> Iterator[Text]:
    for item in items:
        name, _equals, value = str(item).partition("=")
        yield Text(ENVIRONMENT, value, name)


def _step(number: int, step: str, environment: Mapping[str, str]) -> Iterator[Text]:
    made_by, bare = instruction(step), _bare(step)
    arguments = _ARGUMENTS.match(bare)
    if arguments:
        head = re.split(r" /(?:usr/)?bin/", bare[arguments.end() :], maxsplit=1)[0]
        for name, value in _ASSIGNED.findall(head)[: int(arguments.group(1)) or None]:
            yield Text(BUILD_ARG, value.strip(), name, number, made_by)
        bare = bare[arguments.end() + len(head) :].strip()
    elif made_by in ("ARG", "ENV"):
        words = bare.split(" ", 1)[1] if " " in bare else ""
        for name, value in _ASSIGNED.findall(words):
            # What is in the environment at the end is told once, there.
            if made_by == "ARG" or environment.get(name) != value.strip().strip("\"'"):
                place = BUILD_ARG if made_by == "ARG" else HISTORY
                yield Text(place, value.strip().strip("\"'"), name, number, made_by)
        return
    yield Text(HISTORY, bare, "", number, made_by)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif isinstance(value, list):
        if value and all(isinstance(item, str) for item in value):
            yield " ".join(value)
        else:
            for item in value:
                yield from _strings(item)
    elif isinstance(value, str):
        yield value


_OWN = ("Env", "Labels", "Entrypoint", "Cmd")


def texts(configuration: Mapping[str, Any]) -> Iterator[Text]:
    """Every text of a configuration; nothing is cut short."""
    inner = configuration.get("config") or {}
    environment = list(_environment(inner.get("Env") or []))
    yield from environment
    known = {text.name: text.text for text in environment}
    for number, step in enumerate(configuration.get("history") or [], 1):
        told = step if isinstance(step, Mapping) else {}
        yield from _step(number, str(told.get("created_by") or ""), known)
        for key in ("comment", "author"):
            if told.get(key):
                yield Text(HISTORY, str(told[key]), "", number)
    for name, value in (inner.get("Labels") or {}).items():
        yield Text(LABEL, str(value), str(name))
    for key, place in (("Entrypoint", ENTRYPOINT), ("Cmd", COMMAND)):
        for text in _strings(inner.get(key) or []):
            yield Text(place, text)
    rest = {key: value for key, value in inner.items() if key not in _OWN}
    # container_config is what older builders kept of the last step.
    others = {key: value for key, value in configuration.items() if key not in ("config", "history", "rootfs")}  # fmt: skip
    for text in (*_strings(rest), *_strings(others)):
        yield Text(CONFIGURATION, text)


def _by_format(where: Text, rules: Rules) -> List[Seen]:
    return [
        Seen(where, hit.rule, hit.value, where.name or hit.name)
        for hit in rules.formats(where.text)
    ][:1]


def _tells(name: str) -> bool:
    return bool(TELLING.search(name)) and not ABOUT.search(name)


def _in_shell(where: Text) -> Iterator[Seen]:
    """Values of variables and options whose name tells."""
    for name, value in _QUOTED.findall(where.text):
        if _tells(name) and not is_placeholder(value):
            yield Seen(where, BY_NAME, value, name)
    for match in _IN_SHELL.finditer(where.text):
        name, value = match.group(1).lstrip("-"), match.group(3)
        said = match.group(0)
        assigned = "=" in said or said.startswith("--") or bool(re.search(r"[0-9]", value))
        shaped = not value.startswith(("/", "$", "http")) and not re.search(r"[(){}]", value)
        if assigned and shaped and _tells(name) and not is_placeholder(value):
            # What stands before a blank may be a value itself: mysqldump -pVALUE database1.
            named = (
                "=" in said or ":" in said or said.startswith("--") or _WORDS_ALONE.fullmatch(name)
            )
            yield Seen(where, BY_NAME, value, name if named else "")
    for match in _USER.finditer(where.text):
        if not is_placeholder(match.group(2)):
            yield Seen(where, "login of a request", match.group(2), "")


def _named(where: Text, rules: Rules) -> List[Seen]:
    """A text with a name: its name, or its randomness, tells."""
    if _tells(where.name) and where.text and not is_placeholder(where.text):
        return [Seen(where, BY_NAME, where.text, where.name)]
    if rules.is_random(where.text):
        return [Seen(where, "random value", where.text, where.name)]
    return []


def _look_at(where: Text, rules: Rules, expected: Sequence[str]) -> List[Seen]:
    found = _by_format(where, rules)
    if where.place == ENVIRONMENT:
        if not found and not any(fnmatchcase(where.name, pattern) for pattern in expected):
            found = _named(where, rules) or [Seen(where, UNEXPECTED, where.text, where.name)]
    elif where.name and not found:
        known = where.place == BUILD_ARG and any(fnmatchcase(where.name, it) for it in expected)
        found = [] if known else _named(where, rules)
    elif not where.name and not found:
        seen = reversed(list(_in_shell(where)))
        found = list({it.name or (it.rule, it.value): it for it in seen}.values())
    return found


def _once(found: Sequence[Seen]) -> Iterator[Seen]:
    """Without what the history says again: of what is there at the end, and of a build argument at each step after it."""
    told = {
        (seen.name, seen.value) for seen in found if seen.where.place not in (HISTORY, BUILD_ARG)
    }
    for seen in found:
        if seen.where.place in (HISTORY, BUILD_ARG):
            if (seen.name, seen.value) in told:
                continue
            told.add((seen.name, seen.value))
        yield seen


def look(
    configuration: Mapping[str, Any], rules: Rules, expected: Sequence[str]
) -> Tuple[List[Seen], List[Text]]:
    """What looks like a secret, and all texts that were looked at."""
    everything = list(texts(configuration))
    found = [seen for where in everything for seen in _look_at(where, rules, expected)]
    return list(_once(found)), everything


def look_at_annotations(given: Mapping[str, Any], rules: Rules) -> Tuple[List[Seen], List[Text]]:
    """The same for the annotations of a manifest, which engines keep beside the configuration."""
    everything = [Text(LABEL, str(value), str(name)) for name, value in given.items()]
    return [seen for where in everything for seen in _look_at(where, rules, ())], everything


def as_finding(seen: Seen) -> Dict[str, Any]:
    """What may be told of it."""
    where = seen.where
    found: Dict[str, Any] = {"place": where.place, "rule": seen.rule, "name": seen.name}
    if where.step is not None:
        found.update(step=where.step, made_by=where.made_by)
    return found
