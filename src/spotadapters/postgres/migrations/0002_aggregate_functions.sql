-- The two hot statements on an aggregate as functions: their plans are kept per connection, and each is one round trip.

create function load_agent(
    p_client text, p_agent text, p_since timestamptz, p_cloud_ids text[], p_instance_ids text[], p_replica_ids text[],
    p_command_ids text[], p_lock boolean
) returns text language plpgsql as $$
begin
    -- calls under the id of an agent that turned out to be a launched machine count for the one that launched it
    p_agent := coalesce((select merged_into from agents where client_id = p_client and agent_id = p_agent), p_agent);
    if p_lock then
        -- a statement of its own: the rows below are read by the next one, after the lock is held (GR-1)
        perform 1 from agents where client_id = p_client and agent_id = p_agent for no key update;
    end if;
    return (
        select jsonb_build_object(
            'client', to_jsonb(c),
            'agent', to_jsonb(a),
            'instances', (select jsonb_agg(to_jsonb(i)) from instances i
                where i.client_id = a.client_id and i.agent_id = a.agent_id
                  and (i.status not in ('terminated', 'released')
                       or greatest(i.terminated_at, i.released_at, i.created_at) > p_since
                       or i.cloud_id = any(p_cloud_ids) or i.instance_id = any(p_instance_ids)
                       or exists (select 1 from replicas r where r.client_id = i.client_id
                                  and r.instance_id = i.instance_id
                                  and (r.replica_id = any(p_replica_ids) or coalesce(r.ended_at, r.created_at) > p_since)))),
            'replicas', (select jsonb_agg(to_jsonb(r)) from replicas r
                where r.client_id = a.client_id and r.agent_id = a.agent_id
                  and (r.state in ('launching', 'syncing', 'ready') or coalesce(r.ended_at, r.created_at) > p_since
                       or r.replica_id = any(p_replica_ids))),
            'commands', (select jsonb_agg(to_jsonb(k)) from commands k
                where k.client_id = a.client_id and k.agent_id = a.agent_id
                  and (k.state in ('pending', 'executing') or k.finished_at > p_since
                       or k.command_id = any(p_command_ids) or k.request_id = any(p_command_ids))),
            'incidents', (select jsonb_agg(to_jsonb(n)) from incidents n
                where n.client_id = a.client_id and n.agent_id = a.agent_id
                  and (n.state not in ('resolved', 'cleared') or n.closed_at > p_since)),
            'switches', (select jsonb_agg(to_jsonb(s)) from switches s
                where s.client_id = a.client_id and s.agent_id = a.agent_id and s.recorded_at > p_since),
            'periods', (select jsonb_agg(to_jsonb(p) order by p.started_at, p.ended_at nulls last) from primary_periods p
                where p.client_id = a.client_id and p.agent_id = a.agent_id
                  and (p.ended_at is null or p.ended_at > p_since
                       or p.started_at = (select max(q.started_at) from primary_periods q
                                          where q.client_id = a.client_id and q.agent_id = a.agent_id)))
        )::text
        from agents a join clients c on c.client_id = a.client_id
        where a.client_id = p_client and a.agent_id = p_agent
    );
end $$;

create function save_events(doc jsonb) returns void language plpgsql as $$
begin
    insert into audit_events (event_id, kind, at, client_id, agent_id, instance_id, actor, level, facts)
    select event_id, kind, at, client_id, agent_id, instance_id, actor, level, facts
    from jsonb_populate_recordset(null::audit_events, doc->'events');
    insert into notifications (notification_id, client_id, severity, message, at, dedupe_key, event_id)
    select notification_id, client_id, severity, message, at, dedupe_key, event_id
    from jsonb_populate_recordset(null::notifications, doc->'notifications')
    on conflict (coalesce(client_id, ''), dedupe_key) do nothing;
    insert into outbox (event_id, client_id)
    select event_id, client_id from jsonb_populate_recordset(null::outbox, doc->'outbox');
end $$;

create function save_agent(doc jsonb) returns void language plpgsql as $$
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
            merged_into
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
            merged_into
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
            merged_into
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
            excluded.no_primary_since, excluded.no_primary_alarm_at, excluded.merged_into
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
