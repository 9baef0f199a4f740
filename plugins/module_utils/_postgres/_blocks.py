# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statements that read what they copy on the server itself, so that no value passes through a statement or a log.

They are constant: the names that they work on come as parameters of the transaction.
"""

from __future__ import annotations

from typing import Tuple

Settings = Tuple[Tuple[str, str], ...]

COPY_SETTING = """DO $keyturn$
DECLARE
  parameter text := current_setting('keyturn.parameter');
  place text := current_setting('keyturn.database');
  quoted text := (SELECT string_agg(quote_ident(part), '.' ORDER BY number)
                    FROM unnest(string_to_array(parameter, '.')) WITH ORDINALITY AS parts(part, number));
  value text;
BEGIN
  SELECT substr(c.line, strpos(c.line, '=') + 1) INTO STRICT value
    FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) c(line)
   WHERE s.setrole = (SELECT oid FROM pg_roles WHERE rolname = current_setting('keyturn.like'))
     AND s.setdatabase = CASE WHEN place = '' THEN 0 ELSE (SELECT oid FROM pg_database WHERE datname = place) END
     AND split_part(c.line, '=', 1) = parameter;
  place := CASE WHEN place = '' THEN '' ELSE format(' IN DATABASE %I', place) END;
  IF lower(parameter) IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries') THEN
    -- Lists are kept already quoted: only FROM CURRENT takes them as they are.
    PERFORM set_config(parameter, value, true);
    EXECUTE format('ALTER ROLE %I%s SET %s FROM CURRENT', current_setting('keyturn.role'), place, quoted);
  ELSE
    EXECUTE format('ALTER ROLE %I%s SET %s TO %L', current_setting('keyturn.role'), place, quoted, value);
  END IF;
EXCEPTION WHEN OTHERS THEN
  -- The error's own text would put the statement, and so the value, into the log.
  RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = 'the setting could not be copied';
END $keyturn$"""

COPY_MAPPING = """DO $keyturn$
DECLARE
  options text;
BEGIN
  SELECT string_agg(format('%I %L', o.option_name, o.option_value), ', ') INTO options
    FROM pg_user_mapping m JOIN pg_foreign_server s ON s.oid = m.umserver
   CROSS JOIN LATERAL pg_options_to_table(m.umoptions) o
   WHERE s.srvname = current_setting('keyturn.server')
     AND m.umuser = (SELECT oid FROM pg_roles WHERE rolname = current_setting('keyturn.like'));
  EXECUTE format('DROP USER MAPPING IF EXISTS FOR %I SERVER %I',
                 current_setting('keyturn.role'), current_setting('keyturn.server'));
  EXECUTE format('CREATE USER MAPPING FOR %I SERVER %I', current_setting('keyturn.role'), current_setting('keyturn.server'))
          || coalesce(' OPTIONS (' || options || ')', '');
EXCEPTION WHEN OTHERS THEN
  RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = 'the user mapping could not be copied';
END $keyturn$"""

CHANGE_POLICY = """DO $keyturn$
DECLARE
  target regclass := current_setting('keyturn.table')::regclass;
  named text;
BEGIN
  -- The list of roles is read under the lock: another credential's role may be added to it at the same time.
  EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', target);
  SELECT string_agg(CASE WHEN who.role = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(who.role)) END, ', ') INTO named
    FROM (SELECT unnest(polroles) AS role FROM pg_policy
           WHERE polrelid = target AND polname = current_setting('keyturn.policy')
          UNION SELECT oid FROM pg_roles WHERE rolname = current_setting('keyturn.add')
          EXCEPT SELECT oid FROM pg_roles WHERE rolname = current_setting('keyturn.remove')) AS who;
  IF named IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'the policy would name nobody';
  END IF;
  EXECUTE format('ALTER POLICY %I ON %s TO %s', current_setting('keyturn.policy'), target, named);
END $keyturn$"""


def setting_names(role: str, like: str, database: str, parameter: str) -> Settings:
    """What :data:`COPY_SETTING` reads."""
    return (
        ("keyturn.role", role),
        ("keyturn.like", like),
        ("keyturn.database", database),
        ("keyturn.parameter", parameter),
    )


def mapping_names(role: str, like: str, server: str) -> Settings:
    """What :data:`COPY_MAPPING` reads."""
    return (("keyturn.role", role), ("keyturn.like", like), ("keyturn.server", server))


def policy_names(table: str, policy: str, add: str = "", remove: str = "") -> Settings:
    """What :data:`CHANGE_POLICY` reads."""
    return (
        ("keyturn.table", table),
        ("keyturn.policy", policy),
        ("keyturn.add", add),
        ("keyturn.remove", remove),
    )
