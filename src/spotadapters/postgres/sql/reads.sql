-- name: agents_of_client
select jsonb_build_object(
    'id', a.agent_id, 'logical_agent_id', a.logical_agent_id, 'hostname', a.hostname, 'instance_id', a.cloud_id,
    'instance_type', a.instance_type, 'region', a.region, 'az', a.az, 'current_mode', a.mode,
    'current_pool_id', a.pool_id, 'status', a.status, 'last_heartbeat', a.last_heartbeat_at,
    'instance_count', (select count(*) from instances n where n.client_id = a.client_id and n.agent_id = a.agent_id
        and n.status in ('launching', 'running_primary', 'running_replica')),
    'enabled', a.enabled, 'auto_switch_enabled', a.auto_switch_enabled,
    'manual_replica_enabled', a.manual_replica_enabled, 'auto_terminate_enabled', a.auto_terminate_enabled,
    'terminate_wait_minutes', (a.terminate_wait_seconds + 59) / 60, 'agent_version', a.agent_version,
    'config_version', a.config_version,
    'notice_status', coalesce((select n.severity from incidents n where n.client_id = a.client_id
        and n.instance_id = a.primary_id and n.state not in ('resolved', 'cleared') limit 1), 'none')
)::text
from agent_screen a
where a.client_id = %(client_id)s and a.life = 'live'
order by a.last_heartbeat_at desc nulls last, a.agent_id;

-- name: read_replicas_of_client
select jsonb_build_object(
    'agent_id', r.agent_id, 'replica', to_jsonb(r), 'instance', to_jsonb(i), 'primary', to_jsonb(p),
    'last_primary', case when a.primary_id is null then (
        select to_jsonb(n) from primary_periods d
        join instances n on n.client_id = d.client_id and n.instance_id = d.instance_id
        where d.client_id = a.client_id and d.agent_id = a.agent_id order by d.started_at desc limit 1) end,
    'cost', (select coalesce(round(sum(l.cost), 8), 0) from ledger_exact l
             where l.client_id = r.client_id and l.instance_id = r.instance_id and l.role = 'replica'),
    'price', case when r.pool_id is not null then (
                  select b.price from price_buckets b where b.pool_id = r.pool_id and b.bucket_start <= %(now)s
                      and b.bucket_start > %(now)s - interval '60 minutes' order by b.bucket_start desc limit 1)
              when i.mode = 'ondemand' then ondemand_in_force(i.instance_type, i.region, a.registered_ondemand_price)
              end
)::text
from replicas r
join instances i on i.client_id = r.client_id and i.instance_id = r.instance_id
join agents a on a.client_id = r.client_id and a.agent_id = r.agent_id
left join instances p on p.client_id = a.client_id and p.instance_id = a.primary_id
where r.client_id = %(client_id)s and r.state in ('launching', 'syncing', 'ready')
order by r.created_at desc;
