-- Since PostgreSQL 16 whoever makes a role is its member and may grant it, but not take it ("set") without a grant.
-- What others or extensions keep in the same schema is not asked about: whoever owns the list of migrations owns ours.
-- name: rights_lacking
select case
    when r.oid is null then
        'the role spotcore_app is missing, as after a restore on another server; first: spotcore migrate'
    when not pg_has_role(r.oid, taking) then
        'this login may not take the role spotcore_app; first: grant spotcore_app to ' || quote_ident(current_user)
    when exists (
        select 1 from pg_class c
        join pg_class known on known.oid = to_regclass('schema_migrations') and known.relowner = c.relowner
        where c.relnamespace = known.relnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition
          and not exists (select 1 from pg_depend d where d.objid = c.oid and d.deptype = 'e')
          and not (has_table_privilege(r.oid, c.oid, 'select') and has_table_privilege(r.oid, c.oid, 'insert')
                   and has_table_privilege(r.oid, c.oid, 'update') and has_table_privilege(r.oid, c.oid, 'delete'))
    ) then
        'the role spotcore_app may not use all tables, as after a restore on another server; first: spotcore migrate'
    end
from (select case when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end as taking) this
left join pg_roles r on r.rolname = 'spotcore_app';

-- Whether migration 0009 has what it needs. Until PostgreSQL 16 who makes roles could also grant those of others.
-- name: rights_to_make
select 'let an administrator run: ' || case when app.oid is null then
    'alter role ' || quote_ident(current_user) || ' createrole (or: create role spotcore_app nologin; grant spotcore_app to '
        || quote_ident(current_user) || ')'
    else 'grant spotcore_app to ' || quote_ident(current_user) end || '; then: spotcore migrate'
from pg_roles me left join pg_roles app on app.rolname = 'spotcore_app'
where me.rolname = current_user and not me.rolsuper
    and case when app.oid is null then not me.rolcreaterole
        else not pg_has_role(app.oid, 'member')
            and not (me.rolcreaterole and current_setting('server_version_num')::integer < 160000) end;

-- Migration 0009 once more, for what is there by now. Weeks of prices are reached through their table alone (0015).
-- name: rights_give
do $$
declare
    place text := quote_ident(current_schema());
    own regclass;
begin
    begin
        if not exists (select 1 from pg_roles where rolname = 'spotcore_app') then
            create role spotcore_app nologin;
        end if;
        if not pg_has_role(current_user, 'spotcore_app', case
                when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end) then
            execute 'grant spotcore_app to ' || quote_ident(current_user);
        end if;
    exception
        when insufficient_privilege then
            raise exception using message = 'this login may not make or take the role spotcore_app: let an administrator'
                ' run once: create role spotcore_app nologin; grant spotcore_app to ' || quote_ident(current_user);
    end;
    execute 'grant usage on schema ' || place || ' to spotcore_app';
    execute 'grant usage on all sequences in schema ' || place || ' to spotcore_app';
    execute 'alter default privileges in schema ' || place || ' grant usage on sequences to spotcore_app';
    execute 'alter default privileges in schema ' || place
        || ' grant select, insert, update, delete on tables to spotcore_app';
    for own in
        select c.oid from pg_class c
        join pg_class known on known.oid = to_regclass('schema_migrations') and known.relowner = c.relowner
        where c.relnamespace = known.relnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition
          and not exists (select 1 from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    loop
        execute 'grant select, insert, update, delete on ' || own || ' to spotcore_app';
    end loop;
end $$;
