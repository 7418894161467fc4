-- The savings ledger (domain-rules 7.3): what screens sum, written by the accrual job.

create table ledger_lines (
    client_id text not null,
    line_id text not null,
    agent_id text not null,
    instance_id text not null,
    started_at timestamptz not null,
    ended_at timestamptz not null,
    role text not null constraint ledger_role check (role in ('primary', 'replica', 'zombie')),
    mode text not null,
    pool_id text,
    paid_price numeric,
    ondemand_price numeric,
    baseline numeric(20, 8),
    cost numeric(20, 8),
    saving numeric(20, 8),
    quality text not null constraint ledger_quality check (quality in ('measured', 'estimated', 'unpriced')),
    adjusts text,
    recorded_at timestamptz not null,
    primary key (client_id, line_id),
    foreign key (client_id, agent_id) references agents,
    foreign key (client_id, instance_id) references instances,
    constraint line_runs_forward check (ended_at > started_at),
    constraint saving_is_baseline_minus_cost check (saving = baseline - cost),
    constraint i9_lines_do_not_overlap exclude using gist
        (client_id with =, instance_id with =, tstzrange(started_at, ended_at) with &&) where (adjusts is null)
);
create index ledger_of_client on ledger_lines (client_id, started_at);
create index ledger_of_agent on ledger_lines (client_id, agent_id, started_at);
create index ledger_of_instance on ledger_lines (client_id, instance_id, started_at);
