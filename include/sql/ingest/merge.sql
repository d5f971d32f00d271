-- Replace each group of rows that was ingested, such as a race, as a whole: ingested again, it changes nothing. With
-- @replace_all, no other group stays.
MERGE ${raw_table} AS kept
USING ${batch_table} AS fresh
    ON FALSE
WHEN NOT MATCHED BY SOURCE AND (@replace_all OR kept.${group_column} IN UNNEST(@groups)) THEN DELETE
WHEN NOT MATCHED BY TARGET THEN INSERT (${columns}) VALUES (${columns})
