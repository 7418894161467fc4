-- name: client_get
select to_jsonb(c)::text from clients c where client_id = %(client_id)s;

-- name: client_lock
select to_jsonb(c)::text from clients c where client_id = %(client_id)s for no key update;

-- name: client_add
insert into clients select * from jsonb_populate_record(null::clients, %(row)s);

-- name: client_put
update clients set name = %(name)s, email = %(email)s, status = %(status)s, deleted_at = %(deleted_at)s,
    max_agents = %(max_agents)s, max_instances = %(max_instances)s, default_auto_switch = %(default_auto_switch)s,
    default_auto_terminate = %(default_auto_terminate)s,
    default_terminate_wait_seconds = %(default_terminate_wait_seconds)s
where client_id = %(client_id)s;

-- name: token_add
insert into tokens (token_hash, client_id, hint, sealed, created_at, expires_at)
values (%(token_hash)s, %(client_id)s, %(hint)s, %(sealed)s, %(created_at)s, %(expires_at)s)
on conflict (token_hash) do update set expires_at = excluded.expires_at where tokens.client_id is null;

-- name: tokens_end
update tokens set expires_at = %(at)s
where client_id = %(client_id)s and (expires_at is null or expires_at > %(at)s);

-- name: token_current
select token_hash, hint, sealed, client_id, created_at, expires_at from tokens
where client_id = %(client_id)s and expires_at is null order by created_at desc limit 1;

-- name: admin_token_exists
select exists (select 1 from tokens where client_id is null and (expires_at is null or expires_at > %(now)s));

-- name: admin_token_known
select exists (select 1 from tokens where token_hash = %(token_hash)s and client_id is null
    and (expires_at is null or expires_at > %(now)s));

-- name: admin_tokens_end
update tokens set expires_at = %(at)s where client_id is null and (expires_at is null or expires_at > %(at)s);

-- name: client_agent_ids
select agent_id from agents where client_id = %(client_id)s and life <> 'deleted'
order by registered_at, agent_id;

-- name: credential_find
select t.client_id is null, to_jsonb(c)::text, case when c.status = 'deleted' then exists (
    select 1 from agents a where a.client_id = c.client_id and a.life = 'retiring') else false end
from tokens t left join clients c on c.client_id = t.client_id
where t.token_hash = %(token_hash)s and (t.expires_at is null or t.expires_at > %(now)s);

-- name: client_touch
update clients set last_sync_at = %(now)s
where client_id = %(client_id)s and (last_sync_at is null or last_sync_at < %(now)s - interval '30 seconds');

-- name: session_find
select to_jsonb(s)::text, t.client_id is null, to_jsonb(c)::text, case when c.status = 'deleted' then exists (
    select 1 from agents a where a.client_id = c.client_id and a.life = 'retiring') else false end
from sessions s join tokens t on t.token_hash = s.token_hash left join clients c on c.client_id = t.client_id
where s.session_hash = %(session_hash)s and (t.expires_at is null or t.expires_at > %(now)s);

-- name: session_open
with old as (delete from sessions where created_at < %(created_at)s::timestamptz - interval '7 days')
insert into sessions (session_hash, token_hash, created_at, seen_at)
values (%(session_hash)s, %(token_hash)s, %(created_at)s, %(seen_at)s);

-- name: session_see
update sessions set seen_at = greatest(seen_at, %(seen_at)s) where session_hash = %(session_hash)s;

-- name: session_end
delete from sessions where session_hash = %(session_hash)s;

-- name: client_purging
select set_config('spotcore.purging', %(client_id)s, true);

-- name: client_tables
-- Every table with rows of a client, also those that later migrations add; partitions are reached through their parent.
select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
    and a.attname = 'client_id' and not a.attisdropped and c.relname <> 'ondemand_prices'
order by c.relname;

-- name: client_prices_disown
update ondemand_prices set client_id = '' where client_id = %(client_id)s;

-- name: client_answers_purge
delete from idempotency_keys where position(convert_to(%(client_id)s, 'UTF8') in body) > 0;
