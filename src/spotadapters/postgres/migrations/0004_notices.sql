-- Who has read what, price alerts, and the live feed: the outbox in the order in which it was published.

create table notification_reads (
    client_id text not null,  -- '' is the operator, who reads for itself (NT-2)
    notification_id text not null references notifications on delete cascade,
    read_at timestamptz not null,
    primary key (client_id, notification_id)
);
create index notification_reads_of_notification on notification_reads (notification_id);
create index notifications_by_time on notifications (at desc);

create table pricing_alerts (
    client_id text not null references clients,
    alert_id text not null,
    alert_type text not null constraint alert_type check (alert_type in ('price_above', 'price_below')),
    pool_id text,
    threshold numeric not null constraint alert_threshold_range check (threshold > 0),
    enabled boolean not null,
    notification_channels jsonb not null,
    created_at timestamptz not null,
    fired_at timestamptz,
    primary key (client_id, alert_id)
);

-- One row, whose lock makes publishers wait for each other: positions become visible in their order (decision 0011).
create table live_feed (
    only_row boolean primary key default true constraint live_feed_has_one_row check (only_row),
    position bigint not null
);
insert into live_feed (position) values (0);

delete from outbox;  -- from before there was a relay: news to nobody
alter table outbox add column position bigint;
create unique index outbox_by_position on outbox (position) where position is not null;

create function publish_outbox(p_now timestamptz, p_limit integer) returns void language plpgsql as $$
declare
    start_position bigint;
    published bigint;
begin
    if not exists (select 1 from outbox where delivered_at is null) then
        return;
    end if;
    -- a statement of its own: the next one sees everything that earlier publishers committed
    select position into start_position from live_feed for update;
    -- two places a row: the frame of the event, and that of its notification
    with waiting as (
        select outbox_id, row_number() over (order by outbox_id) as place
        from (select outbox_id from outbox where delivered_at is null order by outbox_id limit p_limit) first_rows
    )
    update outbox o set position = start_position + 2 * w.place, delivered_at = p_now
    from waiting w where o.outbox_id = w.outbox_id;
    get diagnostics published = row_count;
    if published > 0 then
        update live_feed set position = start_position + 2 * published;
        perform pg_notify('spotcore_events', '');
    end if;
end $$;
