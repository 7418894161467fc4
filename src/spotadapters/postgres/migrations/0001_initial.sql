-- The first schema. Every tenant table leads its key with client_id; every invariant is a constraint with a name.

create extension if not exists btree_gist;

create table clients (
    client_id text primary key,
    name text not null,
    email text,
    status text not null constraint client_status check (status in ('active', 'suspended', 'deleted')),
    created_at timestamptz not null,
    deleted_at timestamptz,
    max_agents integer,
    max_instances integer,
    default_auto_switch boolean not null,
    default_auto_terminate boolean not null,
    default_terminate_wait_seconds integer not null,
    total_savings numeric not null default 0,
    last_sync_at timestamptz
);
create unique index client_name_taken on clients (lower(name)) where status <> 'deleted';
create unique index client_email_taken on clients (email) where status <> 'deleted' and email is not null;

create table tokens (
    token_hash text primary key,
    client_id text references clients,
    hint text not null,
    sealed bytea,
    created_at timestamptz not null,
    expires_at timestamptz
);
create index tokens_of_client on tokens (client_id, created_at desc);

create table agents (
    client_id text not null references clients,
    agent_id text not null,
    logical_agent_id text not null,
    life text not null constraint agent_life check (life in ('live', 'retiring', 'deleted')),
    link text not null constraint agent_link check (link in ('online', 'offline')),
    enabled boolean not null,
    auto_switch_enabled boolean not null,
    manual_replica_enabled boolean not null,
    auto_terminate_enabled boolean not null,
    terminate_wait_seconds integer not null,
    replica_enabled boolean not null,
    min_savings_percent numeric not null,
    risk_threshold numeric not null,
    max_switches_per_week integer not null,
    max_switches_per_day integer not null,
    min_pool_duration_hours integer not null,
    cleanup_enabled boolean not null,
    emergency_rebalance_only boolean not null,
    preferred_azs jsonb not null,
    excluded_pools jsonb not null,
    emergency_min_risk numeric not null,
    failover_on_heartbeat_loss_seconds integer,
    config_version bigint not null,
    build text not null constraint agent_build check (build in ('unknown', 'v2', 'v4c', 'v4n', 'v5')),
    able_since_registration boolean not null,
    hostname text,
    agent_version text,
    region text,
    metadata jsonb not null,
    registered_at timestamptz not null,
    last_registered_at timestamptz,
    updated_at timestamptz not null,
    last_heartbeat_at timestamptz,
    offline_at timestamptz,
    primary_id text,
    sequence bigint not null,
    due_at timestamptz,
    last_decision_at timestamptz,
    last_switch_at timestamptz,
    retiring_at timestamptz,
    deleted_at timestamptz,
    registered_ondemand_price numeric,
    replica_failures integer not null,
    next_replica_at timestamptz,
    config_version_applied bigint,
    config_version_since timestamptz,
    config_lag_warned bigint,
    last_reply_version bigint,
    no_primary_since timestamptz,
    no_primary_alarm_at timestamptz,
    merged_into text constraint merged_agents_are_deleted check (merged_into is null or life = 'deleted'),
    primary key (client_id, agent_id),
    constraint agent_id_unique unique (agent_id),
    constraint i3_modes_exclude_each_other check (not (auto_switch_enabled and manual_replica_enabled)),
    constraint terminate_wait_range check (terminate_wait_seconds between 60 and 86400)
);
create unique index i13_logical_id_unique on agents (client_id, logical_agent_id) where life <> 'deleted';
create index agents_due on agents (due_at) where life <> 'deleted' and due_at is not null;
create index agents_undecided on agents (last_decision_at nulls first) where life = 'live' and primary_id is not null;

create function i6_config_version_step() returns trigger language plpgsql as $$
begin
    if new.config_version < old.config_version or new.config_version > old.config_version + 1 then
        raise exception 'config_version moves by one at a time' using errcode = 'check_violation',
            constraint = 'i6_config_version_step';
    end if;
    return new;
end $$;
create trigger i6_config_version_step before update on agents
    for each row when (old.config_version is distinct from new.config_version) execute function i6_config_version_step();

