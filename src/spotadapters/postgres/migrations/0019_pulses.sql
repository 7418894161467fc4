-- Signs of life that change nothing else are noted in groups: an agent's revision says that nothing else has happened.

alter table agents add column revision bigint not null default 0;
alter table agents set (fillfactor = 80);  -- a heartbeat finds room on the row's own page
alter table instances set (fillfactor = 80);

create or replace function save_agent(doc jsonb) returns void language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    period jsonb;
begin
    if doc ? 'agents' then
        insert into agents (
            agent_id, client_id, logical_agent_id, life, link, enabled, auto_switch_enabled, manual_replica_enabled,
            auto_terminate_enabled, terminate_wait_seconds, replica_enabled, min_savings_percent, risk_threshold,
            max_switches_per_week, max_switches_per_day, min_pool_duration_hours, cleanup_enabled,
            emergency_rebalance_only, preferred_azs, excluded_pools, emergency_min_risk,
            failover_on_heartbeat_loss_seconds, config_version, build, able_since_registration, hostname,
            agent_version, region, metadata, registered_at, last_registered_at, updated_at, last_heartbeat_at,
            offline_at, primary_id, sequence, due_at, last_decision_at, last_switch_at, retiring_at, deleted_at,
            registered_ondemand_price, replica_failures, next_replica_at, config_version_applied,
            config_version_since, config_lag_warned, last_reply_version, no_primary_since, no_primary_alarm_at,
            merged_into, revision
        )
        select
            agent_id, client_id, logical_agent_id, life, link, enabled, auto_switch_enabled, manual_replica_enabled,
            auto_terminate_enabled, terminate_wait_seconds, replica_enabled, min_savings_percent, risk_threshold,
            max_switches_per_week, max_switches_per_day, min_pool_duration_hours, cleanup_enabled,
            emergency_rebalance_only, preferred_azs, excluded_pools, emergency_min_risk,
            failover_on_heartbeat_loss_seconds, config_version, build, able_since_registration, hostname,
            agent_version, region, metadata, registered_at, last_registered_at, updated_at, last_heartbeat_at,
            offline_at, primary_id, sequence, due_at, last_decision_at, last_switch_at, retiring_at, deleted_at,
            registered_ondemand_price, replica_failures, next_replica_at, config_version_applied,
            config_version_since, config_lag_warned, last_reply_version, no_primary_since, no_primary_alarm_at,
            merged_into, revision
        from jsonb_populate_recordset(null::agents, doc->'agents')
        on conflict (client_id, agent_id) do update set (
            logical_agent_id, life, link, enabled, auto_switch_enabled, manual_replica_enabled,
            auto_terminate_enabled, terminate_wait_seconds, replica_enabled, min_savings_percent, risk_threshold,
            max_switches_per_week, max_switches_per_day, min_pool_duration_hours, cleanup_enabled,
            emergency_rebalance_only, preferred_azs, excluded_pools, emergency_min_risk,
            failover_on_heartbeat_loss_seconds, config_version, build, able_since_registration, hostname,
            agent_version, region, metadata, registered_at, last_registered_at, updated_at, last_heartbeat_at,
            offline_at, primary_id, sequence, due_at, last_decision_at, last_switch_at, retiring_at, deleted_at,
            registered_ondemand_price, replica_failures, next_replica_at, config_version_applied,
            config_version_since, config_lag_warned, last_reply_version, no_primary_since, no_primary_alarm_at,
            merged_into, revision
        ) = (
            excluded.logical_agent_id, excluded.life, excluded.link, excluded.enabled, excluded.auto_switch_enabled,
            excluded.manual_replica_enabled, excluded.auto_terminate_enabled, excluded.terminate_wait_seconds,
            excluded.replica_enabled, excluded.min_savings_percent, excluded.risk_threshold,
            excluded.max_switches_per_week, excluded.max_switches_per_day, excluded.min_pool_duration_hours,
            excluded.cleanup_enabled, excluded.emergency_rebalance_only, excluded.preferred_azs,
            excluded.excluded_pools, excluded.emergency_min_risk, excluded.failover_on_heartbeat_loss_seconds,
            excluded.config_version, excluded.build, excluded.able_since_registration, excluded.hostname,
            excluded.agent_version, excluded.region, excluded.metadata, excluded.registered_at,
            excluded.last_registered_at, excluded.updated_at, excluded.last_heartbeat_at, excluded.offline_at,
            excluded.primary_id, excluded.sequence, excluded.due_at, excluded.last_decision_at,
            excluded.last_switch_at, excluded.retiring_at, excluded.deleted_at, excluded.registered_ondemand_price,
            excluded.replica_failures, excluded.next_replica_at, excluded.config_version_applied,
            excluded.config_version_since, excluded.config_lag_warned, excluded.last_reply_version,
            excluded.no_primary_since, excluded.no_primary_alarm_at, excluded.merged_into, excluded.revision
        );
    end if;
    if doc ? 'instances' then
        insert into instances (
            instance_id, client_id, agent_id, status, cloud_id, instance_type, region, az, mode, pool_id, hostname,
            ami_id, private_ip, public_ip, created_at, launch_requested_at, confirmed_at, registered_at, last_seen_at,
            zombie_since, terminating_since, terminated_at, released_at, end_reason, end_failures,
            last_end_attempt_at, notice_deadline, bound_command_id, inferred, end_asserted, reminded_at, drift
        )
        select
            instance_id, client_id, agent_id, status, cloud_id, instance_type, region, az, mode, pool_id, hostname,
            ami_id, private_ip, public_ip, created_at, launch_requested_at, confirmed_at, registered_at, last_seen_at,
            zombie_since, terminating_since, terminated_at, released_at, end_reason, end_failures,
            last_end_attempt_at, notice_deadline, bound_command_id, inferred, end_asserted, reminded_at, drift
        from jsonb_populate_recordset(null::instances, doc->'instances')
        on conflict (client_id, instance_id) do update set (
            agent_id, status, cloud_id, instance_type, region, az, mode, pool_id, hostname, ami_id, private_ip,
            public_ip, created_at, launch_requested_at, confirmed_at, registered_at, last_seen_at, zombie_since,
            terminating_since, terminated_at, released_at, end_reason, end_failures, last_end_attempt_at,
            notice_deadline, bound_command_id, inferred, end_asserted, reminded_at, drift
        ) = (
            excluded.agent_id, excluded.status, excluded.cloud_id, excluded.instance_type, excluded.region,
            excluded.az, excluded.mode, excluded.pool_id, excluded.hostname, excluded.ami_id, excluded.private_ip,
            excluded.public_ip, excluded.created_at, excluded.launch_requested_at, excluded.confirmed_at,
            excluded.registered_at, excluded.last_seen_at, excluded.zombie_since, excluded.terminating_since,
            excluded.terminated_at, excluded.released_at, excluded.end_reason, excluded.end_failures,
            excluded.last_end_attempt_at, excluded.notice_deadline, excluded.bound_command_id, excluded.inferred,
            excluded.end_asserted, excluded.reminded_at, excluded.drift
        );
    end if;
    if doc ? 'incidents' then
        insert into incidents (
            incident_id, client_id, agent_id, instance_id, severity, state, pool_id, opened_at, last_signal_at,
            signals, notice_at, deadline, replica_id, promote_on_ready, outcome, launch_attempts, next_attempt_at,
            tried_pools, promoted_at, new_instance_id, new_cloud_id, switch_id, data_loss_possible, failover_ms,
            informed_ms, closed_at, anomalies, actions
        )
        select
            incident_id, client_id, agent_id, instance_id, severity, state, pool_id, opened_at, last_signal_at,
            signals, notice_at, deadline, replica_id, promote_on_ready, outcome, launch_attempts, next_attempt_at,
            tried_pools, promoted_at, new_instance_id, new_cloud_id, switch_id, data_loss_possible, failover_ms,
            informed_ms, closed_at, anomalies, actions
        from jsonb_populate_recordset(null::incidents, doc->'incidents')
        on conflict (client_id, incident_id) do update set (
            agent_id, instance_id, severity, state, pool_id, opened_at, last_signal_at, signals, notice_at, deadline,
            replica_id, promote_on_ready, outcome, launch_attempts, next_attempt_at, tried_pools, promoted_at,
            new_instance_id, new_cloud_id, switch_id, data_loss_possible, failover_ms, informed_ms, closed_at,
            anomalies, actions
        ) = (
            excluded.agent_id, excluded.instance_id, excluded.severity, excluded.state, excluded.pool_id,
            excluded.opened_at, excluded.last_signal_at, excluded.signals, excluded.notice_at, excluded.deadline,
            excluded.replica_id, excluded.promote_on_ready, excluded.outcome, excluded.launch_attempts,
            excluded.next_attempt_at, excluded.tried_pools, excluded.promoted_at, excluded.new_instance_id,
            excluded.new_cloud_id, excluded.switch_id, excluded.data_loss_possible, excluded.failover_ms,
            excluded.informed_ms, excluded.closed_at, excluded.anomalies, excluded.actions
        );
    end if;
    if doc ? 'replicas' then
        insert into replicas (
            replica_id, client_id, agent_id, instance_id, kind, state, mode, pool_id, az, instance_type, created_by,
            created_at, syncing_at, ready_at, ended_at, end_reason, error_message, last_sync_at, sync_status,
            sync_latency_ms, progress, incident_id, same_pool, tags
        )
        select
            replica_id, client_id, agent_id, instance_id, kind, state, mode, pool_id, az, instance_type, created_by,
            created_at, syncing_at, ready_at, ended_at, end_reason, error_message, last_sync_at, sync_status,
            sync_latency_ms, progress, incident_id, same_pool, tags
        from jsonb_populate_recordset(null::replicas, doc->'replicas')
        on conflict (client_id, replica_id) do update set (
            agent_id, instance_id, kind, state, mode, pool_id, az, instance_type, created_by, created_at, syncing_at,
            ready_at, ended_at, end_reason, error_message, last_sync_at, sync_status, sync_latency_ms, progress,
            incident_id, same_pool, tags
        ) = (
            excluded.agent_id, excluded.instance_id, excluded.kind, excluded.state, excluded.mode, excluded.pool_id,
            excluded.az, excluded.instance_type, excluded.created_by, excluded.created_at, excluded.syncing_at,
            excluded.ready_at, excluded.ended_at, excluded.end_reason, excluded.error_message, excluded.last_sync_at,
            excluded.sync_status, excluded.sync_latency_ms, excluded.progress, excluded.incident_id,
            excluded.same_pool, excluded.tags
        );
    end if;
    if doc ? 'commands' then
        insert into commands (
            command_id, request_id, client_id, agent_id, kind, origin, state, created_at, expires_at, leased_until,
            deliveries, delivered_at, finished_at, addressed_to, target_instance_id, makes_primary, target_mode,
            target_pool_id, target_az, instance_type, ami_id, terminate_old, terminate_wait_seconds, trigger, params,
            failure_reason, result, notes
        )
        select
            command_id, request_id, client_id, agent_id, kind, origin, state, created_at, expires_at, leased_until,
            deliveries, delivered_at, finished_at, addressed_to, target_instance_id, makes_primary, target_mode,
            target_pool_id, target_az, instance_type, ami_id, terminate_old, terminate_wait_seconds, trigger, params,
            failure_reason, result, notes
        from jsonb_populate_recordset(null::commands, doc->'commands')
        on conflict (client_id, command_id) do update set (
            request_id, agent_id, kind, origin, state, created_at, expires_at, leased_until, deliveries, delivered_at,
            finished_at, addressed_to, target_instance_id, makes_primary, target_mode, target_pool_id, target_az,
            instance_type, ami_id, terminate_old, terminate_wait_seconds, trigger, params, failure_reason, result,
            notes
        ) = (
            excluded.request_id, excluded.agent_id, excluded.kind, excluded.origin, excluded.state,
            excluded.created_at, excluded.expires_at, excluded.leased_until, excluded.deliveries,
            excluded.delivered_at, excluded.finished_at, excluded.addressed_to, excluded.target_instance_id,
            excluded.makes_primary, excluded.target_mode, excluded.target_pool_id, excluded.target_az,
            excluded.instance_type, excluded.ami_id, excluded.terminate_old, excluded.terminate_wait_seconds,
            excluded.trigger, excluded.params, excluded.failure_reason, excluded.result, excluded.notes
        );
    end if;
    if doc ? 'switches' then
        insert into switches (
            switch_id, client_id, agent_id, state, trigger, recorded_at, old_instance_id, new_instance_id,
            old_cloud_id, new_cloud_id, old_mode, new_mode, old_pool_id, new_pool_id, old_price, new_price,
            ondemand_price, savings_impact, credited, times, downtime_seconds, command_id, incident_id, unsolicited,
            reported, data_loss_possible, reason
        )
        select
            switch_id, client_id, agent_id, state, trigger, recorded_at, old_instance_id, new_instance_id,
            old_cloud_id, new_cloud_id, old_mode, new_mode, old_pool_id, new_pool_id, old_price, new_price,
            ondemand_price, savings_impact, credited, times, downtime_seconds, command_id, incident_id, unsolicited,
            reported, data_loss_possible, reason
        from jsonb_populate_recordset(null::switches, doc->'switches')
        on conflict (client_id, switch_id) do update set (
            agent_id, state, trigger, recorded_at, old_instance_id, new_instance_id, old_cloud_id, new_cloud_id,
            old_mode, new_mode, old_pool_id, new_pool_id, old_price, new_price, ondemand_price, savings_impact,
            credited, times, downtime_seconds, command_id, incident_id, unsolicited, reported, data_loss_possible,
            reason
        ) = (
            excluded.agent_id, excluded.state, excluded.trigger, excluded.recorded_at, excluded.old_instance_id,
            excluded.new_instance_id, excluded.old_cloud_id, excluded.new_cloud_id, excluded.old_mode,
            excluded.new_mode, excluded.old_pool_id, excluded.new_pool_id, excluded.old_price, excluded.new_price,
            excluded.ondemand_price, excluded.savings_impact, excluded.credited, excluded.times,
            excluded.downtime_seconds, excluded.command_id, excluded.incident_id, excluded.unsolicited,
            excluded.reported, excluded.data_loss_possible, excluded.reason
        );
    end if;
    for period in select * from jsonb_array_elements(coalesce(doc->'closed_periods', '[]')) loop
        update primary_periods set ended_at = (period->>'ended_at')::timestamptz, switch_id = period->>'switch_id'
        where client_id = period->>'client_id' and agent_id = period->>'agent_id'
          and instance_id = period->>'instance_id' and started_at = (period->>'started_at')::timestamptz;
        if not found then  -- GR-3: zero rows changed is never a success
            raise exception 'the primary period is not there' using errcode = 'check_violation',
                constraint = 'gr3_period_is_there';
        end if;
    end loop;
    if doc ? 'opened_periods' then
        insert into primary_periods (client_id, agent_id, instance_id, started_at, ended_at, switch_id)
        select client_id, agent_id, instance_id, started_at, ended_at, switch_id
        from jsonb_populate_recordset(null::primary_periods, doc->'opened_periods');
    end if;
    if doc ? 'gain' then
        update clients set total_savings = total_savings + (doc->>'gain')::numeric where client_id = doc->>'client_id';
    end if;
    if doc ? 'events' then
        perform save_events(doc);
    end if;
    if doc ? 'wake' then
        perform pg_notify('spotcore_commands', doc->>'wake');
    end if;
