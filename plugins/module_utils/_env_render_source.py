# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameters below one path of AWS's Parameter Store, read until they are what may be rendered.

* ``ssm:GetParametersByPath`` on the path and ``kms:Decrypt`` on the key are needed; for pairs ``ssm:DescribeParameters`` on ``*``.
* AWS does not promise that a list has what was just written. So what a rotation has written is known by its digest, and waited for.
* A list of several pages is not of one moment. A pair counts only while the rotations that AWS tells are those of the very versions
  that were read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._aws import (
    AwsCaller,
    aws_settings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._aws_errors import text_in
from ansible_collections.keyturn.runbooks.plugins.module_utils._context import Context
from ansible_collections.keyturn.runbooks.plugins.module_utils._env_render_plan import (
    Held,
    Rules,
    looked_up,
    refuse_keyrings,
    refused,
    unsettled,
    variables,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import (
    Absent,
    BadInput,
    Denied,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._reference import (
    Reference,
    parse_reference,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_mark import Mark
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_names import (
    check_parameter_name,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._ssm_parameter import (
    DESCRIBED_AT_ONCE,
    Parameters,
)

_PAUSE = 0.5
_KNOWN = ("endpoint_url", "profile", "region", "role_arn")
SCHEME = "awsssm"


def source_of(text: Any, option: str) -> Reference:
    """The path that is rendered: ``/musehub/production/``, or a reference, where it says as whom and in which region.

    :param option: how messages name it.
    :raises BadInput: for what is no path of parameters.
    """
    if not isinstance(text, str) or not text:
        raise BadInput(f"{option}: expected a path of parameters, such as /musehub/production/")
    given = text if "ref+" in text else f"ref+{SCHEME}://{text.strip('/')}"
    reference = parse_reference(given, option)
    if reference.scheme != SCHEME or reference.fragment:
        raise BadInput(
            f"{option}: expected a path of parameters, such as /musehub/production/ or ref+awsssm://musehub/production?region=eu-west-1"
        )
    strange = sorted(set(reference.params) - set(_KNOWN))
    if strange:
        raise BadInput(
            f"{option}: ?{strange[0]}= has no meaning for a path; expected some of {', '.join(_KNOWN)}"
        )
    path = reference.path.strip("/")
    check_parameter_name(f"/{path}", option)
    return Reference(SCHEME, path, reference.params, (), given)


@dataclass(frozen=True)
class Expected:
    """What the parameters of one credential are to hold, by digests, so that it can be sent to where they are read.

    :param digests: by parameter; empty for one that is to be gone.
    :param dry: they need not hold it yet: it is what they will hold.
    :param look: nothing was written yet, and their pairs may be half written: this rotation is what mends them.
    """

    salt: bytes = b""
    digests: Mapping[str, str] = field(default_factory=dict)
    dry: bool = False
    look: bool = False

    def digest(self, value: Secret) -> str:
        """What tells a value from others."""
        if not value.known:
            return "(new)"
        text = value.reveal().encode("utf-8", "surrogatepass")
        return hmac.new(self.salt, text, hashlib.sha256).hexdigest()

    def to_plain(self) -> Dict[str, Any]:
        """As it is sent."""
        salt = base64.b64encode(self.salt).decode()
        return {"salt": salt, "digests": dict(self.digests), "dry": self.dry, "look": self.look}

    @classmethod
    def parse(cls, sent: Mapping[str, Any]) -> Expected:
        """What :meth:`to_plain` made."""
        return cls(base64.b64decode(sent["salt"]), sent["digests"], sent["dry"], sent["look"])

    def late(self, held: Mapping[str, Held]) -> List[str]:
        """The parameters that do not hold yet what was written."""
        if self.dry or self.look:
            return []
        there = {name: self.digest(item.value) for name, item in held.items()}
        return sorted(name for name, text in self.digests.items() if there.get(name, "") != text)

    def foreseen(self, values: Dict[str, Secret]) -> Dict[str, Secret]:
        """What will be there after the writes that check mode leaves out."""
        if not self.dry:
            return values
        found = dict(values)
        for name, text in self.digests.items():
            if not text:
                found.pop(name, None)
            elif name not in found or self.digest(found[name]) != text:
                found[name] = Secret.new(name)
        return found


class Source:
    """One path.

    :param option: how messages begin.
    """

    def __init__(
        self,
        reference: Reference,
        context: Context,
        option: str,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = f"/{reference.path}"
        self._caller = AwsCaller(aws_settings(reference, context, option), context, option, "ssm")
        self._parameters = Parameters(self._caller)
        self._sleep, self._clock = sleep, clock
        self._warn = context.warn
        self.where = self._caller.where(f"parameters below {self._path}")

    def _held(self, recursive: bool) -> Dict[str, Held]:
        begin = f"{self._path}/"

        def ask(client: Any) -> Dict[str, Held]:
            pages = client.get_paginator("get_parameters_by_path").paginate(
                Path=self._path, Recursive=recursive, WithDecryption=True
            )
            found = {}
            for item in (item for page in pages for item in page["Parameters"]):
                name = text_in(item, "Name")
                short = name[len(begin) :] if name.startswith(begin) else name
                found[short] = Held(short, Secret(text_in(item, "Value")), int(item["Version"]))
            return found

        place = f"parameters below {self._path}"
        held: Dict[str, Held] = self._caller.call(place, "ssm:GetParametersByPath", ask)
        self.where = self._caller.where(place)
        return held

    def _marks(self, versions: Mapping[str, int], rules: Rules) -> Dict[str, Mark]:
        full = {f"{self._path}/{name}": version for name, version in versions.items()}
        names, found = sorted(full), {}
        for start in range(0, len(names), DESCRIBED_AT_ONCE):
            some = {name: full[name] for name in names[start : start + DESCRIBED_AT_ONCE]}
            try:
                found.update(self._parameters.marks(some))
            except Denied as error:
                told = f"{self.where}: AWS denies this identity ssm:DescribeParameters, so it cannot be seen whether"
                if rules.pairs:
                    raise Denied(
                        f"{told} 'pairs' belong together; allow that on *, or keep the pair in one parameter (?mode=singleparam)",
                        **error.details,
                    ) from None
                self._warn(
                    f"{told} what belongs together is of one rotation; allow that on *, or say 'watch_marks: false'"
                )
                return {}
        return {name[len(self._path) + 1 :]: mark for name, mark in found.items()}

    def _problems(
        self, held: Mapping[str, Held], rules: Rules, expected: Expected
    ) -> Tuple[str, ...]:
        there = {name: item.version for name, item in held.items()}
        mended = sorted(expected.digests) if expected.dry or expected.look else ()
        needed = looked_up(rules, there)
        told = self._marks({name: there[name] for name in needed}, rules) if needed else {}
        late = [
            f"{name} does not hold what the keyring says (publish the sinks first; AWS may also be slow to show it)"
            for name in expected.late(held)
        ]
        return (*late, *unsettled(rules, there, told, mended))

    def settled(self, rules: Rules, expected: Expected) -> Dict[str, Secret]:
        """The variables, once what has to belong together does.

        :raises Refused: when it does not in time; the message has the rotations.
        :raises Absent: there is no parameter; told apart from what AWS denies.
        :raises BadInput: for one that is no name of a variable, or a keyring.
        :raises Denied, Unreachable: as the error says.
        """
        end = self._clock() + rules.wait
        while True:
            held = self._held(rules.recursive)
            problems = self._problems(held, rules, expected)
            if not problems:
                return self._values(held, rules, expected)
            if self._clock() >= end:
                raise refused(self.where, problems, rules.wait)
            self._sleep(_PAUSE)

    def _values(
        self, held: Mapping[str, Held], rules: Rules, expected: Expected
    ) -> Dict[str, Secret]:
        refuse_keyrings(held, rules, self.where)
        found = expected.foreseen({name: item.value for name, item in held.items()})
        if not found and not (expected.look and expected.digests):
            raise Absent(
                f"{self.where}: there are none, and no empty file is written; correct the path, or make the parameters first"
            )
        named: Sequence[Tuple[str, str]] = list(variables(list(found), rules, self.where).items())
        return {variable: found[name] for name, variable in named}
