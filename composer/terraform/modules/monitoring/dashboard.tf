# What is going on now, and what failed. What charts there are is data: composer/monitoring/dashboard.yaml.

locals {
  dashboard_file = "${path.module}/../../../monitoring/dashboard.yaml"
  dashboard      = yamldecode(templatefile(local.dashboard_file, { rate_window = yamldecode(file(local.dashboard_file)).rate_window }))
  # Two charts a row, below a heading of one row; where a section's last chart is alone, it is as wide as two.
  heading = 1
  height  = 4
  width   = 6
  heights = [for section in local.dashboard.sections : local.heading + ceil(length(section.charts) / 2) * local.height]
  tops    = [for i, section in local.dashboard.sections : sum(concat([0], slice(local.heights, 0, i)))]
  headings = [
    for i, section in local.dashboard.sections : {
      xPos   = 0
      yPos   = local.tops[i]
      width  = 2 * local.width
      height = local.heading
      widget = { title = section.title, sectionHeader = { dividerBelow = true } }
    }
  ]
  charts = flatten([
    for i, section in local.dashboard.sections : [
      for j, chart in section.charts : {
        xPos   = (j % 2) * local.width
        yPos   = local.tops[i] + local.heading + floor(j / 2) * local.height
        width  = j % 2 == 0 && j == length(section.charts) - 1 ? 2 * local.width : local.width
        height = local.height
        widget = {
          title = chart.title
          xyChart = {
            dataSets = [{
              plotType = "LINE"
              timeSeriesQuery = {
                prometheusQuery = replace(chart.query, "training_", "${var.metric_prefix}training_")
                unitOverride    = chart.unit
              }
            }]
          }
        }
      }
    ]
  ])
  logs_tile = {
    xPos   = 0
    yPos   = sum(local.heights)
    width  = 2 * local.width
    height = local.height
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
    mosaicLayout = { columns = 12, tiles = concat(local.headings, local.charts, [local.logs_tile]) }
  })
}
