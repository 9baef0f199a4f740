# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole plans for a role: their order, why they are refused, and what an administrator with few rights does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import Admin
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._changes import (
    Change,
    Need,
    acting_as,
    missing_rights,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._observed import (
    PUBLIC,
    SELF,
    Held,
    Observed,
    Owned,
    PolicyKey,
    PolicyState,
    Privilege,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._plan import (
    choose_group,
    plan_absent,
    plan_present,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._reasons import (
    reasons_against,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._rights_read import (
    RightsRead,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._role_plan import (
    known_setting,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import (
    Options,
    Role,
    Setting,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._wish import Facts, Wish

ROOT = Admin("root", 160000, superuser=True, createrole=True, reads_verifiers=True)
HARDWIRED = {
    "r": {(SELF, "SELECT"): False, (SELF, "INSERT"): False},
    "f": {(SELF, "EXECUTE"): False, (PUBLIC, "EXECUTE"): False},
}
TABLE = Privilege("db", "TABLE", "public.t", "", "SELECT")


def statements(changes: list[Change]) -> list[str]:
    """What would be sent."""
    return [change.statement for change in changes]


def held(grantable: bool = False, grantors: tuple[str, ...] = ("own",), ours: bool = True) -> Held:
    """A privilege on something that belongs to ``own``."""
    return Held(grantable, "own", grantors, ours)


def facts(admin: Admin = ROOT, group: str = "", **roles: Observed) -> Facts:
    """Roles that are all there, apart from the group."""
    found = {name: Role(name, 7, True, {"inherit": True}) for name in roles}
    if group and group not in found:
        found[group] = Role(group)
    read = RightsRead(roles, ("db",), (), HARDWIRED, {})
    return Facts(admin, found, read, group)


class TestWholePlan:
    """The order of things, and why a plan is refused."""

    def test_rights_come_before_anything_is_taken_and_the_group_before_the_move(self) -> None:
        owned = (Owned("db", "schema", "s"), Owned("db", "table", "s.t"))
        like = Observed("a", {TABLE: held()}, owned=owned)
        name = Observed("b", {replace(TABLE, name="DELETE"): held()})
        plan = plan_present(
            facts(group="a_owner", a=like, b=name), Wish("b", "a", default_group="a_owner")
        )
        order = statements(list(plan.changes))
        assert plan.reasons == ()
        places = [
            next(index for index, text in enumerate(order) if text.startswith(start))
            for start in (
                'CREATE ROLE "a_owner" NOLOGIN',
                'GRANT "a_owner" TO "a"',
                'GRANT "a_owner" TO "b"',
                'GRANT SELECT ON TABLE public.t TO "a_owner"',
                'ALTER DEFAULT PRIVILEGES FOR ROLE "a"',
                'ALTER SCHEMA s OWNER TO "a_owner"',
                'ALTER TABLE s.t OWNER TO "a_owner"',
                'GRANT SELECT ON TABLE public.t TO "b"',
                'ALTER ROLE "b" SET "role"',
                'ALTER ROLE "a" SET "role"',
                'REVOKE DELETE ON TABLE public.t FROM "b"',
            )
        ]
        assert places == sorted(places)

    def test_an_extension_moves_by_reassign_at_the_end(self) -> None:
        owned = (Owned("db", "extension", "e"), Owned("db", "function", "public.f(integer)"))
        plan = plan_present(
            facts(group="g", a=Observed("a", owned=owned), b=Observed("b")), Wish("b", "a", "g")
        )
        order = [
            text for text in statements(list(plan.changes)) if "OWNED" in text or "OWNER" in text
        ]
        assert order == [
            'ALTER ROUTINE public.f(integer) OWNER TO "g"',
            'REASSIGN OWNED BY "a" TO "g"',
        ]

    def test_the_group_is_the_role_that_the_pattern_acts_as(self) -> None:
        acting = Observed("a", settings={Setting("", "role"): known_setting("role", "app_owner")})
        owner = replace(acting, owned=(Owned("db", "table", "public.t"),))
        wish = Wish("b", "a", default_group="a_owner")
        assert choose_group(wish, acting, Observed("b")) == ""
        assert choose_group(wish, owner, Observed("b")) == "app_owner"
        assert choose_group(replace(wish, ownership="refuse"), owner, Observed("b")) == ""
        assert choose_group(replace(wish, owner_role="own"), Observed("a"), Observed("b")) == "own"
        assert choose_group(replace(wish, like=""), Observed(""), owner) == ""

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"admin": replace(ROOT, standby=True)}, "standby"),
            ({"name_policies": ("p on t in db",)}, "depend on the user's name"),
            ({"group": "b"}, "its own owner role"),
            (
                {"rights": RightsRead({}, (), ("db (CONNECT is missing)",), {}, {})},
                "cannot be read: db",
            ),
        ],
    )
    def test_reasons(self, change: dict[str, Any], words: str) -> None:
        case = replace(facts(a=Observed("a"), b=Observed("b")), **change)
        assert words in "; ".join(reasons_against(case, Wish("b", "a", default_group="a_owner")))

    def test_a_superuser_does_not_act_as_a_group(self) -> None:
        case = facts(group="g", a=Observed("a"), b=Observed("b"))
        roles = {**case.roles, "a": Role("a", 7, True, {"superuser": True, "inherit": True})}
        reasons = reasons_against(replace(case, roles=roles), Wish("b", "a", "g"))
        assert "superuser" in reasons[0]

    def test_nothing_is_planned_when_there_are_reasons(self) -> None:
        plan = plan_present(facts(a=Observed("a")), Wish("a", "a"))
        assert plan.changes == ()
        assert "two" in plan.reasons[0]

    def test_dropping_names_everything_that_is_in_the_way(self) -> None:
        key = PolicyKey("db", "public.t", "p")
        observed = Observed(
            "b",
            policies={key: PolicyState("own", alone=True)},
            owned=(Owned("db", "table", "public.x"),),
            given=("SELECT ON TABLE public.t to c in db",),
        )
        text = "; ".join(plan_absent(facts(b=observed), "b").reasons)
        for words in ("table public.x in db", "to c in db", '"p" on public.t in db'):
            assert words in text

    def test_a_role_that_is_not_there_needs_no_dropping(self) -> None:
        case = facts(b=Observed("b"))
        assert plan_absent(replace(case, roles={"b": Role("b")}), "b").changes == ()


class TestAdministrator:
    """One that is no superuser."""

    CLERK = Admin("clerk", 160000, createrole=True, administers=frozenset(("a", "b")))

    def test_what_is_missing_is_named_with_its_remedy_once(self) -> None:
        needs = (Need("owner", "own"), Need("superuser", "for SUPERUSER"))
        changes = [Change("b", "", f"thing {number}", needs=needs) for number in range(3)]
        missing = missing_rights(changes, self.CLERK, frozenset())
        assert missing == [
            'clerk may not do this: b: thing 0 (and 2 more); needed: GRANT "own" TO "clerk"',
            "clerk may not do this: b: thing 0 (and 2 more); needed: a superuser as administrator (for SUPERUSER)",
        ]
        assert missing_rights(changes, ROOT, frozenset()) == []

    def test_it_acts_as_a_role_that_it_may_act_as(self) -> None:
        admin = replace(self.CLERK, settable=frozenset(("own",)))
        change = Change("b", "", "x", needs=(Need("owner", "own"),))
        assert missing_rights([change], admin, frozenset()) == []
        assert acting_as(change, admin, frozenset()) == "own"
        assert acting_as(change, replace(admin, inherits=frozenset(("own",))), frozenset()) == ""

    def test_it_joins_the_roles_that_it_administers_and_leaves_them(self) -> None:
        like = Observed("a", owned=(Owned("db", "table", "public.t"),))
        plan = plan_present(
            facts(self.CLERK, "g", a=like, b=Observed("b")), Wish("b", "a", default_group="g")
        )
        order = statements(list(plan.changes))
        assert plan.reasons == ()
        assert order[0] == 'CREATE ROLE "g" NOLOGIN'
        assert {text for text in order if 'TO "clerk"' in text} == {
            f'GRANT "{role}" TO "clerk" WITH ADMIN FALSE, INHERIT TRUE, SET TRUE' for role in "abg"
        }
        assert order[-3:] == [f'REVOKE "{role}" FROM "clerk" GRANTED BY "clerk"' for role in "abg"]

    def test_a_membership_that_a_dead_run_left_is_ended(self) -> None:
        case = facts(self.CLERK, a=Observed("a"), b=Observed("b"))
        rights = replace(case.rights, admin_in={"a": Options(grantors=("clerk", "root"))})
        plan = plan_present(replace(case, rights=rights), Wish("b", "a"))
        assert statements(list(plan.changes)) == ['REVOKE "a" FROM "clerk" GRANTED BY "clerk"']
