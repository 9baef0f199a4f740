# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the ingest received a test stream: by its own statistics, or by a person's word.

What the protocol answers is little on a platform that takes any key and ends the stream later. So a probe can ask for more.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Optional, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    KeyturnError,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._http_call import checked_url
from ansible_collections.keyturn.runbooks.plugins.module_utils._policy import as_flag
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    looks_like_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._rtmp_stat import (
    READINGS,
    Publisher,
    application_told,
    read_publishers,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret, Value

KEYS = ("stat", "issuer", "application", "headers", "validate_certs", "ca_path", "confirmed", "id")
_OF_STAT = ("application", "headers", "validate_certs", "ca_path")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{3,99}\Z")
_EVERY = 0.25
# An API counts how often it is asked.
_EVERY_ANSWER = 2.0
_LONGEST_READING = 5.0


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    :param stat: the address of nginx-rtmp's statistics; empty: not asked for.
    :param application: the stream's application there, where it has another name than in the ingest's address.
    :param headers: for a page that asks for a login.
    :param issuer: the issuer has to tell that somebody sends with this key.
    :param asked: asks it: who sends, in words.
    :param confirmed: a reference with a person's word; empty: not asked for.
    :param id: what has to stand behind that person's ``yes``.
    :param before: whether an earlier test stream was proved with this key, so that the word may be about that one.
    """

    stat: str = ""
    issuer: bool = False
    asked: Optional[Callable[[], Sequence[str]]] = None
    application: str = ""
    headers: Mapping[str, Value] = field(default_factory=dict)
    validate_certs: bool = True
    ca_path: Optional[str] = None
    confirmed: str = ""
    id: str = ""
    before: bool = False

    @property
    def said(self) -> str:
        """What a yes says, in words."""
        if self.before:
            return f"a person confirmed this key before, not this test stream (yes {self.id})"
        return f"a person confirmed that it arrived (yes {self.id})"


def read_wanted(options: Any, option: str, identity: str = "") -> Wanted:
    """What the option ``received`` asks for.

    :param identity: what has to stand behind a yes, such as the rotation id, where that is not for the user to choose.
    :raises BadInput: naming the key.
    """
    given = options or {}
    if not isinstance(given, Mapping):
        raise BadInput(f"{option}: expected a mapping, such as {{stat: http://HOST/stat}}")
    unknown = sorted(str(name) for name in given if name not in KEYS)
    if unknown:
        raise BadInput(f"{option}.{unknown[0]}: unknown; expected one of {', '.join(KEYS)}")
    stat = checked_url(given["stat"], f"{option}.stat") if given.get("stat") else ""
    alone = [name for name in _OF_STAT if name in given and not stat]
    if alone:
        raise BadInput(f"{option}.{alone[0]}: belongs to 'stat', which is missing")
    headers = given.get("headers") or {}
    if not isinstance(headers, Mapping):
        raise BadInput(f"{option}.headers: expected a mapping of names and values")
    confirmed, name = _confirmation(given, option, identity)
    return Wanted(
        stat=stat,
        issuer=as_flag(given.get("issuer", False), f"{option}.issuer"),
        application=str(given.get("application") or ""),
        headers={str(name): value for name, value in headers.items()},
        validate_certs=as_flag(given.get("validate_certs", True), f"{option}.validate_certs"),
        ca_path=str(given["ca_path"]) if given.get("ca_path") else None,
        confirmed=confirmed,
        id=name,
    )


def _confirmation(given: Mapping[str, Any], option: str, identity: str) -> Tuple[str, str]:
    """The reference and the id of a person's word; empty where it is not asked for."""
    reference = str(given.get("confirmed") or "")
    if not reference:
        if given.get("id"):
            raise BadInput(f"{option}.id: belongs to 'confirmed', which is missing")
        return "", ""
    if not looks_like_reference(reference) or reference.startswith("keyring#"):
        raise BadInput(
            f"{option}.confirmed: expected a reference that a person writes to, such as ref+file:///PATH; a yes that stands in the "
            "definition would be one for every rotation to come"
        )
    if identity and given.get("id"):
        raise BadInput(
            f"{option}.id: in a rotation its rotation id stands behind the yes, so that no yes is one for the next rotation; leave it out"
        )
    name = identity or str(given.get("id") or "")
    if not identity and not _ID.match(name):
        raise BadInput(
            f"{option}.id: expected 4 to 100 letters, digits or .:-_ that say which test stream the yes is for, such as 2026-01-31-night"
        )
    return reference, name


class Watch:
    """Looks at an ingest's statistics while a test stream is published.

    :ivar seen: the stream as it was seen last, with the most bytes; none until then.
    :ivar by_issuer: how the issuer told of it; empty until then.
    :ivar error: why the page could not be read, if that was so.
    """

    def __init__(self, wanted: Wanted, application: str, key: Secret, option: str) -> None:
        self.seen: Optional[Publisher] = None
        self.by_issuer = ""
        self.error: Optional[KeyturnError] = None
        self._wanted, self._key, self._option = wanted, key, f"{option}.stat"
        self._application = wanted.application or application
        self._next = self._next_asked = 0.0

    def live(self, readings: int = READINGS) -> Optional[Publisher]:
        """Whoever publishes with this key now.

        :raises Absent: the ingest has no such application, or there is no page.
        :raises KeyturnError: the page could not be read, or not be believed.
        """
        found = read_publishers(
            self._wanted.stat,
            _LONGEST_READING,
            self._option,
            (self._application,),
            self._wanted.headers,
            self._wanted.validate_certs,
            self._wanted.ca_path,
            readings,
        )
        own = [one for one in found if one.publishing and one.has([self._key])]
        return own[0] if own else None

    def look(self, _taken: bool = True) -> None:
        """Look, if the last time is a while ago; what goes wrong is kept, because the stream goes on."""
        self._ask()
        if not self._wanted.stat or time.monotonic() < self._next:
            return
        try:
            found = self.live(readings=1)
            self.error = None
        except KeyturnError as error:
            self.error, found = error, None
        # Nobody was there before the test stream began, so what came in at the first look grew as well.
        if found and found.bytes_in > (self.seen.bytes_in if self.seen else 0):
            self.seen = found
        self._next = time.monotonic() + _EVERY

    def _ask(self) -> None:
        """Ask the issuer, until it has told of the stream once."""
        asked = self._wanted.asked
        if asked is None or self.by_issuer or time.monotonic() < self._next_asked:
            return
        try:
            self.by_issuer = next(iter(asked()), "")
        except KeyturnError as error:
            self.error = error
        self._next_asked = time.monotonic() + _EVERY_ANSWER

    @property
    def missing(self) -> bool:
        """Whether something that was asked for was not seen."""
        wanted = self._wanted
        return bool((wanted.stat and not self.seen) or (wanted.asked and not self.by_issuer))

    def told(self) -> str:
        """What was seen, in words."""
        said = [told(self.seen)] if self.seen else []
        said += [f"its issuer told of {self.by_issuer}"] if self.by_issuer else []
        return " and ".join(said)


def told(seen: Publisher) -> str:
    """What the statistics showed."""
    size = f", {seen.width}x{seen.height}" if seen.width and seen.height else ""
    return f"its statistics showed the stream in application {application_told(seen.application)}{size}, {seen.bytes_in} bytes"


def busy(live: Publisher) -> str:
    """Who is live, for a message; the stream's name is the key and is left out."""
    address = live.address or "an unknown address"
    return f"in application {application_told(live.application)}, from {address}, for {live.seconds:.0f} s"


def says_yes(read: Callable[[], Secret], wanted: Wanted, option: str) -> str:
    """Why there is no yes for this test stream yet; empty when there is one.

    :param read: resolves the reference.
    """
    asked = f"write 'yes {wanted.id}' to where {option}.confirmed refers to, once you saw the test stream arrive"
    try:
        words = read().reveal().split()
    except Absent:
        return f"nobody has confirmed that it arrived: {asked}"
    except Unreachable as error:
        return error.message
    if words and words[0].lower() == "yes" and words[1:] == wanted.id.split():
        return ""
    return f"what stands there is no yes for this test stream: {asked}"
