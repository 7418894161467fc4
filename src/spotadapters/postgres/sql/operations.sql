-- name: search_clients
select jsonb_build_object(
    'id', c.client_id, 'name', c.name, 'email', c.email,
    'status', case c.status when 'suspended' then 'inactive' else c.status end,
    'match_field', case when c.name ilike %(like)s then 'name' when c.email ilike %(like)s then 'email' else 'id' end
)::text
from clients c
where c.status <> 'deleted' and (c.client_id ilike %(like)s or c.name ilike %(like)s or c.email ilike %(like)s)
order by c.name limit 10;

-- name: search_instances
select jsonb_build_object(
    'id', i.word, 'client_id', i.client_id, 'client_name', i.client_name, 'client', i.client_name, 'name', i.word,
    'instance_type', i.instance_type, 'region', i.region, 'az', i.az, 'status', i.status
)::text
from instance_screen i
where i.client_status <> 'deleted' and (i.word ilike %(like)s or i.instance_type ilike %(like)s)
order by i.created_at desc, i.instance_id limit 10;

-- name: search_agents
select jsonb_build_object(
    'id', a.agent_id, 'client_id', a.client_id, 'client_name', a.client_name, 'client', a.client_name,
    'name', coalesce(a.hostname, a.logical_agent_id), 'hostname', a.hostname, 'status', a.status,
    'instance_id', a.cloud_id
)::text
from agent_screen a
where a.client_status <> 'deleted' and a.life = 'live'
  and (a.agent_id ilike %(like)s or a.logical_agent_id ilike %(like)s or a.hostname ilike %(like)s)
order by a.last_heartbeat_at desc nulls last, a.agent_id limit 10;

-- name: pool_statistics
with priced as (
    select p.pool_id, p.region, p.instance_type, spot_in_force(p.pool_id, %(now)s) as price,
           exists (select 1 from price_buckets b where b.pool_id = p.pool_id
                   and b.bucket_start > %(now)s::timestamptz - interval '24 hours') as is_active
    from pools p
)
select jsonb_build_object(
    'total', count(*), 'active', count(*) filter (where is_active),
    'regions', (select coalesce(jsonb_agg(jsonb_build_object('region', r.region, 'pools', r.n, 'average_price', r.mean,
            'cheapest_price', r.low) order by r.region), '[]')
        from (select region, count(*) as n, round(avg(price), 6) as mean, min(price) as low
              from priced group by region) r),
    'instance_types', (select coalesce(jsonb_agg(jsonb_build_object('instance_type', t.instance_type,
            'pools_available', t.n, 'avg_spot_price', t.mean,
            'ondemand_price', (select o.price from ondemand_prices o where o.instance_type = t.instance_type
                and not o.flagged order by o.observed_at desc limit 1)) order by t.instance_type), '[]')
        from (select instance_type, count(*) filter (where is_active) as n, round(avg(price), 6) as mean
              from priced group by instance_type) t)
)::text
from priced;

-- name: agent_health
with known as (
    select * from agent_screen where client_status <> 'deleted'
), ages as (
    select extract(epoch from %(now)s::timestamptz - last_heartbeat_at) / 60 as minutes from known where life = 'live'
)
select jsonb_build_object(
    'online', (select count(*) from known where life = 'live' and link = 'online'),
    'offline', (select count(*) from known where life = 'live' and link <> 'online'),
    'deleted', (select count(*) from known where life <> 'live'),
    'by_client', (select coalesce(jsonb_agg(jsonb_build_object('client_id', t.client_id, 'client_name', t.client_name,
            'online', t.online, 'offline', t.total - t.online, 'total', t.total) order by t.client_name), '[]')
        from (select client_id, client_name, count(*) as total, count(*) filter (where link = 'online') as online
              from known where life = 'live' group by client_id, client_name) t),
    'recent_offline', (select coalesce(jsonb_agg(t.item order by t.at desc nulls last), '[]') from (
        select last_heartbeat_at as at, jsonb_build_object('agent_id', agent_id, 'hostname', hostname,
            'client_name', client_name, 'last_heartbeat', last_heartbeat_at,
            'offline_duration_minutes', floor(extract(epoch from %(now)s::timestamptz - last_heartbeat_at) / 60)) as item
        from known where life = 'live' and link <> 'online' order by last_heartbeat_at desc nulls last limit 5) t),
    'heartbeat_distribution', jsonb_build_object(
        'healthy', (select count(*) from ages where minutes < 5),
        'degraded', (select count(*) from ages where minutes >= 5 and minutes < 15),
        'critical', (select count(*) from ages where minutes >= 15 or minutes is null))
)::text;

