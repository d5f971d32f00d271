# What is going on now: pods, what they use, what is stored, and what failed.

locals {
  charts = [
    { title = "Pods by phase", query = "sum by (phase) (kube_pod_status_phase{namespace=\"f1-training\"})" },
    { title = "CPUs in use, by pod", query = "sum by (pod) (rate(container_cpu_usage_seconds_total{namespace=\"f1-training\"}[5m]))" },
    { title = "Memory in use, by pod", query = "sum by (pod) (container_memory_working_set_bytes{namespace=\"f1-training\"})" },
    { title = "Nodes", query = "count(kubernetes_io:node_cpu_allocatable_cores{monitored_resource=\"k8s_node\"})" },
    { title = "Bytes stored, by bucket", query = "sum by (bucket_name) (storage_googleapis_com:storage_v2_total_bytes{monitored_resource=\"gcs_bucket\"})" },
    { title = "Bytes billed by BigQuery", query = "sum(rate(bigquery_googleapis_com:query_statement_scanned_bytes_billed[1h]))" },
  ]
  width = 6
  tiles = [
    for i, chart in local.charts : {
      xPos   = (i % 2) * local.width
      yPos   = floor(i / 2) * 4
      width  = local.width
      height = 4
      widget = {
        title = chart.title
        xyChart = {
          dataSets = [{
            plotType        = "LINE"
            timeSeriesQuery = { prometheusQuery = chart.query }
          }]
        }
      }
    }
  ]
  logs_tile = {
    xPos   = 0
    yPos   = 12
    width  = 12
    height = 4
    widget = {
      title     = "Errors"
      logsPanel = { filter = local.logs["errors"].filter }
    }
  }
}

resource "google_monitoring_dashboard" "training" {
  project = var.project_id

  dashboard_json = jsonencode({
    displayName  = "f1-training"
    mosaicLayout = { columns = 12, tiles = concat(local.tiles, [local.logs_tile]) }
  })
}
