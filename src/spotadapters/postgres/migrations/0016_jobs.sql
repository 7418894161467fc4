-- Background jobs: who has won a slot (JB-2), and how each job stands (JB-8). What a lost table costs is a run made twice.

create unlogged table job_slots (
    job text not null,
    slot_start timestamptz not null,
    claimed_by text not null,
    claimed_at timestamptz not null,
    finished_at timestamptz,
    primary key (job, slot_start)
);
create index job_slots_by_start on job_slots (slot_start);

create table job_states (
    job text primary key,
    every_seconds numeric not null constraint job_interval_is_positive check (every_seconds > 0),
    known_since timestamptz not null,
    last_run_at timestamptz,
    last_status text constraint job_state_status check (last_status in ('completed', 'failed')),
    last_success_at timestamptz,
    next_run_at timestamptz
);
create index job_runs_running on job_runs (job_type) where status = 'running';
create index notifications_by_age on notifications (at);
create index decisions_by_age on decisions (made_at);
create index commands_by_end on commands (finished_at) where state not in ('pending', 'executing');
create index buckets_by_age on price_buckets (bucket_start);
