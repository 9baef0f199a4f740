# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe ``command``: a program on the controller whose exit code is the proof."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Tuple

from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput, Unreachable
from ansible_collections.keyturn.runbooks.plugins.module_utils._keyring import Stage
from ansible_collections.keyturn.runbooks.plugins.module_utils._probes._port import (
    REFUSED,
    Attempt,
    ProbeContext,
    Simple,
    denied,
    fill,
    names_stage,
    proved,
    unclear,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._program import (
    Program,
    read_argv,
    read_codes,
    run_program,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._secret import Secret

KEYS = ("argv", "environment", "stdin", "rc", "refused_rc", "chdir")


class CommandProbe:
    """One program, run until its exit code is the wanted one."""

    def __init__(
        self,
        program: Program,
        accepted: Tuple[int, ...],
        refused: Tuple[int, ...],
        expect: str,
        blocked: str,
    ) -> None:
        self.against = program.argv[0]
        self.blocked = blocked
        self._program, self._accepted, self._refused, self._expect = (
            program,
            accepted,
            refused,
            expect,
        )

    def attempt(self, seconds: float) -> Attempt:
        """Run it once."""
        try:
            ran = run_program(self._program, seconds)
        except Unreachable as error:
            return unclear(error.message)
        if self._expect == REFUSED:
            if ran.rc in self._refused:
                return proved(f"refused: {ran}")
            return (
                denied(f"still accepted: {ran}") if ran.rc in self._accepted else unclear(str(ran))
            )
        return proved(str(ran)) if ran.rc in self._accepted else denied(str(ran))


class CommandType(Simple):
    """Programs; what they present reaches them by environment variables or standard input."""

    keys = KEYS
    stages = ("pending", "current", "previous")

    def presents(self, options: Mapping[str, Any]) -> bool:
        """Whether the program is handed the stage's value."""
        return names_stage(options.get("environment") or {}) or names_stage(
            options.get("stdin") or ""
        )

    def check_refusal(self, options: Mapping[str, Any], option: str) -> None:
        """Which exit code means that it was refused."""
        if "refused_rc" not in options:
            raise BadInput(
                f"{option}.refused_rc: missing; a program that fails for any reason proves no refusal: name the exit code that does"
            )

    def open(self, options: Mapping[str, Any], stage: Stage, ctx: ProbeContext) -> CommandProbe:
        """Read the options."""
        option = ctx.option
        if ctx.expect == REFUSED:
            self.check_refusal(options, option)
        refused: Tuple[int, ...] = ()
        if "refused_rc" in options:
            refused = read_codes(options["refused_rc"], f"{option}.refused_rc")
        program = _program(options, stage, ctx)
        accepted = read_codes(options.get("rc", 0), f"{option}.rc")
        return CommandProbe(program, accepted, refused, ctx.expect, _blocked(program, ctx))


def _program(options: Mapping[str, Any], stage: Stage, ctx: ProbeContext) -> Program:
    option, given = ctx.option, options.get("environment") or {}
    if not isinstance(given, Mapping):
        raise BadInput(f"{option}.environment: expected a mapping of names and values")
    if names_stage(options.get("argv") or ()):
        raise BadInput(
            f"{option}.argv: a value in a command line is seen by every user of the machine; "
            "pass it by environment or stdin"
        )
    secrets: Dict[str, Secret] = {
        str(name): fill(value, stage, ctx, f"{option}.environment.{name}")
        for name, value in given.items()
    }
    stdin = options.get("stdin")
    return Program(
        argv=read_argv(options.get("argv"), f"{option}.argv"),
        environ=dict(ctx.context.environ),
        secrets=secrets,
        stdin=None if stdin is None else fill(stdin, stage, ctx, f"{option}.stdin"),
        chdir=str(options["chdir"]) if options.get("chdir") else None,
    )


def _blocked(program: Program, ctx: ProbeContext) -> str:
    if ctx.context.check_mode:
        return "check mode runs no command"
    values = [*program.secrets.values(), *([program.stdin] if program.stdin else [])]
    return "" if all(value.known for value in values) else "the value does not exist yet"
