-- Plans of the hot functions are made once per connection: by default PostgreSQL plans each statement anew for its first
-- five runs, and the connections kept for emergencies have hardly run any when the storm comes.

alter function load_agent(text, text, timestamptz, text[], text[], text[], text[], boolean)
    set plan_cache_mode = force_generic_plan;
alter function save_agent(jsonb) set plan_cache_mode = force_generic_plan;
alter function save_events(jsonb) set plan_cache_mode = force_generic_plan;
alter function market_of(text, text, text, timestamptz, timestamptz) set plan_cache_mode = force_generic_plan;
alter function machine_bindings(text) set plan_cache_mode = force_generic_plan;

-- Makes those plans: reads nobody and writes nothing.
create function warm_up() returns void language plpgsql as $$
begin
    perform load_agent('', '', now(), '{}', '{}', '{}', '{}', true);
    perform market_of('', '', '', now(), now());
    perform save_agent('{"agents": [], "instances": [], "incidents": [], "replicas": [], "commands": [],
        "switches": [], "opened_periods": [], "events": [], "notifications": [], "outbox": []}');
end $$;
