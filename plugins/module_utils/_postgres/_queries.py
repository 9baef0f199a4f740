# Copyright (c) 2026, the keyturn.runbooks contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The questions that are asked of the catalogs about roles' rights. All of them can be asked by everybody.

``pg_shdepend`` says for each role which objects in which database name it in their access list, their policies or as their
owner: so only those databases are visited and only those objects are looked at.
"""

from __future__ import annotations

DATABASES = """
SELECT d.datname::text, d.datallowconn, has_database_privilege(d.oid, 'CONNECT')
  FROM pg_database d
 WHERE d.oid IN (SELECT dbid FROM pg_shdepend
                  WHERE dbid <> 0 AND refclassid = 'pg_authid'::regclass AND refobjid = ANY(%(oids)s))
 ORDER BY 1
"""

_WANTED = """
WITH wanted AS (
  SELECT DISTINCT s.classid, s.objid, s.objsubid FROM pg_shdepend s
   WHERE s.dbid = {database} AND s.refclassid = 'pg_authid'::regclass AND s.refobjid = ANY(%(oids)s) AND s.deptype = 'a'
), things AS (
  {things}
)
SELECT t.kind, t.target, t.part, e.grantee, pg_get_userbyid(e.grantee)::text, e.privilege_type, e.is_grantable,
       CASE WHEN t.owner = 0 THEN '' ELSE pg_get_userbyid(t.owner)::text END, e.grantor,
       pg_get_userbyid(e.grantor)::text,
       CASE t.kind {checks} ELSE pg_has_role(t.owner, 'USAGE') END
  FROM things t CROSS JOIN LATERAL aclexplode(t.acl) e
 WHERE e.grantee <> t.owner AND (e.grantee = ANY(%(oids)s) OR (e.grantor = ANY(%(oids)s) AND e.grantor <> t.owner))
"""

_LOCAL_THINGS = """
  SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.oid, 0 AS attnum,
         format('%%I.%%I', n.nspname, c.relname) AS target, '' AS part, c.relowner AS owner, c.relacl AS acl
    FROM wanted w JOIN pg_class c ON w.classid = 'pg_class'::regclass AND w.objsubid = 0 AND c.oid = w.objid
    JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relpersistence <> 't'
  UNION ALL
  SELECT 'TABLE', c.oid, a.attnum, format('%%I.%%I', n.nspname, c.relname), quote_ident(a.attname), c.relowner, a.attacl
    FROM wanted w JOIN pg_class c ON w.classid = 'pg_class'::regclass AND w.objsubid <> 0 AND c.oid = w.objid
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = w.objsubid AND NOT a.attisdropped
    JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relpersistence <> 't'
  UNION ALL
  SELECT 'SCHEMA', n.oid, 0, quote_ident(n.nspname), '', n.nspowner, n.nspacl
    FROM wanted w JOIN pg_namespace n ON w.classid = 'pg_namespace'::regclass AND n.oid = w.objid
   WHERE n.nspname !~ '^pg_(toast_)?temp_'
  UNION ALL
  SELECT 'ROUTINE', p.oid, 0, i.identity, '', p.proowner, p.proacl
    FROM wanted w JOIN pg_proc p ON w.classid = 'pg_proc'::regclass AND p.oid = w.objid
   CROSS JOIN LATERAL pg_identify_object('pg_proc'::regclass, p.oid, 0) i
  UNION ALL
  SELECT 'TYPE', y.oid, 0, format('%%I.%%I', n.nspname, y.typname), '', y.typowner, y.typacl
    FROM wanted w JOIN pg_type y ON w.classid = 'pg_type'::regclass AND y.oid = w.objid
    JOIN pg_namespace n ON n.oid = y.typnamespace
  UNION ALL
  SELECT 'LANGUAGE', l.oid, 0, quote_ident(l.lanname), '', l.lanowner, l.lanacl
    FROM wanted w JOIN pg_language l ON w.classid = 'pg_language'::regclass AND l.oid = w.objid
  UNION ALL
  SELECT 'FOREIGN DATA WRAPPER', f.oid, 0, quote_ident(f.fdwname), '', f.fdwowner, f.fdwacl
    FROM wanted w JOIN pg_foreign_data_wrapper f ON w.classid = 'pg_foreign_data_wrapper'::regclass AND f.oid = w.objid
  UNION ALL
  SELECT 'FOREIGN SERVER', f.oid, 0, quote_ident(f.srvname), '', f.srvowner, f.srvacl
    FROM wanted w JOIN pg_foreign_server f ON w.classid = 'pg_foreign_server'::regclass AND f.oid = w.objid
  UNION ALL
  SELECT 'LARGE OBJECT', m.oid, 0, m.oid::text, '', m.lomowner, m.lomacl
    FROM wanted w JOIN pg_largeobject_metadata m ON w.classid = 'pg_largeobject'::regclass AND m.oid = w.objid
