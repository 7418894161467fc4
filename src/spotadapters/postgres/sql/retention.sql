-- Each deletes at most %(limit)s rows that are older than %(before)s and says how many.

-- name: retain_idempotency_keys
with old as (select scope, key from idempotency_keys where created_at < %(before)s limit %(limit)s),
gone as (delete from idempotency_keys k using old where k.scope = old.scope and k.key = old.key returning 1)
select to_json(count(*))::text from gone;

-- name: retain_decisions
with old as (select client_id, decision_id from decisions where made_at < %(before)s limit %(limit)s),
gone as (delete from decisions d using old where d.client_id = old.client_id and d.decision_id = old.decision_id returning 1)
select to_json(count(*))::text from gone;

-- name: retain_decision_days
with old as (select client_id, agent_id, day from decision_days
             where day < (%(before)s::timestamptz at time zone 'UTC')::date limit %(limit)s),
gone as (delete from decision_days d using old
         where d.client_id = old.client_id and d.agent_id = old.agent_id and d.day = old.day returning 1)
select to_json(count(*))::text from gone;

-- name: retain_recent_reports
with old as (select client_id, agent_id, received_at from recent_reports where received_at < %(before)s limit %(limit)s),
gone as (delete from recent_reports r using old where r.client_id = old.client_id and r.agent_id = old.agent_id
         and r.received_at = old.received_at returning 1)
select to_json(count(*))::text from gone;

-- name: retain_commands
with old as (
    select c.client_id, c.command_id from commands c
    where c.state not in ('pending', 'executing') and c.finished_at < %(before)s
      and not exists (select 1 from instances i where i.client_id = c.client_id and i.bound_command_id = c.command_id
                      and i.status not in ('terminated', 'released'))
    limit %(limit)s),
gone as (delete from commands c using old where c.client_id = old.client_id and c.command_id = old.command_id returning 1)
select to_json(count(*))::text from gone;

-- name: retain_read_notifications
with old as (
    select n.notification_id from notifications n
    where n.at < %(before)s and n.client_id is not null and exists (
        select 1 from notification_reads r where r.notification_id = n.notification_id and r.client_id = n.client_id)
    limit %(limit)s),
gone as (delete from notifications n using old where n.notification_id = old.notification_id returning 1)
select to_json(count(*))::text from gone;

-- name: retain_notifications
with old as (select notification_id from notifications where at < %(before)s limit %(limit)s),
gone as (delete from notifications n using old where n.notification_id = old.notification_id returning 1)
select to_json(count(*))::text from gone;

-- name: retain_job_runs
with old as (select run_id from job_runs where started_at < %(before)s limit %(limit)s),
gone as (delete from job_runs j using old where j.run_id = old.run_id returning 1)
select to_json(count(*))::text from gone;

-- name: retain_job_slots
with old as (select job, slot_start from job_slots where slot_start < %(before)s limit %(limit)s),
gone as (delete from job_slots j using old where j.job = old.job and j.slot_start = old.slot_start returning 1)
select to_json(count(*))::text from gone;

-- name: retain_deliveries
with old as (select client_id, delivery_id from deliveries where created_at < %(before)s limit %(limit)s),
gone as (delete from deliveries d using old where d.client_id = old.client_id and d.delivery_id = old.delivery_id
         returning 1)
select to_json(count(*))::text from gone;

-- name: retain_price_buckets
with old as (select pool_id, bucket_start from price_buckets where bucket_start < %(before)s limit %(limit)s),
gone as (delete from price_buckets b using old where b.pool_id = old.pool_id and b.bucket_start = old.bucket_start
         returning 1)
select to_json(count(*))::text from gone;

-- name: retain_raw_prices
-- Those that lie in no week: the others go by whole partitions.
select to_json(forget_loose_prices(%(before)s, %(limit)s))::text;

-- name: client_snapshot
with put as (
    insert into client_snapshots (day, total, new, active)
    select %(day)s::date,
           count(*) filter (where (created_at at time zone 'UTC')::date <= %(day)s::date
               and (deleted_at is null or (deleted_at at time zone 'UTC')::date > %(day)s::date)),
           count(*) filter (where (created_at at time zone 'UTC')::date = %(day)s::date),
           count(*) filter (where status = 'active' and (created_at at time zone 'UTC')::date <= %(day)s::date)
    from clients
    on conflict (day) do nothing returning 1
)
select to_json(count(*))::text from put;
