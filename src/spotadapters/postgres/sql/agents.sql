-- name: agent_lock
select agent_id from agents where client_id = %(client_id)s and agent_id = %(agent_id)s for no key update;

-- name: agent_load
select jsonb_build_object(
    'client', to_jsonb(c),
    'agent', to_jsonb(a),
    'instances', (select jsonb_agg(to_jsonb(i)) from instances i
        where i.client_id = a.client_id and i.agent_id = a.agent_id
          and (i.status not in ('terminated', 'released')
               or greatest(i.terminated_at, i.released_at, i.created_at) > %(since)s
               or i.cloud_id = any(%(cloud_ids)s) or i.instance_id = any(%(instance_ids)s)
               or exists (select 1 from replicas r where r.client_id = i.client_id
                          and r.instance_id = i.instance_id
                          and (r.replica_id = any(%(replica_ids)s) or coalesce(r.ended_at, r.created_at) > %(since)s)))),
    'replicas', (select jsonb_agg(to_jsonb(r)) from replicas r
        where r.client_id = a.client_id and r.agent_id = a.agent_id
          and (r.state in ('launching', 'syncing', 'ready') or coalesce(r.ended_at, r.created_at) > %(since)s
               or r.replica_id = any(%(replica_ids)s))),
    'commands', (select jsonb_agg(to_jsonb(k)) from commands k
        where k.client_id = a.client_id and k.agent_id = a.agent_id
          and (k.state in ('pending', 'executing') or k.finished_at > %(since)s
               or k.command_id = any(%(command_ids)s) or k.request_id = any(%(command_ids)s))),
    'incidents', (select jsonb_agg(to_jsonb(n)) from incidents n
        where n.client_id = a.client_id and n.agent_id = a.agent_id
          and (n.state not in ('resolved', 'cleared') or n.closed_at > %(since)s)),
    'switches', (select jsonb_agg(to_jsonb(s)) from switches s
        where s.client_id = a.client_id and s.agent_id = a.agent_id and s.recorded_at > %(since)s),
    'periods', (select jsonb_agg(to_jsonb(p) order by p.started_at, p.ended_at nulls last) from primary_periods p
        where p.client_id = a.client_id and p.agent_id = a.agent_id
          and (p.ended_at is null or p.ended_at > %(since)s
               or p.started_at = (select max(q.started_at) from primary_periods q
                                  where q.client_id = a.client_id and q.agent_id = a.agent_id)))
)::text
from agents a join clients c on c.client_id = a.client_id
where a.client_id = %(client_id)s and a.agent_id = %(agent_id)s;

-- name: agent_poll
select a.life, a.build, a.able_since_registration, exists (
    select 1 from commands k where k.client_id = a.client_id and k.agent_id = a.agent_id
        and k.state in ('pending', 'executing'))
from agents a where a.client_id = %(client_id)s and a.agent_id = %(agent_id)s;

-- name: agent_exists_elsewhere
select exists (select 1 from agents where agent_id = %(agent_id)s and client_id <> %(client_id)s and life <> 'deleted');

-- name: agent_by_logical_id
select agent_id from agents
where client_id = %(client_id)s and logical_agent_id = %(logical_agent_id)s and life <> 'deleted';

-- name: machine_bindings
select i.client_id, i.agent_id, i.instance_id, i.cloud_id, i.status in ('terminated', 'released'), i.status, a.life
from instances i join agents a on a.client_id = i.client_id and a.agent_id = i.agent_id
where i.cloud_id = %(cloud_id)s
order by i.status in ('terminated', 'released'), i.created_at desc;

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
       or (%(placeholder)s::text is not null and i.cloud_id is null
           and left(replace(i.instance_id, '-', ''), 8) = %(placeholder)s)
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

-- name: agents_due
select client_id, agent_id from agents
where life <> 'deleted' and due_at <= %(now)s
order by due_at limit %(limit)s;

-- name: agents_undecided
select client_id, agent_id from agents
where life = 'live' and primary_id is not null and (last_decision_at is null or last_decision_at <= %(older_than)s)
order by last_decision_at nulls first limit %(limit)s;

-- name: credit_savings
update clients set total_savings = total_savings + %(gain)s where client_id = %(client_id)s;

-- name: close_period
update primary_periods set ended_at = %(ended_at)s
where client_id = %(client_id)s and agent_id = %(agent_id)s and started_at = %(started_at)s
  and instance_id = %(instance_id)s and ended_at is null;

-- name: attach_switch
update primary_periods set switch_id = %(switch_id)s
where client_id = %(client_id)s and agent_id = %(agent_id)s and started_at = %(started_at)s
  and instance_id = %(instance_id)s and switch_id is null;

-- name: open_period
insert into primary_periods (client_id, agent_id, instance_id, started_at, ended_at, switch_id)
values (%(client_id)s, %(agent_id)s, %(instance_id)s, %(started_at)s, %(ended_at)s, %(switch_id)s);

-- name: wake_agent
select pg_notify('spotcore_commands', %(agent_id)s);
