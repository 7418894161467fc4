-- name: client_details
select jsonb_build_object(
    'id', c.client_id, 'name', c.name, 'email', c.email,
    'status', case c.status when 'suspended' then 'inactive' else c.status end,
    'agents_online', (select count(*) from agents a where a.client_id = c.client_id and a.life = 'live'
                      and a.link = 'online'),
    'agents_total', (select count(*) from agents a where a.client_id = c.client_id and a.life = 'live'),
    'active', (select count(*) from instances i where i.client_id = c.client_id
               and i.status in ('launching', 'running_primary', 'running_replica')),
    'zombie', (select count(*) from instances i where i.client_id = c.client_id and i.status = 'zombie'),
    'terminated', (select count(*) from instances i where i.client_id = c.client_id and i.status = 'terminated'),
    'total_savings', c.total_savings,
    'realised_savings', (select round(sum(l.saving), 8) from ledger_exact l where l.client_id = c.client_id),
    'last_sync', c.last_sync_at, 'created_at', c.created_at,
    'month', (select jsonb_build_object(
            'baseline_cost', round(sum(l.baseline), 8), 'actual_cost', round(sum(l.cost), 8), 'realised_savings_period', round(sum(l.saving), 8),
            'replica_cost', round(sum(l.cost) filter (where l.role = 'replica'), 8),
            'zombie_cost', round(sum(l.cost) filter (where l.role = 'zombie'), 8),
            'estimated_hours', coalesce(sum(l.seconds)
                filter (where l.quality = 'estimated'), 0) / 3600,
            'unpriced_hours', coalesce(sum(l.seconds)
                filter (where l.quality = 'unpriced'), 0) / 3600,
            'lines', count(*))
        from ledger_exact l where l.client_id = c.client_id
          and l.started_at >= date_trunc('month', %(now)s::timestamptz at time zone 'UTC') at time zone 'UTC'),
    'week', (select round(sum(l.saving), 8) from ledger_exact l where l.client_id = c.client_id
             and l.started_at > %(now)s::timestamptz - interval '7 days'),
    'week_hours', (select extract(epoch from max(l.ended_at) - min(l.started_at)) / 3600 from ledger_exact l
        where l.client_id = c.client_id and l.started_at > %(now)s::timestamptz - interval '7 days')
)::text
from clients c where c.client_id = %(client_id)s and c.status <> 'deleted';

-- name: agents_history
select jsonb_build_object(
    'id', a.agent_id, 'logical_agent_id', a.logical_agent_id, 'hostname', a.hostname,
    'instance_id', coalesce(a.cloud_id, l.cloud_id), 'instance_type', coalesce(a.instance_type, l.instance_type),
    'region', coalesce(a.region, l.region), 'az', coalesce(a.az, l.az),
    'current_mode', case when a.cloud_id is null then coalesce(l.mode, 'unknown') else a.mode end,
    'status', a.status, 'enabled', a.enabled, 'auto_switch_enabled', a.auto_switch_enabled,
    'manual_replica_enabled', a.manual_replica_enabled, 'created_at', a.registered_at, 'updated_at', a.updated_at,
    'last_heartbeat', a.last_heartbeat_at, 'installed_at', a.registered_at,
    'terminated_at', coalesce(a.deleted_at, a.retiring_at),
    'total_switches', (select count(*) from switches s where s.client_id = a.client_id and s.agent_id = a.agent_id
                       and s.state = 'completed')
)::text
from agent_screen a
left join lateral (
    select i.cloud_id, i.instance_type, i.region, i.az, i.mode from primary_periods p
    join instances i on i.client_id = p.client_id and i.instance_id = p.instance_id
    where p.client_id = a.client_id and p.agent_id = a.agent_id order by p.started_at desc limit 1) l on true
where a.client_id = %(client_id)s
order by case a.status when 'online' then 0 when 'offline' then 1 when 'deleted' then 2 else 3 end,
    a.last_heartbeat_at desc nulls last, a.agent_id;

