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
insert into ondemand_prices (instance_type, region, flagged, observed_at, price, client_id)
select x.instance_type, x.region, x.flagged, x.observed_at, x.price, %(client_id)s
from jsonb_to_recordset(%(items)s) as x(
    instance_type text, region text, flagged boolean, observed_at timestamptz, price numeric)
where x.price is distinct from (
    select o.price from ondemand_prices o
    where o.instance_type = x.instance_type and o.region = x.region and o.flagged = x.flagged
      and o.observed_at <= x.observed_at
    order by o.observed_at desc limit 1)
on conflict do nothing;

-- name: market
with wanted as (
    select pool_id, first_observed_at from pools
    where instance_type = %(instance_type)s and (region = %(region)s or %(region)s::text is null)
)
select jsonb_build_object(
    'pools', (select jsonb_agg(jsonb_build_object(
        'pool_id', w.pool_id,
        'first_observed_at', w.first_observed_at,
        'latest', (select jsonb_build_object('price', b.price, 'observed_at', b.observed_at, 'confidence', b.confidence)
                   from price_buckets b where b.pool_id = w.pool_id and b.source <> 'interpolated'
                   order by b.bucket_start desc limit 1),
        'own', (select jsonb_build_object('price', r.price, 'observed_at', r.observed_at)
                from raw_prices r where r.client_id = %(client_id)s and r.pool_id = w.pool_id
                  and r.observed_at > %(fresh_since)s order by r.observed_at desc limit 1),
        'recent', (select jsonb_agg(t.price order by t.bucket_start) from (
                       select b.price, b.bucket_start from price_buckets b
                       where b.pool_id = w.pool_id and b.source <> 'interpolated'
                       order by b.bucket_start desc limit 10) t),
        'incidents', (select count(*) from incidents n where n.pool_id = w.pool_id and n.opened_at > %(week_ago)s),
        'own_open', exists (select 1 from incidents n where n.pool_id = w.pool_id and n.client_id = %(client_id)s
                            and n.state not in ('resolved', 'cleared')),
        'open', exists (select 1 from incidents n where n.pool_id = w.pool_id and n.severity = 'termination'
                        and n.state not in ('resolved', 'cleared')),
        'boot', (select jsonb_build_object('mean', avg(extract(epoch from i.confirmed_at - i.launch_requested_at)),
                                           'samples', count(*))
                 from instances i where i.pool_id = w.pool_id and i.confirmed_at is not null
                   and i.launch_requested_at is not null)
    )) from wanted w),
    'ondemand', (select jsonb_build_object('price', o.price, 'observed_at', o.observed_at, 'flagged', o.flagged)
                 from ondemand_prices o where o.instance_type = %(instance_type)s and o.region = %(region)s
                 order by o.flagged, o.observed_at desc limit 1)
)::text;

-- name: last_unflagged_ondemand
select price from ondemand_prices
where instance_type = %(instance_type)s and region = %(region)s and not flagged
order by observed_at desc limit 1;
