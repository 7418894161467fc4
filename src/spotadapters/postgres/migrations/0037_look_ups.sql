-- The functions of the hot paths look rows up one by one, whatever the planner believes of the tables' sizes: until a
-- first ANALYZE it takes them for tiny, and after one it may for a minute take a fleet that has just grown for what it was.
-- Each heartbeat was then compared with every agent, and its machine looked for among all machines of its client.
alter function pulse_rows(jsonb) rows 1;

-- By what finds few rows first: an index that begins with the client looks as good to the planner as the one that finds a
-- single row, and may hold all of a client's rows.
drop index i13_logical_id_unique;
create unique index i13_logical_id_unique on agents (logical_agent_id, client_id) where life <> 'deleted';
create index instances_by_agent on instances (agent_id, client_id);
drop index instances_of_agent;
create index replicas_by_instance on replicas (instance_id, client_id);
drop index replicas_of_instance;
create index switches_by_new_machine on switches (new_instance_id, client_id);
drop index switches_by_new;
create index switches_by_old_machine on switches (old_instance_id, client_id);
drop index switches_by_old;
create index switches_by_agent on switches (agent_id, client_id, recorded_at desc);
drop index switches_of_agent;

-- As in 0033, but replicas are looked for among the agent's: the planner had all replicas of all clients hashed as soon as
-- one machine of the agent had ended long ago. "is true" keeps the client out of the index conditions: an agent's id is
-- nobody else's, and what is chosen by the client first may be as long as a table.
create or replace function agent_documents(
    p_client text, p_agents text[], p_since timestamptz, p_cloud_ids text[], p_instance_ids text[],
    p_replica_ids text[], p_command_ids text[]
) returns table (agent_id text, doc text) language sql stable as $$
    select a.agent_id, json_build_object(
        'client', row_to_json(c),
        'agent', row_to_json(a),
        'instances', (select json_agg(row_to_json(i)) from instances i
            where i.client_id = a.client_id and i.agent_id = a.agent_id
              and (i.status not in ('terminated', 'released')
                   or greatest(i.terminated_at, i.released_at, i.created_at) > p_since
                   or i.cloud_id = any(p_cloud_ids) or i.instance_id = any(p_instance_ids)
                   or i.instance_id = any(array(
                       select r.instance_id from replicas r where r.client_id = a.client_id and r.agent_id = a.agent_id
                       and (r.replica_id = any(p_replica_ids) or coalesce(r.ended_at, r.created_at) > p_since))))),
        'replicas', (select json_agg(row_to_json(r)) from replicas r
            where r.client_id = a.client_id and r.agent_id = a.agent_id
              and (r.state in ('launching', 'syncing', 'ready') or coalesce(r.ended_at, r.created_at) > p_since
                   or r.replica_id = any(p_replica_ids))),
        'commands', (select json_agg(row_to_json(k)) from commands k
            where k.client_id = a.client_id and k.agent_id = a.agent_id
              and (k.state in ('pending', 'executing') or k.finished_at > p_since
                   or k.command_id = any(p_command_ids) or k.request_id = any(p_command_ids))),
        'incidents', (select json_agg(row_to_json(n)) from incidents n
            where n.client_id = a.client_id and n.agent_id = a.agent_id
              and (n.state not in ('resolved', 'cleared') or n.closed_at > p_since)),
        'switches', (select json_agg(row_to_json(s)) from switches s
            where (s.client_id = a.client_id) is true and s.agent_id = a.agent_id and s.recorded_at > p_since),
        'periods', (select json_agg(row_to_json(p) order by p.started_at, p.ended_at nulls last) from primary_periods p
            where p.client_id = a.client_id and p.agent_id = a.agent_id
              and (p.ended_at is null or p.ended_at > p_since
                   or p.started_at = (select max(q.started_at) from primary_periods q
                                      where q.client_id = a.client_id and q.agent_id = a.agent_id)))
    )::text
    from agents a join clients c on c.client_id = a.client_id
    where a.client_id = p_client and a.agent_id = any(p_agents)
$$;

