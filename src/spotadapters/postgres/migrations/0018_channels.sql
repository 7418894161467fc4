-- Where notifications go besides the screen. A delivery is made in the transaction that publishes its notification, once.

create function severity_rank(severity text) returns integer language sql immutable as $$
    select array_position(array['info', 'success', 'warning', 'error', 'critical'], severity)
$$;

create table channels (
    client_id text not null,  -- '' is the operator's: it hears of every client
    channel_id text not null constraint channel_id_unique unique,
    kind text not null constraint channel_kind check (kind in ('webhook', 'apprise')),
    label text not null,  -- what people may see of the address
    sealed_address bytea not null,
    sealed_secret bytea constraint webhooks_are_signed check (kind <> 'webhook' or sealed_secret is not null),
    min_severity text not null constraint channel_severity check (severity_rank(min_severity) is not null),
    created_at timestamptz not null,
    primary key (client_id, channel_id)
);
select wall_tenants('channels');

create table deliveries (
    client_id text not null,
    delivery_id text not null constraint delivery_id_unique unique,
    channel_id text not null,
    notification_id text,  -- null: somebody tests the channel
    state text not null constraint delivery_state check (state in ('pending', 'delivered', 'dead')),
    attempts integer not null default 0 constraint delivery_attempts check (attempts >= 0),
    created_at timestamptz not null,
    next_attempt_at timestamptz constraint pending_is_due check ((state = 'pending') = (next_attempt_at is not null)),
    finished_at timestamptz,
    last_error text,
    primary key (client_id, delivery_id),
    constraint delivered_once unique (channel_id, notification_id),
    foreign key (client_id, channel_id) references channels on delete cascade
);
create index deliveries_due on deliveries (next_attempt_at) where state = 'pending';
create index deliveries_by_age on deliveries (created_at);
select wall_tenants('deliveries');

create or replace function publish_outbox(p_now timestamptz, p_limit integer) returns void language plpgsql as $$
declare
    start_position bigint;
    published text[];
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
    ), placed as (
        update outbox o set position = start_position + 2 * w.place, delivered_at = p_now
        from waiting w where o.outbox_id = w.outbox_id
        returning o.event_id
    )
    select array_agg(event_id) into published from placed;
    if published is null then
        return;
    end if;
    update live_feed set position = start_position + 2 * cardinality(published);
    if exists (select 1 from channels) then
        insert into deliveries (client_id, delivery_id, channel_id, notification_id, state, created_at, next_attempt_at)
        select c.client_id, c.channel_id || '.' || n.notification_id, c.channel_id, n.notification_id, 'pending', p_now, p_now
        from notifications n
        join channels c on c.client_id in ('', n.client_id)
        where n.notification_id = any(published) and severity_rank(n.severity) >= severity_rank(c.min_severity)
        on conflict do nothing;
    end if;
    perform pg_notify('spotcore_events', '');
end $$;
