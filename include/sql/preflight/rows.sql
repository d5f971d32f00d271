-- A few rows of a snapshot's shape, for a pod to read.
SELECT
    shard,
    @probe_split AS split
FROM UNNEST(GENERATE_ARRAY(0, @last_shard)) AS shard
