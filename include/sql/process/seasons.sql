-- The seasons of the raw laps, and how many of their laps say themselves which split they belong to.
SELECT
    season,
    COUNT(*) AS row_count,
    COUNT(split) AS with_split
FROM ${laps_table}
GROUP BY season
