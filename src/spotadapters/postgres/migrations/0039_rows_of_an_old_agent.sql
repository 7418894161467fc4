-- An agent that has run for years has thousands of machines, replicas and incidents that ended long ago. Each look at it went
-- through all of them to find the two that matter. These indexes know until when a row is part of its agent's life: what
-- is alive has no end, so that one range finds that and what ended lately. They stand in for those by agent alone.
create function alive_until(is_over boolean, ended_at timestamptz) returns timestamptz
language sql immutable parallel safe as $$ select case when is_over then ended_at else 'infinity' end $$;

create index instances_in_life on instances
    (agent_id, client_id, alive_until(status in ('terminated', 'released'), greatest(terminated_at, released_at, created_at)));
drop index instances_by_agent;
create index replicas_in_life on replicas
    (agent_id, client_id, alive_until(state not in ('launching', 'syncing', 'ready'), greatest(ended_at, created_at)));
drop index replicas_of_agent;
create index commands_in_life on commands
    (agent_id, client_id, alive_until(state not in ('pending', 'executing'), finished_at));
drop index commands_of_agent;
create index incidents_in_life on incidents
    (agent_id, client_id, alive_until(state in ('resolved', 'cleared'), closed_at));
drop index incidents_of_agent;

-- As in 0037, by these indexes. What a call names is looked up by its own name: "is true" keeps the agent out of the index
-- conditions there, for an index by agent would look as good to the planner. Primary periods do not overlap (I8), so
-- that those that ended lately, and the last one, are among those that began no earlier than the one before p_since.
-- "greatest" ignores null, and row-level security lets it into an index condition; it holds "coalesce" for leaky.
create or replace function agent_documents(
    p_client text, p_agents text[], p_since timestamptz, p_cloud_ids text[], p_instance_ids text[],
    p_replica_ids text[], p_command_ids text[]
) returns table (agent_id text, doc text) language sql stable as $$
    select a.agent_id, json_build_object(
        'client', row_to_json(c),
        'agent', row_to_json(a),
        'instances', (select json_agg(t.found) from (
            select row_to_json(i) as found from instances i
            where i.client_id = a.client_id and i.agent_id = a.agent_id
              and alive_until(i.status in ('terminated', 'released'),
                              greatest(i.terminated_at, i.released_at, i.created_at)) > p_since
            union all
            select row_to_json(i) from instances i
            where i.cloud_id = any(p_cloud_ids) and (i.client_id = a.client_id) is true and (i.agent_id = a.agent_id) is true
              and alive_until(i.status in ('terminated', 'released'),
                              greatest(i.terminated_at, i.released_at, i.created_at)) <= p_since
            union all
            select row_to_json(i) from instances i
            where i.client_id = a.client_id and (i.agent_id = a.agent_id) is true
              and i.instance_id = any(p_instance_ids || array(
                  select r.instance_id from replicas r
                  where r.client_id = a.client_id and r.agent_id = a.agent_id
                    and alive_until(r.state not in ('launching', 'syncing', 'ready'),
                                    greatest(r.ended_at, r.created_at)) > p_since
                  union all
                  select r.instance_id from replicas r
                  where r.client_id = a.client_id and r.replica_id = any(p_replica_ids) and (r.agent_id = a.agent_id) is true))
              and (i.cloud_id = any(p_cloud_ids)) is not true
              and alive_until(i.status in ('terminated', 'released'),
                              greatest(i.terminated_at, i.released_at, i.created_at)) <= p_since) t),
        'replicas', (select json_agg(t.found) from (
            select row_to_json(r) as found from replicas r
            where r.client_id = a.client_id and r.agent_id = a.agent_id
              and alive_until(r.state not in ('launching', 'syncing', 'ready'), greatest(r.ended_at, r.created_at)) > p_since
            union all
            select row_to_json(r) from replicas r
            where r.client_id = a.client_id and r.replica_id = any(p_replica_ids) and (r.agent_id = a.agent_id) is true
              and alive_until(r.state not in ('launching', 'syncing', 'ready'), greatest(r.ended_at, r.created_at))
                  <= p_since) t),
        'commands', (select json_agg(t.found) from (
            select row_to_json(k) as found from commands k
            where k.client_id = a.client_id and k.agent_id = a.agent_id
              and alive_until(k.state not in ('pending', 'executing'), k.finished_at) > p_since
            union all
            select row_to_json(k) from commands k
            where k.client_id = a.client_id and k.command_id = any(p_command_ids) and (k.agent_id = a.agent_id) is true
              and (alive_until(k.state not in ('pending', 'executing'), k.finished_at) > p_since) is not true
            union all
            select row_to_json(k) from commands k
            where k.client_id = a.client_id and k.request_id = any(p_command_ids) and (k.agent_id = a.agent_id) is true
              and (k.command_id = any(p_command_ids)) is not true
              and (alive_until(k.state not in ('pending', 'executing'), k.finished_at) > p_since) is not true) t),
        'incidents', (select json_agg(row_to_json(n)) from incidents n
            where n.client_id = a.client_id and n.agent_id = a.agent_id
              and alive_until(n.state in ('resolved', 'cleared'), n.closed_at) > p_since),
        'switches', (select json_agg(row_to_json(s)) from switches s
            where (s.client_id = a.client_id) is true and s.agent_id = a.agent_id and s.recorded_at > p_since),
        'periods', (select json_agg(row_to_json(p) order by p.started_at, p.ended_at nulls last) from primary_periods p
            where p.client_id = a.client_id and p.agent_id = a.agent_id
              and p.started_at >= greatest('-infinity', (select max(q.started_at) from primary_periods q
                  where q.client_id = a.client_id and q.agent_id = a.agent_id and q.started_at <= p_since)))
    )::text
    from agents a join clients c on c.client_id = a.client_id
    where a.client_id = p_client and a.agent_id = any(p_agents)
