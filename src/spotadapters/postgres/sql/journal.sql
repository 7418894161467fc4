-- name: events_add
insert into audit_events (event_id, kind, at, client_id, agent_id, instance_id, actor, level, facts)
select event_id, kind, at, client_id, agent_id, instance_id, actor, level, facts
from jsonb_populate_recordset(null::audit_events, %(rows)s);

-- name: notifications_add
insert into notifications (notification_id, client_id, severity, message, at, dedupe_key, event_id)
select notification_id, client_id, severity, message, at, dedupe_key, event_id
from jsonb_populate_recordset(null::notifications, %(rows)s)
on conflict (coalesce(client_id, ''), dedupe_key) do nothing;

-- name: outbox_add
insert into outbox (event_id, client_id)
select event_id, client_id from jsonb_populate_recordset(null::outbox, %(rows)s);

-- name: decision_add
insert into decisions (client_id, decision_id, agent_id, made_at, trigger, snapshot_hash, command_id, body)
values (%(client_id)s, %(decision_id)s, %(agent_id)s, %(made_at)s, %(trigger)s, %(snapshot_hash)s, %(command_id)s,
        %(body)s);

-- name: decisions_recent
select decision_id, made_at, trigger, snapshot_hash, command_id, body::text from decisions
where client_id = %(client_id)s and agent_id = %(agent_id)s order by made_at desc, decision_id desc limit %(limit)s;

-- name: idempotency_claim
insert into idempotency_keys (scope, key, body_hash, created_at)
values (%(scope)s, %(key)s, %(body_hash)s, %(now)s)
on conflict (scope, key) do update set body_hash = excluded.body_hash, created_at = excluded.created_at,
    status = null, body = null
where idempotency_keys.created_at < %(now)s - interval '24 hours'
returning true;

-- name: idempotency_read
select body_hash, status, body from idempotency_keys where scope = %(scope)s and key = %(key)s;

-- name: idempotency_complete
update idempotency_keys set status = %(status)s, body = %(body)s where scope = %(scope)s and key = %(key)s;
