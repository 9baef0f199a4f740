# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A parameter of AWS's Parameter Store as a place for sinks: its text, or with ``?mode=singleparam`` the keys in it.

* AWS has no compare-and-set on a parameter. A write of somebody else's between reading and writing is detected, by the version
  that AWS tells, and reported as a conflict; it is not prevented. What is current then is what was written here.
* Type, tier, KMS key, description and pattern stay as they are: what DescribeParameters tells is written along. ``?kms_key_id=``
  names the key instead, of a parameter that is made here too. A new one is a SecureString.
* A sink of a ``group`` writes the rotation's id at the end of the description, in the same call as the value, so that who reads the group
  can see whether its parts belong together. A part that carries another id, or none, is written although its value is the same.
* A value of more than 4 KB makes the parameter an advanced one, which AWS charges for; one of more than 8 KB is refused before
  anything is written.
* Rights on the parameter: ``ssm:GetParameter``, ``ssm:PutParameter``; to look up a write whose answer was lost ``ssm:GetParameters``;
  to remove it ``ssm:DeleteParameters``; ``ssm:DescribeParameters`` on ``*``; on the key ``kms:Decrypt`` and ``kms:Encrypt``, for advanced
  parameters ``kms:GenerateDataKey``.
"""

from __future__ import annotations

from typing import Any, ContextManager, Dict, Optional, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import Conflict
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import Reference
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._file import (
    Codec,
    edited,
    known,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._options import STAMP
from ansible_collections.keyturn.runbooks.plugins.module_utils._sinks._port import (
    Changes,
    Observed,
    Stale,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_mark import marked
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import (
    SECURE,
    Found,
    Parameters,
    check_text,
    open_parameter,
)


class ParameterPlace:
    """One parameter.

    :param key_id: the KMS key that the reference names.
    :param where: how messages name it.
    :param stamped: what its versions are to carry, see :func:`_ssm_mark.stamp`; empty for nothing.
    """

    def __init__(
        self,
        parameters: Parameters,
        name: str,
        codec: Codec,
        key_id: str,
        where: str,
        stamped: str = "",
    ) -> None:
        self._parameters = parameters
        self._name = name
        self._codec = codec
        self._key_id = key_id
        self._where = where
        self._stamped = stamped

    def exclusive(self) -> Optional[ContextManager[None]]:
        """Nothing: AWS locks no parameter."""
        return None

    def tidy(self) -> None:
        """Nothing: a write is done or not."""

    def check(self, changes: Changes) -> None:
        """Refuse values that a parameter cannot hold.

        :raises BadInput: naming the field.
        """
        self._codec.check(changes, self._where)

    def read(self, names: Tuple[str, ...]) -> Observed:
        """The named fields.

        :raises Denied, Unreachable, Corrupt, BadInput: as the error says.
        """
        found = self._parameters.read_one(self._name)
        if found is None:
            return Observed({}, exists=False)
        text = found.value.reveal()
        notes = self._codec.notes(text, names)
        if found.kind != SECURE:
            notes += (
                f"it is a {found.kind}, which AWS keeps unencrypted and stays one; delete it once to have it made as a SecureString",
            )
        fields = self._codec.fields(text, names, self._where)
        drift = self._drift(found.version)
        return Observed(fields, str(found.version), drift=drift, notes=notes, state=found)

    def _drift(self, version: int) -> Tuple[str, ...]:
        if not self._stamped:
            return ()
        mark = self._parameters.marks({self._name: version}).get(self._name)
        if mark and self._stamped == f"{mark.rotation} of {mark.group}":
            return ()
        return (f"of rotation {mark.rotation if mark and mark.rotation else '(unknown)'}",)

    def check_write(self, observed: Observed, changes: Changes) -> None:
        """Find out what would stop a write: the size, and whether the key can be seen that is to be kept.

        :raises BadInput, Denied, Corrupt: as :meth:`write`.
        """
        if some := known(changes):
            self._edited(observed, some)
        self._kept(observed)

    def _edited(self, observed: Observed, changes: Changes) -> Optional[str]:
        before = observed.state.value.reveal() if isinstance(observed.state, Found) else ""
        return edited(
            self._codec, before, changes, self._where, lambda text: check_text(text, self._where)
        )

    def _kept(self, observed: Observed) -> Dict[str, Any]:
        before = observed.state
        if isinstance(before, Found):
            kept: Dict[str, Any] = self._parameters.kept(self._name, before, self._key_id)
        else:
            kept = {"KeyId": self._key_id} if self._key_id else {}
        if self._stamped:
            version = before.version + 1 if isinstance(before, Found) else 1
            told = str(kept.get("Description") or "")
            kept["Description"] = marked(told, self._stamped, version, self._where)
        return kept

    def write(self, observed: Observed, changes: Changes) -> Optional[str]:
        """Write the next version; the number.

        :raises Stale: when it was made, or changed, since it was read, and that was seen before the write.
        :raises Conflict: when it was changed in between and that was seen by the write alone: it is done then.
        :raises BadInput, Denied, Refused, Unreachable: as the error says.
        """
        text = self._edited(observed, changes)
        before = observed.state
        if text is None:
            self._remove(observed)
            return None
        kept = self._kept(observed)
        if isinstance(before, Found):
            return str(self._parameters.overwrite(self._name, text, before, **kept))
        try:
            return str(self._parameters.create(self._name, text, SECURE, **kept))
        except Conflict as error:
            if error.details.get("written"):
                raise
            raise Stale(error.message) from None

    def _remove(self, observed: Observed) -> None:
        now = self._parameters.read_one(self._name)
        if now is None:
            return
        if not isinstance(observed.state, Found) or now.version != observed.state.version:
            raise Stale(f"{self._where}: somebody else wrote to it; nothing was removed")
        self._parameters.delete([self._name])


def open_parameter_place(
    reference: Reference, codec: Codec, context: Context, where: str
) -> ParameterPlace:
    """The parameter that a sink's reference names; nothing is read yet.

    :raises BadInput, MissingLibrary: when reference or environment lack something.
    """
    parameters, name, key_id = open_parameter(reference, context, where)
    stamped = reference.params.get(STAMP, "")
    return ParameterPlace(parameters, name, codec, key_id, where, stamped)