-- As in 0035, by agents alone.
create or replace function hold_known_agents(p_client text, p_agents text[], p_revisions bigint[])
returns table (
    agent_id text, client text, last_heartbeat_at timestamptz, last_decision_at timestamptz, due_at timestamptz,
    instance_ids text[], seen_at timestamptz[]
) language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    free text[];
begin
    -- a statement of its own: the rows below are read by the next one, after the locks are held (GR-1)
    select array_agg(held.agent_id) into free from (
        select a.agent_id from agents a
        where a.agent_id = any(p_agents) and (a.client_id = p_client) is true
          and a.revision = p_revisions[array_position(p_agents, a.agent_id)] and a.merged_into is null
        order by a.agent_id for no key update of a skip locked
    ) held;
    return query select a.agent_id, row_to_json(c)::text, a.last_heartbeat_at, a.last_decision_at, a.due_at,
            array_agg(i.instance_id), array_agg(i.last_seen_at)
        from agents a
        join clients c on c.client_id = a.client_id
        left join instances i on i.agent_id = a.agent_id and (i.client_id = a.client_id) is true
            and i.last_seen_at is not null
        where (a.client_id = p_client) is true and a.agent_id = any(free)
        group by a.client_id, a.agent_id, c.client_id;
end $$;

-- As in 0032, but whether a client has an open incident in a pool is asked of the pool: in a storm of a thousand notices
-- each decision went through all of the client's incidents for each pool.
create or replace function market_of(
    p_client text, p_instance_type text, p_region text, p_fresh_since timestamptz, p_week_ago timestamptz
) returns text language plpgsql set plan_cache_mode = force_generic_plan as $$
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
                   from price_buckets b where b.pool_id between w.pool_id and w.pool_id and b.source <> 'interpolated'
                   order by b.pool_id desc, b.bucket_start desc limit 1),
        'own', (select jsonb_build_object('price', r.price, 'observed_at', r.observed_at)
                from raw_prices r where r.client_id = p_client and r.pool_id = w.pool_id
                  and r.observed_at >= p_fresh_since
                order by r.observed_at desc, array_position(
                    array['primary', 'emergency_replica', 'manual_replica', 'backfill'], r.source), r.submission_id
                limit 1),
        'recent', (select jsonb_agg(t.price order by t.bucket_start) from (
                       select b.price, b.bucket_start from price_buckets b
                       where b.pool_id between w.pool_id and w.pool_id and b.source <> 'interpolated'
                       order by b.pool_id desc, b.bucket_start desc limit 10) t),
        -- ten are as bad as a thousand (4.3)
        'incidents', (select count(*) from (select 1 from incidents n
                      where n.pool_id between w.pool_id and w.pool_id and n.opened_at >= p_week_ago
                      order by n.pool_id, n.opened_at desc limit 10) t),
        'own_open', exists (select 1 from incidents n where n.pool_id = w.pool_id and (n.client_id = p_client) is true
                            and n.state not in ('resolved', 'cleared')),
        'open', exists (select 1 from incidents n where n.pool_id = w.pool_id and n.severity = 'termination'
                        and n.state not in ('resolved', 'cleared')),
        'boot', (select jsonb_build_object('mean', avg(t.seconds), 'samples', count(*)) from (
                     select extract(epoch from i.confirmed_at - i.launch_requested_at) as seconds from instances i
                     where i.pool_id = w.pool_id and i.confirmed_at is not null and i.launch_requested_at is not null
                       and i.status <> 'launching'
                     order by i.confirmed_at desc limit 50) t)
    )) from wanted w),
    'ondemand', (select jsonb_build_object('price', o.price, 'observed_at', o.observed_at, 'flagged', o.flagged)
                 from ondemand_prices o where o.instance_type = p_instance_type and o.region = p_region
                 order by o.flagged, o.observed_at desc limit 1)
)::text);
    perform set_config('spotcore.tenant', coalesce(whose, ''), true);
    return market;
end $$;

do $$
declare
    hot regprocedure;
begin
    foreach hot in array array[
        'note_pulses(jsonb)', 'idle_polls(jsonb)', 'record_reports(jsonb)', 'save_agent(jsonb)',
        'load_agent(text, text, timestamptz, text[], text[], text[], text[], boolean)',
        'load_free_agents(text, text[], timestamptz, text[], text[], text[], text[])',
        'hold_known_agents(text, text[], bigint[])', 'market_of(text, text, text, timestamptz, timestamptz)'
    ]::regprocedure[] loop
        execute format('alter function %s set enable_seqscan = off', hot);
        execute format('alter function %s set enable_hashjoin = off', hot);
        execute format('alter function %s set enable_mergejoin = off', hot);
    end loop;
end $$;
