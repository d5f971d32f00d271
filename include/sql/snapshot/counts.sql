-- Rows of each logical shard of a snapshot: shards are dealt to workers by size, and a missing row is noticed.
SELECT
    split,
    shard,
    COUNT(*) AS row_count
FROM ${snapshot_table}
GROUP BY split, shard
