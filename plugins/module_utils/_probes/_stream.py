# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe ``stream``: an ingest takes a synthetic test stream with this key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Live,
    Refused,
    Unreachable,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._issuers import open_issuer
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._port import (
    REFUSED,
    Attempt,
    Patience,
    ProbeContext,
    denied,
    fill,
    names_stage,
    patience_of,
    proved,
    unclear,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._refs import resolve
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._streams import (
    SPARE,
    Pattern,
    Streamed,
    Target,
    Wanted,
    check_key,
    not_received,
    published,
    read_method,
    read_pattern,
    read_target,
    read_wanted,
    says_yes,
    stream,
    trusting,
)

KEYS = (
    "url", "application", "key", "duration", "size", "rate", "video_bitrate", "audio_bitrate", "method", "received",
)  # fmt: skip
KEY = "{stage.key}"
ADOPTED = "adopted"
"""What stands behind a yes for a value that no rotation made, before the credential's name."""
_TO_SEE_ONE = 2.0
_CANNOT_TELL = "this issuer cannot tell who sends; give stat, or a person's word by confirmed"


class StreamProbe:
    """One test stream, tried until the answer is the wanted one."""

    def __init__(
        self,
        target: Target,
        key: Secret,
        pattern: Pattern,
        method: str,
        wanted: Wanted,
        ctx: ProbeContext,
    ) -> None:
        self.against, self.blocked = target.url, _blocked(key, ctx)
        self._target, self._key, self._pattern = target, key, pattern
        self._method, self._wanted, self._ctx = method, wanted, ctx
        self._last: Optional[Attempt] = None

    def attempt(self, seconds: float) -> Attempt:
        """One test stream, and the confirmation that it arrived; what was seen before, where there is no time left for another one.

        :raises Refused: somebody is live with this key, or nobody has confirmed that it arrived.
        :raises Absent: there is no such application.
        """
        if seconds < self._pattern.seconds + 1:
            return self._last or unclear("there is no time for a test stream")
        self._last = self._once(seconds)
        return self._last

    def _once(self, seconds: float) -> Attempt:
        began = self._ctx.monotonic()
        try:
            seen = self._stream(self._pattern, seconds)
        except Unreachable as error:
            return unclear(error.message)
        outcome = seen.ended.outcome
        if outcome == "already_publishing":
            return self._live(seen)
        if outcome == "wrong_application":
            raise Absent(
                f"{self._ctx.option} ({self.against}): {seen.ended.detail}. See to url and application; this says nothing about the key"
            )
        if self._ctx.expect == REFUSED:
            return _judge_refused(seen)
        if outcome != "accepted":
            return (denied if outcome == "refused" else unclear)(seen.ended.detail)
        wrong = not_received(seen, self._wanted)
        if wrong:
            return denied(wrong)
        if self._wanted.confirmed:
            self._confirm(began + seconds)
        return proved(_told(seen, self._target, self._wanted))

    def _live(self, seen: Streamed) -> Attempt:
        """Somebody is live with this key: it was accepted when that broadcast began, and a test stream could end it.

        :raises Refused: where that is not enough, or proves the opposite of what is wanted.
        :raises Live: where it would be, and nobody but the refusal itself tells of a broadcast.
        """
        where, detail = f"{self._ctx.option} ({self.against})", seen.ended.detail
        if self._ctx.expect == REFUSED:
            raise Refused(
                f"{where}: {detail}, which is no proof that it is refused. Wait until the broadcast is over"
            )
        if not self._ctx.live_is_enough:
            raise Refused(f"{where}: {detail}. Wait until the broadcast is over")
        if not seen.ended.live:
            detail = self._told_by_issuer()
        if not detail:
            raise Live(
                f"{where}: live, not tried: the ingest says that somebody is live with this key, and nothing else shows it. A server may "
                "say so of a key that it refuses, so the key is neither verified nor failed. Run the same again after the broadcast; or "
                "give the probe received.stat, or received.issuer, to have a broadcast with this key seen"
            )
        self._ctx.context.warn(
            f"{where}: {detail}. The key was accepted when that broadcast began, which is all that is known now"
        )
        return proved(f"live, not tried: {detail}")

    def _told_by_issuer(self) -> str:
        """That somebody sends with this key, in words; empty where its issuer is not asked, or tells of nobody."""
        told = next(iter(self._wanted.asked()), "") if self._wanted.asked else ""
        return f"its issuer told of {told}" if told else ""

    def control(self, seconds: float) -> Attempt:
        """Whether this key is accepted there, where another one was refused: a short stream or a broadcast that is seen."""
        short = replace(self._pattern, seconds=min(self._pattern.seconds, _TO_SEE_ONE))
        try:
            seen = self._stream(short, min(seconds, short.seconds + SPARE))
        except Unreachable as error:
            return unclear(error.message)
        taken = seen.ended.outcome == "accepted" or seen.ended.live
        if not taken and seen.ended.outcome == "already_publishing":
            taken = bool(self._told_by_issuer())
        return proved("accepted") if taken else unclear(seen.ended.detail)

    def _stream(self, pattern: Pattern, seconds: float) -> Streamed:
        return stream(
            self._target,
            self._key,
            pattern,
            self._method,
            self._wanted,
            self._ctx.context.environ,
            seconds,
            f"{self._ctx.option}.received",
        )

    def _confirm(self, until: float) -> None:
        """Wait for a person's word as long as there is time; no further stream is made for it.

        :raises Refused: there is none.
        """
        option = f"{self._ctx.option}.received"
        pause = max(self._ctx.patience.interval.total_seconds(), 0.1)
        while True:
            missing = says_yes(
                lambda: resolve(self._wanted.confirmed, self._ctx.context, f"{option}.confirmed"),
                self._wanted,
                option,
            )
            if not missing:
                return
            if self._ctx.monotonic() + pause >= until:
                raise Refused(
                    f"{self._ctx.option} ({self.against}): the test stream was accepted, and {missing}; then run the same playbook again"
                )
            self._ctx.context.progress(f"waiting for a yes: {missing}")
            self._ctx.sleep(pause)


def _judge_refused(seen: Streamed) -> Attempt:
    if seen.ended.outcome == "refused":
        return proved("refused")
    return (
        denied("it is still accepted")
        if seen.ended.outcome == "accepted"
        else unclear(seen.ended.detail)
    )


def _told(seen: Streamed, target: Target, wanted: Wanted) -> str:
    arrived = [seen.received] if seen.received else []
    if wanted.confirmed:
        arrived.append(wanted.said)
    return f"{published(seen, target)}; {' and '.join(arrived) or 'beside the answer of the protocol nothing tells that it arrived'}"


def _blocked(key: Secret, ctx: ProbeContext) -> str:
    if not key.known:
        return "the value does not exist yet"
    return "check mode streams nothing" if ctx.context.check_mode else ""


class StreamType:
    """Test streams; what they present is the stream key."""

    keys = KEYS
    on_the_air = True
    stages = ("pending", "current", "previous")

    def least(self, options: Mapping[str, Any]) -> float:
        """The stream itself, and a little to connect; what cannot be meant is told by :meth:`open`."""
        try:
            return read_pattern(options, "").seconds + SPARE
        except BadInput:
            return 0.0

    def check_refusal(self, options: Mapping[str, Any], option: str) -> None:
        """It needs nothing more for that."""

    def presents(self, options: Mapping[str, Any]) -> bool:
        """Whether the key is the stage's."""
        return names_stage(options.get("key") or KEY)

    def check(self, options: Mapping[str, Any], option: str, senders: bool) -> None:
        """Refuse what no stream can be made by; a platform that resets its key has ended the old one when the proof is tried.

        :raises BadInput: naming the option.
        """
        _target(options, option)
        pattern = read_pattern(options, option)
        read_method(options.get("method"), option)
        wanted = read_wanted(options.get("received"), f"{option}.received", ADOPTED)
        if wanted.issuer and not senders:
            raise BadInput(f"{option}.received.issuer: {_CANNOT_TELL}")
        if "timeout" in options:
            _check_time(options, pattern, Patience(), option)

    def open(self, options: Mapping[str, Any], stage: Stage, ctx: ProbeContext) -> StreamProbe:
        """Read the options."""
        option = ctx.option
        target = _target(options, option)
        pattern = read_pattern(options, option)
        key = fill(options.get("key") or KEY, stage, ctx, f"{option}.key")
        if key.known:
            check_key(key, f"{option}.key")
        _check_time(options, pattern, ctx.patience, option)
        received = f"{option}.received"
        wanted = read_wanted(options.get("received"), received, _identity(stage, ctx))
        headers: Dict[str, Secret] = {
            name: fill(value, stage, ctx, f"{received}.headers.{name}")
            for name, value in wanted.headers.items()
        }
        method = read_method(options.get("method"), option)
        warning = trusting(target, method, option)
        if warning:
            ctx.context.warn(warning)
        asked = _asker(stage, ctx, received) if wanted.issuer else None
        before = any(seen.get("type") == "stream" for seen in stage.evidence)
        wanted = replace(wanted, headers=headers, asked=asked, before=before)
        return StreamProbe(target, key, pattern, method, wanted, ctx)


def _target(options: Mapping[str, Any], option: str) -> Target:
    """Where the stream goes.

    :raises BadInput: it cannot be meant, or would show the key.
    """
    for name in ("url", "application"):
        if names_stage(options.get(name) or ""):
            raise BadInput(
                f"{option}.{name}: holds a stage's value, and addresses are shown; the key is given by 'key' alone"
            )
    return read_target(options.get("url"), options.get("application"), option)


def _identity(stage: Stage, ctx: ProbeContext) -> str:
    """What stands behind a yes for a stage's value: two credentials may have theirs in one file."""
    return stage.rotation_id or f"{ADOPTED} {ctx.credential}".strip()


def _asker(stage: Stage, ctx: ProbeContext, option: str) -> Callable[[], Sequence[str]]:
    """Asks the issuer who sends with a stage's key.

    :raises BadInput: it cannot tell.
    """
    issuer = open_issuer(ctx.issuer, ctx.context)

    def asked() -> Sequence[str]:
        found = issuer.sessions(stage, ctx.context)
        if found is None:
            raise BadInput(f"{option}.issuer: {_CANNOT_TELL}")
        return [str(session) for session in found if session.sending]

    return asked


def _check_time(
    options: Mapping[str, Any], pattern: Pattern, patience: Patience, option: str
) -> None:
    least = pattern.seconds + SPARE
    if patience_of(options, patience, option).timeout.total_seconds() < least:
        raise BadInput(
            f"{option}.timeout: a test stream of {pattern.seconds:g} s needs {least:g} s; give it more time or less duration"
        )
