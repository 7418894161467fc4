-- name: channel_add
insert into channels (client_id, channel_id, kind, label, sealed_address, sealed_secret, min_severity, created_at)
select %(client_id)s, %(channel_id)s, %(kind)s, %(label)s, %(sealed_address)s, %(sealed_secret)s, %(min_severity)s, %(now)s
where %(client_id)s = '' or exists (select 1 from clients c where c.client_id = %(client_id)s and c.status <> 'deleted')
returning to_json(channel_id)::text;

-- name: channel_list
select jsonb_build_object(
    'channel_id', c.channel_id, 'client_id', c.client_id, 'kind', c.kind, 'label', c.label,
    'min_severity', c.min_severity, 'created_at', c.created_at,
    'pending', count(d.*) filter (where d.state = 'pending'), 'delivered', count(d.*) filter (where d.state = 'delivered'),
    'dead', count(d.*) filter (where d.state = 'dead'))::text
from channels c left join deliveries d on d.client_id = c.client_id and d.channel_id = c.channel_id
group by c.client_id, c.channel_id order by c.client_id, c.created_at;

-- name: channel_remove
delete from channels where channel_id = %(channel_id)s returning to_json(channel_id)::text;

-- name: delivery_test
insert into deliveries (client_id, delivery_id, channel_id, state, created_at, next_attempt_at)
select client_id, %(delivery_id)s, channel_id, 'pending', %(now)s, %(now)s from channels where channel_id = %(channel_id)s
returning to_json(delivery_id)::text;

-- name: deliveries_due
with under_way as (  -- claimed, and no outcome yet
    select channel_id, count(*) as attempts from deliveries
    where state = 'pending' and next_attempt_at > %(now)s and next_attempt_at <= %(lease_until)s and last_error = %(unheard)s
    group by channel_id
), due as (
    select d.delivery_id, d.channel_id, d.next_attempt_at,
        row_number() over (partition by d.channel_id order by d.next_attempt_at, d.delivery_id) as place
    from deliveries d where d.state = 'pending' and d.next_attempt_at <= %(now)s
)
select to_json(due.delivery_id)::text from due left join under_way using (channel_id)
where due.place + coalesce(under_way.attempts, 0) <= %(at_once)s order by due.next_attempt_at limit %(limit)s;

-- name: deliveries_beside
select to_json(d.delivery_id)::text from deliveries d
where d.channel_id = (select channel_id from deliveries where delivery_id = %(delivery_id)s)
  and d.state = 'pending' and d.next_attempt_at <= %(now)s order by d.next_attempt_at, d.delivery_id limit %(limit)s;

-- name: delivery_claim
with used_up as (  -- by attempts that were not heard of again: who is heard of is judged after the last one
    update deliveries set state = 'dead', next_attempt_at = null, finished_at = %(now)s
    where delivery_id = %(delivery_id)s and state = 'pending' and next_attempt_at <= %(now)s and attempts >= %(tries)s
)
update deliveries d set attempts = attempts + 1, next_attempt_at = %(lease_until)s, last_error = %(unheard)s
from channels c
where d.delivery_id = %(delivery_id)s and d.state = 'pending' and d.next_attempt_at <= %(now)s and d.attempts < %(tries)s
  and c.client_id = d.client_id and c.channel_id = d.channel_id
returning jsonb_build_object(
    'delivery_id', d.delivery_id, 'kind', c.kind, 'sealed_address', encode(c.sealed_address, 'hex'),
    'sealed_secret', encode(c.sealed_secret, 'hex'), 'attempts', d.attempts, 'is_test', d.notification_id is null,
    'notice', (select jsonb_build_object('id', n.notification_id, 'client_id', n.client_id, 'severity', n.severity,
                    'message', n.message, 'at', n.at, 'kind', e.kind, 'agent_id', e.agent_id,
                    'instance_id', e.instance_id)
               from notifications n left join audit_events e on e.event_id = n.event_id
               where n.notification_id = d.notification_id))::text;

-- name: delivery_end
update deliveries set state = %(state)s, next_attempt_at = %(next_attempt_at)s, last_error = %(error)s,
    finished_at = case when %(state)s = 'pending' then null else %(now)s::timestamptz end
where delivery_id = %(delivery_id)s and state = 'pending' and attempts = %(attempts)s;

-- name: delivery_replay
update deliveries set state = 'pending', next_attempt_at = %(now)s, attempts = 0, finished_at = null
where delivery_id = %(delivery_id)s and state = 'dead' returning to_json(delivery_id)::text;

-- name: delivery_list
select jsonb_build_object(
    'delivery_id', d.delivery_id, 'channel_id', d.channel_id, 'client_id', d.client_id, 'label', c.label,
    'state', d.state, 'attempts', d.attempts, 'created_at', d.created_at, 'next_attempt_at', d.next_attempt_at,
    'finished_at', d.finished_at, 'last_error', d.last_error, 'message', n.message)::text
from deliveries d
join channels c on c.client_id = d.client_id and c.channel_id = d.channel_id
left join notifications n on n.notification_id = d.notification_id
where (%(state)s::text is null or d.state = %(state)s)
order by d.created_at desc, d.delivery_id limit %(limit)s;
