-- The second wall: the server works in a role that is not the owner, and every transaction says whose rows it may touch
-- (``spotcore.tenant``: a client's id, ``*`` for the operator and background work; unset or empty: nobody's).

do $$
begin
    if not exists (select 1 from pg_roles where rolname = 'spotcore_app') then
        begin
            create role spotcore_app nologin;
        exception
            when duplicate_object or unique_violation then null;  -- another database of the server just made it
        end;
    end if;
    if not pg_has_role(current_user, 'spotcore_app', 'member') then
        execute format('grant spotcore_app to %I', current_user);
    end if;
exception
    when insufficient_privilege then
        raise exception 'this login may not make or take the role spotcore_app: let an administrator run once: '
            'create role spotcore_app nologin; grant spotcore_app to %', quote_ident(current_user);
end $$;
do $$
begin
    execute format('grant usage on schema %I to spotcore_app', current_schema());
    execute format('alter default privileges in schema %I grant select, insert, update, delete on tables to spotcore_app',
                   current_schema());
    execute format('alter default privileges in schema %I grant usage on sequences to spotcore_app', current_schema());
    execute format('grant select, insert, update, delete on all tables in schema %I to spotcore_app', current_schema());
    execute format('grant usage on all sequences in schema %I to spotcore_app', current_schema());
end $$;

-- Every later migration that adds a tenant table calls this; a test finds the one that forgot.
create function wall_tenants(place regclass) returns void language plpgsql as $$
begin
    execute format('alter table %s enable row level security', place);
    execute format('alter table %s force row level security', place);
    execute format('create policy own_rows on %s
        using ((select nullif(current_setting(''spotcore.tenant'', true), '''')) in (client_id, ''*''))', place);
end $$;

-- Stored answers are keyed by opaque digests; whose they are is what the transaction said.
alter table idempotency_keys
    add column client_id text not null default coalesce(current_setting('spotcore.tenant', true), '');

select wall_tenants(place::regclass) from unnest(array[
    'clients', 'tokens', 'agents', 'instances', 'incidents', 'replicas', 'commands', 'switches', 'primary_periods',
    'outbox', 'raw_prices', 'decisions', 'ledger_lines', 'pricing_alerts', 'notification_reads', 'audit_events', 'idempotency_keys'
]) place;

-- A broadcast has no client: everybody reads it, the operator writes it.
alter table notifications enable row level security;
alter table notifications force row level security;
create policy own_rows on notifications
    using ((select current_setting('spotcore.tenant', true)) in (client_id, '*'));
create policy broadcasts on notifications for select
    using (client_id is null and (select current_setting('spotcore.tenant', true)) <> '');

-- What has to look across clients in a client's transaction does so here, and can give nothing else. (A SET clause of the function would be
-- shorter, but only superusers may write one for a setting of our own.)

create function machine_bindings(name text)
returns table (
    client_id text, agent_id text, instance_id text, cloud_id text, is_ended boolean, status text, agent_life text
) language plpgsql as $$
#variable_conflict use_column
declare
    whose text := current_setting('spotcore.tenant', true);
begin
    perform set_config('spotcore.tenant', '*', true);
    return query
    select i.client_id, i.agent_id, i.instance_id, i.cloud_id, i.status in ('terminated', 'released'), i.status, a.life
    from instances i join agents a on a.client_id = i.client_id and a.agent_id = i.agent_id
    where i.cloud_id = name
    order by i.status in ('terminated', 'released'), i.created_at desc;
    perform set_config('spotcore.tenant', coalesce(whose, ''), true);
end $$;

create function agent_exists_elsewhere(p_client text, p_agent text) returns boolean
language plpgsql as $$
declare
    known boolean;
    whose text := current_setting('spotcore.tenant', true);
begin
    perform set_config('spotcore.tenant', '*', true);
    known := exists (select 1 from agents where agent_id = p_agent and client_id <> p_client and life <> 'deleted');
    perform set_config('spotcore.tenant', coalesce(whose, ''), true);
    return known;
end $$;

-- How pools fare counts everybody's incidents and boots (4.3, 5.4); prices in force are the caller's own or a bucket's.
create function market_of(
    p_client text, p_instance_type text, p_region text, p_fresh_since timestamptz, p_week_ago timestamptz
) returns text language plpgsql as $$
declare
    market text;
    whose text := current_setting('spotcore.tenant', true);
begin
    perform set_config('spotcore.tenant', '*', true);
    market := (
with wanted as (
    select pool_id, first_observed_at from pools
    where instance_type = p_instance_type and (region = p_region or p_region is null)
)
select jsonb_build_object(
    'pools', (select jsonb_agg(jsonb_build_object(
        'pool_id', w.pool_id,
        'first_observed_at', w.first_observed_at,
        'latest', (select jsonb_build_object('price', b.price, 'observed_at', b.observed_at, 'confidence', b.confidence)
                   from price_buckets b where b.pool_id = w.pool_id and b.source <> 'interpolated'
                   order by b.bucket_start desc limit 1),
        'own', (select jsonb_build_object('price', r.price, 'observed_at', r.observed_at)
                from raw_prices r where r.client_id = p_client and r.pool_id = w.pool_id
                  and r.observed_at > p_fresh_since order by r.observed_at desc limit 1),
        'recent', (select jsonb_agg(t.price order by t.bucket_start) from (
                       select b.price, b.bucket_start from price_buckets b
                       where b.pool_id = w.pool_id and b.source <> 'interpolated'
                       order by b.bucket_start desc limit 10) t),
        'incidents', (select count(*) from incidents n where n.pool_id = w.pool_id and n.opened_at > p_week_ago),
        'own_open', exists (select 1 from incidents n where n.pool_id = w.pool_id and n.client_id = p_client
                            and n.state not in ('resolved', 'cleared')),
        'open', exists (select 1 from incidents n where n.pool_id = w.pool_id and n.severity = 'termination'
                        and n.state not in ('resolved', 'cleared')),
        'boot', (select jsonb_build_object('mean', avg(extract(epoch from i.confirmed_at - i.launch_requested_at)),
                                           'samples', count(*))
                 from instances i where i.pool_id = w.pool_id and i.confirmed_at is not null
                   and i.launch_requested_at is not null)
    )) from wanted w),
    'ondemand', (select jsonb_build_object('price', o.price, 'observed_at', o.observed_at, 'flagged', o.flagged)
                 from ondemand_prices o where o.instance_type = p_instance_type and o.region = p_region
                 order by o.flagged, o.observed_at desc limit 1)
)::text);
    perform set_config('spotcore.tenant', coalesce(whose, ''), true);
    return market;
end $$;
