// Registry, init, DDL, config.json, option table and terraform say the same. What terraform makes is taken from terraform's own
// plan (mocked provider) where terraform is present; what it reads is compared in any case.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test, { describe } from 'node:test';
import { ROOT, TERRAFORM, loadTerraform, readJson } from './lib/files.mjs';
import { datasetDdl, tableDdl, viewDdl } from './lib/ddl.mjs';
import { runTests } from './lib/plan.mjs';
import { product, terraformHere, formatted } from './lib/terraform.mjs';

const PROJECT = 'test-project';
const config = readJson('config', 'config.json');
const datasets = config.bigquery.datasets;
const source = await loadTerraform();
const ddl = new Map(JSON.parse(product('schema', 'ddl', '--json')).map(({ name, sql }) => [name, sql]));
const generated = fs.readFileSync(path.join(TERRAFORM, 'generated', 'init.json'), 'utf8');

// As terraform's templatefile does it.
const filled = JSON.parse(generated.replace(/\$\{(\w+)\}/g, (_, hole) => ({ project: PROJECT, ...datasets })[hole]));

const { version, why } = terraformHere();
const absent = why ?? false; // of every test that needs terraform: why it is skipped
const made = why ? null : runTests(new Set(source.blocks.map(({ type }) => type)));
const plan = made?.plans.with_an_image ?? new Map();
console.log(why ?? `terraform ${version}: fmt, validate and test run, with a stand-in that has the provider's published schema`);

const planned = (type) => [...plan].filter(([address]) => address.startsWith(`${type}.`)).map(([address, values]) => ({ address, ...values }));
const sortedBy = (list, key) => [...list].sort((a, b) => (key(a) < key(b) ? -1 : 1));

// { "table st_raw_v2.raw_jobs" => DDL } from what init.json says.
function ddlOfGenerated() {
  const at = (object) => ({ ...object, project: PROJECT, dataset: datasets[object.dataset] });
  return new Map([
    ...filled.datasets.map(at).map((one) => [`dataset ${one.dataset}`, datasetDdl(one)]),
    ...filled.tables.map(at).map((one) => [`table ${one.dataset}.${one.name}`, tableDdl(one)]),
    ...filled.views.map(at).map((one) => [`view ${one.dataset}.${one.name}`, viewDdl(one)]),
  ]);
}

// The same from terraform's plan.
function ddlOfPlan() {
  const tables = planned('google_bigquery_table').map((one) => ({
    ...one, dataset: one.dataset_id, name: one.table_id, schema: one.schema && JSON.parse(one.schema), partitioning: one.time_partitioning[0] ?? null, query: one.view[0]?.query,
  }));
  return new Map([
    ...planned('google_bigquery_dataset').map((one) => [`dataset ${one.dataset_id}`, datasetDdl({ ...one, dataset: one.dataset_id })]),
    ...tables.filter(({ query }) => !query).map((one) => [`table ${one.dataset}.${one.name}`, tableDdl(one)]),
    ...tables.filter(({ query }) => query).map((one) => [`view ${one.dataset}.${one.name}`, viewDdl(one)]),
  ]);
}

const sorted = (map) => Object.fromEntries([...map].sort());

