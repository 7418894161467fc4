-- name: prices_record
with items as (
    select * from jsonb_to_recordset(%(items)s) as x(
        submission_id text, pool_id text, instance_type text, region text, az text, price numeric,
        observed_at timestamptz, bucket_start timestamptz)
), raw as (
    insert into raw_prices (client_id, submission_id, agent_id, instance_id, source, pool_id, price, observed_at,
                            received_at)
    select %(client_id)s, submission_id, %(agent_id)s, %(instance_id)s, %(source)s, pool_id, price, observed_at,
           %(received_at)s
    from items
    on conflict (client_id, observed_at, submission_id) do nothing
    returning submission_id
), known as (
    insert into pools (pool_id, instance_type, region, az, first_observed_at)
    select pool_id, min(instance_type), min(region), min(az), min(observed_at) from items i
    -- what is no earlier need not lock its pool
    where not exists (select 1 from pools k where k.pool_id = i.pool_id and k.first_observed_at <= i.observed_at)
    group by pool_id order by pool_id
    on conflict (pool_id) do update set first_observed_at = excluded.first_observed_at
    where pools.first_observed_at > excluded.first_observed_at  -- 4.3: older observations may come late (DQ-2)
), buckets as (
    insert into price_buckets as b (pool_id, bucket_start, instance_type, region, price, source, rank, confidence,
                                    observed_at, submission_id)
    select distinct on (pool_id, bucket_start) pool_id, bucket_start, instance_type, region, price, %(source)s,
           %(rank)s, %(confidence)s, observed_at, submission_id
    from items
    where submission_id in (select r.submission_id from raw r)  -- DQ-3: as at its first receipt
    order by pool_id, bucket_start, observed_at, submission_id
    on conflict (pool_id, bucket_start) do update
    set price = excluded.price, source = excluded.source, rank = excluded.rank, confidence = excluded.confidence,
        observed_at = excluded.observed_at, submission_id = excluded.submission_id, method = null, discrepancy = null
    where (-excluded.rank, excluded.observed_at, excluded.submission_id) < (-b.rank, b.observed_at, b.submission_id)
)
select to_jsonb(a)::text from pricing_alerts a
where a.client_id = %(client_id)s and a.enabled
  and (a.pool_id is null or a.pool_id in (select pool_id from items));

-- name: ondemand_record
insert into ondemand_prices as o (instance_type, region, flagged, bucket_start, observed_at, price, rank, client_id)
select distinct on (instance_type, region, flagged, bucket_start)
    instance_type, region, flagged, bucket_start, observed_at, price, %(rank)s, %(client_id)s
from jsonb_to_recordset(%(items)s) as x(
    instance_type text, region text, flagged boolean, bucket_start timestamptz, observed_at timestamptz, price numeric)
order by instance_type, region, flagged, bucket_start, observed_at, price
on conflict (instance_type, region, flagged, bucket_start) do update
set observed_at = excluded.observed_at, price = excluded.price, rank = excluded.rank
where (-excluded.rank, excluded.observed_at, excluded.price) < (-o.rank, o.observed_at, o.price);

-- name: market
select market_of(%(client_id)s, %(instance_type)s, %(region)s, %(fresh_since)s, %(week_ago)s),
       listed_ondemand(%(instance_type)s, %(region)s, %(now)s);

-- name: last_unflagged_ondemand
select coalesce(listed_ondemand(%(instance_type)s, %(region)s, %(now)s), (
    select price from ondemand_prices
    where instance_type = %(instance_type)s and region = %(region)s and not flagged
    order by observed_at desc limit 1));

-- name: price_types
select instance_type from pools
where split_part(instance_type, '.', 1) = %(family)s and (region = %(region)s or %(region)s::text is null)
group by instance_type order by instance_type collate "C";