end $$;

-- Whether a token still opens an agent of that revision. Rows of many clients come in one group: each names the pair it is
-- about, and nothing else of anybody is read or written here.
create function pulse_rows(doc jsonb) returns table (
    place integer, token_hash text, client_id text, agent_id text, revision bigint, instance_id text, is_agents boolean,
    at timestamptz, due_at timestamptz
) language sql stable as $$
    select p.* from jsonb_to_recordset(doc) as p (
        place integer, token_hash text, client_id text, agent_id text, revision bigint, instance_id text,
        is_agents boolean, at timestamptz, due_at timestamptz)
    where exists (
        select 1 from tokens t join clients c on c.client_id = t.client_id
        where t.token_hash = p.token_hash and t.client_id = p.client_id and (t.expires_at is null or t.expires_at > p.at)
          and c.status = 'active')
$$;

-- Heartbeats that are only to be noted; the places of those that were. The others are judged one by one: their agent has
-- moved on, is being changed at this moment, or is no longer theirs. Agents are locked in the order of their keys.
create function note_pulses(doc jsonb) returns setof integer language plpgsql as $$
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
            last_heartbeat_at = greatest(a.last_heartbeat_at, h.at),
            -- too early costs a look, and leaves the index alone; too late would cost a time-out
            due_at = case when h.due_before between h.at + interval '40 seconds' and h.due_at then h.due_before
                          else h.due_at end
        from (select distinct on (client_id, agent_id) * from held where is_agents order by client_id, agent_id, at desc) h
        where a.client_id = h.client_id and a.agent_id = h.agent_id
    ), seen as (
        update instances i set last_seen_at = greatest(i.last_seen_at, h.at)
        from (select distinct on (client_id, instance_id) * from held where instance_id is not null
              order by client_id, instance_id, at desc) h
        where i.client_id = h.client_id and i.instance_id = h.instance_id
    )
    select h.place from held h;
end $$;

-- Polls that found nothing to hand out and would again; the places of those that still do.
create function idle_polls(doc jsonb) returns setof integer language sql stable as $$
    select p.place from pulse_rows(doc) p
    join agents a on a.client_id = p.client_id and a.agent_id = p.agent_id
    where a.revision = p.revision and a.life = 'live'
$$;
alter function pulse_rows(jsonb) set plan_cache_mode = force_generic_plan;
alter function note_pulses(jsonb) set plan_cache_mode = force_generic_plan;
alter function idle_polls(jsonb) set plan_cache_mode = force_generic_plan;
