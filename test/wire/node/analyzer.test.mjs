// Every SQL text that the programs send passes Google's own SQL analyzer (ZetaSQL), with a catalog made from the registry.
//
// `st-ingestor schema tables` gives the catalog, `st-ingestor schema sql --json` the texts; the files in sql/ come on top, with values
// for their placeholders. Views are added to the catalog as they are analyzed, with the columns that the analyzer found. The test
// lists what it checked.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const require = createRequire(import.meta.url);
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const zetasql = path.join(path.dirname(require.resolve('@fivetrandevelopers/zetasql/package.json')), 'lib/zetasql');
const program = path.join(process.env.ST_BUILD ?? path.join(root, 'build'), 'st-ingestor');
const PROJECT = 'analyzer-project';
const START_MS = 30000;
const SIMPLE = {
  INT64: 'TYPE_INT64', STRING: 'TYPE_STRING', BOOL: 'TYPE_BOOL', FLOAT64: 'TYPE_DOUBLE', NUMERIC: 'TYPE_NUMERIC', TIMESTAMP: 'TYPE_TIMESTAMP',
  DATE: 'TYPE_DATE', JSON: 'TYPE_JSON', BYTES: 'TYPE_BYTES',
};

let server, client, language;

// All entities of the registry, also those that are disabled by default.
function makeConfig() {
  const read = (name) => JSON.parse(readFileSync(path.join(root, 'config', name), 'utf8'));
  const config = read('config.json');
  for (const name of Object.keys(read('schema_registry.json').entities)) config.entities[name] = { ...config.entities[name], enabled: true };
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'st-analyzer-')), 'config.json');
  writeFileSync(file, JSON.stringify(config));
  return file;
}

const everything = makeConfig();

function ingestor(...words) {
  return run(...words, '--config', everything);
}

function run(...words) {
  const env = { ...process.env, BQ_PROJECT_ID: PROJECT };
  return execFileSync(program, words, { env, cwd: root, encoding: 'utf8', maxBuffer: 64 << 20 });
}

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

function call(method, request) {
  return new Promise((resolve, reject) => client[method](request, (error, reply) => (error ? reject(error) : resolve(reply))));
}

