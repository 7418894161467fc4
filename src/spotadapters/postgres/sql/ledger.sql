-- name: ledger_clients
select distinct client_id from instances order by client_id;

-- name: ledger_hold
select pg_try_advisory_xact_lock(hashtextextended('ledger ' || %(client_id)s, 0));

-- name: ledger_accruing
select jsonb_build_object(
    'instance', to_jsonb(i), 'build', a.build, 'registered_ondemand_price', a.registered_ondemand_price,
    'periods', (select jsonb_agg(to_jsonb(p) order by p.started_at) from primary_periods p
                where p.client_id = i.client_id and p.instance_id = i.instance_id),
    'lines_end', l.ends
)::text
from instances i
join agents a on a.client_id = i.client_id and a.agent_id = i.agent_id
cross join lateral (select max(ended_at) as ends from ledger_lines l
                    where l.client_id = i.client_id and l.instance_id = i.instance_id) l
where i.client_id = %(client_id)s and i.instance_id > %(after)s and i.cloud_id is not null
  and (coalesce(i.terminated_at, i.released_at) is null or coalesce(i.terminated_at, i.released_at) >= %(changed_since)s
       or l.ends is null or l.ends < coalesce(i.terminated_at, i.released_at))
order by i.instance_id limit %(limit)s;

-- name: ledger_entries
select to_jsonb(l)::text from ledger_lines l
where client_id = %(client_id)s and instance_id = any(%(instance_ids)s) and started_at >= %(since)s
order by instance_id, started_at, line_id;

-- name: ledger_costs
select instance_id, round(sum(cost), 8) from ledger_exact
where client_id = %(client_id)s and instance_id = any(%(instance_ids)s) and role = %(role)s
group by instance_id;

-- name: ledger_spot
-- Equal neighbours without a hole as one row: prices stand still for hours.
with b as (
    select pool_id, bucket_start, price, source = 'interpolated' as filled,
           lag(bucket_start) over w as before, lag(price) over w as price_before,
           lag(source = 'interpolated') over w as filled_before
    from price_buckets
    where pool_id = any(%(pool_ids)s) and bucket_start > %(since)s and bucket_start < %(until)s
    window w as (partition by pool_id order by bucket_start)
), runs as (
    select *, count(*) filter (where before is null or price <> price_before or filled <> filled_before
                                     or bucket_start - before > interval '60 minutes')
              over (partition by pool_id order by bucket_start) as run
    from b
)
select pool_id, min(bucket_start), min(price), bool_or(filled), max(bucket_start)
from runs group by pool_id, run order by pool_id, 2;

-- name: ledger_ondemand
-- A list without a date is from ever, which no Python instant can say: null.
select instance_type, region, null::boolean as flagged, nullif(since, '-infinity') as since, price from ondemand_list
where (instance_type, region) in (select * from unnest(%(types)s::text[], %(regions)s::text[]))
union all
select instance_type, region, flagged, bucket_start, price from ondemand_prices
where (instance_type, region) in (select * from unnest(%(types)s::text[], %(regions)s::text[]))
order by 1, 2, 4 nulls first;

-- name: ledger_remove
delete from ledger_lines where client_id = %(client_id)s and line_id = any(%(line_ids)s);

-- name: ledger_add
insert into ledger_lines (client_id, line_id, agent_id, instance_id, started_at, ended_at, role, mode, pool_id,
    paid_price, ondemand_price, baseline, cost, saving, quality, sign, adjusts, recorded_at)
select client_id, replace(gen_random_uuid()::text, '-', ''), agent_id, instance_id, started_at, ended_at, role, mode,
    pool_id, paid_price, ondemand_price, baseline, cost, saving, quality, sign, adjusts, recorded_at
from jsonb_populate_recordset(null::ledger_lines, %(rows)s);

-- name: ledger_seal
select seal_ledger(%(client_id)s, %(final)s, %(now)s);

-- name: ledger_sealed_clients
select jsonb_build_object('client_id', client_id)::text from ledger_seals group by client_id order by client_id;

-- name: ledger_check
with s as (
    select *, lag(digest) over w as digest_before, lag(seal_no) over w as no_before,
        coalesce(lag(final) over w, '-infinity') as final_before, coalesce(lag(upto) over w, 0) as upto_before
    from ledger_seals where client_id = %(client_id)s
    window w as (order by seal_no)
)
select jsonb_build_object(
    'seal_no', s.seal_no, 'sealed_at', s.sealed_at, 'lines', s.lines, 'digest', s.digest,
    'is_chained', s.previous = coalesce(s.digest_before, '') and s.seal_no = coalesce(s.no_before, 0) + 1,
    'missing', s.lines - r.lines,
    'is_whole', s.digest = encode(sha256(convert_to(s.previous || E'\n' || coalesce(r.text, ''), 'UTF8')), 'hex')
)::text
from s cross join lateral (
    select count(*) as lines, string_agg(ledger_text(l), E'\n' order by l.entry_no) as text
    from ledger_lines l
    where l.client_id = s.client_id and l.started_at < s.final and l.entry_no <= s.upto
      and (l.started_at >= s.final_before or l.entry_no > s.upto_before)
) r
order by s.seal_no;

-- name: ledger_month
select jsonb_build_object('line', to_jsonb(l), 'machine', jsonb_build_object(
    'cloud_id', i.cloud_id, 'instance_type', i.instance_type, 'region', coalesce(i.region, a.region), 'az', i.az,
    'logical_agent_id', a.logical_agent_id))::text
from ledger_lines l
join instances i on i.client_id = l.client_id and i.instance_id = l.instance_id
join agents a on a.client_id = l.client_id and a.agent_id = l.agent_id
where l.client_id = %(client_id)s and l.started_at >= %(since)s and l.started_at < %(until)s
order by a.logical_agent_id, l.agent_id, l.started_at, l.instance_id, l.line_id;

-- name: ledger_price_rows
-- What the spot price of a time came from: the winners of the buckets in force then (SV-4, P8).
select to_jsonb(b)::text from (
    select pool_id, bucket_start, price, source, method, confidence, discrepancy, observed_at, submission_id
    from price_buckets
    where pool_id = %(pool_id)s and bucket_start > %(since)s::timestamptz - interval '60 minutes'
      and bucket_start < %(until)s
    order by bucket_start) b;
