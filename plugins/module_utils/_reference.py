# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The grammar of references: where a value is kept, written as users of helmfile and vals write it.

``ref+SCHEME://PATH[?name=value&...][#/key/...]``, or ``keyring#/STAGE/FIELD`` for the credential's own keyring.
``secretref+`` is the same as ``ref+``. ``%XX`` stands for a byte of UTF-8 in each part, for what the grammar uses itself
(``?``, ``#``, ``&``, ``%``, blanks, and ``/`` inside a key). A parameter that is only on or off may stand without a value
(``?inCluster``). Unlike vals, a reference is the whole text, never a part of a longer one, and what is not understood is
refused instead of ignored.

The audit log has one scheme more, which nothing can be read back from: ``syslog``, with no path (this machine), the absolute path
of a socket, or ``host:port``.

==========  ========================================================================
scheme      path
==========  ========================================================================
vault       mount/path/of/secret, KV version 2, without the ``data/`` of Vault's API
awsssm      path/of/parameter, without the leading slash, or the parameter's ARN
awssecrets  name/of/secret, or the secret's ARN
file        /absolute/path, or a path from the working directory, or ~/path
k8s         v1/Secret/namespace/name, or v1/Secret/namespace/name/key; ConfigMap likewise
envsubst    $VARIABLE or ${VARIABLE}
==========  ========================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Callable, Dict, Mapping, Optional, Tuple
from urllib.parse import unquote_to_bytes

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput

KEYRING = "keyring"
KEYRING_STAGES = ("pending", "current", "previous")

SCHEMES: Mapping[str, Tuple[str, ...]] = MappingProxyType(
    {
        "vault": ("address", "mount", "namespace", "token_env", "token_file", "version"),
        "awsssm": (
            "endpoint_url",
            "kms_key_id",
            "mode",
            "profile",
            "recursive",
            "region",
            "role_arn",
            "version",
        ),
        "awssecrets": (
            "endpoint_url",
            "kms_key_id",
            "profile",
            "region",
            "role_arn",
            "version_id",
            "version_stage",
        ),
        "file": ("encrypt", "format", "vault_id", "vault_password_file"),
        "k8s": ("inCluster", "kubeConfigPath", "kubeContext"),
        "envsubst": (),
    }
)
"""The parameters of each scheme."""

LEDGER_SCHEMES: Mapping[str, Tuple[str, ...]] = MappingProxyType(
    {"syslog": ("facility", "protocol")}
)
"""The schemes that only an audit log has, with their parameters."""

LEDGER_GRAMMAR = (
    "expected ref+file:///PATH, ref+vault://MOUNT/PATH, ref+syslog:// or ref+syslog://HOST:PORT"
)

GRAMMAR = (
    "expected ref+SCHEME://PATH[?name=value&...][#/key/...] with SCHEME one of "
    f"{', '.join(sorted(SCHEMES))}, or {KEYRING}#/STAGE/FIELD with STAGE one of {', '.join(KEYRING_STAGES)}"
)

_SWITCHES = ("inCluster",)
_PREFIX = re.compile(r"(?:secret)?ref\+")
_UNWRITTEN = re.compile(r"[\s\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SYSLOG = re.compile(r"(?:/[^\0]*[^\0/]|(?:\[[0-9A-Fa-f:.]+\]|[^:/@\[\]]+):(?P<port>\d{1,5}))?\Z")
_VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})\Z")


@dataclass(frozen=True)
class Reference:
    """Where a value is kept. It holds no secret and may be shown.

    :param scheme: one of :data:`SCHEMES`, or ``keyring``.
    :param path: as its scheme has it, unescaped; empty for ``keyring``.
    :param fragment: the keys that lead to the value inside of what is kept there.
    :param text: the reference as it was written.
    """

    scheme: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    fragment: Tuple[str, ...] = ()
    text: str = ""

    def __str__(self) -> str:
        return self.text

    @property
    def place(self) -> str:
        """The text without the fragment: for messages about the place and not about one value in it."""
        return self.text.partition("#")[0]


