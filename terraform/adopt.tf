# Takes over what `st-ingestor init` has made, while adopt_existing is true. What is in the state already is left alone.

locals {
  home = "projects/${var.project_id}"
}

import {
  for_each = { for key, name in local.datasets : key => name if var.adopt_existing }
  to       = google_bigquery_dataset.dataset[each.key]
  id       = "${local.home}/datasets/${each.value}"
}

import {
  for_each = { for key, table in local.tables : key => table if var.adopt_existing }
  to       = google_bigquery_table.table[each.key]
  id       = "${local.home}/datasets/${local.datasets[each.value.dataset]}/tables/${each.value.name}"
}

import {
  for_each = { for key, view in local.views : key => view if var.adopt_existing }
  to       = google_bigquery_table.view[each.key]
  id       = "${local.home}/datasets/${local.datasets[each.value.dataset]}/tables/${each.value.name}"
}

import {
  for_each = { for key, view in local.marts["1"] : key => view if var.adopt_existing }
  to       = google_bigquery_table.mart_1[each.key]
  id       = "${local.home}/datasets/${local.datasets[each.value.dataset]}/tables/${each.value.name}"
}

import {
  for_each = { for key, view in local.marts["2"] : key => view if var.adopt_existing }
  to       = google_bigquery_table.mart_2[each.key]
  id       = "${local.home}/datasets/${local.datasets[each.value.dataset]}/tables/${each.value.name}"
}

import {
  for_each = { for key, view in local.marts["3"] : key => view if var.adopt_existing }
  to       = google_bigquery_table.mart_3[each.key]
  id       = "${local.home}/datasets/${local.datasets[each.value.dataset]}/tables/${each.value.name}"
}

import {
  for_each = { for key, view in local.marts["4"] : key => view if var.adopt_existing }
  to       = google_bigquery_table.mart_4[each.key]
  id       = "${local.home}/datasets/${local.datasets[each.value.dataset]}/tables/${each.value.name}"
}

import {
  for_each = { for key, queue in local.queues : key => queue if var.adopt_existing }
  to       = google_pubsub_topic.queue[each.key]
  id       = "${local.home}/topics/${each.value.topic}"
}

import {
  for_each = toset([for lane in local.lanes : lane if var.adopt_existing])
  to       = google_pubsub_subscription.lane[each.key]
  id       = "${local.home}/subscriptions/${local.queues[each.key].subscription}"
}

import {
  for_each = toset(var.adopt_existing ? ["dead_letter"] : [])
  to       = google_pubsub_subscription.dead_letter
  id       = "${local.home}/subscriptions/${local.queues[each.key].subscription}"
}
