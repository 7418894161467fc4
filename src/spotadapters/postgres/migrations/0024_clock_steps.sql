-- A clock that is put back by more than a minute: what it has noted in the future is no sign of life for the time until
-- then. Processes differ by less, and a group may bring an older sign than the one before.
create function later_of(noted timestamptz, heard timestamptz) returns timestamptz language sql immutable as $$
    select case when noted > heard + interval '1 minute' then heard else greatest(noted, heard) end
$$;

-- Heartbeats that are only to be noted; the places of those that were. The others are judged one by one: their agent has
-- moved on, is being changed at this moment, or is no longer theirs. Agents are locked in the order of their keys.
create or replace function note_pulses(doc jsonb) returns setof integer language plpgsql as $$
begin
    return query
    with held as materialized (
        select p.*, a.due_at as due_before from pulse_rows(doc) p
        join agents a on a.client_id = p.client_id and a.agent_id = p.agent_id
        where a.revision = p.revision and a.life = 'live'
        order by a.client_id, a.agent_id
        for no key update of a skip locked
    ), heard as (
        update agents a set
            last_heartbeat_at = later_of(a.last_heartbeat_at, h.at),
            -- too early costs a look, and leaves the index alone; too late would cost a time-out
            due_at = case when h.due_before between h.at + interval '40 seconds' and h.due_at then h.due_before
                          else h.due_at end
        from (select distinct on (client_id, agent_id) * from held where is_agents order by client_id, agent_id, at desc) h
        where a.client_id = h.client_id and a.agent_id = h.agent_id
    ), seen as (
        update instances i set last_seen_at = later_of(i.last_seen_at, h.at)
        from (select distinct on (client_id, instance_id) * from held where instance_id is not null
              order by client_id, instance_id, at desc) h
        where i.client_id = h.client_id and i.instance_id = h.instance_id
    )
    select h.place from held h;
end $$;
alter function note_pulses(jsonb) set plan_cache_mode = force_generic_plan;
