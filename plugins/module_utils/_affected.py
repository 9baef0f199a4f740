# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is affected by a new value, and what each is told (``keyturn_affected``). Pure: rows come in, users and messages go out."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Refused
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import refuse_unknown

OPTION = "keyturn_affected"
KEYS = (
    "breaks", "of", "id", "to", "message", "by", "per_second", "expect_at_most", "when_uncertain", "keep",
)  # fmt: skip
SEND_AGAIN, LEAVE = "send_again", "leave"
MOST = 10_000
"""The list is kept in one document, which is written twice for each message."""
_FASTEST = 1000.0
_PACE = 5.0
_SHOWN = 20
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NEARLY = re.compile(r"\{\s*[A-Za-z_][A-Za-z0-9_]*\s*[|.:!\s}]")
_LINES = ("\u2028", "\u2029")

Row = Mapping[str, str]


@dataclass(frozen=True)
class Template:
    """A text with columns of a row in it, each as ``{column}``. Nothing is executed, and what is filled in is not looked at again."""

    text: str

    @classmethod
    def parse(cls, given: Any, option: str) -> Template:
        """Read it.

        :raises BadInput: it is no text, or a brace is nearly a placeholder.
        """
        if not isinstance(given, str) or not given.strip():
            raise BadInput(
                f"{option}: expected a text, with columns of the list as placeholders, such as {{name}}"
            )
        near = _NEARLY.search(_PLACEHOLDER.sub("", given))
        if near:
            raise BadInput(
                f"{option}: '{near.group()}' is nearly a placeholder; expected a column's name alone, such as {{name}}, without blanks "
                "or filters"
            )
        return cls(given)

    @property
    def columns(self) -> Tuple[str, ...]:
        """The columns that it shows, each once."""
        return tuple(dict.fromkeys(_PLACEHOLDER.findall(self.text)))

    def render(self, row: Row) -> str:
        """The text for one row, which has all of its columns."""
        return _PLACEHOLDER.sub(lambda found: row[found.group(1)], self.text)


@dataclass(frozen=True)
class Affected:
    """``keyturn_affected``, read.

    :param breaks: what stops working, for a person.
    :param of: where the list comes from; :mod:`_affected_source` reads it.
    :param id: the column with what names a user for good.
    :param to: the column with where a user is told.
    :param by: how users are told; :mod:`_affected_ways` reads it.
    :param per_second: messages at most.
    :param expect_at_most: with more affected users than that, nothing is done at all.
    :param when_uncertain: what becomes of a message that may or may not have gone.
    :param keep: a reference to where the list is kept; empty: beside the keyring.
    """

    breaks: str
    of: Mapping[str, Any]
    id: str
    to: str
    subject: Template
    body: Template
    by: Mapping[str, Any]
    per_second: float
    expect_at_most: int
    when_uncertain: str
    keep: str
    option: str = OPTION

    @property
    def columns(self) -> Tuple[str, ...]:
        """The columns that are kept of each row, beside the id."""
        shown = (*self.subject.columns, *self.body.columns, self.to)
        return tuple(dict.fromkeys(shown))


def _sentence(given: Any, option: str, what: str) -> str:
    if not isinstance(given, str) or not given.strip():
        raise BadInput(f"{option}: expected {what}")
    return " ".join(given.split())


def _ended(given: Any, option: str) -> str:
    said = _sentence(given, option, "a sentence that says what stops working")
    return said if said.endswith((".", "!", "?")) else f"{said}."


def _mapping(given: Any, option: str, what: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping) or not given:
        raise BadInput(f"{option}: expected {what}")
    return given


def _pace(given: Any, option: str) -> float:
    try:
        number = -1.0 if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number <= _FASTEST:
        raise BadInput(
            f"{option}: expected how many messages a second at most, more than 0 and up to {_FASTEST:.0f}, such as 5"
        )
    return number


def _bound(given: Any, option: str) -> int:
    text = str(given)
    if given is None or isinstance(given, bool) or not text.isdigit() or int(text) > MOST:
        raise BadInput(
            f"{option}: expected the largest number of affected users that you would believe, from 0 to {MOST}: a query that finds more "
            "is wrong, and nobody is told"
        )
    return int(text)


