-- The rows that a run trains on and stops early by, from one scan of the tables of two splits. The job's destination is
-- range-partitioned by `shard`, so that a worker reads its own shards only. `row_key` orders the rows of a shard: equal
-- snapshots are then equal bytes, in whatever order they are read.
-- `target` is the name that the trainer knows.
WITH

split_rows AS (
    SELECT
        @train_split AS split,
        ${group_text} AS group_id,
        FARM_FINGERPRINT(${row_key}) AS row_key,
        ${target_number} AS target, -- noqa: RF04
        ${features}
    FROM ${train_table}
    WHERE ${eligible}
    UNION ALL
    SELECT
        @validation_split AS split,
        ${group_text} AS group_id,
        FARM_FINGERPRINT(${row_key}) AS row_key,
        ${target_number} AS target, -- noqa: RF04
        ${features}
    FROM ${validation_table}
    WHERE ${eligible}
)

SELECT
    *,
    ABS(MOD(FARM_FINGERPRINT(group_id), @logical_shards)) AS shard
FROM split_rows
