-- Seals are never deleted: what seals and prunes each looked at all there had ever been, until it took longer than a
-- statement may. The highest id that a seal ends with is looked up from above, so that only those of the last hour are met
-- before it. The latest seal does not end with it: seals of one run share their time, rows that became visible late have
-- lower ids, and a clock that was put back makes seals of an earlier time.
create index audit_seals_by_last_id on audit_seals ((audit_ids[cardinality(audit_ids)]));
create index audit_seals_unpruned on audit_seals (sealed_at) where pruned_at is null;

-- As in 0011, by that index whatever the planner believes: it has never looked at the tables of a new site, or when they
-- were small. Without sorts the index is the only way to the highest id, and "not in" has the ids of the last hour hashed
-- once, where "not exists" may go through them again for each row.
create or replace function seal_audit(p_now timestamptz, p_limit integer) returns integer language plpgsql
set enable_seqscan = off set enable_sort = off as $$
declare
    sealed integer;
begin
    if not pg_try_advisory_xact_lock(7283915002) then
        return 0;
    end if;
    with low as (
        select coalesce((
            select audit_ids[cardinality(audit_ids)] from audit_seals where sealed_at < p_now - interval '1 hour'
            order by audit_ids[cardinality(audit_ids)] desc limit 1), 0) as id
    ), recent as (
        select unnest(audit_ids) as id from audit_seals where sealed_at >= p_now - interval '1 hour'
    ), fresh as (
        select coalesce(a.client_id, '') as client, a.audit_id, audit_line(a) as line from audit_events a
        where a.audit_id > (select id from low) and a.audit_id not in (select id from recent)
        order by a.audit_id limit p_limit
    ), batches as (
        select client, array_agg(audit_id order by audit_id) as ids, string_agg(line, E'\n' order by audit_id) as lines
        from fresh group by client
    ), chained as (
        select b.client, b.ids, b.lines, coalesce(s.seal_no, 0) + 1 as seal_no, coalesce(s.digest, '') as previous
        from batches b left join lateral (
            select seal_no, digest from audit_seals s where s.client_id = b.client order by seal_no desc limit 1
        ) s on true
    ), put as (
        insert into audit_seals (client_id, seal_no, audit_ids, digest, previous, sealed_at)
        select client, seal_no, ids, encode(sha256(convert_to(previous || E'\n' || lines, 'UTF8')), 'hex'), previous, p_now
        from chained
        returning cardinality(audit_ids) as rows
    )
    select coalesce(sum(rows), 0) into sealed from put;
    return sealed;
end $$;
