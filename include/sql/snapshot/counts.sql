-- Rows of each logical shard of a snapshot: shards are dealt to workers by size, and a missing row is noticed. The
-- checksum is of keys and targets in any order; workers compute it again from what they read, exactly, because scaling
-- by a power of two rounds nothing (trainer.data.shards).
SELECT
    split,
    shard,
    COUNT(*) AS row_count,
    BIT_XOR(row_key ^ COALESCE(SAFE_CAST(FLOOR(target * 1024) AS INT64), 0)) AS checksum
FROM ${snapshot_table}
GROUP BY split, shard