$$;

-- As in 0037, but the machines are those that are part of the agent's life since p_since. The one without that is for processes of
-- the version before.
create function hold_known_agents(p_client text, p_agents text[], p_revisions bigint[], p_since timestamptz)
returns table (
    agent_id text, client text, last_heartbeat_at timestamptz, last_decision_at timestamptz, due_at timestamptz,
    instance_ids text[], seen_at timestamptz[]
) language plpgsql set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
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
        left join instances i on i.agent_id = a.agent_id and i.client_id = a.client_id and i.last_seen_at is not null
            and alive_until(i.status in ('terminated', 'released'),
                            greatest(i.terminated_at, i.released_at, i.created_at)) > p_since
        where (a.client_id = p_client) is true and a.agent_id = any(free)
        group by a.client_id, a.agent_id, c.client_id;
end $$;

-- As in 0035 and 0036, with that one.
create or replace function warm_up() returns void language plpgsql as $$
begin
    perform load_agent('', '', now(), '{}', '{}', '{}', '{}', true);
    perform load_free_agents('', '{}', now(), '{}', '{}', '{}', '{}');
    perform hold_known_agents('', '{}', '{}', now());
    perform market_of('', '', '', now(), now());
    perform save_agent('{"agents": [], "instances": [], "incidents": [], "replicas": [], "commands": [],
        "switches": [], "opened_periods": [], "events": [], "notifications": [], "outbox": []}');
end $$;

create or replace function rehearse(p_client jsonb, p_ready jsonb, p_moved jsonb) returns void language plpgsql as $$
declare
    v_client text := p_client ->> 'client_id';
    v_agents text[] := array(select a ->> 'agent_id' from jsonb_array_elements(p_moved -> 'agents') a);
begin
    begin
        insert into clients select * from jsonb_populate_record(null::clients, p_client);
        perform save_agent(p_ready);
        perform load_free_agents(v_client, v_agents, now(), '{}', '{}', '{}', '{}');
        perform market_of(v_client, '', '', now(), now());
        perform save_agent(p_moved);
        perform load_agent(v_client, v_agents[1], now(), '{}', '{}', '{}', '{}', true);
        perform hold_known_agents(v_client, v_agents, array_fill(0, array[cardinality(v_agents)])::bigint[], now());
        set constraints all immediate;
        raise exception 'undone' using errcode = 'SC001';
    exception when sqlstate 'SC001' then
        null;
    end;
end $$;

-- As in 0009, but from the machine to its agent whatever the planner believes: never from all agents to their machines.
create or replace function machine_bindings(name text)
returns table (
    client_id text, agent_id text, instance_id text, cloud_id text, is_ended boolean, status text, agent_life text
) language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    whose text := current_setting('spotcore.tenant', true);
begin
    perform set_config('spotcore.tenant', '*', true);
    return query
    select i.client_id, i.agent_id, i.instance_id, i.cloud_id, i.status in ('terminated', 'released'), i.status,
        (select a.life from agents a where a.client_id = i.client_id and a.agent_id = i.agent_id)
    from instances i
    where i.cloud_id = name
    order by i.status in ('terminated', 'released'), i.created_at desc;
    perform set_config('spotcore.tenant', coalesce(whose, ''), true);
end $$;
