-- One row a lap with telemetry of the split @split ('train', 'validation', 'test', or 'all'), with what the driver's
-- laps before it were like, and how it is driven. The newest session is the test, the one before it the validation.
--
-- The style of a lap follows from its pedals: 0 save, at least 80 m of lift and coast; 2 push, less than that, and at
-- full throttle for as large a share of the lap as in the session's median clean lap; 1 balanced, the rest.
--
-- Leakage: whatever is measured on a lap is a feature of later laps of the stint only.
WITH

sessions AS (
    SELECT
        session_id,
        DENSE_RANK() OVER (ORDER BY session_id DESC) AS newest_first
    FROM ${telemetry_laps_table}
    GROUP BY session_id
),

split_laps AS (
    SELECT
        telemetry.session_id,
        telemetry.driver_code,
        telemetry.lap_number,
        telemetry.stint,
        telemetry.tire_age,
        telemetry.compound,
        telemetry.lift_coast_m_total,
        telemetry.full_throttle_frac,
        telemetry.coast_frac,
        telemetry.brake_frac,
        telemetry.throttle_mean_pct,
        telemetry.throttle_rate_p95_pct_s,
        telemetry.speed_max_kmh,
        telemetry.lap_time_ms,
        COALESCE(telemetry.clean_tel_lap, FALSE) AS clean_lap
    FROM ${telemetry_laps_table} AS telemetry
    INNER JOIN sessions ON telemetry.session_id = sessions.session_id
    WHERE
        @split = 'all'
        OR @split = CASE sessions.newest_first
            WHEN 1 THEN 'test'
            WHEN 2 THEN 'validation'
            ELSE 'train'
        END
),

windowed AS (
    -- Columns are grouped by meaning, not plain ones first.
    SELECT -- noqa: ST06
        *,
        PERCENTILE_CONT(IF(clean_lap, full_throttle_frac, NULL), 0.5) OVER (PARTITION BY session_id)
            AS usual_full_throttle_frac,
        LAG(lift_coast_m_total) OVER driver_stint AS previous_lift_coast_m,
        LAG(full_throttle_frac) OVER driver_stint AS previous_full_throttle_frac,
        LAG(coast_frac) OVER driver_stint AS previous_coast_frac,
        LAG(brake_frac) OVER driver_stint AS previous_brake_frac,
        LAG(throttle_mean_pct) OVER driver_stint AS previous_throttle_mean_pct,
        LAG(throttle_rate_p95_pct_s) OVER driver_stint AS previous_throttle_rate_pct_s,
        LAG(speed_max_kmh) OVER driver_stint AS previous_speed_max_kmh,
        LAG(lap_time_ms) OVER driver_stint AS previous_lap_ms,
        -- Exact numbers: sums of fractions would depend on the order in which a query adds them up.
        CAST(AVG(CAST(lift_coast_m_total AS NUMERIC)) OVER last_3 AS FLOAT64) AS last_3_lift_coast_m,
        CAST(AVG(CAST(full_throttle_frac AS NUMERIC)) OVER last_3 AS FLOAT64) AS last_3_full_throttle_frac,
        AVG(lap_time_ms) OVER last_3 AS last_3_lap_ms
    FROM split_laps
    WINDOW
        driver_stint AS (PARTITION BY session_id, driver_code, stint ORDER BY lap_number),
        last_3 AS (
            PARTITION BY session_id, driver_code, stint ORDER BY lap_number ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING
        )
)

-- Columns are grouped by meaning, not plain ones first.
SELECT -- noqa: ST06
    -- Keys. Intervals are drawn over drivers: a test of one session has only these to draw.
    session_id,
    driver_code,
    lap_number,
    compound,
    CONCAT(session_id, '_', driver_code) AS session_driver,

    -- Tyres, and where in the stint.
    stint,
    tire_age AS tire_age_laps,
    CAST(compound = 'SOFT' AS INT64) AS compound_soft,
    CAST(compound = 'MEDIUM' AS INT64) AS compound_medium,
    CAST(compound = 'HARD' AS INT64) AS compound_hard,

    -- Pedals and pace of the laps before.
    previous_lift_coast_m,
    previous_full_throttle_frac,
    previous_coast_frac,
    previous_brake_frac,
    previous_throttle_mean_pct,
    previous_throttle_rate_pct_s,
    previous_speed_max_kmh,
    previous_lap_ms,
    last_3_lift_coast_m,
    last_3_full_throttle_frac,
    last_3_lap_ms,

    -- Outcome of the lap.
    CASE
        WHEN lift_coast_m_total >= 80 THEN 0
        WHEN full_throttle_frac >= usual_full_throttle_frac THEN 2
        WHEN full_throttle_frac IS NOT NULL AND lift_coast_m_total IS NOT NULL THEN 1
    END AS driving_style,
    COALESCE(clean_lap AND lift_coast_m_total IS NOT NULL AND full_throttle_frac IS NOT NULL, FALSE) AS style_eligible
FROM windowed
