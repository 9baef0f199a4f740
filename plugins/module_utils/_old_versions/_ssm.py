# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of a parameter of AWS's Parameter Store, and the older versions of a keyring that is kept there.

AWS keeps the 100 newest versions of a parameter, each readable, and no call removes one. There are two ways to be rid of one:

* To remove the parameter and make it again. AWS asks for 30 seconds in between, in which readers find nothing, and tags, policies and
  labels would have to be made again. This is not done here.
* To write the value that is in use so often that the old versions are pushed out. Readers find the same value all the time, everything
  else stays as it is, and a run that was killed is gone on with. It takes up to 100 writes, each of which is an event for whoever
  listens to changes of parameters, so a person has to ask for it.

Rights on the parameter: ``ssm:GetParameterHistory``; to push out also ``ssm:GetParameter``, ``ssm:PutParameter`` and, where versions that
carry the value bear labels, ``ssm:UnlabelParameterVersion``; ``ssm:DescribeParameters`` on ``*``; those on the key as of a sink.
A version of a keyring is a parameter of its own: its rights are those of the keyring.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Conflict
from ansible_collections.keyturn.runbooks.plugins.module_utils._guard import Guard
from ansible_collections.keyturn.runbooks.plugins.module_utils._old_versions._port import (
    PUSH_OUT,
    Carries,
    Seen,
    numbered,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_mark import mark_of, marked
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import (
    Found,
    Parameters,
    Past,
    open_parameter,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._stores._ssm import (
    ParameterStore,
    open_parameter_store,
)

KEPT = 100
"""How many versions AWS keeps of a parameter."""
_PER_SECOND = 3
"""How many writes AWS takes in a second, unless an account asked for more."""


@dataclass(frozen=True)
class Push:
    """What is to be pushed out of a history.

    :param until: the newest version that has to go.
    :param newest: the version in use.
    :param labels: those that keep a version there, which carries the value.
    """

    until: int
    newest: Past
    labels: Tuple[Past, ...] = ()

    @property
    def writes(self) -> int:
        """How many it takes."""
        return max(0, self.until + KEPT - self.newest.version)


class ParameterHistory:
    """That of one parameter.

    :param decided: what a person decided of them, see :data:`_port.PUSH_OUT`.
    """

    def __init__(
        self, parameters: Parameters, name: str, key_id: str, where: str, decided: str
    ) -> None:
        self.where = where
        self._parameters = parameters
        self._name = name
        self._key_id = key_id
        self._pushes = decided == PUSH_OUT

    def look(self, carries: Carries, replaced: bool) -> Seen:
        """Read all versions.

        :raises Denied, Unreachable, BadInput: as AWS says.
        """
        history = self._parameters.history(self._name)
        if not history:
            return Seen()
        newest, older = history[-1], history[:-1]
        with_it = [item for item in older if carries(item.value.reveal())]
        left: List[str] = []
        if carries(newest.value.reveal()):
            if replaced:
                with_it.append(newest)
            else:
                left.append(
                    f"version {newest.version}, which is in use there, carries it and stays: see who wrote it"
                )
        if not with_it:
            return Seen((), len(older), tuple(left))
        push = Push(with_it[-1].version, newest, tuple(item for item in with_it if item.labels))
        stuck = [item for item in older if item.labels and item.version <= push.until]
        stuck = [item for item in stuck if item not in with_it]
        if self._pushes and not stuck and not left:
            return Seen(_names(with_it), len(older), state=push)
        stays = (*left, self._stays(push, with_it, stuck))
        return Seen((), len(older), stays)

    def _stays(self, push: Push, with_it: List[Past], stuck: List[Past]) -> str:
        sentence = (
            f"version {numbered(_names(with_it))} of its history carries it and stays: who may call ssm:GetParameterHistory can read the "
            "refused value"
        )
        if stuck:
            label = f"version {stuck[0].version} bears the label {stuck[0].labels[0]}"
            return f"{sentence}. It cannot be pushed out: {label}, does not carry it, and would go with it; move the label"
        seconds = -(-push.writes // _PER_SECOND)
        if self._pushes:
            return f"{sentence}. It is not pushed out while the version in use carries it, too"
        return (
            f"{sentence}. AWS removes a version when there are {KEPT} newer ones: keyturn_history=push_out has the value in use written "
            f"{push.writes} times, which takes about {seconds} s and tells of a change each time"
        )

    def end(self, seen: Seen, guard: Guard) -> None:
        """Write the value in use again and again, until AWS has dropped what carries the other.

        :raises Conflict: when somebody else writes meanwhile.
        :raises Denied, Refused, Unreachable: as AWS says.
        """
        push = seen.state
        if not isinstance(push, Push):
            raise TypeError("looked at by another place")
        for item in push.labels:
            guard()
            self._parameters.unlabel(self._name, item.version, item.labels)
        expected, kept = push.newest.version, None
        for _write in range(push.writes):
            guard()
            found = self._parameters.read_one(self._name)
            if found is None or (found.version, found.value) != (expected, push.newest.value):
                raise Conflict(
                    f"{self.where}: somebody else writes there, so old versions were not pushed out to the end; run again"
                )
            kept = kept or self._parameters.kept(self._name, found, self._key_id)
            given = self._marked(kept, found)
            expected = self._parameters.overwrite(self._name, found.value.reveal(), found, **given)

    def _marked(self, kept: Dict[str, str], found: Found) -> Dict[str, Any]:
        """What is written along: the description names the version where it tells of a rotation."""
        given: Dict[str, Any] = dict(kept)
        told = given.get("Description", "")
        first = mark_of(told, found.version)
        if first and first.rotation:
            stamped = f"{first.rotation} of {first.group}"
            given["Description"] = marked(told, stamped, found.version + 1, self.where)
            kept["Description"] = given["Description"]
        return given


def _names(items: List[Past]) -> Tuple[str, ...]:
    return tuple(str(item.version) for item in items)


def open_history(
    reference: Reference, context: Context, where: str, decided: str
) -> ParameterHistory:
    """The history of the parameter that a reference names; nothing is read yet.

    :raises BadInput, MissingLibrary: when reference or environment lack something.
    """
    parameters, name, key_id = open_parameter(reference, context, where)
    return ParameterHistory(parameters, name, key_id, where, decided)


class KeyringParameters:
    """The older versions of a keyring, each a parameter of its own, which has no history."""

    def __init__(self, store: ParameterStore, where: str) -> None:
        self.where = where
        self._store = store

    def look(self, carries: Carries, replaced: bool) -> Seen:
        """Read each.

        :raises Denied, Unreachable, Corrupt: as the store says.
        """
        texts = self._store.older_texts()
        carrying = tuple(str(number) for number, text in sorted(texts.items()) if carries(text))
        return Seen(carrying, len(texts))

    def end(self, seen: Seen, guard: Guard) -> None:
        """Remove them.

        :raises Denied, Unreachable: as AWS says.
        """
        guard()
        self._store.remove([int(number) for number in seen.carrying])


def open_keyring_parameters(
    reference: Reference, context: Context, where: str
) -> KeyringParameters:
    """The older versions of the keyring that a reference names; nothing is read yet.

    :raises BadInput, MissingLibrary: when reference or environment lack something.
    """
    return KeyringParameters(open_parameter_store(reference, context, where), where)