describe('the warehouse', () => {
  test('generated/init.json is what the product prints', () => assert.equal(generated, product('schema', 'terraform')));

  test('texts of the registry that look like terraform templates stay texts', (t) => {
    const registry = readJson('config', 'schema_registry.json');
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'st-registry-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const text = 'costs ${amount} or %{if}, "quoted" \\ $5';
    const [entity] = Object.values(registry.entities ?? registry);
    entity.columns[0].description = text;
    fs.writeFileSync(path.join(folder, 'registry.json'), JSON.stringify(registry));
    const printed = product('schema', 'terraform', '--registry', path.join(folder, 'registry.json'));
    assert.deepEqual([...new Set(printed.match(/[$%]\{[^}]*\}/g))].sort(), ['${logs}', '${mart}', '${project}', '${raw}', '${stage}']);
    assert.ok(JSON.parse(printed).tables.some(({ schema }) => schema.some(({ description }) => description === text)));
  });

  test('what terraform reads amounts to the DDL of init', () => {
    assert.ok(ddl.size > 40);
    assert.deepEqual(sorted(ddlOfGenerated()), sorted(ddl));
  });

  // BigQuery checks a view when it is made, and terraform makes the instances of one resource in no order.
  test('a view reads views of lower levels only', () => {
    const levels = new Map(filled.views.map(({ dataset, name, level }) => [`${PROJECT}.${datasets[dataset]}.${name}`, level]));
    let readings = 0;
    for (const { name, query, level } of filled.views) {
      for (const [, read] of query.matchAll(/`([^`]+)`/g)) {
        if (!levels.has(read)) continue;
        assert.ok(levels.get(read) < level, `${name} of level ${level} reads ${read} of level ${levels.get(read)}`);
        readings++;
      }
    }
    assert.ok(readings > 30, `only ${readings} readings`);
  });

  // The script names no project: it runs in that of `bq query`.
  const script = path.join(ROOT, 'sql', 'bigquery_schemas.sql');
  test('sql/bigquery_schemas.sql has the same statements', { skip: fs.existsSync(script) ? false : 'there is no such file' }, () => {
    const text = fs.readFileSync(script, 'utf8');
    for (const [title, sql] of ddl) assert.ok(text.includes(sql.replaceAll(`\`${PROJECT}.`, '`')), title);
  });

  test('what terraform makes amounts to the DDL of init', { skip: absent }, () => assert.deepEqual(sorted(ddlOfPlan()), sorted(ddl)));

  test('each table of the product is one of terraform, with the same columns', { skip: absent }, () => {
    const columns = ({ name }) => name;
    const there = Object.fromEntries(planned('google_bigquery_table').filter(({ view }) => !view.length).map((one) => [`${one.dataset_id}.${one.table_id}`, JSON.parse(one.schema).map(columns)]));
    const wanted = Object.fromEntries(JSON.parse(product('schema', 'tables')).map((one) => [`${one.dataset}.${one.table}`, one.columns.map(columns)]));
    assert.deepEqual(there, wanted);
  });
});

describe('the queues', () => {
  const { pubsub } = config;
  const lane = { ack_deadline_seconds: 60, minimum_backoff: '10s', maximum_backoff: '600s', never_expires: true, max_delivery_attempts: 30, message_retention_duration: null };
  const dead = { ...lane, minimum_backoff: null, maximum_backoff: null, max_delivery_attempts: null, message_retention_duration: '2678400s' };

  test('init has the policies of the design', () => assert.deepEqual(filled.queues, { live: lane, backfill: lane, dead_letter: dead }));

  test('terraform has the topics of config.json', { skip: absent }, () => {
    assert.deepEqual(planned('google_pubsub_topic').map(({ name }) => name).sort(), [pubsub.topic, pubsub.backfillTopic, pubsub.deadLetterTopic].sort());
  });

  test('terraform has the subscriptions of config.json with the policies of init', { skip: absent }, () => {
    const policy = (one) => ({
      ack_deadline_seconds: one.ack_deadline_seconds,
      minimum_backoff: one.retry_policy[0]?.minimum_backoff ?? null,
      maximum_backoff: one.retry_policy[0]?.maximum_backoff ?? null,
      never_expires: one.expiration_policy[0].ttl === '',
      max_delivery_attempts: one.dead_letter_policy[0]?.max_delivery_attempts ?? null,
      message_retention_duration: one.message_retention_duration ?? null,
    });
    assert.deepEqual(Object.fromEntries(planned('google_pubsub_subscription').map((one) => [one.name, policy(one)])),
      { [pubsub.subscription]: lane, [pubsub.backfillSubscription]: lane, [pubsub.deadLetterSubscription]: dead });
  });

  test('nothing is set that a worker could not work with', { skip: absent }, () => {
    for (const one of planned('google_pubsub_subscription')) {
      assert.ok(!one.enable_message_ordering && !one.enable_exactly_once_delivery && !one.filter && !one.push_config.length, one.name);
    }
  });
});

test('with adopt_existing, all that init makes is taken over, and nothing else', { skip: absent }, () => {
  const { pubsub } = config;
  const home = `projects/${PROJECT}`;
  const warehouse = [...ddl.keys()].map((title) => title.split(' ')[1].split('.')).map(([dataset, table]) => `${home}/datasets/${dataset}${table ? `/tables/${table}` : ''}`);
  const topics = [pubsub.topic, pubsub.backfillTopic, pubsub.deadLetterTopic].map((name) => `${home}/topics/${name}`);
  const subscriptions = [pubsub.subscription, pubsub.backfillSubscription, pubsub.deadLetterSubscription].map((name) => `${home}/subscriptions/${name}`);
  assert.deepEqual(made.adopted.taken_over.sort(), [...warehouse, ...topics, ...subscriptions].sort());
  assert.deepEqual(made.adopted.with_an_image, []);
});

