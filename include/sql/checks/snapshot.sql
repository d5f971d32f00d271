-- What the data checks need to know about a snapshot, in one scan: one row a split. An empty split has no row.
-- Counts are grouped by what they are for, not plain ones first.
SELECT -- noqa: ST06
    split,
    COUNT(*) AS row_count,
    COUNT(target) AS target_count,
    COUNT(IF(IS_NAN(target) OR IS_INF(target), 1, NULL)) AS target_not_finite,
    MIN(target) AS target_min,
    MAX(target) AS target_max,
    COUNT(DISTINCT group_id) AS group_count,
    COUNT(group_id) AS rows_with_group,
    COUNT(DISTINCT row_key) AS key_count,
    ${present}
FROM ${snapshot_table}
GROUP BY split
