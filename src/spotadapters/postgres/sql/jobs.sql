-- name: job_announce
insert into job_states (job, every_seconds, known_since)
select job, every_seconds, %(now)s from unnest(%(jobs)s::text[], %(every_seconds)s::numeric[]) as t (job, every_seconds)
on conflict (job) do update set every_seconds = excluded.every_seconds;

-- name: job_claim
with put as (
    insert into job_slots as s (job, slot_start, claimed_by, claimed_at)
    values (%(job)s, %(slot)s, %(by)s, %(now)s)
    on conflict (job, slot_start) do update
        set claimed_by = excluded.claimed_by, claimed_at = excluded.claimed_at, finished_at = null
        where s.finished_at is null and (s.claimed_by = excluded.claimed_by or s.claimed_at < %(reclaim_before)s)
            or s.claimed_at > %(now)s + interval '1 minute'  -- by a clock that has been put back: its hour comes again
    returning 1
)
select to_json(case
    when exists (select 1 from put) then 'won'
    when exists (select 1 from job_slots s where s.job = %(job)s and s.slot_start = %(slot)s and s.finished_at is not null)
        then 'finished'
    else 'taken' end)::text;

-- name: job_is_finished
select to_json(exists (
    select 1 from job_slots where job = %(job)s and slot_start = %(slot)s and finished_at is not null
        and claimed_at <= %(now)s + interval '1 minute'))::text;

-- name: job_begin
with gone as (
    update job_runs set status = 'failed', completed_at = %(now)s, error = 'its process ended before it did'
    where job_type = %(job)s and status = 'running' and started_at < %(reclaim_before)s
)
insert into job_runs (job_type, status, started_at) values (%(job)s, 'running', %(now)s)
returning to_json(run_id)::text;

-- name: job_end
with run as (
    update job_runs set status = %(status)s, completed_at = %(now)s, error = %(error)s,
        records_processed = %(records_processed)s, duplicates_removed = %(duplicates_removed)s,
        gaps_filled = %(gaps_filled)s
    where run_id = %(run_id)s
), slot as (
    update job_slots set finished_at = %(now)s
    where job = %(job)s and slot_start = %(slot)s and %(status)s = 'completed'
)
update job_states set last_run_at = %(now)s, last_status = %(status)s, next_run_at = %(next_run)s,
    last_success_at = case when %(status)s = 'completed' then %(now)s::timestamptz else last_success_at end
where job = %(job)s;

-- name: job_states
select jsonb_build_object('name', job, 'every_seconds', every_seconds, 'known_since', known_since,
    'last_run', last_run_at, 'last_status', last_status, 'last_success', last_success_at, 'next_run', next_run_at)::text
from job_states order by job;
