-- What screens read: one row per agent and per machine with everything that people are shown, and prices in force.

create view agent_screen with (security_invoker = true) as
select a.client_id, c.name as client_name, c.status as client_status, a.agent_id, a.logical_agent_id, a.hostname, a.life,
    a.link, a.enabled, a.auto_switch_enabled, a.manual_replica_enabled, a.auto_terminate_enabled,
    a.terminate_wait_seconds, a.agent_version, a.config_version, a.last_heartbeat_at, a.registered_at, a.updated_at,
    a.retiring_at, a.deleted_at, a.last_decision_at, a.registered_ondemand_price, a.primary_id, i.cloud_id,
    i.instance_type, coalesce(i.region, a.region) as region, i.az, coalesce(i.mode, 'unknown') as mode, i.pool_id,
    case
        when a.life <> 'live' then 'deleted'
        when not a.enabled then 'disabled'
        when i.instance_id is null then 'error'
        when exists (select 1 from commands k where k.client_id = a.client_id and k.agent_id = a.agent_id
            and k.state = 'executing' and (k.kind in ('switch', 'promote') or k.makes_primary)) then 'switching'
        else a.link
    end as status
from agents a
join clients c on c.client_id = a.client_id
left join instances i on i.client_id = a.client_id and i.instance_id = a.primary_id;

create view instance_screen with (security_invoker = true) as
select i.client_id, i.instance_id, i.agent_id, i.cloud_id,
    coalesce(i.cloud_id, 'i-pending-' || left(replace(i.instance_id, '-', ''), 8)) as word,
    i.instance_type, coalesce(i.region, a.region) as region, i.az, i.mode, i.pool_id, i.created_at, i.confirmed_at,
    i.registered_at, i.terminated_at, coalesce(i.registered_at, i.confirmed_at, i.created_at) as installed_at,
    i.status in ('launching', 'running_primary', 'running_replica') as is_active,
    i.status in ('terminating', 'zombie', 'terminated') as is_ended,
    i.status = 'running_primary' as is_primary,
    case
        when i.status = 'running_replica' and exists (
            select 1 from incidents n join replicas r on r.client_id = n.client_id and r.replica_id = n.replica_id
            where n.client_id = i.client_id and n.agent_id = i.agent_id and n.promote_on_ready
              and n.state not in ('resolved', 'cleared') and n.promoted_at is null and r.instance_id = i.instance_id)
        then 'promoting' else i.status
    end as status,
    a.client_name, a.client_status, a.logical_agent_id, a.hostname as agent_hostname, a.status as agent_status,
    a.registered_ondemand_price
from instances i
join agent_screen a on a.client_id = i.client_id and a.agent_id = i.agent_id;

-- GF-4: a price is shown for an hour.
create function spot_in_force(pool text, at timestamptz) returns numeric language sql stable as $$
    select b.price from price_buckets b
    where b.pool_id = pool and b.bucket_start <= at and b.observed_at > at - interval '60 minutes'
    order by b.bucket_start desc limit 1
$$;

-- SV-5: the latest unflagged observation, else the one captured at registration, else the latest flagged one.
create function ondemand_in_force(kind text, place text, registered numeric) returns numeric language sql stable as $$
    select coalesce(
        (select o.price from ondemand_prices o where o.instance_type = kind and o.region = place and not o.flagged
         order by o.observed_at desc limit 1),
        registered,
        (select o.price from ondemand_prices o where o.instance_type = kind and o.region = place and o.flagged
         order by o.observed_at desc limit 1))
$$;

-- Counts of a day, written once a day; missed days stay missing.
create table client_snapshots (
    day date primary key,
    total integer not null,
    new integer not null,
    active integer not null
);

-- Runs of background jobs.
create table job_runs (
    run_id bigint generated always as identity primary key,
    job_type text not null,
    status text not null constraint job_run_status check (status in ('running', 'completed', 'failed')),
    started_at timestamptz not null,
    completed_at timestamptz,
    records_processed integer,
    duplicates_removed integer,
    gaps_filled integer,
    error text
);
create index job_runs_by_start on job_runs (started_at desc);

create index incidents_by_opening on incidents (opened_at desc);
create index switches_of_client on switches (client_id, recorded_at desc);
create index switches_by_old on switches (client_id, old_instance_id);
create index switches_by_new on switches (client_id, new_instance_id);
create index audit_of_instance on audit_events (client_id, instance_id, audit_id desc);
create index audit_by_kind on audit_events (kind, at desc);
create index commands_by_finish on commands (finished_at desc) where finished_at is not null;
