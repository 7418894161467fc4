-- A pool has been observed since its earliest observation, which may come in late: a report may be a week old (4.3, DQ-2).

-- The places of the reports that were stored. The others go the ordinary way: their agent has moved on, the caller's token
-- no longer opens it, or its client wants to be told of prices. Locks are taken in the order of the keys.
create or replace function record_reports(doc jsonb) returns setof integer language sql
    set plan_cache_mode = force_generic_plan as $$
    with live as materialized (
        select s.* from pulse_rows(doc->'signs') p
        join agents a on a.client_id = p.client_id and a.agent_id = p.agent_id
        join jsonb_to_recordset(doc->'signs') as s (
            place integer, client_id text, agent_id text, instance_id text, at timestamptz, source text, rank integer,
            confidence numeric) on s.place = p.place
        where a.revision = p.revision and a.life = 'live'
          and not exists (select 1 from pricing_alerts l where l.client_id = p.client_id and l.enabled)
    ), items as materialized (
        select l.client_id, l.agent_id, l.instance_id, l.at, l.source, l.rank, l.confidence, i.submission_id, i.pool_id,
               i.instance_type, i.region, i.az, i.price, i.observed_at, i.bucket_start
        from jsonb_to_recordset(doc->'items') as i (
            place integer, submission_id text, pool_id text, instance_type text, region text, az text, price numeric,
            observed_at timestamptz, bucket_start timestamptz)
        join live l on l.place = i.place
    ), raw as (
        insert into raw_prices (client_id, submission_id, agent_id, instance_id, source, pool_id, price, observed_at,
                                received_at)
        select client_id, submission_id, agent_id, instance_id, source, pool_id, price, observed_at, at from items
        order by client_id, observed_at, submission_id
        on conflict (client_id, observed_at, submission_id) do nothing
        returning client_id, submission_id
    ), known as (
        insert into pools (pool_id, instance_type, region, az, first_observed_at)
        select pool_id, min(instance_type), min(region), min(az), min(observed_at) from items i
        -- what is no earlier need not lock its pool
        where not exists (select 1 from pools k where k.pool_id = i.pool_id and k.first_observed_at <= i.observed_at)
        group by pool_id order by pool_id
        on conflict (pool_id) do update set first_observed_at = excluded.first_observed_at
        where pools.first_observed_at > excluded.first_observed_at
    ), best as (
        select distinct on (pool_id, bucket_start) * from items
        where (client_id, submission_id) in (select r.client_id, r.submission_id from raw r)  -- DQ-3
        order by pool_id, bucket_start, rank desc, observed_at, submission_id
    ), buckets as (
        insert into price_buckets as b (pool_id, bucket_start, instance_type, region, price, source, rank, confidence,
                                        observed_at, submission_id)
        select pool_id, bucket_start, instance_type, region, price, source, rank, confidence, observed_at, submission_id
        from best n
        -- what has lost already need not lock its bucket
        where not exists (select 1 from price_buckets k where k.pool_id = n.pool_id and k.bucket_start = n.bucket_start
                          and (-k.rank, k.observed_at, k.submission_id) < (-n.rank, n.observed_at, n.submission_id))
        order by pool_id, bucket_start
        on conflict (pool_id, bucket_start) do update
        set price = excluded.price, source = excluded.source, rank = excluded.rank, confidence = excluded.confidence,
            observed_at = excluded.observed_at, submission_id = excluded.submission_id, method = null, discrepancy = null
        where (-excluded.rank, excluded.observed_at, excluded.submission_id) < (-b.rank, b.observed_at, b.submission_id)
    ), listed as (
        select distinct on (instance_type, region, flagged, bucket_start) o.*, l.rank, l.client_id
        from jsonb_to_recordset(doc->'ondemand') as o (
            place integer, instance_type text, region text, flagged boolean, bucket_start timestamptz,
            observed_at timestamptz, price numeric)
        join live l on l.place = o.place
        order by instance_type, region, flagged, bucket_start, l.rank desc, observed_at, price
    ), ondemand as (
        insert into ondemand_prices as o (instance_type, region, flagged, bucket_start, observed_at, price, rank, client_id)
        select instance_type, region, flagged, bucket_start, observed_at, price, rank, client_id from listed n
        where not exists (
            select 1 from ondemand_prices k
            where k.instance_type = n.instance_type and k.region = n.region and k.flagged = n.flagged
              and k.bucket_start = n.bucket_start
              and (-k.rank, k.observed_at, k.price) <= (-n.rank, n.observed_at, n.price))
        order by instance_type, region, flagged, bucket_start
        on conflict (instance_type, region, flagged, bucket_start) do update
        set observed_at = excluded.observed_at, price = excluded.price, rank = excluded.rank
        where (-excluded.rank, excluded.observed_at, excluded.price) < (-o.rank, o.observed_at, o.price)
    )
    select place from live;
$$;

-- Pools that met their older prices late: the first measured bucket tells, to five minutes.
update pools p set first_observed_at = first.observed_at
from pools k, lateral (
    select b.observed_at from price_buckets b where b.pool_id = k.pool_id and b.source <> 'interpolated'
    order by b.bucket_start limit 1
) first
where p.pool_id = k.pool_id and first.observed_at < p.first_observed_at;
