-- Filled buckets say how, doubtful ones that they are; raw prices in weekly partitions that are dropped whole (JB-7).

alter table price_buckets
    add column method text constraint fill_method check (method in
        ('linear', 'weighted_mean', 'cross_pool', 'linear_without_peers')),
    add column discrepancy text constraint bucket_discrepancy check (discrepancy in ('flagged', 'warning')),
    add constraint filled_buckets_have_a_method check ((source = 'interpolated') = (method is not null));
create index buckets_in_doubt on price_buckets (instance_type, region, bucket_start) where discrepancy is not null;
create index raw_prices_by_receipt on raw_prices (received_at);

-- Partitions are tables of their own: the walls stand on the parent, so nobody but the owner reads them directly.
revoke all on raw_prices_default from spotcore_app;

create function raw_price_partition(p_week date) returns text language sql immutable as $$
    select 'raw_prices_' || to_char(p_week, 'YYYYMMDD')
$$;

-- Weeks from a week ago to two ahead exist afterwards; those that ended before p_before are gone. Gives both counts.
create function keep_raw_prices(p_now timestamptz, p_before timestamptz) returns integer[] language plpgsql
    security definer set search_path from current as $$
declare
    week date;
    name text;
    made integer := 0;
    dropped integer := 0;
begin
    if not pg_try_advisory_xact_lock(7283915004) then
        return array[0, 0];
    end if;
    perform set_config('spotcore.tenant', '*', true);  -- the owner may be bound by its own policies
    for week in select generate_series(date_trunc('week', p_now at time zone 'UTC') - interval '1 week',
                                       date_trunc('week', p_now at time zone 'UTC') + interval '2 weeks', '1 week')::date loop
        name := raw_price_partition(week);
        continue when to_regclass(name) is not null;
        execute format('create table %I (like raw_prices including defaults including constraints)', name);
        execute format('revoke all on %I from spotcore_app', name);
        execute format('with moved as (delete from raw_prices_default where observed_at >= %L and observed_at < %L returning *)
            insert into %I select * from moved', week::timestamp at time zone 'UTC',
            (week + 7)::timestamp at time zone 'UTC', name);
        execute format('alter table raw_prices attach partition %I for values from (%L) to (%L)', name,
            week::timestamp at time zone 'UTC', (week + 7)::timestamp at time zone 'UTC');
        made := made + 1;
    end loop;
    for name in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'raw_prices'::regclass and c.relname ~ '^raw_prices_\d{8}$'
          and to_date(right(c.relname, 8), 'YYYYMMDD') + 7 <= (p_before at time zone 'UTC')::date
    loop
        execute format('drop table %I', name);
        dropped := dropped + 1;
    end loop;
    delete from raw_prices_default where observed_at < p_before;
    return array[made, dropped];
end $$;