create table instances (
    client_id text not null,
    instance_id text not null,
    agent_id text not null,
    status text not null constraint instance_status check (status in
        ('launching', 'running_primary', 'running_replica', 'zombie', 'terminating', 'terminated', 'released')),
    cloud_id text constraint i10_cloud_id_form check (cloud_id ~ '^i-[0-9A-Za-z]' and cloud_id !~ '^i-pending-'),
    instance_type text,
    region text,
    az text,
    mode text not null constraint instance_mode check (mode in ('spot', 'ondemand', 'unknown')),
    pool_id text,
    hostname text,
    ami_id text,
    private_ip text,
    public_ip text,
    created_at timestamptz not null,
    launch_requested_at timestamptz,
    confirmed_at timestamptz,
    registered_at timestamptz,
    last_seen_at timestamptz,
    zombie_since timestamptz,
    terminating_since timestamptz,
    terminated_at timestamptz,
    released_at timestamptz,
    end_reason text,
    end_failures integer not null,
    last_end_attempt_at timestamptz,
    notice_deadline timestamptz,
    bound_command_id text,
    inferred boolean not null,
    end_asserted boolean not null,
    reminded_at timestamptz,
    drift text,
    primary key (client_id, instance_id),
    foreign key (client_id, agent_id) references agents,
    constraint terminated_at_only_when_terminated check (terminated_at is null or status = 'terminated'),
    constraint primary_has_cloud_id check (status <> 'running_primary' or cloud_id is not null)
);
create unique index i1_one_primary on instances (client_id, agent_id) where status = 'running_primary';
create unique index i10_cloud_id_unique on instances (cloud_id) where status not in ('terminated', 'released');
create index instances_of_agent on instances (client_id, agent_id);
create index instances_by_cloud_id on instances (cloud_id);
create index instances_by_pool on instances (pool_id) where confirmed_at is not null;

alter table agents add constraint i5_primary_exists foreign key (client_id, primary_id)
    references instances (client_id, instance_id) deferrable initially deferred;

create function gr4_terminal_stays_terminal() returns trigger language plpgsql as $$
begin
    if old.status in ('terminated', 'released') and new.status <> old.status then
        raise exception 'a terminal machine never changes' using errcode = 'check_violation',
            constraint = 'gr4_terminal_stays_terminal';
    end if;
    return new;
end $$;
create trigger gr4_terminal_stays_terminal before update on instances
    for each row execute function gr4_terminal_stays_terminal();

create table incidents (
    client_id text not null,
    incident_id text not null,
    agent_id text not null,
    instance_id text not null,
    severity text not null constraint incident_severity check (severity in ('rebalance', 'termination')),
    state text not null constraint incident_state check (state in
        ('detected', 'handling', 'resolved', 'cleared', 'failed')),
    pool_id text,
    opened_at timestamptz not null,
    last_signal_at timestamptz not null,
    signals integer not null,
    notice_at timestamptz,
    deadline timestamptz,
    replica_id text,
    promote_on_ready boolean not null,
    outcome text,
    launch_attempts integer not null,
    next_attempt_at timestamptz,
    tried_pools jsonb not null,
    promoted_at timestamptz,
    new_instance_id text,
    new_cloud_id text,
    switch_id text,
    data_loss_possible boolean not null,
    failover_ms bigint,
    informed_ms bigint,
    closed_at timestamptz,
    anomalies jsonb not null,
    actions jsonb not null,
    primary key (client_id, incident_id),
    foreign key (client_id, agent_id) references agents,
    foreign key (client_id, instance_id) references instances
);
create unique index i11_one_incident_per_instance on incidents (client_id, instance_id)
    where state not in ('resolved', 'cleared');
create unique index i11_one_failover_per_agent on incidents (client_id, agent_id)
    where state not in ('resolved', 'cleared') and severity = 'termination' and promoted_at is null;
create index incidents_of_agent on incidents (client_id, agent_id, opened_at desc);
create index incidents_of_pool on incidents (pool_id, opened_at desc);

