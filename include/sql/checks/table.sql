-- All that the checks of a table need to know, in one scan: one row a table. Rows are looked at beside their
-- neighbours first (windows), then those that do not pass are counted, with a few of their keys.
WITH

seen_rows AS (
    SELECT
        suite_table,
        ${key_text} AS row_key,
        ${all_text} AS row_text,
        ${columns},
        ${windows}
    FROM ${sources}
)

-- Measures are grouped by what they are for, not plain ones first.
SELECT -- noqa: ST06
    suite_table,
    COUNT(*) AS row_count,
    BIT_XOR(FARM_FINGERPRINT(row_text)) AS checksum,
    ${measures}
FROM seen_rows
GROUP BY suite_table