-- name: price_groups
select distinct p.instance_type, p.region
from raw_prices r join pools p on p.pool_id = r.pool_id where r.received_at >= %(received_since)s
union
select distinct instance_type, region from price_buckets
where source = 'backfill' and bucket_start >= %(received_since)s
order by 1, 2;

-- name: buckets_repair
-- The winners of what was submitted (DQ-4), and how far the runner-up is from each (DQ-5, P2).
with submitted as (
    select distinct on (r.submission_id) r.pool_id, r.source, r.price, r.observed_at, r.submission_id,
        to_timestamp(floor(extract(epoch from r.observed_at) / 300) * 300) as bucket_start,
        (%(ranks)s::jsonb->>r.source)::integer as rank, (%(confidences)s::jsonb->>r.source)::numeric as confidence
    from raw_prices r join pools p on p.pool_id = r.pool_id
    where p.instance_type = %(instance_type)s and p.region = %(region)s and r.observed_at >= %(since)s
    order by r.submission_id, (%(ranks)s::jsonb->>r.source)::integer desc, r.observed_at
), ranked as (
    select *, row_number() over w as place, lead(price) over w as runner_up
    from submitted window w as (partition by pool_id, bucket_start order by rank desc, observed_at, submission_id)
), winners as (
    select *, case when abs(runner_up - price) > price * 0.10 then 'warning'
                   when abs(runner_up - price) > price * 0.005 then 'flagged' end as discrepancy
    from ranked where place = 1
)
insert into price_buckets as b (pool_id, bucket_start, instance_type, region, price, source, rank, confidence,
                                observed_at, submission_id, discrepancy)
select pool_id, bucket_start, %(instance_type)s, %(region)s, price, source, rank, confidence, observed_at,
       submission_id, discrepancy
from winners
on conflict (pool_id, bucket_start) do update
set price = excluded.price, source = excluded.source, rank = excluded.rank, confidence = excluded.confidence,
    observed_at = excluded.observed_at, submission_id = excluded.submission_id, discrepancy = excluded.discrepancy,
    method = null
where (-excluded.rank, excluded.observed_at, excluded.submission_id) < (-b.rank, b.observed_at, b.submission_id)
   or (excluded.submission_id = b.submission_id and excluded.discrepancy is distinct from b.discrepancy);

-- name: buckets_in_doubt
select pool_id, bucket_start from price_buckets
where instance_type = %(instance_type)s and region = %(region)s and bucket_start >= %(since)s and discrepancy = 'warning'
order by 1, 2;

-- name: buckets_measured
select pool_id, bucket_start, price from price_buckets
where instance_type = %(instance_type)s and region = %(region)s and bucket_start >= %(since)s
  and source <> 'interpolated';

-- name: fills_replace
with wanted as (
    select * from jsonb_to_recordset(%(items)s) as x(
        pool_id text, bucket_start timestamptz, price numeric, confidence numeric, method text)
), gone as (
    delete from price_buckets b
    where b.instance_type = %(instance_type)s and b.region = %(region)s and b.bucket_start >= %(since)s
      and b.source = 'interpolated'
      and not exists (select 1 from wanted w where w.pool_id = b.pool_id and w.bucket_start = b.bucket_start)
    returning 1
), put as (
    insert into price_buckets as b (pool_id, bucket_start, instance_type, region, price, source, rank, confidence,
                                    observed_at, submission_id, method)
    select pool_id, bucket_start, %(instance_type)s, %(region)s, price, 'interpolated', 1, confidence, bucket_start, '',
           method
    from wanted
    on conflict (pool_id, bucket_start) do update
    set price = excluded.price, confidence = excluded.confidence, method = excluded.method
    where b.source = 'interpolated'
      and (b.price, b.confidence, b.method) is distinct from (excluded.price, excluded.confidence, excluded.method)
    returning 1
)
select (select count(*) from gone) + (select count(*) from put);

-- name: raw_prices_keep
select to_jsonb(keep_raw_prices(%(now)s, %(before)s))::text;
