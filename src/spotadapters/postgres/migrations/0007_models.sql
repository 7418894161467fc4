-- Model and engine sessions (domain-rules 11.2). Bytes live in files, under their hash.

create table model_sessions (
    session_id text primary key,
    kind text not null constraint model_kind check (kind in ('model', 'engine')),
    state text not null constraint model_state check (state in
        ('uploaded', 'validating', 'validated', 'shadow', 'active', 'fallback', 'archived', 'rejected')),
    scope text not null,
    name text,
    version text,
    architecture text,
    created_at timestamptz not null,
    changed_at timestamptz not null,
    activated_at timestamptz,
    rejection text,
    files_removed_at timestamptz,
    constraint model_rejection check ((state = 'rejected') = (rejection is not null)),
    constraint model_activation check (state not in ('active', 'fallback') or activated_at is not null),
    constraint serving_files_are_kept check (state not in ('active', 'fallback') or files_removed_at is null)
);
create unique index i12_one_active_session on model_sessions (scope, kind) where state = 'active';
create unique index one_fallback_session on model_sessions (scope, kind) where state = 'fallback';
create index model_sessions_newest on model_sessions (kind, created_at desc);

create table model_files (
    session_id text not null references model_sessions,
    position int not null,
    label text not null,
    sha256 text not null constraint model_digest check (sha256 ~ '^[0-9a-f]{64}$'),
    size bigint not null constraint model_size check (size between 1 and 104857600),
    primary key (session_id, position)
);
create index model_files_by_digest on model_files (sha256);

create function model_session_is_final() returns trigger language plpgsql as $$
begin
    if old.state in ('archived', 'rejected') and new.state <> old.state then
        raise exception using errcode = 'check_violation', constraint = 'gr4_terminal_stays_terminal',
            message = 'a session that has ended stays ended';
    end if;
    return new;
end $$;
create trigger gr4_terminal_stays_terminal before update on model_sessions
    for each row execute function model_session_is_final();