// "ARRAY<STRUCT<`id` INT64, tags ARRAY<STRING>>>" as a TypeProto.
function parseType(text) {
  let at = 0;
  const eat = (token) => { assert.equal(text.slice(at, at + token.length), token, `${token} at ${at} in ${text}`); at += token.length; };
  const type = () => {
    const name = /^[A-Z0-9]+/.exec(text.slice(at))[0];
    at += name.length;
    if (name === 'ARRAY') {
      eat('<');
      const element = type();
      eat('>');
      return { type_kind: 'TYPE_ARRAY', array_type: { element_type: element } };
    }
    if (name !== 'STRUCT') {
      assert.ok(SIMPLE[name], `unknown type ${name}`);
      return { type_kind: SIMPLE[name] };
    }
    const field = [];
    eat('<');
    while (text[at] !== '>') {
      const [whole, quoted, plain] = /^(?:`([^`]+)`|(\w+)) /.exec(text.slice(at));
      at += whole.length;
      field.push({ field_name: quoted ?? plain, field_type: type() });
      if (text[at] === ',') eat(', ');
    }
    eat('>');
    return { type_kind: 'TYPE_STRUCT', struct_type: { field } };
  };
  return type();
}

// `project` '': names are dataset.table, as in a script whose project is the call's.
function makeCatalog(tables, project = PROJECT) {
  // A name in one pair of backticks is one path part to the analyzer, so tables stand at the root under their full names.
  return {
    name: 'catalog',
    builtin_function_options: { language_options: language },
    table: tables.map((t, i) => ({
      name: `${project}${project && '.'}${t.dataset}.${t.table}`,
      serialization_id: i + 1,
      column: t.columns.map((c) => ({ name: c.name, type: parseType(c.type) })),
    })),
  };
}

async function analyze(catalog, sql) {
  const reply = await call('Analyze', {
    options: { language_options: language, allow_undeclared_parameters: true, error_message_mode: 'ERROR_MESSAGE_ONE_LINE' },
    simple_catalog: catalog,
    sql_statement: sql,
  });
  return reply.resolved_statement;
}

// The columns of an analyzed CREATE VIEW, wherever in the message they stand.
function viewColumns(message) {
  if (!message || typeof message !== 'object') return null;
  if (Array.isArray(message.output_column_list) && message.output_column_list.length) return message.output_column_list.map((c) => ({ name: c.name, type: c.column.type }));
  for (const value of Object.values(message)) {
    const found = viewColumns(value);
    if (found) return found;
  }
  return null;
}

function addView(catalog, sql, statement) {
  const name = /VIEW(?:\s+IF\s+NOT\s+EXISTS)?\s+`([^`]+)`/i.exec(sql)[1];
  catalog.table.push({ name, serialization_id: catalog.table.length + 1, column: viewColumns(statement) });
}

before(async () => {
  const port = await freePort();
  server = spawn(path.join(zetasql, 'remote_server.so'), ['127.0.0.1', String(port)], { stdio: 'ignore' });
  const definition = protoLoader.loadSync('local_service.proto', {
    includeDirs: [path.join(zetasql, 'protos')], keepCase: true, enums: String, longs: String, defaults: false,
  });
  const Service = grpc.loadPackageDefinition(definition).zetasql.local_service.ZetaSqlLocalService;
  client = new Service(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), { 'grpc.max_receive_message_length': 64 << 20, 'grpc.enable_http_proxy': 0 });
  await new Promise((resolve, reject) => client.waitForReady(Date.now() + START_MS, (error) => (error ? reject(error) : resolve())));
  language = await call('GetLanguageOptions', { maximum_features: true });
  language.product_mode = 'PRODUCT_EXTERNAL';
  language.reserved_keywords = ['QUALIFY'];
  delete language.supported_statement_kinds;
  language.supported_statement_kinds = SUPPORTED;
});

after(() => {
  rmSync(path.dirname(everything), { recursive: true });
  client?.close();
  server?.kill();
});

const SUPPORTED = ['RESOLVED_QUERY_STMT', 'RESOLVED_MERGE_STMT', 'RESOLVED_INSERT_STMT', 'RESOLVED_UPDATE_STMT', 'RESOLVED_DELETE_STMT', 'RESOLVED_CREATE_TABLE_STMT',
  'RESOLVED_CREATE_SCHEMA_STMT', 'RESOLVED_CREATE_VIEW_STMT', 'RESOLVED_ALTER_TABLE_STMT', 'RESOLVED_TRUNCATE_STMT', 'RESOLVED_DROP_STMT'];

test('every statement passes', async (t) => {
  const catalog = makeCatalog(JSON.parse(ingestor('schema', 'tables')));
  const statements = JSON.parse(ingestor('schema', 'sql', '--json'));
  assert.ok(statements.length > 130, `only ${statements.length} statements`);
  assert.ok(statements.some(({ name }) => name === 'merge technicians'), 'an entity that is disabled by default is missing');
  for (const { name, sql } of statements) {
    await t.test(name, async () => {
      const statement = await analyze(catalog, sql);
      if (/^\s*CREATE\s+(OR\s+REPLACE\s+)?VIEW/i.test(sql)) addView(catalog, sql, statement);
    });
  }
});

// The statements of a file: no text in ours ends a line with ';'.
function statementsOf(file) {
  return readFileSync(path.join(root, 'sql', file), 'utf8').split(/;\s*\n/).filter((s) => s.replace(/--.*$/gm, '').trim());
}

test('every statement of sql/bigquery_schemas.sql passes', async (t) => {
  const statements = statementsOf('bigquery_schemas.sql');
  const titles = JSON.parse(run('schema', 'ddl', '--json')).map(({ name }) => name);
  const tables = JSON.parse(ingestor('schema', 'tables'));
  const catalog = makeCatalog(tables, '');
  assert.equal(statements.length, titles.length);
  for (const [i, sql] of statements.entries()) {
    await t.test(titles[i], async () => {
      assert.ok(!sql.includes(PROJECT));
      const statement = await analyze(catalog, sql);
      if (/^CREATE OR REPLACE VIEW/m.test(sql)) addView(catalog, sql, statement);
    });
  }
  assert.ok(catalog.table.length > tables.length, 'no view was added');
});

// What a v1 warehouse may look like: text keys, amounts as floats.
const V1_TABLES = [
  { dataset: 'st_raw', table: 'raw_daily_wbr_v2', columns: [{ name: 'invoice_id', type: 'STRING' }, { name: 'day', type: 'DATE' }, { name: 'total', type: 'FLOAT64' }] },
];
const VALUES = {
  BQ_PROJECT_ID: PROJECT, BQ_DATASET_LOGS: 'st_logs_v2', BQ_DATASET_RAW: 'st_raw_v2', BQ_DATASET_STAGE: 'st_stage_v2', BQ_DATASET_MART: 'st_mart_v2',
  V1_PROJECT_ID: PROJECT, V1_DATASET_RAW: 'st_raw', V1_TABLE: 'raw_daily_wbr_v2',
  V1_KEY: 'invoice_id', V1_DATE: 'day', V1_COLUMN: 'total', V2_TABLE: 'raw_invoices', V2_KEY: 'id', V2_DATE: 'invoiceDate', V2_COLUMN: 'total',
};

function filled(text) {
  return text.replace(/\$\{(\w+)\}/g, (_, name) => {
    assert.ok(VALUES[name], `no value for ${name}`);
    return VALUES[name];
  });
}

test('every query of sql/ passes', async (t) => {
  const tables = JSON.parse(ingestor('schema', 'tables'));
  const catalog = makeCatalog([...tables, ...V1_TABLES]);
  for (const { name, sql } of JSON.parse(ingestor('schema', 'ddl', '--json'))) if (name.startsWith('view ')) addView(catalog, sql, await analyze(catalog, sql));
  const files = readdirSync(path.join(root, 'sql'), { recursive: true }).filter((f) => f.endsWith('.sql') && f !== 'bigquery_schemas.sql').sort();
  assert.ok(files.length >= 30, `only ${files.length} files`);
  for (const file of files) {
    await t.test(file, async () => {
      const statements = statementsOf(file);
      assert.equal(statements.length, 1);
      await analyze(catalog, filled(statements[0]));
      // A column that is not there is seen: the analyzer looks at each name.
      await assert.rejects(analyze(catalog, filled(statements[0]).replace(/SELECT (DISTINCT )?/, '$&no_such_column, ')), /no_such_column/);
    });
  }
});

test('what is wrong is refused', async () => {
  const catalog = makeCatalog(JSON.parse(ingestor('schema', 'tables')));
  const wrong = {
    'unknown column': `SELECT jobNumbr FROM \`${PROJECT}.st_raw_v2.raw_jobs\``,
    'unknown table': `SELECT 1 FROM \`${PROJECT}.st_raw_v2.raw_leads\``,
    'wrong type': `SELECT * FROM \`${PROJECT}.st_raw_v2.raw_jobs\` WHERE id = 'x'`,
    'wrong function': 'SELECT TIMESTAMP_ADDD(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)',
    'merge into a missing column': `MERGE \`${PROJECT}.st_raw_v2.raw_jobs\` T USING (SELECT 1 AS id) S ON T.id = S.id WHEN NOT MATCHED THEN INSERT (nope) VALUES (1)`,
  };
  for (const [what, sql] of Object.entries(wrong)) await assert.rejects(analyze(catalog, sql), undefined, what);
});