-- name: operational_metrics
select jsonb_build_object(
    'heartbeat_age_seconds', (select jsonb_build_object(
            'avg', round(avg(extract(epoch from %(now)s::timestamptz - last_heartbeat_at)), 3),
            'max', round(max(extract(epoch from %(now)s::timestamptz - last_heartbeat_at)), 3))
        from agents where life = 'live'),
    'command_latency_seconds', (select jsonb_build_object(
            'avg', round(avg(extract(epoch from delivered_at - created_at)), 3),
            'p95', round(percentile_cont(0.95) within group (
                order by extract(epoch from delivered_at - created_at))::numeric, 3))
        from commands where delivered_at > %(now)s::timestamptz - interval '24 hours'),
    'open_commands', (select count(*) from commands where state in ('pending', 'executing')),
    'expired_commands_24h', (select count(*) from commands where state = 'expired'
        and finished_at > %(now)s::timestamptz - interval '24 hours'),
    'failovers_24h', (select jsonb_build_object('count', count(*), 'avg_ms', round(avg(failover_ms), 1),
            'max_ms', max(failover_ms))
        from incidents where promoted_at > %(now)s::timestamptz - interval '24 hours'),
    'switches_24h', (select jsonb_build_object('total', count(*) filter (where state in ('completed', 'failed')),
            'successful', count(*) filter (where state = 'completed'), 'failed', count(*) filter (where state = 'failed'),
            'avg_downtime_seconds', round(avg(downtime_seconds) filter (where state = 'completed'), 3))
        from switches where recorded_at > %(now)s::timestamptz - interval '24 hours'),
    'price_lag_seconds', (select round(extract(epoch from %(now)s::timestamptz - max(observed_at)), 3)
        from price_buckets where bucket_start = (select max(bucket_start) from price_buckets))
)::text;

-- name: job_runs
select jsonb_build_object(
    'id', run_id, 'job_type', job_type, 'status', status, 'started_at', started_at, 'completed_at', completed_at,
    'records_processed', records_processed, 'duplicates_removed', duplicates_removed, 'gaps_filled', gaps_filled,
    'error', error
)::text
from job_runs where started_at > %(now)s::timestamptz - make_interval(days => %(days)s)
order by started_at desc, run_id desc limit 1000;

-- name: emergency_days
select jsonb_build_object(
    'date', (n.opened_at at time zone 'UTC')::date::text, 'client_id', n.client_id, 'client_name', c.name,
    'emergency_event_count', count(*),
    'rebalance_notices', count(*) filter (where n.notice_at is null),
    'termination_notices', count(*) filter (where n.notice_at is not null),
    'failovers_completed', count(*) filter (where n.promoted_at is not null),
    'failovers_failed', count(*) filter (where n.state = 'failed')
)::text
from incidents n join clients c on c.client_id = n.client_id
where n.opened_at > %(now)s::timestamptz - make_interval(days => %(days)s) and c.status <> 'deleted'
group by (n.opened_at at time zone 'UTC')::date, n.client_id, c.name
order by (n.opened_at at time zone 'UTC')::date desc, c.name;

-- name: has_primary
select jsonb_build_object('active', primary_id is not null)::text from agents where agent_id = %(agent_id)s;
