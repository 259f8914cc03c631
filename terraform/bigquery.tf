# Datasets, tables and views as `st-ingestor init` makes them. A worker that finds them makes nothing.

resource "google_bigquery_dataset" "dataset" {
  for_each = { for dataset in local.init.datasets : dataset.dataset => dataset }

  project                    = var.project_id
  dataset_id                 = local.datasets[each.key]
  location                   = local.location
  description                = each.value.description
  delete_contents_on_destroy = false

  depends_on = [google_project_service.api]
}

resource "google_bigquery_table" "table" {
  for_each = local.tables

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.dataset[each.value.dataset].dataset_id
  table_id            = each.value.name
  description         = each.value.description
  schema              = jsonencode(each.value.schema)
  clustering          = each.value.clustering
  deletion_protection = each.value.dataset == "stage" ? false : var.deletion_protection # stage rows expire by themselves

  dynamic "time_partitioning" {
    for_each = each.value.partitioning[*]
    content {
      type          = time_partitioning.value.type
      field         = time_partitioning.value.field
      expiration_ms = time_partitioning.value.expiration_ms
    }
  }
}

resource "google_bigquery_table" "view" {
  for_each = local.views

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.dataset[each.value.dataset].dataset_id
  table_id            = each.value.name
  description         = each.value.description
  deletion_protection = false # a view holds no data, and a new version may replace it

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.table] # BigQuery checks a view's query when the view is made
}