create table replicas (
    client_id text not null,
    replica_id text not null,
    agent_id text not null,
    instance_id text not null,
    kind text not null constraint replica_kind check (kind in
        ('manual', 'emergency_rebalance', 'emergency_termination')),
    state text not null constraint replica_state check (state in
        ('launching', 'syncing', 'ready', 'promoted', 'terminated', 'failed')),
    mode text not null,
    pool_id text,
    az text,
    instance_type text,
    created_by text not null,
    created_at timestamptz not null,
    syncing_at timestamptz,
    ready_at timestamptz,
    ended_at timestamptz,
    end_reason text,
    error_message text,
    last_sync_at timestamptz,
    sync_status text,
    sync_latency_ms bigint,
    progress numeric,
    incident_id text,
    same_pool boolean not null,
    tags jsonb not null,
    primary key (client_id, replica_id),
    foreign key (client_id, agent_id) references agents,
    foreign key (client_id, instance_id) references instances
);
create unique index i2_one_live_replica on replicas (client_id, agent_id)
    where state in ('launching', 'syncing', 'ready');
create index replicas_of_agent on replicas (client_id, agent_id, created_at desc);
create index replicas_of_instance on replicas (client_id, instance_id);

create table commands (
    client_id text not null,
    command_id text not null,
    request_id text not null,
    agent_id text not null,
    kind text not null constraint command_kind check (kind in
        ('switch', 'promote', 'launch_instance', 'terminate_instance', 'apply_config', 'self_destruct')),
    origin text not null,
    state text not null constraint command_state check (state in
        ('pending', 'executing', 'completed', 'failed', 'expired', 'cancelled')),
    created_at timestamptz not null,
    expires_at timestamptz,
    leased_until timestamptz,
    deliveries integer not null constraint at_most_two_deliveries check (deliveries <= 2),
    delivered_at timestamptz,
    finished_at timestamptz,
    addressed_to text,
    target_instance_id text,
    makes_primary boolean not null,
    target_mode text,
    target_pool_id text,
    target_az text,
    instance_type text,
    ami_id text,
    terminate_old boolean not null,
    terminate_wait_seconds integer not null,
    trigger text,
    params jsonb not null,
    failure_reason text,
    result jsonb not null,
    notes jsonb not null,
    primary key (client_id, command_id),
    constraint request_id_unique unique (client_id, request_id),
    foreign key (client_id, agent_id) references agents
);
create unique index i4_one_role_change on commands (client_id, agent_id)
    where state in ('pending', 'executing') and (kind in ('switch', 'promote') or makes_primary);
create index commands_of_agent on commands (client_id, agent_id, created_at desc);
create index commands_open on commands (client_id, agent_id) where state in ('pending', 'executing');

create table switches (
    client_id text not null,
    switch_id text not null,
    agent_id text not null,
    state text not null constraint switch_state check (state in ('completed', 'failed', 'superseded')),
    trigger text not null constraint switch_trigger check (trigger in
        ('auto', 'manual', 'manual_promotion', 'emergency', 'rehome', 'scheduled')),
    recorded_at timestamptz not null,
    old_instance_id text,
    new_instance_id text,
    old_cloud_id text,
    new_cloud_id text,
    old_mode text not null,
    new_mode text not null,
    old_pool_id text,
    new_pool_id text,
    old_price numeric,
    new_price numeric,
    ondemand_price numeric,
    savings_impact numeric,
    credited numeric not null,
    times jsonb not null,
    downtime_seconds numeric,
    command_id text,
    incident_id text,
    unsolicited boolean not null,
    reported boolean not null,
    data_loss_possible boolean not null,
    reason text,
    primary key (client_id, switch_id),
    foreign key (client_id, agent_id) references agents
);
create index switches_of_agent on switches (client_id, agent_id, recorded_at desc);

create table primary_periods (
    client_id text not null,
    agent_id text not null,
    instance_id text not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    switch_id text,
    foreign key (client_id, agent_id) references agents,
    foreign key (client_id, instance_id) references instances,
    constraint period_runs_forward check (ended_at is null or ended_at >= started_at),
    constraint i14_one_period_per_switch unique (client_id, switch_id),
    constraint i8_periods_do_not_overlap exclude using gist
        (client_id with =, agent_id with =, tstzrange(started_at, ended_at) with &&)
);
create index periods_of_agent on primary_periods (client_id, agent_id, started_at);
create unique index one_open_period on primary_periods (client_id, agent_id) where ended_at is null;