describe('the schedules', () => {
  test('are those of config.json, and the brief\'s for all', { skip: absent }, () => {
    const wanted = Object.entries(config.entities).filter(([, { enabled, schedule }]) => enabled && schedule)
      .map(([entity, { schedule, syncMode }]) => ({ name: `${entity}-sync-v2`, schedule, message: { entity, mode: syncMode } }));
    wanted.push({ name: 'all-entities-sync-v2', schedule: '0 2 * * *', message: { entity: 'all', mode: 'incremental' } });
    wanted.push({ name: 'weekly-full-sync-v2', schedule: '0 3 * * 0', message: { entity: 'all', mode: 'full' } });
    const there = planned('google_cloud_scheduler_job').map((job) => ({
      name: job.name, schedule: job.schedule, message: JSON.parse(Buffer.from(job.pubsub_target[0].data, 'base64').toString()),
    }));
    assert.deepEqual(sortedBy(there, ({ name }) => name), sortedBy(wanted, ({ name }) => name));
  });

  test('are in the time zone of config.json, else the brief\'s', { skip: absent }, () => {
    for (const job of planned('google_cloud_scheduler_job')) assert.equal(job.time_zone, config.sync.timeZone ?? 'America/Los_Angeles', job.name);
  });
});

describe('the programs', () => {
  // Options of the HTTP API and the worker's listener.
  const options = new Set([...fs.readFileSync(path.join(ROOT, '.env.example'), 'utf8').matchAll(/^#?([A-Z][A-Z0-9_]*)=/gm)].map(([, name]) => name));
  const LISTENERS = new Set(['API_TOKEN', 'API_ALLOW_UNAUTHENTICATED', 'WORKER_PORT']);
  const environment = (address) => plan.get(address).template[0].containers[0].env.map(({ name }) => name);
  const programs = ['google_cloud_run_v2_worker_pool.worker[0]', 'google_cloud_run_v2_service.serve[0]'];

  test('get options that exist', { skip: absent }, () => {
    assert.ok(options.has('BQ_PROJECT_ID') && options.size > 30);
    for (const program of programs) {
      const unknown = environment(program).filter((name) => !options.has(name) && !LISTENERS.has(name));
      assert.deepEqual(unknown, [], program);
    }
  });

  test('get every name that terraform makes', { skip: absent }, () => {
    const names = [...options].filter((name) => /^(BQ_(PROJECT_ID|LOCATION|DATASET_.*)|PUBSUB_(PROJECT_ID|.*TOPIC|.*SUBSCRIPTION))$/.test(name)).sort();
    assert.equal(names.length, 13);
    for (const program of programs) assert.deepEqual(environment(program).filter((name) => names.includes(name)).sort(), names, program);
  });

  test('get no emulator, and no secret as text', { skip: absent }, () => {
    for (const program of programs) {
      for (const { name, value } of plan.get(program).template[0].containers[0].env) {
        assert.doesNotMatch(name, /EMULATOR/);
        if (/SECRET|TOKEN|APP_KEY|CLIENT_ID/.test(name)) assert.ok(!value, `${name} is not text`);
      }
    }
  });
});

describe('the log metrics', () => {
  const sources = ['commit.c', 'verdict.c', 'run.c'].map((name) => fs.readFileSync(path.join(ROOT, 'src', 'worker', name), 'utf8')).join('\n');
  const { log_metrics: metrics } = source.files['log_metrics.tf'].locals[0];

  test('count messages that the worker writes', () => {
    const messages = Object.values(metrics).flatMap(({ filter }) => [...filter.split(' AND jsonPayload.mode')[0].matchAll(/"([^"]+)"/g)].map(([, text]) => text));
    assert.ok(messages.length >= 6);
    for (const message of messages) assert.ok(sources.includes(`"${message}"`), `no line of the worker says "${message}"`);
  });

  test('read members that the worker writes', () => {
    const log = fs.readFileSync(path.join(ROOT, 'src', 'base', 'log.c'), 'utf8');
    for (const member of ['entityType', 'tenantId', 'mode']) assert.ok(log.includes(`"${member}"`), member);
    assert.ok(sources.includes('"recordsQuarantined"'));
  });
});

describe('the roles', () => {
  const member = {
    program: '${local.programs[each.value.program]}', worker: '${google_service_account.worker.member}', serve: '${google_service_account.serve.member}', agent: '${local.pubsub_agent}',
  };
  // Who, on what, which role: all of it. A new line here is a new right.
  const wanted = [
    ['program', 'google_project_iam_member.program["serve roles/bigquery.jobUser"]', 'test-project roles/bigquery.jobUser'],
    ['program', 'google_project_iam_member.program["serve roles/logging.logWriter"]', 'test-project roles/logging.logWriter'],
    ['program', 'google_project_iam_member.program["worker roles/bigquery.jobUser"]', 'test-project roles/bigquery.jobUser'],
    ['program', 'google_project_iam_member.program["worker roles/logging.logWriter"]', 'test-project roles/logging.logWriter'],
    ['worker', 'google_bigquery_dataset_iam_member.worker_writes["logs"]', 'st_logs_v2 roles/bigquery.dataEditor'],
    ['worker', 'google_bigquery_dataset_iam_member.worker_writes["raw"]', 'st_raw_v2 roles/bigquery.dataEditor'],
    ['worker', 'google_bigquery_dataset_iam_member.worker_writes["stage"]', 'st_stage_v2 roles/bigquery.dataEditor'],
    ['worker', 'google_pubsub_subscription_iam_member.worker_pulls["backfill"]', 'st-backfill-worker roles/pubsub.subscriber'],
    ['worker', 'google_pubsub_subscription_iam_member.worker_pulls["live"]', 'st-ingest-worker roles/pubsub.subscriber'],
    ['worker', 'google_pubsub_topic_iam_member.worker_publishes["backfill"]', 'st-backfill roles/pubsub.publisher'],
    ['worker', 'google_pubsub_topic_iam_member.worker_publishes["dead_letter"]', 'st-dead-letter roles/pubsub.publisher'],
    ['worker', 'google_pubsub_topic_iam_member.worker_publishes["live"]', 'st-ingest roles/pubsub.publisher'],
    ['worker', 'google_secret_manager_secret_iam_member.worker_reads["ST_APP_KEY"]', 'ST_APP_KEY roles/secretmanager.secretAccessor'],
    ['worker', 'google_secret_manager_secret_iam_member.worker_reads["ST_CLIENT_ID"]', 'ST_CLIENT_ID roles/secretmanager.secretAccessor'],
    ['worker', 'google_secret_manager_secret_iam_member.worker_reads["ST_CLIENT_SECRET"]', 'ST_CLIENT_SECRET roles/secretmanager.secretAccessor'],
    ['serve', 'google_bigquery_dataset_iam_member.serve_reads_logs', 'st_logs_v2 roles/bigquery.dataViewer'],
    ['serve', 'google_pubsub_topic_iam_member.serve_publishes["backfill"]', 'st-backfill roles/pubsub.publisher'],
    ['serve', 'google_pubsub_topic_iam_member.serve_publishes["live"]', 'st-ingest roles/pubsub.publisher'],
    ['serve', 'google_pubsub_topic_iam_member.serve_sees_topic', 'st-ingest roles/pubsub.viewer'],
    ['agent', 'google_pubsub_subscription_iam_member.agent_takes_from_lanes["backfill"]', 'st-backfill-worker roles/pubsub.subscriber'],
    ['agent', 'google_pubsub_subscription_iam_member.agent_takes_from_lanes["live"]', 'st-ingest-worker roles/pubsub.subscriber'],
    ['agent', 'google_pubsub_topic_iam_member.agent_publishes_dead_letters', 'st-dead-letter roles/pubsub.publisher'],
  ];

  test('are these and no others', { skip: absent }, () => {
    const on = (one) => one.subscription ?? one.topic ?? one.dataset_id ?? one.secret_id ?? one.project;
    const there = [...plan].filter(([address]) => /_iam_(member|binding|policy)\./.test(address)).map(([address, values]) => `${address}: ${on(values)} ${values.role}`);
    assert.deepEqual(there.sort(), wanted.map(([, address, what]) => `${address}: ${what}`).sort());
  });

  test('are given to whom the table says', () => {
    for (const [who, address] of wanted) {
      const [type, name] = address.replace(/\[.*/, '').split('.');
      assert.equal(source.blocks.find((block) => block.type === type && block.name === name).body.member, member[who], address);
    }
  });

  test('are additive: none takes the roles of others away', () => {
    for (const { type, name } of source.blocks) assert.doesNotMatch(type, /_iam_(binding|policy)$/, name);
  });
});

describe('terraform itself', () => {
  test('fmt finds nothing to change', { skip: absent }, () => assert.equal(formatted(), ''));
  test('validate accepts the files', { skip: absent }, () => assert.ok(made.validate.ok, made.validate.text));
  test('its tests pass', { skip: absent }, () => {
    assert.deepEqual(made.failures, []);
    assert.ok(made.ok && Object.keys(made.runs).length >= 8, JSON.stringify(made.runs));
    assert.deepEqual([...new Set(Object.values(made.runs))], ['pass']);
  });
});
