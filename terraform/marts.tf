# The analysts' views. BigQuery checks a view's query when the view is made, and the instances of one resource come in no order:
# so there is one resource for each level, each behind the one that it reads.

resource "google_bigquery_table" "mart_1" {
  for_each = local.marts["1"]

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.dataset[each.value.dataset].dataset_id
  table_id            = each.value.name
  description         = each.value.description
  deletion_protection = false # a view holds no data

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.view]
}

resource "google_bigquery_table" "mart_2" {
  for_each = local.marts["2"]

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.dataset[each.value.dataset].dataset_id
  table_id            = each.value.name
  description         = each.value.description
  deletion_protection = false # a view holds no data

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.mart_1]
}

resource "google_bigquery_table" "mart_3" {
  for_each = local.marts["3"]

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.dataset[each.value.dataset].dataset_id
  table_id            = each.value.name
  description         = each.value.description
  deletion_protection = false # a view holds no data

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.mart_2]
}

resource "google_bigquery_table" "mart_4" {
  for_each = local.marts["4"]

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.dataset[each.value.dataset].dataset_id
  table_id            = each.value.name
  description         = each.value.description
  deletion_protection = false # a view holds no data

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.mart_3]
}
