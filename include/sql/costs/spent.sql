-- What was spent from @since on, in US dollars after credits: a row a day, service, line of the budget, model and run.
-- The table is Cloud Billing's detailed usage export. Pods carry their labels there by way of GKE's cost allocation,
-- under k8s-label/; jobs and tables of BigQuery carry theirs as they are. Whatever has no label is infrastructure.
WITH

usage AS (
    SELECT
        service.description AS service,
        DATE(usage_start_time) AS day,
        COALESCE(
            (
                SELECT MAX(label.value)
                FROM UNNEST(labels) AS label
                WHERE label.key IN ('k8s-label/f1-training/budget', 'f1-training-budget')
            ),
            'infrastructure'
        ) AS budget,
        COALESCE(
            (
                SELECT MAX(label.value)
                FROM UNNEST(labels) AS label
                WHERE label.key IN ('k8s-label/f1-training/model-type', 'f1-training-model')
            ),
            ''
        ) AS model_type,
        COALESCE(
            (
                SELECT MAX(label.value)
                FROM UNNEST(labels) AS label
                WHERE label.key IN ('k8s-label/f1-training/job-id', 'f1-training-job')
            ),
            ''
        ) AS job_id,
        -- The export is in the account's currency, with the rate of US dollars to it.
        SAFE_DIVIDE(
            cost + COALESCE((SELECT SUM(credit.amount) FROM UNNEST(credits) AS credit), 0),
            COALESCE(currency_conversion_rate, 1)
        ) AS usd
    FROM ${billing_table}
    WHERE
        project.id = @project
        AND DATE(usage_start_time) >= @since
)

SELECT
    day,
    service,
    budget,
    model_type,
    job_id,
    SUM(usd) AS usd
FROM usage
GROUP BY day, service, budget, model_type, job_id
ORDER BY day, service, budget, model_type, job_id
