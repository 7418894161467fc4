-- Agents whose state the caller has just committed: their rows are locked, and what a revision does not tell is read.
create function hold_known_agents(p_client text, p_agents text[], p_revisions bigint[])
returns table (
    agent_id text, client text, last_heartbeat_at timestamptz, last_decision_at timestamptz, due_at timestamptz,
    instance_ids text[], seen_at timestamptz[]
) language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    free text[];
begin
    -- a statement of its own: the rows below are read by the next one, after the locks are held (GR-1)
    select array_agg(held.agent_id) into free from (
        select a.agent_id from unnest(p_agents, p_revisions) known (agent_id, revision)
        join agents a on a.client_id = p_client and a.agent_id = known.agent_id and a.revision = known.revision
        where a.merged_into is null
        order by a.agent_id for no key update of a skip locked
    ) held;
    return query select a.agent_id, row_to_json(c)::text, a.last_heartbeat_at, a.last_decision_at, a.due_at,
            array_agg(i.instance_id), array_agg(i.last_seen_at)
        from agents a
        join clients c on c.client_id = a.client_id
        left join instances i on i.client_id = a.client_id and i.agent_id = a.agent_id and i.last_seen_at is not null
        where a.client_id = p_client and a.agent_id = any(free)
        group by a.client_id, a.agent_id, c.client_id;
end $$;

create or replace function warm_up() returns void language plpgsql as $$
begin
    perform load_agent('', '', now(), '{}', '{}', '{}', '{}', true);
    perform load_free_agents('', '{}', now(), '{}', '{}', '{}', '{}');
    perform hold_known_agents('', '{}', '{}');
    perform market_of('', '', '', now(), now());
    perform save_agent('{"agents": [], "instances": [], "incidents": [], "replicas": [], "commands": [],
        "switches": [], "opened_periods": [], "events": [], "notifications": [], "outbox": []}');
end $$;
