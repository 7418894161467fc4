-- The ranges of settings and of clients' limits and defaults stand in the database too (section 3, CL-4, CL-7).
-- Both tables are small: they are looked through in less time than a constraint that is validated later would save.

do $$
declare
    wrong text;
begin
    select string_agg(setting || ' = ' || coalesce(value, 'null') || ' of ' || owner, '; ') into wrong from (
        select s.setting, s.value, 'agent ' || a.agent_id as owner
        from agents a, lateral (values
            ('min_savings_percent', a.min_savings_percent::text, a.min_savings_percent between 0 and 90),
            ('risk_threshold', a.risk_threshold::text, a.risk_threshold between 0 and 1),
            ('max_switches_per_week', a.max_switches_per_week::text, a.max_switches_per_week between 0 and 168),
            ('max_switches_per_day', a.max_switches_per_day::text, a.max_switches_per_day between 0 and 24),
            ('min_pool_duration_hours', a.min_pool_duration_hours::text, a.min_pool_duration_hours between 0 and 168),
            ('emergency_min_risk', a.emergency_min_risk::text, a.emergency_min_risk between 0 and 1),
            ('failover_on_heartbeat_loss_seconds', a.failover_on_heartbeat_loss_seconds::text,
             a.failover_on_heartbeat_loss_seconds between 300 and 86400),
            ('preferred_azs', left(a.preferred_azs::text, 40),
             case jsonb_typeof(a.preferred_azs) when 'array' then jsonb_array_length(a.preferred_azs) <= 20 else false end),
            ('excluded_pools', left(a.excluded_pools::text, 40),
             case jsonb_typeof(a.excluded_pools) when 'array' then jsonb_array_length(a.excluded_pools) <= 100 else false end)
        ) s (setting, value, is_right)
        where not s.is_right
        union all
        select s.setting, s.value, 'client ' || c.client_id
        from clients c, lateral (values
            ('default_terminate_wait_seconds', c.default_terminate_wait_seconds::text,
             c.default_terminate_wait_seconds between 60 and 86400),
            ('max_agents', c.max_agents::text, c.max_agents >= 0), ('max_instances', c.max_instances::text, c.max_instances >= 0)
        ) s (setting, value, is_right)
        where not s.is_right
        order by 3, 1 limit 10
    ) t;
    if wrong is not null then
        raise exception 'values out of their range: %. Set them right while the earlier version runs (spotcore agents config set, '
            'spotcore clients defaults, spotcore clients limits) or in SQL, then migrate again', wrong;
    end if;
end $$;

alter table agents
    add constraint min_savings_range check (min_savings_percent between 0 and 90),
    add constraint risk_threshold_range check (risk_threshold between 0 and 1),
    add constraint switches_per_week_range check (max_switches_per_week between 0 and 168),
    add constraint switches_per_day_range check (max_switches_per_day between 0 and 24),
    add constraint min_pool_duration_range check (min_pool_duration_hours between 0 and 168),
    add constraint emergency_min_risk_range check (emergency_min_risk between 0 and 1),
    add constraint heartbeat_loss_range check (failover_on_heartbeat_loss_seconds between 300 and 86400),
    add constraint preferred_azs_limit check (
        case jsonb_typeof(preferred_azs) when 'array' then jsonb_array_length(preferred_azs) <= 20 else false end),
    add constraint excluded_pools_limit check (
        case jsonb_typeof(excluded_pools) when 'array' then jsonb_array_length(excluded_pools) <= 100 else false end);
alter table clients
    add constraint default_wait_range check (default_terminate_wait_seconds between 60 and 86400),
    add constraint client_limits_are_counts check (max_agents >= 0 and max_instances >= 0);
