-- name: savings_by_period
with lines as (
    select case %(range)s
            when 'monthly' then to_char(l.started_at at time zone 'UTC', 'YYYY-MM')
            when 'daily' then to_char(l.started_at at time zone 'UTC', 'YYYY-MM-DD')
            when 'weekly' then to_char(l.started_at at time zone 'UTC', 'IYYY-"W"IW')
            else to_char(l.started_at at time zone 'UTC', 'YYYY') end as period,
        l.baseline, l.cost, l.saving
    from ledger_exact l where l.client_id = %(client_id)s
)
select jsonb_build_object('period', period, 'baseline', coalesce(sum(baseline), 0), 'cost', coalesce(sum(cost), 0),
                          'saving', coalesce(sum(saving), 0))::text
from lines group by period order by period;

-- name: switch_history
select jsonb_build_object(
    'id', s.switch_id, 'agent_id', s.agent_id, 'state', s.state, 'trigger', s.trigger, 'recorded_at', s.recorded_at,
    'old_instance_id', s.old_cloud_id, 'new_instance_id', s.new_cloud_id, 'from_mode', s.old_mode,
    'to_mode', s.new_mode, 'from_pool', s.old_pool_id, 'to_pool', s.new_pool_id, 'new_price', s.new_price,
    'savings_impact', s.savings_impact, 'downtime_seconds', s.downtime_seconds, 'times', s.times
)::text
from switches s
where s.client_id = %(client_id)s and (s.state = 'completed' or (s.state = 'failed' and %(with_failed)s))
  and (%(instance)s::text is null or %(instance)s in (s.old_cloud_id, s.new_cloud_id, s.old_instance_id, s.new_instance_id))
order by s.recorded_at desc, s.switch_id limit %(limit)s;

-- name: chart_series
select jsonb_build_object(
    'modes', (select coalesce(jsonb_agg(jsonb_build_object('mode', t.mode, 'count', t.n) order by t.mode), '[]') from (
        select i.mode, count(*) as n from instances i where i.client_id = %(client_id)s
          and i.status in ('launching', 'running_primary', 'running_replica') group by i.mode) t),
    'days', (select jsonb_agg(jsonb_build_object('date', d.day::text, 'switches', (
            select count(*) from switches s where s.client_id = %(client_id)s and s.state = 'completed'
              and (s.recorded_at at time zone 'UTC')::date = d.day)) order by d.day)
        from (select (%(now)s::timestamptz at time zone 'UTC')::date - n as day from generate_series(0, 29) n) d),
    'downtime', (select coalesce(jsonb_object_agg(t.trigger, t.n), '{}') from (
        select s.trigger, coalesce(sum(s.downtime_seconds), 0) as n from switches s
        where s.client_id = %(client_id)s and s.state = 'completed' group by s.trigger) t)
)::text;

-- name: downtime_switches
select jsonb_build_object('id', s.switch_id, 'state', s.state, 'trigger', s.trigger, 'recorded_at', s.recorded_at,
                          'seconds', s.downtime_seconds, 'reason', s.reason)::text
from switches s
where s.client_id = %(client_id)s and s.state in ('completed', 'failed')
  and s.recorded_at > %(now)s::timestamptz - 2 * make_interval(days => %(days)s)
order by s.recorded_at;

-- name: ondemand_series
select jsonb_build_object('observed_at', o.observed_at, 'price', o.price)::text
from ondemand_prices o
where o.instance_type = %(instance_type)s and o.region = %(region)s and not o.flagged
order by o.observed_at;

-- name: latest_agent
-- Somebody who names neither an agent nor a type means one that is online (E80).
select jsonb_build_object('agent_id', a.agent_id, 'instance_type', a.instance_type, 'region', a.region,
                          'registered', a.registered_ondemand_price)::text
from agent_screen a
where a.life = 'live' and a.client_status <> 'deleted' and (%(client_id)s::text is null or a.client_id = %(client_id)s)
  and (%(agent_id)s::text is null or a.agent_id = %(agent_id)s)
  and (%(instance_type)s::text is null or a.instance_type = %(instance_type)s)
  and (a.link = 'online' or coalesce(%(agent_id)s::text, %(instance_type)s::text) is not null)
order by a.link <> 'online', a.last_heartbeat_at desc nulls last, a.agent_id limit 1;

-- name: registered_price
select jsonb_build_object('price', a.registered_ondemand_price)::text
from agents a where a.client_id = %(client_id)s and a.agent_id = %(agent_id)s;
