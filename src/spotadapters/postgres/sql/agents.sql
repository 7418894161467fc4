-- name: agent_load
select load_agent(%(client_id)s, %(agent_id)s, %(since)s, %(cloud_ids)s, %(instance_ids)s, %(replica_ids)s,
                  %(command_ids)s, %(lock)s);

-- name: agents_load_free
select agent_id, doc from load_free_agents(%(client_id)s, %(agent_ids)s, %(since)s, %(cloud_ids)s, %(instance_ids)s,
                                           %(replica_ids)s, %(command_ids)s);

-- name: agents_hold_known
select agent_id, client, last_heartbeat_at, last_decision_at, due_at, instance_ids, seen_at
from hold_known_agents(%(client_id)s, %(agent_ids)s, %(revisions)s, %(since)s);

-- name: agents_save
select pg_notify('spotcore_commands', waiting)
from (select save_agent(%(doc)s)) saved left join unnest(%(waiting)s::text[]) waiting on true
where waiting is not null;

-- name: agent_poll
select a.life, a.build, a.able_since_registration, exists (
    select 1 from commands k where k.client_id = a.client_id and k.agent_id = a.agent_id
        and k.state in ('pending', 'executing')), a.revision
from agents m
-- no coalesce: row-level security holds it for leaky, and would have it applied to all of a client's agents
join agents a on (a.client_id = m.client_id) is true
    and a.agent_id = case when m.merged_into is null then m.agent_id else m.merged_into end
where (m.client_id = %(client_id)s) is true and m.agent_id = %(agent_id)s;

-- Polls that wait, of many clients: each names the client it is about. A suspended client's agents may wait on.
-- name: polls_changed
with caller as (
    select g.place, g.client_id
    from unnest(%(token_hashes)s::text[], %(client_ids)s::text[]) with ordinality g (token_hash, client_id, place)
    join tokens t on t.token_hash = g.token_hash and t.client_id = g.client_id
        and (t.expires_at is null or t.expires_at > %(now)s)
    join clients c on c.client_id = g.client_id and c.status <> 'deleted'
)
select (w.place - 1)::integer
from unnest(%(callers)s::bigint[], %(agent_ids)s::text[], %(revisions)s::bigint[])
    with ordinality w (caller, agent_id, revision, place)
where not exists (
    select 1 from caller k join agents a on a.client_id = k.client_id
    where k.place = w.caller + 1 and a.agent_id = w.agent_id and a.revision = w.revision and a.life = 'live');

-- name: agent_exists_elsewhere
select agent_exists_elsewhere(%(client_id)s, %(agent_id)s);

-- name: agent_by_logical_id
select agent_id from agents
where (client_id = %(client_id)s) is true and logical_agent_id = %(logical_agent_id)s and life <> 'deleted';

-- name: machine_bindings
select * from machine_bindings(%(cloud_id)s);

-- name: agent_by_launch
select agent_id from commands
where client_id = %(client_id)s and request_id = %(token)s and state in ('pending', 'executing')
union all
select agent_id from replicas
where client_id = %(client_id)s and replica_id = %(token)s and state in ('launching', 'syncing', 'ready')
limit 1;

-- name: agent_by_instance
select i.client_id, i.agent_id
from instances i
where (i.client_id = %(client_id)s or %(client_id)s::text is null)
  and (i.cloud_id = %(name)s or i.instance_id = %(name)s
       or (%(placeholder)s::text is not null and left(replace(i.instance_id, '-', ''), 8) = %(placeholder)s)
       or (%(replica)s::text is not null and exists (
           select 1 from replicas r where r.client_id = i.client_id and r.instance_id = i.instance_id
             and left(replace(r.replica_id, '-', ''), 8) = %(replica)s)))
order by i.status in ('terminated', 'released'), i.created_at desc
limit 1;

-- name: agent_owner
select client_id from agents where agent_id = %(agent_id)s;

-- name: client_counts
select (select count(*) from agents where client_id = %(client_id)s and life <> 'deleted'),
       (select count(*) from instances where client_id = %(client_id)s
            and status in ('launching', 'running_primary', 'running_replica'));

-- Queues. Who asks for what is behind an agent names its place; ids are compared by their bytes, as in
-- memory. "greatest" ignores null, and row-level security lets it into an index condition.
-- name: agents_due
select client_id, agent_id, due_at from agents
where life <> 'deleted' and due_at <= %(now)s and due_at >= greatest(%(since)s::timestamptz, '-infinity')
  and (due_at > greatest(%(since)s::timestamptz, '-infinity') or agent_id collate "C" > %(behind)s)
order by due_at, agent_id collate "C" limit %(limit)s;

-- name: agents_pressed
select client_id, agent_id, due_at
from pressed_agents(%(now)s, greatest(%(since)s::timestamptz, '-infinity'), %(behind)s, %(limit)s);

-- name: agent_put_off
update agents set due_at = %(until)s
where (client_id, agent_id) in (
    select a.client_id, a.agent_id from agents a
    where a.client_id = %(client_id)s and a.agent_id = %(agent_id)s and a.due_at = %(since)s
    for no key update skip locked);

-- name: agents_undecided
select client_id, agent_id, last_decision_at from agents
where life = 'live' and primary_id is not null and (last_decision_at is null or last_decision_at <= %(older_than)s)
  and (greatest(last_decision_at, '-infinity') > greatest(%(since)s::timestamptz, '-infinity')
       or greatest(last_decision_at, '-infinity') = greatest(%(since)s::timestamptz, '-infinity')
          and agent_id collate "C" > %(behind)s)
order by last_decision_at nulls first, agent_id collate "C" limit %(limit)s;