class _Parser:
    """One parse; keeps what every message needs."""

    def __init__(self, text: str, option: str, ledger: bool = False) -> None:
        self.text = text
        self.option = option
        self.ledger = ledger
        self.schemes = {**SCHEMES, **LEDGER_SCHEMES} if ledger else SCHEMES
        self.grammar = LEDGER_GRAMMAR if ledger else GRAMMAR

    def bad(self, position: int, problem: str) -> BadInput:
        """:param position: of the first character that is not as expected, counted from 0.

        Only what comes before it is shown: the rest was not understood and may be a value in the wrong place.
        """
        understood = f" (after '{self.text[:position]}')" if position else ""
        return BadInput(
            f"{self.option}: character {position + 1}{understood}: {problem}; {self.grammar}",
            position=position + 1,
        )

    def unescape(self, start: int, end: int) -> str:
        raw = self.text[start:end]
        wrong = _BAD_ESCAPE.search(raw)
        if wrong:
            raise self.bad(
                start + wrong.start(),
                "'%' must be followed by two hexadecimal digits (a percent sign is %25)",
            )
        try:
            return unquote_to_bytes(raw).decode("utf-8")
        except UnicodeDecodeError:
            raise self.bad(start, "the escaped bytes are no UTF-8") from None

    def parse(self) -> Reference:
        prefix = _PREFIX.match(self.text)
        if not prefix and not self.text.startswith(KEYRING + "#"):
            raise self.bad(0, "a reference starts with 'ref+' or 'keyring#'")
        blank = _UNWRITTEN.search(self.text)
        if blank:
            raise self.bad(
                blank.start(),
                "a blank or control character; write it as %20 and so on, or take it out",
            )
        return self._stored(prefix.end()) if prefix else self._keyring()

    def _stored(self, start: int) -> Reference:
        scheme, colon, _rest = self.text[start:].partition("://")
        if colon and scheme in LEDGER_SCHEMES and not self.ledger:
            raise self.bad(
                start,
                f"'{scheme}' takes the lines of the audit log (keyturn_ledger) and nothing else: it cannot be read back",
            )
        if not colon or scheme not in self.schemes:
            named = f" '{scheme}'" if colon and scheme.isalnum() else ""
            raise self.bad(
                start, f"there is no scheme{named}" if named else "expected SCHEME:// here"
            )
        start += len(scheme) + 3
        hash_at = _find(self.text, "#", start, len(self.text))
        query_at = _find(self.text, "?", start, hash_at)
        path = self.unescape(start, query_at)
        _PATHS[scheme](self, path, start)
        params = self._params(scheme, query_at, hash_at)
        fragment = self._fragment(hash_at + 1) if hash_at < len(self.text) else ()
        return Reference(scheme, path, params, fragment, self.text)

    def _keyring(self) -> Reference:
        start = len(KEYRING) + 1
        fragment = self._fragment(start)
        if fragment[0] not in KEYRING_STAGES:
            raise self.bad(start + 1, f"there is no stage '{fragment[0]}'")
        if len(fragment) != 2:
            raise self.bad(len(self.text), "expected a stage and one field of it")
        return Reference(KEYRING, "", {}, fragment, self.text)

    def _params(self, scheme: str, start: int, end: int) -> Dict[str, str]:
        found: Dict[str, str] = {}
        position = start + 1
        while position <= end and start < end:
            stop = _find(self.text, "&", position, end)
            equals = _find(self.text, "=", position, stop)
            if equals == stop and self.text[position:stop] not in _SWITCHES:
                raise self.bad(position, "expected name=value here")
            name = self.unescape(position, equals)
            self._check_param(scheme, name, position, found)
            found[name] = self.unescape(equals + 1, stop)
            position = stop + 1
        return found

    def _check_param(self, scheme: str, name: str, position: int, found: Mapping[str, str]) -> None:
        allowed = self.schemes[scheme]
        if name not in allowed:
            which = (
                f"those of '{scheme}' are {', '.join(allowed)}"
                if allowed
                else f"'{scheme}' has none"
            )
            raise self.bad(position, f"there is no parameter '{name}': {which}")
        if name in found:
            raise self.bad(position, f"parameter '{name}' is there twice")

    def _fragment(self, start: int) -> Tuple[str, ...]:
        if not self.text.startswith("/", start):
            raise self.bad(start, "'#' must be followed by '/' and a key")
        keys = []
        position = start + 1
        while position <= len(self.text):
            stop = _find(self.text, "/", position, len(self.text))
            if stop == position:
                raise self.bad(position, "expected a key here")
            keys.append(self.unescape(position, stop))
            position = stop + 1
        return tuple(keys)


