-- name: events_save
select save_events(%(doc)s);

-- name: events_known
select event_id from audit_events where event_id = any(%(event_ids)s);

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
