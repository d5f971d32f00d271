# Who is told of what. What alerts there are is data: composer/monitoring/alerts.yaml.

locals {
  file   = "${path.module}/../../../monitoring/alerts.yaml"
  alerts = { for alert in yamldecode(templatefile(local.file, yamldecode(file(local.file)).thresholds)).alerts : alert.name => alert }
  emails = [for channel in google_monitoring_notification_channel.email : channel.id]
  # Monitoring wants seconds; a person reads 5m.
  seconds = { s = 1, m = 60, h = 3600, d = 86400 }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  project      = var.project_id
  display_name = "f1-training ${each.key}"
  type         = "email"

  labels = {
    email_address = each.value
  }
}

resource "google_monitoring_alert_policy" "of" {
  for_each = local.alerts

  project               = var.project_id
  display_name          = "f1-training: ${each.value.summary}"
  combiner              = "OR"
  severity              = upper(each.value.severity)
  notification_channels = concat(local.emails, each.value.severity == "critical" ? var.critical_channels : [])
  user_labels           = var.labels

  conditions {
    display_name = each.key

    condition_prometheus_query_language {
      query               = replace(each.value.expr, "training_", "${var.metric_prefix}training_")
      duration            = "${tonumber(regex("^[0-9]+", each.value.for)) * local.seconds[regex("[smhd]$", each.value.for)]}s"
      evaluation_interval = "60s"
      rule_group          = "f1-training"
      # Before the first training there are no metrics, and a policy about what does not exist is refused.
      disable_metric_validation = true
      # Prometheus' names have no hyphens.
      alert_rule = replace(each.key, "-", "_")
    }
  }

  documentation {
    content   = "${each.value.summary}. What to do: ${each.value.runbook}"
    mime_type = "text/markdown"
  }

  alert_strategy {
    auto_close = "86400s"
  }
}