def _find(text: str, character: str, start: int, end: int) -> int:
    """The character's place, or the end."""
    found = text.find(character, start, end)
    return end if found < 0 else found


def _check_segments(parser: _Parser, path: str, start: int) -> None:
    position = start
    for segment in path.split("/"):
        if segment in ("", ".", ".."):
            problem = (
                f"'{segment}' is no name in a path"
                if segment
                else "expected a name here, neither empty nor '/'"
            )
            raise parser.bad(min(position, len(parser.text)), problem)
        position += len(segment) + 1


def _check_vault(parser: _Parser, path: str, start: int) -> None:
    _check_segments(parser, path, start)
    if "/" not in path:
        raise parser.bad(start + len(path), "expected '/' and the secret's path below its mount")


def _check_k8s(parser: _Parser, path: str, start: int) -> None:
    _check_segments(parser, path, start)
    parts = path.split("/")
    kinds = (["v1", "Secret"], ["v1", "ConfigMap"])
    if parts[:2] not in kinds or len(parts) not in (4, 5):
        raise parser.bad(
            start,
            "the path must be v1/Secret/NAMESPACE/NAME or v1/Secret/NAMESPACE/NAME/KEY (or ConfigMap instead of Secret)",
        )


def _check_file(parser: _Parser, path: str, start: int) -> None:
    if not path or path.endswith("/"):
        raise parser.bad(
            start + len(path),
            "expected the name of a file here (three slashes for an absolute path: ref+file:///PATH)",
        )
    if "\0" in path:
        raise parser.bad(start, "a file's path cannot hold a NUL")


def _check_envsubst(parser: _Parser, path: str, start: int) -> None:
    if not _VARIABLE.match(path):
        raise parser.bad(start, "expected one environment variable here, as $NAME or ${NAME}")


def _check_syslog(parser: _Parser, path: str, start: int) -> None:
    found = _SYSLOG.match(path)
    if not found or not 0 < int(found.group("port") or 1) < 65536:
        raise parser.bad(
            start, "expected nothing (this machine), HOST:PORT, or the absolute path of a socket"
        )


_PATHS: Mapping[str, Callable[[_Parser, str, int], None]] = MappingProxyType(
    {
        "vault": _check_vault,
        "awsssm": _check_segments,
        "awssecrets": _check_segments,
        "file": _check_file,
        "k8s": _check_k8s,
        "envsubst": _check_envsubst,
        "syslog": _check_syslog,
    }
)


def looks_like_reference(text: Optional[object]) -> bool:
    """Whether a text means to be a reference, right or wrong, and not a value."""
    return isinstance(text, str) and (bool(_PREFIX.match(text)) or text.startswith(KEYRING + "#"))


def parse_reference(text: str, option: str) -> Reference:
    """Read a reference.

    :param option: the option or variable that it came in, for messages.
    :raises BadInput: naming the option, the position (the first character is 1; also in ``details["position"]``), what is
        wrong there, and the grammar.
    """
    if not isinstance(text, str):
        raise BadInput(f"{option}: a {type(text).__name__} is no reference; {GRAMMAR}")
    return _Parser(text, option).parse()


def parse_ledger_reference(text: str, option: str) -> Reference:
    """Read the reference of an audit log, which may also be ``ref+syslog://``.

    :raises BadInput: as :func:`parse_reference`.
    """
    return _Parser(text, option, ledger=True).parse()
