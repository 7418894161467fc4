-- What each agent lately decided and reported, in few rows of its own (E23): the page asks every 30 s for all agents of a client.
-- Its decisions of 30 days were counted one by one, and for its newest five reports the prices of a day were gone through, which
-- no index finds by agent; one would hold 90 days of prices for the sake of the last. Triggers write both, so that a server of the
-- version before does so, too.

create table decision_days (
    client_id text not null,
    agent_id text not null,
    day date not null,  -- UTC
    decisions integer not null,
    primary key (client_id, agent_id, day)
);
select wall_tenants('decision_days');

create table recent_reports (
    client_id text not null,
    agent_id text not null,
    received_at timestamptz not null,
    prices jsonb not null,  -- by pool
    primary key (client_id, agent_id, received_at)
);
-- For retention alone: to the planner of a new site a B-tree by time would look as good as the key (0027).
create index recent_reports_by_age on recent_reports using brin (received_at) with (autosummarize = on);
select wall_tenants('recent_reports');

create function count_decision() returns trigger language plpgsql as $$
begin
    insert into decision_days as d (client_id, agent_id, day, decisions)
    values (new.client_id, new.agent_id, (new.made_at at time zone 'UTC')::date, 1)
    on conflict (client_id, agent_id, day) do update set decisions = d.decisions + 1;
    return null;
end $$;

-- Of several prices of a pool the highest. A call may bring its reports in several statements.
create function note_reports() returns trigger language plpgsql as $$
begin
    insert into recent_reports as r (client_id, agent_id, received_at, prices)
    select client_id, agent_id, received_at, jsonb_object_agg(pool_id, price order by price) from arrived
    group by client_id, agent_id, received_at
    order by client_id, agent_id, received_at
    on conflict (client_id, agent_id, received_at) do update set prices = r.prices || excluded.prices;
    return null;
end $$;

-- What there is, but for the last minute, while everybody goes on writing; no transaction of theirs takes as long.
insert into decision_days
select client_id, agent_id, (made_at at time zone 'UTC')::date, count(*) from decisions
where made_at <= now() - interval '1 minute' group by 1, 2, 3;
insert into recent_reports
select client_id, agent_id, received_at, jsonb_object_agg(pool_id, price order by price) from raw_prices
where received_at > now() - interval '1 day' and received_at <= now() - interval '1 minute' group by 1, 2, 3;

create trigger count_decision after insert on decisions for each row execute function count_decision();
create trigger note_reports after insert on raw_prices referencing new table as arrived
    for each statement execute function note_reports();

-- The last minute; the triggers' locks keep others out until the end.
insert into decision_days as d
select client_id, agent_id, (made_at at time zone 'UTC')::date, count(*) from decisions
where made_at > now() - interval '1 minute' group by 1, 2, 3
on conflict (client_id, agent_id, day) do update set decisions = d.decisions + excluded.decisions;
insert into recent_reports
select client_id, agent_id, received_at, jsonb_object_agg(pool_id, price order by price) from raw_prices
where received_at > now() - interval '1 minute' group by 1, 2, 3;
