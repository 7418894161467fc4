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
    select pool_id, min(instance_type), min(region), min(az), min(observed_at) from items
    group by pool_id order by pool_id
    on conflict (pool_id) do nothing
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
        observed_at = excluded.observed_at, submission_id = excluded.submission_id
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
select market_of(%(client_id)s, %(instance_type)s, %(region)s, %(fresh_since)s, %(week_ago)s);

-- name: last_unflagged_ondemand
select price from ondemand_prices
where instance_type = %(instance_type)s and region = %(region)s and not flagged
order by observed_at desc limit 1;
