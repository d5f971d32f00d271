-- The races that somebody has measured the car in: nothing is simulated for them.
SELECT DISTINCT race_id
FROM ${car_laps_table}
WHERE origin = 'measured'
