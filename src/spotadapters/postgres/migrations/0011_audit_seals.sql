-- Audit rows are sealed in batches, chained per client (design 6): a changed or missing row no longer fits its seal.

create table audit_seals (
    client_id text not null,  -- '' for rows of no client
    seal_no bigint not null,
    audit_ids bigint[] not null constraint seal_has_rows check (cardinality(audit_ids) > 0),
    digest text not null,
    previous text not null,
    sealed_at timestamptz not null,
    pruned_at timestamptz,  -- its rows have reached their age and are gone; the digest stays as anchor
    primary key (client_id, seal_no)
);
create index audit_seals_by_time on audit_seals (sealed_at);
select wall_tenants('audit_seals');

-- What a seal says about a row. Named columns, so that a column added later breaks no seal.
create function audit_line(a audit_events) returns text language sql stable as $$
    select jsonb_build_array(a.audit_id, a.event_id, a.kind, extract(epoch from a.at), a.client_id, a.agent_id,
                             a.instance_id, a.actor, a.level, a.facts)::text
$$;

-- Seals what is not sealed yet, at most p_limit rows; how many. Rows become visible out of the order of their ids, so a
-- seal lists its rows, and whatever appears within an hour is found. One caller works at a time, the others get 0.
create function seal_audit(p_now timestamptz, p_limit integer) returns integer language plpgsql as $$
declare
    sealed integer;
begin
    if not pg_try_advisory_xact_lock(7283915002) then
        return 0;
    end if;
    with low as (
        select coalesce(max(audit_ids[cardinality(audit_ids)]), 0) as id from audit_seals
        where sealed_at < p_now - interval '1 hour'
    ), recent as (
        select unnest(audit_ids) as id from audit_seals where sealed_at >= p_now - interval '1 hour'
    ), fresh as (
        select coalesce(a.client_id, '') as client, a.audit_id, audit_line(a) as line from audit_events a
        where a.audit_id > (select id from low) and not exists (select 1 from recent r where r.id = a.audit_id)
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
