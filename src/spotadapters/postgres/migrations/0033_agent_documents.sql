-- What is read of an agent is written out as text at once, without the detour over jsonb (a third of the cost), and for
-- several agents by one statement: to begin one costs more than what it then reads of an agent.
create function agent_documents(
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
                   or exists (select 1 from replicas r where r.client_id = i.client_id
                              and r.instance_id = i.instance_id
                              and (r.replica_id = any(p_replica_ids) or coalesce(r.ended_at, r.created_at) > p_since)))),
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
            where s.client_id = a.client_id and s.agent_id = a.agent_id and s.recorded_at > p_since),
        'periods', (select json_agg(row_to_json(p) order by p.started_at, p.ended_at nulls last) from primary_periods p
            where p.client_id = a.client_id and p.agent_id = a.agent_id
              and (p.ended_at is null or p.ended_at > p_since
                   or p.started_at = (select max(q.started_at) from primary_periods q
                                      where q.client_id = a.client_id and q.agent_id = a.agent_id)))
    )::text
    from agents a join clients c on c.client_id = a.client_id
    where a.client_id = p_client and a.agent_id = any(p_agents)
$$;

create or replace function load_agent(
    p_client text, p_agent text, p_since timestamptz, p_cloud_ids text[], p_instance_ids text[], p_replica_ids text[],
    p_command_ids text[], p_lock boolean
) returns text language plpgsql set plan_cache_mode = force_generic_plan as $$
begin
    -- calls under the id of an agent that turned out to be a launched machine count for the one that launched it
    p_agent := coalesce((select merged_into from agents where client_id = p_client and agent_id = p_agent), p_agent);
    if p_lock then
        -- a statement of its own: the rows below are read by the next one, after the lock is held (GR-1)
        perform 1 from agents where client_id = p_client and agent_id = p_agent for no key update;
    end if;
    return (select d.doc from agent_documents(
        p_client, array[p_agent], p_since, p_cloud_ids, p_instance_ids, p_replica_ids, p_command_ids) d);
end $$;

create or replace function load_free_agents(
    p_client text, p_agents text[], p_since timestamptz, p_cloud_ids text[], p_instance_ids text[],
    p_replica_ids text[], p_command_ids text[]
) returns table (agent_id text, doc text) language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    free text[];
begin
    select array_agg(held.agent_id) into free from (
        select a.agent_id from agents a
        where a.client_id = p_client and a.agent_id = any(p_agents) and a.merged_into is null
        order by a.agent_id for no key update skip locked
    ) held;
    return query select d.agent_id, d.doc from agent_documents(
        p_client, free, p_since, p_cloud_ids, p_instance_ids, p_replica_ids, p_command_ids) d;
end $$;
