-- Agents whose time has come and that have an open incident, in the order of their turns: a forced promotion does not wait behind
-- twenty thousand agents that fell silent (5.4). Open incidents are few, and the index that holds them alone finds them; each one's
-- agent is looked up by its key. "is true" keeps the planner from going through all that are due instead, which is the same
-- mass of agents, and the sub-select from joining at all.
create function pressed_agents(p_now timestamptz, p_since timestamptz, p_behind text, p_limit integer)
returns table (client_id text, agent_id text, due_at timestamptz) language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
begin
    return query
    with troubled as materialized (
        select distinct n.client_id, n.agent_id from incidents n where n.state not in ('resolved', 'cleared')
    ), turns as materialized (
        select t.client_id, t.agent_id, (
            select a.due_at from agents a
            where a.client_id = t.client_id and a.agent_id = t.agent_id
              and (a.life <> 'deleted') is true and (a.due_at <= p_now) is true) as due_at
        from troubled t
    )
    select q.client_id, q.agent_id, q.due_at from turns q
    where q.due_at > p_since or q.due_at = p_since and q.agent_id collate "C" > p_behind
    order by q.due_at, q.agent_id collate "C" limit p_limit;
end $$;