"""

_SHARED_THINGS = """
  SELECT 'DATABASE' AS kind, d.oid, 0 AS attnum, quote_ident(d.datname) AS target, '' AS part, d.datdba AS owner, d.datacl AS acl
    FROM wanted w JOIN pg_database d ON w.classid = 'pg_database'::regclass AND d.oid = w.objid
  UNION ALL
  SELECT 'TABLESPACE', s.oid, 0, quote_ident(s.spcname), '', s.spcowner, s.spcacl
    FROM wanted w JOIN pg_tablespace s ON w.classid = 'pg_tablespace'::regclass AND s.oid = w.objid
"""

_PARAMETERS = """
  UNION ALL
  SELECT 'PARAMETER', p.oid, 0,
         (SELECT string_agg(quote_ident(part), '.' ORDER BY number)
            FROM unnest(string_to_array(p.parname, '.')) WITH ORDINALITY AS parts(part, number)), '', 0, p.paracl
    FROM wanted w JOIN pg_parameter_acl p ON w.classid = 'pg_parameter_acl'::regclass AND p.oid = w.objid
"""

_OPTION = "e.privilege_type || ' WITH GRANT OPTION'"

_LOCAL_CHECKS = f"""
       WHEN 'TABLE' THEN CASE WHEN t.attnum = 0 THEN has_table_privilege(t.oid, {_OPTION})
                              ELSE has_column_privilege(t.oid, t.attnum::int2, {_OPTION}) END
       WHEN 'SEQUENCE' THEN has_sequence_privilege(t.oid, {_OPTION})
       WHEN 'SCHEMA' THEN has_schema_privilege(t.oid, {_OPTION})
       WHEN 'ROUTINE' THEN has_function_privilege(t.oid, {_OPTION})
       WHEN 'TYPE' THEN has_type_privilege(t.oid, {_OPTION})
       WHEN 'LANGUAGE' THEN has_language_privilege(t.oid, {_OPTION})
       WHEN 'FOREIGN DATA WRAPPER' THEN has_foreign_data_wrapper_privilege(t.oid, {_OPTION})
       WHEN 'FOREIGN SERVER' THEN has_server_privilege(t.oid, {_OPTION})
"""

_SHARED_CHECKS = f"""
       WHEN 'DATABASE' THEN has_database_privilege(t.oid, {_OPTION})
       WHEN 'TABLESPACE' THEN has_tablespace_privilege(t.oid, {_OPTION})
"""

_PARAMETER_CHECK = f"""
       WHEN 'PARAMETER' THEN has_parameter_privilege(replace(t.target, '"', ''), {_OPTION})
"""

HERE = "(SELECT oid FROM pg_database WHERE datname = current_database())"

LOCAL_GRANTS = _WANTED.format(database=HERE, things=_LOCAL_THINGS, checks=_LOCAL_CHECKS)
"""Access lists inside of one database."""


def shared_grants(with_parameters: bool) -> str:
    """Access lists of what belongs to the whole server.

    :param with_parameters: the server knows rights on parameters (PostgreSQL 15).
    """
    things = _SHARED_THINGS + (_PARAMETERS if with_parameters else "")
    checks = _SHARED_CHECKS + (_PARAMETER_CHECK if with_parameters else "")
    return _WANTED.format(database="0", things=things, checks=checks)


DEFAULTS = """
SELECT pg_get_userbyid(d.defaclrole)::text, coalesce(quote_ident(n.nspname), ''), d.defaclobjtype::text,
       CASE WHEN e.grantee = 0 THEN '' ELSE pg_get_userbyid(e.grantee)::text END, e.privilege_type, e.is_grantable
  FROM pg_default_acl d
  LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
  LEFT JOIN LATERAL aclexplode(d.defaclacl) e ON true
 WHERE d.defaclrole = ANY(%(oids)s) OR e.grantee = ANY(%(oids)s)
"""

HARDWIRED = """
SELECT k.kind, CASE WHEN e.grantee = 0 THEN '' ELSE 'owner' END, e.privilege_type, e.is_grantable
  FROM unnest(%(kinds)s::text[], %(codes)s::text[]) AS k(kind, code)
 CROSS JOIN LATERAL aclexplode(acldefault(k.code::"char", 10::oid)) e
"""

POLICIES = """
SELECT format('%%I.%%I', n.nspname, c.relname), p.polname::text, pg_get_userbyid(c.relowner)::text,
       r.oid, cardinality(p.polroles) = 1
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL unnest(p.polroles) r(oid)
 WHERE r.oid = ANY(%(oids)s)