-- name: agents_activity
-- Where only few rows of an agent are wanted, "between" keeps its id in the order asked for: the index by age has none.
select jsonb_build_object(
    'agent_id', a.agent_id, 'agent_name', a.logical_agent_id, 'status', a.status, 'link', a.link,
    'current_mode', a.mode, 'current_pool_id', a.pool_id, 'last_heartbeat_at', a.last_heartbeat_at,
    'decisions', coalesce((select jsonb_agg(d.item order by d.made_at desc) from (
        select k.made_at, jsonb_build_object(
            'made_at', k.made_at, 'action', k.body->'action', 'risk', k.body->'risk',
            'savings_per_hour', k.body->'savings_per_hour', 'current_mode', k.body #> '{snapshot,current_mode}') as item
        from decisions k
        where k.client_id = a.client_id and k.agent_id between a.agent_id and a.agent_id
        order by k.agent_id, k.made_at desc limit 5) d), '[]'),
    'decision_count', (select coalesce(sum(k.decisions), 0) from decision_days k where k.client_id = a.client_id
        and k.agent_id = a.agent_id and k.day > (%(now)s::timestamptz at time zone 'UTC')::date - 30),
    'report_count', (select count(*) from recent_reports r where r.client_id = a.client_id
        and r.agent_id = a.agent_id and r.received_at > %(now)s::timestamptz - interval '30 minutes'),
    'reports', coalesce((select jsonb_agg(jsonb_build_object('time', t.received_at, 'spot', t.spot, 'ondemand', (
            select o.price from ondemand_prices o where o.instance_type = a.instance_type and o.region = a.region
              and not o.flagged and o.observed_at <= t.received_at order by o.observed_at desc limit 1))
            order by t.received_at desc)
        from (
            select r.received_at, (r.prices ->> (a.instance_type || '.' || a.az))::numeric as spot
            from recent_reports r where r.client_id = a.client_id and r.agent_id = a.agent_id
              and r.received_at > %(now)s::timestamptz - interval '24 hours'
            order by r.received_at desc limit 5) t), '[]'),
    'events', coalesce((select jsonb_agg(e.item order by e.audit_id desc) from (
        select v.audit_id, jsonb_build_object('kind', v.kind, 'level', v.level, 'at', v.at, 'facts', v.facts) as item
        from audit_events v where v.client_id = a.client_id and v.agent_id = a.agent_id
          and v.kind not in ('command_handed_out', 'command_queued')
        order by v.audit_id desc limit 5) e), '[]')
)::text
from agent_screen a
where a.client_id = %(client_id)s and a.life = 'live'
order by a.link <> 'online', a.logical_agent_id, a.agent_id;

-- name: instances_of_client
select jsonb_build_object(
    'id', i.word, 'type', i.instance_type, 'region', i.region, 'az', i.az, 'mode', i.mode,
    'pool_id', coalesce(i.pool_id, 'n/a'), 'spot_price', spot_in_force(i.pool_id, %(now)s),
    'on_demand_price', ondemand_in_force(i.instance_type, i.region, i.registered_ondemand_price),
    'is_active', i.is_active, 'instance_status', i.status, 'is_primary', i.is_primary,
    'last_switch', (select max(s.recorded_at) from switches s where s.client_id = i.client_id
        and s.state = 'completed' and i.instance_id in (s.old_instance_id, s.new_instance_id)),
    'agent_id', i.agent_id, 'installed_at', i.installed_at
)::text
from instance_screen i
where i.client_id = %(client_id)s
  and (%(status)s = 'all' or (%(status)s = 'active' and i.is_active) or (%(status)s = 'terminated' and i.is_ended))
  and (%(mode)s = 'all' or i.mode = %(mode)s)
  and (%(like)s::text is null or i.word ilike %(like)s or i.instance_type ilike %(like)s)
order by i.created_at desc, i.instance_id;

-- name: instance_figures
select jsonb_build_object(
    'id', i.word, 'instance_type', i.instance_type, 'current_mode', i.mode, 'current_pool_id', i.pool_id,
    'spot_price', spot_in_force(i.pool_id, %(now)s),
    'on_demand_price', ondemand_in_force(i.instance_type, i.region, i.registered_ondemand_price),
    'baseline_on_demand_price', i.registered_ondemand_price,
    'uptime_hours', greatest(0, floor(extract(epoch from coalesce(i.terminated_at, %(now)s::timestamptz)
        - coalesce(i.confirmed_at, i.registered_at, i.created_at)) / 3600)),
    'hours_since_last_switch', greatest(0, floor(extract(epoch from %(now)s::timestamptz - coalesce(
        (select max(s.recorded_at) from switches s where s.client_id = i.client_id and s.state = 'completed'
           and i.instance_id in (s.old_instance_id, s.new_instance_id)), i.installed_at)) / 3600)),
    'total_switches', w.total, 'switches_last7_days', w.week, 'switches_last30_days', w.month,
    'avg_switch_downtime_seconds', w.downtime,
    'savings_last30_days', (select round(sum(l.saving), 8) from ledger_exact l where l.client_id = i.client_id
        and l.instance_id = i.instance_id and l.started_at > %(now)s::timestamptz - interval '30 days'),
    'total_savings', (select round(sum(l.saving), 8) from ledger_exact l where l.client_id = i.client_id
        and l.instance_id = i.instance_id),
    'interruption_count', (select count(*) from incidents n where n.client_id = i.client_id
        and n.instance_id = i.instance_id and n.severity = 'termination')
)::text
from instance_screen i
cross join lateral (
    select count(*) as total, count(*) filter (where s.recorded_at > %(now)s::timestamptz - interval '7 days') as week,
           count(*) filter (where s.recorded_at > %(now)s::timestamptz - interval '30 days') as month,
           round(avg(s.downtime_seconds), 3) as downtime
    from switches s where s.client_id = i.client_id and s.agent_id = i.agent_id and s.state = 'completed') w
where i.client_id = %(client_id)s and i.instance_id = %(instance_id)s;

-- name: instance_logs
select jsonb_build_object('kind', e.kind, 'at', e.at, 'level', e.level, 'facts', e.facts)::text
from audit_events e
where e.client_id = %(client_id)s and (e.instance_id = %(instance_id)s or (
    e.kind = 'switch_completed' and e.facts->>'switch_id' in (
        select s.switch_id from switches s where s.client_id = %(client_id)s
          and %(instance_id)s in (s.old_instance_id, s.new_instance_id))))
order by e.audit_id desc limit %(limit)s;

-- name: pool_prices
select jsonb_build_object('pool_id', b.pool_id, 'bucket_start', b.bucket_start, 'price', b.price,
                          'measured', b.source <> 'interpolated')::text
from price_buckets b
where b.instance_type = %(instance_type)s and b.region = %(region)s
  and b.bucket_start > %(now)s::timestamptz - make_interval(days => %(days)s)
order by b.pool_id, b.bucket_start;

-- name: pool_incidents
select jsonb_build_object(
    'pool_id', p.pool_id,
    'incidents', (select count(*) from incidents n where n.pool_id = p.pool_id
                  and n.opened_at > %(now)s::timestamptz - interval '24 hours'),
    'machine_days', coalesce((select sum(extract(epoch from
            least(coalesce(i.terminated_at, %(now)s::timestamptz), %(now)s::timestamptz)
            - greatest(coalesce(i.confirmed_at, i.created_at), %(now)s::timestamptz - interval '24 hours'))) / 86400
        from instances i where i.pool_id = p.pool_id and i.cloud_id is not null
          and coalesce(i.terminated_at, %(now)s::timestamptz) > %(now)s::timestamptz - interval '24 hours'), 0)
)::text
from pools p where p.instance_type = %(instance_type)s and p.region = %(region)s order by p.pool_id;

-- name: agent_statistics
select jsonb_build_object(
    'total_decisions', (select count(*) from decisions d where d.client_id = %(client_id)s
                        and d.agent_id = %(agent_id)s),
    'switches_recommended', (select count(*) from decisions d where d.client_id = %(client_id)s
        and d.agent_id = %(agent_id)s and d.body->>'action' <> 'stay'),
    'average_confidence', (select round(avg((d.body->>'confidence')::numeric), 4) from decisions d
        where d.client_id = %(client_id)s and d.agent_id = %(agent_id)s),
    'last_decision_at', (select max(d.made_at) from decisions d where d.client_id = %(client_id)s
                         and d.agent_id = %(agent_id)s),
    'completed', count(*) filter (where s.state = 'completed'),
    'failed', count(*) filter (where s.state = 'failed'),
    'by_trigger', (select coalesce(jsonb_object_agg(t.trigger, t.n), '{}') from (
        select x.trigger, count(*) as n from switches x where x.client_id = %(client_id)s
          and x.agent_id = %(agent_id)s and x.state = 'completed' group by x.trigger) t),
    'downtime', round(avg(s.downtime_seconds) filter (where s.state = 'completed'), 3),
    'savings', (select round(sum(l.saving), 8) from ledger_exact l where l.client_id = %(client_id)s
                and l.agent_id = %(agent_id)s)
)::text
from switches s where s.client_id = %(client_id)s and s.agent_id = %(agent_id)s;

-- name: known_downtime
select jsonb_build_object('seconds', coalesce(
    (select avg(downtime_seconds) from switches where client_id = %(client_id)s and agent_id = %(agent_id)s
       and state = 'completed'),
    (select avg(downtime_seconds) from switches where client_id = %(client_id)s and state = 'completed')))::text;
