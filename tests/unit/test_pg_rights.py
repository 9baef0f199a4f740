# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans from observed rights to statements: pure, so every case is told by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.keyturn.runbooks.plugins.module_utils._errors import BadInput
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres import _names
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._admin import Admin
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._changes import (
    Change,
    acting_as,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._observed import (
    PEER,
    PUBLIC,
    SELF,
    DefaultKey,
    Held,
    Observed,
    PolicyKey,
    PolicyState,
    Privilege,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._rights import plan_rights
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._role_plan import (
    plan_attributes,
    plan_membership,
    plan_settings,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._roles import (
    Options,
    Role,
    Setting,
    SettingState,
)
from ansible_collections.keyturn.runbooks.plugins.module_utils._postgres._surroundings import (
    with_schema,
)
from hypothesis import given
from hypothesis import strategies as st

ROOT = Admin("root", 160000, superuser=True, createrole=True, reads_verifiers=True)
HARDWIRED = {
    "r": {(SELF, "SELECT"): False, (SELF, "INSERT"): False},
    "f": {(SELF, "EXECUTE"): False, (PUBLIC, "EXECUTE"): False},
}
TABLE = Privilege("db", "TABLE", "public.t", "", "SELECT")


def statements(changes: list[Change]) -> list[str]:
    """What would be sent."""
    return [change.statement for change in changes]


def planned(source: Observed, target: Observed, whole: bool = True) -> list[str]:
    """The statements that make the rights equal."""
    return statements(plan_rights(source, target, HARDWIRED, whole))


def held(grantable: bool = False, grantors: tuple[str, ...] = ("own",), ours: bool = True) -> Held:
    """A privilege on something that belongs to ``own``."""
    return Held(grantable, "own", grantors, ours)


class TestNames:
    """Names are quoted, and names that PostgreSQL would bend are refused."""

    @pytest.mark.parametrize(
        ("name", "quoted"),
        [("a", '"a"'), ('a"b; drop', '"a""b; drop"'), ("Ä ö", '"Ä ö"'), ("%s", '"%s"')],
    )
    def test_quoting(self, name: str, quoted: str) -> None:
        assert _names.identifier(name) == quoted

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("a\0b", "NUL"),
            ("ä" * 32, "64 bytes"),
            ("", "expected the name"),
            (None, "expected the name"),
            ("pg_x", "for itself"),
            ("Public", "for itself"),
        ],
    )
    def test_refused(self, name: Any, words: str) -> None:
        with pytest.raises(BadInput, match=words) as caught:
            _names.check_role_name(name, "keyturn_issuer.role")
        assert caught.value.message.startswith("keyturn_issuer.role: ")

    def test_a_name_of_63_bytes_is_kept(self) -> None:
        assert _names.check_role_name("x" * 63, "name") == "x" * 63

    def test_literals_double_their_quotes_only(self) -> None:
        assert _names.literal("it's \\ $x$") == "'it''s \\ $x$'"


class TestGrants:
    """Privileges on things."""

    def test_missing_ones_are_given_together_and_with_their_option(self) -> None:
        other = replace(TABLE, name="INSERT")
        source = Observed(
            "a", {TABLE: held(), other: held(), replace(TABLE, name="DELETE"): held(True)}
        )
        assert planned(source, Observed('b"x')) == [
            'GRANT INSERT, SELECT ON TABLE public.t TO "b""x"',
            'GRANT DELETE ON TABLE public.t TO "b""x" WITH GRANT OPTION',
        ]

    def test_columns_name_the_column_for_each_privilege(self) -> None:
        one, two = (replace(TABLE, column='"c d"', name=name) for name in ("SELECT", "UPDATE"))
        source = Observed("a", {one: held(), two: held()})
        assert planned(source, Observed("b")) == [
            'GRANT SELECT ("c d"), UPDATE ("c d") ON TABLE public.t TO "b"'
        ]

    def test_what_only_the_target_has_goes_unless_it_is_a_group(self) -> None:
        target = Observed("b", {TABLE: held()})
        assert planned(Observed("a"), target) == ['REVOKE SELECT ON TABLE public.t FROM "b"']
        assert planned(Observed("a"), target, whole=False) == []

    def test_each_grantor_takes_back_what_it_gave(self) -> None:
        target = Observed("b", {TABLE: held(grantors=("own", "clerk"))})
        changes = plan_rights(Observed("a"), target, HARDWIRED, True)
        assert statements(changes) == ['REVOKE SELECT ON TABLE public.t FROM "b"'] * 2
        assert [acting_as(change, ROOT, frozenset()) for change in changes] == ["clerk", ""]

    def test_an_option_comes_and_goes_without_the_right(self) -> None:
        with_option = Observed("a", {TABLE: held(True)})
        without = Observed("b", {TABLE: held()})
        assert planned(with_option, without) == [
            'GRANT SELECT ON TABLE public.t TO "b" WITH GRANT OPTION'
        ]
        source, target = replace(without, role="a"), replace(with_option, role="b")
        assert planned(source, target) == [
            'REVOKE GRANT OPTION FOR SELECT ON TABLE public.t FROM "b"'
        ]

    @given(
        st.sets(
            st.tuples(st.sampled_from("tuv"), st.sampled_from(["SELECT", "INSERT"]), st.booleans())
        )
    )
    def test_equal_rights_need_nothing(self, rights: set[tuple[str, str, bool]]) -> None:
        grants = {
            Privilege("db", "TABLE", f"public.{table}", "", name): held(option)
            for table, name, option in rights
        }
        assert planned(Observed("a", grants), Observed("b", grants)) == []


class TestDefaults:
    """Rights on objects made afterwards."""

    def test_in_both_directions(self) -> None:
        made_by_other = DefaultKey("db", "other", "", "r")
        made_by_self = DefaultKey("db", SELF, '"s"', "r")
        source = Observed(
            "a",
            defaults={
                made_by_other: {(SELF, "SELECT"): True},
                made_by_self: {("readers", "SELECT"): False},
            },
        )
        assert planned(source, Observed("b")) == [
            'ALTER DEFAULT PRIVILEGES FOR ROLE "b" IN SCHEMA "s" GRANT SELECT ON TABLES TO "readers"',
            'ALTER DEFAULT PRIVILEGES FOR ROLE "other" GRANT SELECT ON TABLES TO "b" WITH GRANT OPTION',
        ]

    def test_what_the_role_took_from_everybody_is_taken_again(self) -> None:
        key = DefaultKey("db", SELF, "", "f")
        source = Observed("a", defaults={key: {(SELF, "EXECUTE"): False}})
        expected = 'ALTER DEFAULT PRIVILEGES FOR ROLE "b" REVOKE EXECUTE ON ROUTINES FROM PUBLIC'
        assert planned(source, Observed("b")) == [expected]
        assert planned(source, Observed("b"), whole=False) == [expected]

    def test_back_to_what_postgresql_gives(self) -> None:
        key = DefaultKey("db", SELF, "", "f")
        target = Observed("b", defaults={key: {("readers", "EXECUTE"): False}})
        assert planned(Observed("a"), target) == [
            'ALTER DEFAULT PRIVILEGES FOR ROLE "b" GRANT EXECUTE ON ROUTINES TO PUBLIC',
            'ALTER DEFAULT PRIVILEGES FOR ROLE "b" GRANT EXECUTE ON ROUTINES TO "b"',
            'ALTER DEFAULT PRIVILEGES FOR ROLE "b" REVOKE EXECUTE ON ROUTINES FROM "readers"',
        ]

    def test_the_two_roles_stand_for_each_other(self) -> None:
        key = DefaultKey("db", SELF, '"s"', "r")
        source = Observed("a", defaults={key: {(PEER, "SELECT"): False}})
        assert planned(source, Observed("b")) == [
            'ALTER DEFAULT PRIVILEGES FOR ROLE "b" IN SCHEMA "s" GRANT SELECT ON TABLES TO "a"'
        ]

    def test_a_group_does_not_get_what_names_itself_or_the_pair(self) -> None:
        key = DefaultKey("db", SELF, "", "r")
        entries = {(PEER, "SELECT"): False, ("grp", "SELECT"): True, ("readers", "SELECT"): False}
        source = Observed(
            "a", defaults={key: entries}, memberships={"grp": Options(), "x": Options()}
        )
        pattern = source.as_pattern_for_group("grp")
        assert pattern.defaults == {key: {("readers", "SELECT"): False}}
        assert set(pattern.memberships) == {"x"}


class TestPolicies:
    """Row security."""

    def test_the_target_is_added_and_removed_under_a_lock_of_its_own(self) -> None:
        shared, extra = PolicyKey("db", "public.t", "p"), PolicyKey("db", "public.t", "q")
        source = Observed("a", policies={shared: PolicyState("own")})
        target = Observed("b", policies={extra: PolicyState("own")})
        add, remove = plan_rights(source, target, HARDWIRED, True)
        assert add.strong_lock and remove.strong_lock
        assert dict(add.settings) == {
            "keyturn.table": "public.t",
            "keyturn.policy": "p",
            "keyturn.add": "b",
            "keyturn.remove": "",
        }
        assert dict(remove.settings)["keyturn.remove"] == "b"
        assert not remove.adds


class TestRole:
    """Attributes, memberships, settings."""

    def test_attributes_follow_the_pattern_in_both_directions(self) -> None:
        like = Role("a", 1, True, {"inherit": True, "createdb": True}, 5)
        role = Role("b", 2, True, {"inherit": False, "createdb": False, "bypassrls": True})
        (change,) = plan_attributes(role, like, ROOT)
        assert change.statement == 'ALTER ROLE "b" INHERIT CREATEDB NOBYPASSRLS CONNECTION LIMIT 5'
        (only,) = plan_attributes(role, like, ROOT, whole=False, with_limit=False)
        assert only.statement == 'ALTER ROLE "b" INHERIT CREATEDB'

    def test_membership_options_since_16_and_before(self) -> None:
        want = Options(admin=True, inherit=False, set_role=True)
        (new,) = plan_membership("x", "b", None, want, ROOT, "b")
        assert new.statement == 'GRANT "x" TO "b" WITH ADMIN TRUE, INHERIT FALSE, SET TRUE'
        old_root = replace(ROOT, version=150000)
        (old,) = plan_membership("x", "b", None, Options(admin=True), old_root, "b")
        assert old.statement == 'GRANT "x" TO "b" WITH ADMIN OPTION'

    def test_a_weaker_membership_replaces_every_grantors_gift(self) -> None:
        have = Options(admin=True, grantors=("g", "h"))
        (change,) = plan_membership("x", "b", have, Options(), ROOT, "b")
        assert change.statement == (
            'REVOKE "x" FROM "b" GRANTED BY "g"; REVOKE "x" FROM "b" GRANTED BY "h"; '
            'GRANT "x" TO "b" WITH ADMIN FALSE, INHERIT TRUE, SET TRUE'
        )

    def test_a_settings_value_is_never_in_the_statement(self) -> None:
        setting = Setting("", "app.token")
        (change,) = plan_settings({setting: SettingState("d1g3st")}, Observed("b"), "a", (), True)
        assert "d1g3st" not in change.statement
        assert dict(change.settings)["keyturn.parameter"] == "app.token"
        same = Observed("b", settings={setting: SettingState("d1g3st")})
        assert plan_settings({setting: SettingState("d1g3st")}, same, "a", (), True) == []

    def test_a_setting_of_its_own_is_reset(self) -> None:
        target = Observed("b", settings={Setting("d b", "app.x"): SettingState("1")})
        (change,) = plan_settings({}, target, "a", (), True)
        assert change.statement == 'ALTER ROLE "b" IN DATABASE "d b" RESET "app"."x"'

    @pytest.mark.parametrize(
        ("path", "changed"),
        [
            ('"$user", public', '"a b", public'),
            ("$user,public", '"a b",public'),
            ('public, "$user"', 'public, "a b"'),
            ("public", "public"),
            ('"x$user"', '"x$user"'),
        ],
    )
    def test_the_schema_of_the_name_is_written_out(self, path: str, changed: str) -> None:
        assert with_schema(path, "a b") == changed
