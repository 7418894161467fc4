-- name: audit_seal
select to_jsonb(seal_audit(%(now)s, %(limit)s))::text;

-- name: audit_check
-- A page of seals after a place, each with what no longer fits: the rows of a seal, or the seal before it.
with page as (
    select s.*, coalesce(lag(s.digest) over (partition by s.client_id order by s.seal_no), p.digest, '') as expected,
           coalesce(lag(s.seal_no) over (partition by s.client_id order by s.seal_no), p.seal_no, 0) + 1 as expected_no
    from (select * from audit_seals
          where (client_id, seal_no) > (%(client_id)s, %(seal_no)s) and (client_id = %(only)s or %(only)s::text is null)
          order by client_id, seal_no limit %(limit)s) s
    left join lateral (
        select q.digest, q.seal_no from audit_seals q where q.client_id = s.client_id and q.seal_no < s.seal_no
        order by q.seal_no desc limit 1) p on true
)
select jsonb_build_object(
    'client_id', s.client_id, 'seal_no', s.seal_no, 'sealed_at', s.sealed_at, 'rows', cardinality(s.audit_ids),
    'digest', s.digest, 'is_pruned', s.pruned_at is not null,
    'first_id', s.audit_ids[1], 'last_id', s.audit_ids[cardinality(s.audit_ids)],
    'is_chained', s.previous = s.expected and s.seal_no = s.expected_no,
    'missing', case when s.pruned_at is null then cardinality(s.audit_ids) - r.count else 0 end,
    'is_whole', s.pruned_at is not null
        or s.digest = encode(sha256(convert_to(s.previous || E'\n' || coalesce(r.lines, ''), 'UTF8')), 'hex')
)::text
from page s cross join lateral (
    select count(*) as count, string_agg(audit_line(a), E'\n' order by a.audit_id) as lines
    from audit_events a where s.pruned_at is null and a.audit_id = any(s.audit_ids)
) r
order by s.client_id, s.seal_no;

-- name: audit_loose
-- Rows of a stretch of ids that should have been sealed long ago: put in afterwards, or the job has not run.
with sealed as (
    select unnest(audit_ids) as id from audit_seals
    where audit_ids[1] < %(first)s::bigint + %(count)s and audit_ids[cardinality(audit_ids)] >= %(first)s
)
select jsonb_build_object('client_id', coalesce(a.client_id, ''), 'rows', count(*), 'first_id', min(a.audit_id))::text
from audit_events a left join sealed s on s.id = a.audit_id
where a.audit_id >= %(first)s and a.audit_id < %(first)s::bigint + %(count)s and s.id is null
  and a.at < %(now)s - interval '2 hours' and (coalesce(a.client_id, '') = %(only)s or %(only)s::text is null)
group by coalesce(a.client_id, '') order by 1;

-- name: audit_ids
select jsonb_build_array(coalesce(min(audit_id), 1), coalesce(max(audit_id), 0))::text from audit_events;

-- name: audit_seals_count
select to_jsonb(count(*))::text from audit_seals where client_id = %(only)s or %(only)s::text is null;

-- name: audit_prune
-- Whole seals go at a time, their digest stays (section 9: the last pruned hash is the anchor). A row is sealed after it was
-- written, so that a younger seal has young rows; what was sealed late, or by a clock ahead, stays so much longer.
with old as (
    select client_id, seal_no, audit_ids from audit_seals s
    where pruned_at is null and sealed_at < %(before)s and not exists (
        select 1 from audit_events a where a.audit_id = any(s.audit_ids) and a.at >= %(before)s)
    order by sealed_at limit %(limit)s
), gone as (
    delete from audit_events a using old where a.audit_id = any(old.audit_ids) returning 1
), marked as (
    update audit_seals s set pruned_at = %(now)s from old where s.client_id = old.client_id and s.seal_no = old.seal_no
)
select to_jsonb(count(*))::text from gone;
