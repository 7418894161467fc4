-- Training datasets (domain-rules 8.4): immutable versions; the newest row is the one in use.

create table datasets (
    dataset_id bigint generated always as identity primary key,
    built_at timestamptz not null,
    rows bigint not null constraint dataset_has_rows check (rows > 0),
    pools integer not null,
    first_at timestamptz not null,
    last_at timestamptz not null,
    sha256 text not null constraint dataset_digest check (sha256 ~ '^[0-9a-f]{64}$'),
    file text not null
);

create function ds5_versions_never_change() returns trigger language plpgsql as $$
begin
    raise exception 'a dataset version never changes' using errcode = 'check_violation',
        constraint = 'ds5_versions_never_change';
end $$;
create trigger ds5_versions_never_change before update on datasets
    for each row execute function ds5_versions_never_change();
