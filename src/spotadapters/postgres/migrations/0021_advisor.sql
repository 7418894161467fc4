-- What the cloud publishes about interruptions and savings per market: one row per snapshot, for people to look at.

create table spot_advice (
    region text not null,
    os text not null,
    instance_type text not null,
    as_of date not null,
    band smallint not null constraint advice_band check (band between 0 and 4),
    savings_percent smallint not null constraint advice_savings check (savings_percent between 0 and 100),
    source text not null,
    imported_at timestamptz not null,
    primary key (instance_type, region, os, as_of)
);
