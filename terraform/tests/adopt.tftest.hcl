# What `st-ingestor init` has made is taken over, all of it and nothing else. A test in test/terraform reads the ids.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
}

override_resource {
  target = google_bigquery_dataset.dataset
}
override_resource {
  target = google_bigquery_table.table
}
override_resource {
  target = google_bigquery_table.view
}
override_resource {
  target = google_bigquery_table.mart_1
}
override_resource {
  target = google_bigquery_table.mart_2
}
override_resource {
  target = google_bigquery_table.mart_3
}
override_resource {
  target = google_bigquery_table.mart_4
}
override_resource {
  target = google_pubsub_topic.queue
}
override_resource {
  target = google_pubsub_subscription.lane
}
override_resource {
  target = google_pubsub_subscription.dead_letter
}

variables {
  project_id     = "test-project"
  st_tenant_id   = "1234567"
  adopt_existing = true
}

run "taken_over" {
  command = plan

  assert {
    condition     = length(google_bigquery_table.table) == length(local.init.tables) && length(google_pubsub_topic.queue) == 3
    error_message = "the same objects as without it"
  }
}
