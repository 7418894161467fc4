-- Several agents of one client in one transaction: those whose row nobody else holds, locked in the order of their ids.
-- The rows are read by a statement of its own, after the locks are held (GR-1). An agent that was merged into another one
-- is left to the call that looks for it alone.
create function load_free_agents(
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
    return query
        select one, load_agent(p_client, one, p_since, p_cloud_ids, p_instance_ids, p_replica_ids, p_command_ids, false)
        from unnest(free) one;
end $$;

create or replace function warm_up() returns void language plpgsql as $$
begin
    perform load_agent('', '', now(), '{}', '{}', '{}', '{}', true);
    perform load_free_agents('', '{}', now(), '{}', '{}', '{}', '{}');
    perform market_of('', '', '', now(), now());
    perform save_agent('{"agents": [], "instances": [], "incidents": [], "replicas": [], "commands": [],
        "switches": [], "opened_periods": [], "events": [], "notifications": [], "outbox": []}');
end $$;
