-- Whether deleted clients still wind down is asked of those that do.
create index agents_retiring on agents (client_id) where life = 'retiring';

-- Ten rows for each agent or machine is what ANALYZE writes down, whatever it finds: from a client's first agent it would
-- learn that all machines are one agent's, and have them all read for each until it comes again.
alter table instances alter agent_id set (n_distinct = -0.1);
alter table replicas alter agent_id set (n_distinct = -0.1), alter instance_id set (n_distinct = -0.1);
alter table commands alter agent_id set (n_distinct = -0.1);
alter table incidents alter agent_id set (n_distinct = -0.1);
alter table switches alter agent_id set (n_distinct = -0.1),
    alter new_instance_id set (n_distinct = -0.1), alter old_instance_id set (n_distinct = -0.1);
alter table primary_periods alter agent_id set (n_distinct = -0.1);

-- A group's items meet its reports by hash: 0037 took that away with the rest.
alter function record_reports(jsonb) reset enable_hashjoin;
alter function record_reports(jsonb) reset enable_mergejoin;