"""

MAPPINGS = """
SELECT s.srvname::text, m.umuser, pg_get_userbyid(s.srvowner)::text,
       encode(sha256(convert_to(coalesce((SELECT string_agg(o.option_name || '=' || o.option_value, E'\\n' ORDER BY o.option_name)
                                            FROM pg_options_to_table(m.umoptions) o), ''), 'UTF8')), 'hex')
  FROM pg_user_mapping m JOIN pg_foreign_server s ON s.oid = m.umserver
 WHERE m.umuser = ANY(%(oids)s)
"""

VISIBLE_MAPPINGS = """
SELECT m.srvname::text, m.umuser, pg_get_userbyid(s.srvowner)::text, ''
  FROM pg_user_mappings m JOIN pg_foreign_server s ON s.oid = m.srvid
 WHERE m.umuser = ANY(%(oids)s)
"""

_OWNED = """
SELECT d.refobjid, i.type, i.identity, {lacking}
  FROM pg_shdepend d CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) i
 WHERE d.dbid = {database} AND d.refclassid = 'pg_authid'::regclass AND d.refobjid = ANY(%(oids)s) AND d.deptype = 'o'
   AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)
   AND i.schema IS DISTINCT FROM 'pg_temp' AND coalesce(i.schema, '') !~ '^pg_(toast_)?temp_'
   AND NOT EXISTS (SELECT 1 FROM pg_depend s WHERE s.classid = 'pg_class'::regclass AND s.objid = d.objid
                      AND d.classid = 'pg_class'::regclass AND s.deptype IN ('a', 'i')
                      AND s.refclassid = 'pg_class'::regclass AND s.refobjsubid > 0)
 ORDER BY CASE i.type WHEN 'schema' THEN 0 WHEN 'table' THEN 1 WHEN 'foreign table' THEN 2 WHEN 'sequence' THEN 3
               WHEN 'materialized view' THEN 5 WHEN 'view' THEN 6 WHEN 'function' THEN 7 WHEN 'procedure' THEN 8 ELSE 4 END,
          d.objid
"""

_LACKING = """
       CASE WHEN i.type = 'schema' AND NOT has_database_privilege(d.refobjid, current_database(), 'CREATE')
                 AND NOT has_database_privilege(current_database(), 'CREATE')
            THEN format('GRANT CREATE ON DATABASE %%I TO %%I', current_database(), current_user)
            WHEN NOT (SELECT has_schema_privilege(d.refobjid, n.oid, 'CREATE') OR n.nspowner = ANY(%(oids)s)
                        FROM pg_namespace n WHERE i.schema IS NOT NULL AND n.nspname = (parse_ident(i.schema))[1])
            THEN format('GRANT CREATE ON SCHEMA %%s TO %%I', i.schema, pg_get_userbyid(d.refobjid)) ELSE '' END"""

OWNED = _OWNED.format(database=HERE, lacking=_LACKING)
"""What belongs to the roles in one database; sequences of columns go with their table, temporary things with their session."""

SHARED_OWNED = _OWNED.format(database="0", lacking="''")

GIVEN_MEMBERSHIPS = """
SELECT m.grantor, pg_get_userbyid(m.roleid)::text, pg_get_userbyid(m.member)::text FROM pg_auth_members m
 WHERE m.grantor = ANY(%(oids)s) AND m.member <> m.grantor AND m.roleid <> m.grantor ORDER BY 2, 3
"""
"""Since PostgreSQL 16, whoever gave a membership cannot be dropped."""

NAME_POLICIES = """
SELECT format('%%I.%%I', n.nspname, c.relname), p.polname::text
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (SELECT concat_ws(' ', pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))) x(text)
 WHERE c.relrowsecurity
   AND (x.text ~* %(words)s OR strpos(x.text, quote_literal(%(like)s)) > 0)
   AND (0::oid = ANY(p.polroles) OR EXISTS (SELECT 1 FROM unnest(p.polroles) r(oid) WHERE pg_has_role(%(like)s, r.oid, 'MEMBER')))
   AND has_table_privilege(%(like)s, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
 ORDER BY 1, 2
"""

HAS_SCHEMA = "SELECT 1 FROM pg_namespace WHERE nspname = %(like)s"

DATABASE_SEARCH_PATHS = """
SELECT coalesce(d.datname::text, ''), substr(c.line, strpos(c.line, '=') + 1)
  FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase CROSS JOIN LATERAL unnest(s.setconfig) c(line)
 WHERE s.setrole = 0 AND split_part(c.line, '=', 1) = 'search_path'
"""

SERVER_SEARCH_PATH = """
SELECT CASE WHEN source IN ('default', 'configuration file') THEN reset_val ELSE '"$user", public' END
  FROM pg_settings WHERE name = 'search_path'
"""
