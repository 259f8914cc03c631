# Every variable with a rule refuses a value that breaks it.

mock_provider "google" {}

run "values_that_break_a_rule" {
  command = plan

  variables {
    project_id                = "My Project"
    region                    = "us-central1-a"
    labels                    = { App = "x" }
    image                     = "us-docker.pkg.dev/p/r/i"
    service_name              = "St"
    worker_name               = "1st"
    worker_instances          = -1
    worker_resources          = { cpu = "3" }
    worker_launch_stage       = "ALPHA"
    service_resources         = { memory = "2 GB" }
    service_instances         = { min = 6 }
    service_timeout_seconds   = 7200
    service_ingress           = "ALL"
    environment               = { ST_CLIENT_SECRET = "x" }
    invokers                  = ["allUsers"]
    operators                 = ["ann@example.com"]
    st_tenant_id              = "north"
    tenant_secrets            = { ST_APP_KEY = "a secret" }
    api_token_secret          = "a b"
    time_zone                 = "PST"
    common_schedules          = { x = { schedule = "hourly", mode = "full" } }
    alert_emails              = ["ann"]
    notification_channels     = ["123"]
    oldest_message_seconds    = { live = 0 }
    unfinished_tasks_per_hour = 0
  }

  expect_failures = [
    var.project_id,
    var.region,
    var.labels,
    var.image,
    var.service_name,
    var.worker_name,
    var.worker_instances,
    var.worker_resources,
    var.worker_launch_stage,
    var.service_resources,
    var.service_instances,
    var.service_timeout_seconds,
    var.service_ingress,
    var.environment,
    var.invokers,
    var.operators,
    var.st_tenant_id,
    var.tenant_secrets,
    var.api_token_secret,
    var.time_zone,
    var.common_schedules,
    var.alert_emails,
    var.notification_channels,
    var.oldest_message_seconds,
    var.unfinished_tasks_per_hour,
  ]
}

# A second rule of the same variable needs a run of its own.
run "names_that_terraform_sets" {
  command = plan

  variables {
    project_id  = "test-project"
    environment = { PUBSUB_TOPIC = "another" }
  }

  expect_failures = [var.environment]
}
