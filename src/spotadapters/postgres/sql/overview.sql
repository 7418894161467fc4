-- name: admin_stats
select jsonb_build_object(
    'total_accounts', (select count(*) from clients where status <> 'deleted'),
    'agents_online', count(*) filter (where a.link = 'online'),
    'agents_total', count(*),
    'total_instances', (select count(*) from instance_screen i where i.is_active and i.client_status <> 'deleted'),
    'pools_covered', (select count(distinct b.pool_id) from price_buckets b
                      where b.bucket_start > %(now)s::timestamptz - interval '24 hours'),
    'total_savings', (select coalesce(sum(total_savings), 0) from clients where status <> 'deleted'),
    'realised_savings', (select round(sum(l.saving), 8) from ledger_exact l join clients c on c.client_id = l.client_id
                         where c.status <> 'deleted'),
    'switches', (select coalesce(jsonb_object_agg(t.trigger, t.n), '{}') from (
        select s.trigger, count(*) as n from switches s join clients c on c.client_id = s.client_id
        where s.state = 'completed' and c.status <> 'deleted' group by s.trigger) t)
)::text
from agent_screen a where a.life = 'live' and a.client_status <> 'deleted';

-- name: admin_clients
select jsonb_build_object(
    'id', c.client_id, 'name', c.name, 'email', c.email,
    'status', case c.status when 'suspended' then 'inactive' else c.status end,
    'agents_online', (select count(*) from agents a where a.client_id = c.client_id and a.life = 'live'
                      and a.link = 'online'),
    'agents_total', (select count(*) from agents a where a.client_id = c.client_id and a.life = 'live'),
    'instances', (select count(*) from instances i where i.client_id = c.client_id
                  and i.status in ('launching', 'running_primary', 'running_replica')),
    'total_savings', c.total_savings,
    'realised_savings', (select round(sum(l.saving), 8) from ledger_exact l where l.client_id = c.client_id),
    'last_sync', c.last_sync_at, 'created_at', c.created_at
)::text
from clients c where c.status <> 'deleted' order by c.created_at desc, c.client_id;

-- name: client_growth
select jsonb_build_object(
    'date', d.day::text,
    'total', coalesce(s.total, t.total), 'count', coalesce(s.total, t.total), 'new', coalesce(s.new, t.new),
    'active', coalesce(s.active, case when d.day = (%(now)s::timestamptz at time zone 'UTC')::date then (
        select count(*) from clients where status = 'active') end)
)::text
from (
    select ((%(now)s::timestamptz at time zone 'UTC')::date - n) as day from generate_series(0, %(days)s::int - 1) n
) d
left join client_snapshots s on s.day = d.day
cross join lateral (
    select count(*) filter (where (c.created_at at time zone 'UTC')::date <= d.day
               and (c.deleted_at is null or (c.deleted_at at time zone 'UTC')::date > d.day)) as total,
           count(*) filter (where (c.created_at at time zone 'UTC')::date = d.day) as new
    from clients c) t
order by d.day;

-- name: admin_activity
select jsonb_build_object(
    'id', e.audit_id, 'kind', e.kind, 'at', e.at, 'level', e.level, 'client_id', e.client_id, 'client_name', c.name,
    'facts', e.facts
)::text
from audit_events e left join clients c on c.client_id = e.client_id
order by e.audit_id desc limit %(limit)s;

-- name: agents_by_link
select jsonb_build_object(
    'total', count(*), 'online', count(*) filter (where link = 'online'),
    'offline', count(*) filter (where link <> 'online')
)::text
from agent_screen where life = 'live' and client_status <> 'deleted';

-- name: admin_instances
select jsonb_build_object(
    'total', count(*) over (),
    'item', jsonb_build_object(
        'id', i.word, 'instance_id', i.word, 'client_id', i.client_id, 'client_name', i.client_name,
        'agent_id', i.agent_id, 'logical_agent_id', i.logical_agent_id, 'agent_status', i.agent_status,
        'agent_hostname', i.agent_hostname, 'region', i.region, 'az', i.az, 'instance_type', i.instance_type,
        'current_mode', i.mode, 'current_pool_id', i.pool_id, 'spot_price', spot_in_force(i.pool_id, %(now)s),
        'ondemand_price', ondemand_in_force(i.instance_type, i.region, i.registered_ondemand_price),
        'is_active', i.is_active, 'is_primary', i.is_primary, 'instance_status', i.status,
        'installed_at', i.installed_at, 'created_at', i.created_at)
)::text
from instance_screen i
where i.client_status <> 'deleted'
  and (%(status)s = 'all' or (%(status)s = 'active' and i.is_active) or (%(status)s = 'terminated' and i.is_ended))
  and (%(mode)s::text is null or i.mode = %(mode)s) and (%(region)s::text is null or i.region = %(region)s)
  and (%(client_id)s::text is null or i.client_id = %(client_id)s)
  and (%(like)s::text is null or i.word ilike %(like)s or i.instance_type ilike %(like)s)
order by i.created_at desc, i.instance_id limit %(limit)s;

-- name: admin_agents
select jsonb_build_object(
    'total', count(*) over (),
    'item', jsonb_build_object(
        'id', a.agent_id, 'logical_agent_id', a.logical_agent_id, 'hostname', a.hostname, 'client_id', a.client_id,
        'client_name', a.client_name, 'instance_id', a.cloud_id, 'instance_type', a.instance_type,
        'region', a.region, 'az', a.az, 'current_mode', a.mode, 'current_pool_id', a.pool_id, 'status', a.status,
        'enabled', a.enabled, 'auto_switch_enabled', a.auto_switch_enabled,
        'manual_replica_enabled', a.manual_replica_enabled, 'version', a.agent_version,
        'config_version', a.config_version, 'last_heartbeat_at', a.last_heartbeat_at, 'created_at', a.registered_at)
)::text
from agent_screen a
where a.client_status <> 'deleted' and (%(client_id)s::text is null or a.client_id = %(client_id)s)
  and case when %(status)s = 'all' then a.status <> 'deleted' else a.status = %(status)s end
order by a.last_heartbeat_at desc nulls last, a.agent_id limit %(limit)s;

-- name: global_stats
select jsonb_build_object(
    'id', c.client_id, 'name', c.name, 'email', c.email,
    'savings', coalesce((select round(sum(l.saving), 8) from ledger_exact l where l.client_id = c.client_id), 0),
    'instances', (select count(*) from instances i where i.client_id = c.client_id
                  and i.status in ('launching', 'running_primary', 'running_replica')),
    'agents', (select count(*) from agents a where a.client_id = c.client_id and a.life = 'live' and a.enabled),
    'created_at', c.created_at
)::text
from clients c where c.status = 'active'
order by coalesce((select round(sum(l.saving), 8) from ledger_exact l where l.client_id = c.client_id), 0) desc, c.name;
