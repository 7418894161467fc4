-- What others or extensions keep in the same schema is not asked about: whoever owns the list of migrations owns ours.
-- name: rights_lacking
select case
    when r.oid is null then
        'the role spotcore_app is missing, as after a restore on another server; first: spotcore migrate'
    when not pg_has_role(r.oid, 'member') then
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
from (values (0)) this left join pg_roles r on r.rolname = 'spotcore_app';

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
        if not pg_has_role(current_user, 'spotcore_app', 'member') then
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
