-- For each list of MACs PostgreSQL would plan two statements of it anew, which took longer than the looks themselves: it reckons with
-- ten codes where there is one. The plans that it keeps look each up by its index.
ALTER FUNCTION try_user_code(
    bytea[], uuid, timestamptz, text[], text[], timestamptz[], timestamptz[], bigint[], bigint[], timestamptz
) SET plan_cache_mode = force_generic_plan;