create function i14_only_the_first_period_has_no_switch() returns trigger language plpgsql as $$
begin
    if new.switch_id is null and exists (
        select 1 from primary_periods p where p.client_id = new.client_id and p.agent_id = new.agent_id
    ) then
        raise exception 'a later primary period needs its switch' using errcode = 'check_violation',
            constraint = 'i14_only_the_first_period_has_no_switch';
    end if;
    return new;
end $$;
create trigger i14_only_the_first_period_has_no_switch before insert on primary_periods
    for each row execute function i14_only_the_first_period_has_no_switch();

create table audit_events (
    audit_id bigint generated always as identity primary key,
    event_id text not null constraint event_once unique,
    kind text not null,
    at timestamptz not null,
    client_id text,
    agent_id text,
    instance_id text,
    actor text not null,
    level text not null,
    facts jsonb not null
);
create index audit_of_client on audit_events (client_id, audit_id desc);
create index audit_of_agent on audit_events (client_id, agent_id, audit_id desc);

create table notifications (
    notification_id text primary key,
    client_id text,
    severity text not null,
    message text not null,
    at timestamptz not null,
    dedupe_key text not null,
    event_id text not null
);
create unique index notification_once on notifications (coalesce(client_id, ''), dedupe_key);
create index notifications_of_client on notifications (client_id, at desc);

create table outbox (
    outbox_id bigint generated always as identity primary key,
    event_id text not null,
    client_id text,
    created_at timestamptz not null default now(),
    delivered_at timestamptz
);
create index outbox_waiting on outbox (outbox_id) where delivered_at is null;

create table raw_prices (
    client_id text not null,
    submission_id text not null,
    agent_id text not null,
    instance_id text,
    source text not null constraint price_source check (source in
        ('primary', 'emergency_replica', 'manual_replica', 'backfill')),
    pool_id text not null,
    price numeric not null constraint price_range check (price > 0 and price <= 1000),
    observed_at timestamptz not null,
    received_at timestamptz not null,
    primary key (client_id, observed_at, submission_id)
) partition by range (observed_at);
create table raw_prices_default partition of raw_prices default;
create index raw_prices_of_pool on raw_prices (client_id, pool_id, observed_at desc);

create table price_buckets (
    pool_id text not null,
    bucket_start timestamptz not null,
    instance_type text not null,
    region text not null,
    price numeric not null constraint bucket_price_range check (price > 0 and price <= 1000),
    source text not null,
    rank integer not null,
    confidence numeric not null,
    observed_at timestamptz not null,
    submission_id text not null,
    primary key (pool_id, bucket_start)
);
create index buckets_of_market on price_buckets (instance_type, region, bucket_start desc);

create table pools (
    pool_id text primary key,
    instance_type text not null,
    region text not null,
    az text not null,
    first_observed_at timestamptz not null
);
create index pools_of_market on pools (instance_type, region);

create table ondemand_prices (
    instance_type text not null,
    region text not null,
    flagged boolean not null,
    observed_at timestamptz not null,
    price numeric not null constraint ondemand_price_range check (price > 0 and price <= 1000),
    client_id text not null,
    primary key (instance_type, region, flagged, observed_at)
);

create table decisions (
    client_id text not null,
    decision_id text not null,
    agent_id text not null,
    made_at timestamptz not null,
    trigger text not null,
    snapshot_hash text not null,
    command_id text,
    body jsonb not null,
    primary key (client_id, decision_id)
);
create index decisions_of_agent on decisions (client_id, agent_id, made_at desc);

create table idempotency_keys (
    scope text not null,
    key text not null,
    body_hash text not null,
    created_at timestamptz not null,
    status integer,
    body bytea,
    primary key (scope, key)
);
create index idempotency_by_age on idempotency_keys (created_at);
