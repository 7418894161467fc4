-- name: alert_add
insert into pricing_alerts select * from jsonb_populate_record(null::pricing_alerts, %(row)s);

-- name: alerts_of_client
select to_jsonb(a)::text from pricing_alerts a
where client_id = %(client_id)s order by created_at desc, alert_id desc;

-- name: alerts_fire
with due as (
    select client_id, alert_id from pricing_alerts
    where client_id = %(client_id)s and alert_id = any(%(alert_ids)s)
      and (fired_at is null or fired_at <= %(heard_since)s)
    order by alert_id for update
)
update pricing_alerts a set fired_at = %(now)s
from due where a.client_id = due.client_id and a.alert_id = due.alert_id
returning a.alert_id;

-- name: notice_mark_read
with seen as (
    select n.notification_id from notifications n left join clients c on c.client_id = n.client_id
    where n.notification_id = %(notification_id)s
      and (%(scope)s::text is null or n.client_id = %(scope)s or n.client_id is null)
      and (n.client_id is null or c.status <> 'deleted')
), put as (
    insert into notification_reads (client_id, notification_id, read_at)
    select %(reader)s, notification_id, %(now)s from seen
    on conflict do nothing
)
select exists (select 1 from seen);

-- name: notice_mark_all_read
with put as (
    insert into notification_reads (client_id, notification_id, read_at)
    select %(reader)s, n.notification_id, %(now)s
    from notifications n left join clients c on c.client_id = n.client_id
    where (%(scope)s::text is null or n.client_id = %(scope)s or n.client_id is null)
      and (n.client_id is null or c.status <> 'deleted')
      and not exists (select 1 from notification_reads r
                      where r.client_id = %(reader)s and r.notification_id = n.notification_id)
    limit %(limit)s
    on conflict do nothing
    returning 1
)
select count(*) from put;

-- name: read_notifications
with visible as not materialized (
    select n.notification_id, n.client_id, n.severity, n.message, n.at, r.notification_id is not null as is_read
    from notifications n
    left join clients c on c.client_id = n.client_id
    left join notification_reads r on r.client_id = %(reader)s and r.notification_id = n.notification_id
    where (%(scope)s::text is null or n.client_id = %(scope)s or n.client_id is null)
      and (n.client_id is null or c.status <> 'deleted')
)
select jsonb_build_object(
    'unread', (select count(*) from visible where not is_read),
    'items', (select jsonb_agg(to_jsonb(t)) from (
        select * from visible where not (%(only_unread)s and is_read)
        order by at desc, notification_id limit %(limit)s) t)
)::text;

-- name: live_publish
select publish_up_to(%(now)s, %(limit)s);

-- name: live_position
select position from live_feed;

-- name: live_since
select jsonb_build_object(
    'position', o.position, 'client_id', o.client_id, 'kind', e.kind, 'at', e.at, 'agent_id', e.agent_id,
    'instance_id', e.instance_id, 'facts', e.facts,
    'notification', (select jsonb_build_object('notification_id', n.notification_id, 'client_id', n.client_id,
                         'severity', n.severity, 'message', n.message, 'at', n.at)
                     from notifications n where n.notification_id = o.event_id)
)::text
from outbox o
join audit_events e on e.event_id = o.event_id
left join clients c on c.client_id = o.client_id
where o.position > %(after)s and (%(since)s::timestamptz is null or o.delivered_at >= %(since)s)
  and (%(scope)s::text is null or o.client_id is null or o.client_id = %(scope)s)
  and (c.status is distinct from 'deleted' or e.kind = 'client_deleted')
order by o.position limit %(limit)s;

-- name: live_missed
select exists (select 1 from outbox o
               where (o.position > %(seen)s or (o.position = %(seen)s and exists (
                          select 1 from notifications n where n.notification_id = o.event_id)))
                 and o.delivered_at < %(since)s
                 and (%(scope)s::text is null or o.client_id is null or o.client_id = %(scope)s))
    or %(row)s + 2 < coalesce((select min(position) from outbox where position is not null), f.position + 2)
from live_feed f;

-- name: live_prune
delete from outbox where delivered_at < %(before)s;