def read_affected(given: Any, option: str = OPTION) -> Affected:
    """The definition, checked; nothing is resolved or asked. The list's source and the way of telling are checked where they are known.

    :raises BadInput: naming the key and what is expected.
    """
    body = _mapping(
        given, option, "a mapping with breaks, of, id, to, message, by and expect_at_most"
    )
    refuse_unknown(body, KEYS, option)
    message = _mapping(
        body.get("message"), f"{option}.message", "a mapping with subject and body, each a text"
    )
    refuse_unknown(message, ("subject", "body"), f"{option}.message")
    subject = Template.parse(message.get("subject"), f"{option}.message.subject")
    if control_in(subject.text):
        raise BadInput(f"{option}.message.subject: expected one line")
    uncertain = body.get("when_uncertain", SEND_AGAIN)
    if uncertain not in (SEND_AGAIN, LEAVE):
        raise BadInput(
            f"{option}.when_uncertain: expected {SEND_AGAIN} (nobody is missed, somebody may be told twice) or {LEAVE} (nobody is told "
            "twice, somebody may be missed)"
        )
    keep = body.get("keep") or ""
    if not isinstance(keep, str):
        raise BadInput(
            f"{option}.keep: expected a reference, such as ref+vault://secret/affected/NAME"
        )
    found = Affected(
        breaks=_ended(body.get("breaks"), f"{option}.breaks"),
        of=_mapping(
            body.get("of"), f"{option}.of", "a mapping with type: postgres, file or command"
        ),
        id=_sentence(
            body.get("id"), f"{option}.id", "the column that names a user for good, such as user_id"
        ),
        to=_sentence(
            body.get("to"), f"{option}.to", "the column with a user's address, such as email"
        ),
        subject=subject,
        body=Template.parse(message.get("body"), f"{option}.message.body"),
        by=_mapping(
            body.get("by"), f"{option}.by", "a mapping with type: mail, webhook, command or file"
        ),
        per_second=_pace(body.get("per_second", _PACE), f"{option}.per_second"),
        expect_at_most=_bound(body.get("expect_at_most"), f"{option}.expect_at_most"),
        when_uncertain=str(uncertain),
        keep=keep,
        option=option,
    )
    if found.id == found.to:
        raise BadInput(
            f"{option}.id: '{found.id}' is the address, too, and ids are shown; name a column that tells of no person, such as a number"
        )
    return found


def control_in(text: str) -> bool:
    """Whether a text has a line break or another control character, or half of a surrogate pair."""
    return any(sign in _LINES or unicodedata.category(sign) in ("Cc", "Cs") for sign in text)


def refuse_too_many(count: int, affected: Affected) -> None:
    """Refuse a list that is longer than anybody expects.

    :raises Refused: saying what to do.
    """
    if count > affected.expect_at_most:
        raise Refused(
            f"{affected.option}.expect_at_most: {count} users would be told, and at most {affected.expect_at_most} are expected. The "
            f"run stops before the switch, and nobody was told. See whether {affected.option}.of finds the right ones; if it does, raise "
            "expect_at_most"
        )


def _text(value: Any, column: str, option: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise BadInput(
        f"{option}: column '{column}' holds no text, number or truth value; have it written as text"
    )


def users_of(rows: Sequence[Mapping[str, Any]], affected: Affected) -> Dict[str, Row]:
    """The columns that are needed of each user, by id. A row that is there twice counts once.

    :raises BadInput: a column is missing, an id is empty or no plain text, or an id has two different rows.
    """
    option = f"{affected.option}.of"
    found: Dict[str, Row] = {}
    for number, row in enumerate(rows, 1):
        for column in (affected.id, *affected.columns):
            if column not in row:
                there = ", ".join(sorted(map(str, row))) or "none"
                raise BadInput(f"{option}: row {number} has no column '{column}'; it has: {there}")
        name = _text(row[affected.id], affected.id, option)
        if not name or control_in(name):
            raise BadInput(
                f"{option}: row {number} has no usable '{affected.id}': expected one line of text that is not empty, for each user another"
            )
        kept = {column: _text(row[column], column, option) for column in affected.columns}
        if found.setdefault(name, kept) != kept:
            raise BadInput(
                f"{option}: the user {name} is there twice, with different columns; have it give one row for each {affected.id}"
            )
    return found


@dataclass(frozen=True)
class Message:
    """What one user is told."""

    to: str
    subject: str
    body: str


def problem_of(row: Row, affected: Affected, secrets: Sequence[str]) -> str:
    """Why this user cannot be told, in words without anything of the row; empty when nothing is wrong.

    :param secrets: values of the credential.
    """
    if not row[affected.to].strip():
        return "there is no address"
    broken = [column for column in affected.columns if control_in(row[column])]
    if broken:
        return f"its column '{broken[0]}' has a line break or another control character"
    told = message_for(row, affected)
    texts = (told.to, told.subject, told.body)
    if any(value in text for value in secrets for text in texts):
        return "its message would hold a value of the credential"
    return ""


def message_for(row: Row, affected: Affected) -> Message:
    """The message for one user."""
    return Message(
        row[affected.to].strip(), affected.subject.render(row), affected.body.render(row)
    )


def some(ids: Sequence[str]) -> str:
    """The first few of many ids."""
    more = len(ids) - _SHOWN
    return ", ".join(ids[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def counted(count: int) -> str:
    """So many users, in words."""
    return f"{count} user{'' if count == 1 else 's'}"


def by_reason(reasons: Mapping[str, str]) -> List[str]:
    """One sentence for each reason, with the ids that it is true of."""
    grouped: Dict[str, List[str]] = {}
    for name, reason in reasons.items():
        grouped.setdefault(reason, []).append(name)
    return [f"{reason} (ids {some(ids)})" for reason, ids in grouped.items()]
