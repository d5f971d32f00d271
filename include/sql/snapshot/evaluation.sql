-- The rows that a model is scored on. They go into a dataset of their own, which training cannot read.
-- The columns are in the order of the training snapshot, not plain ones first; `target` is the name the trainer knows.
-- After the features come the columns that the error is broken down by, as text and under names that no feature has.
SELECT -- noqa: ST06
    @test_split AS split,
    ${group_text} AS group_id,
    FARM_FINGERPRINT(${row_key}) AS row_key,
    ${target_number} AS target, -- noqa: RF04
    ABS(MOD(FARM_FINGERPRINT(${group_text}), @logical_shards)) AS shard,
    ${columns}
FROM ${test_table}
WHERE ${eligible}
