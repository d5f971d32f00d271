-- How many rows a source table has. BigQuery answers from metadata: nothing is scanned.
SELECT COUNT(*) AS row_count
FROM ${table}
