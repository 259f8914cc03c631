// Google's BigQuery client against st-local: what the client does with the answers is the check of their shape.
// Reads BIGQUERY_EMULATOR_HOST (http://127.0.0.1:PORT) and BQ_PROJECT_ID; st-local must be running.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { BigQuery } from '@google-cloud/bigquery';

const endpoint = process.env.BIGQUERY_EMULATOR_HOST;
const projectId = process.env.BQ_PROJECT_ID ?? 'st-local';
const datasetId = `node_${randomBytes(4).toString('hex')}`;
assert.ok(endpoint, 'BIGQUERY_EMULATOR_HOST must say where st-local is');
// The client would take the variable as its whole base URL; here it gets the endpoint and adds the API's path itself.
delete process.env.BIGQUERY_EMULATOR_HOST;

// A plain bearer token: nothing is asked of Google.
const { OAuth2Client } = await import('google-auth-library');
const oauth = new OAuth2Client();
oauth.setCredentials({ access_token: 'local', expiry_date: Date.now() + 3600_000 * 24 });

const bigquery = new BigQuery({ projectId, apiEndpoint: endpoint, authClient: oauth, location: 'US' });
const dataset = bigquery.dataset(datasetId);
const name = (table) => `\`${projectId}.${datasetId}.${table}\``;

before(async () => {
  await dataset.create({ location: 'US' });
});

after(async () => {
  await dataset.delete({ force: true });
});

test('datasets and tables: make, look, list, change, delete', async () => {
  const [exists] = await dataset.exists();
  assert.equal(exists, true);
  const [table] = await dataset.createTable('plain', {
    schema: [
      { name: 'id', type: 'INT64', mode: 'REQUIRED' },
      { name: 'tags', type: 'STRING', mode: 'REPEATED' },
    ],
    description: 'made by a test',
  });
  const [metadata] = await table.getMetadata();
  assert.equal(metadata.description, 'made by a test');
  assert.deepEqual(metadata.schema.fields.map((f) => [f.name, f.type, f.mode]), [
    ['id', 'INTEGER', 'REQUIRED'],
    ['tags', 'STRING', 'REPEATED'],
  ]);
  await table.setMetadata({ description: 'changed' });
  assert.equal((await table.getMetadata())[0].description, 'changed');
  const [tables] = await dataset.getTables();
  assert.ok(tables.some((t) => t.id === 'plain'));
  await table.delete();
  assert.equal((await table.exists())[0], false);
});

test('a query with named and positional parameters of every kind', async () => {
  const [rows] = await bigquery.query({
    query: `SELECT @n AS n, @s AS s, @b AS b, @f AS f, @list AS list, @ts AS ts,
                   (SELECT COUNT(*) FROM UNNEST(@list) AS x WHERE x = @s) AS hits`,
    params: {
      n: 42,
      s: "it's \"quoted\" \\ and ünïcode",
      b: true,
      f: 1.5,
      list: ['a', "it's \"quoted\" \\ and ünïcode"],
      ts: BigQuery.timestamp('2025-10-21T10:00:00.123Z'),
    },
  });
  assert.equal(rows.length, 1);
  const [row] = rows;
  assert.equal(row.n, 42);
  assert.equal(row.s, "it's \"quoted\" \\ and ünïcode");
  assert.equal(row.b, true);
  assert.equal(row.f, 1.5);
  assert.deepEqual(row.list, ['a', "it's \"quoted\" \\ and ünïcode"]);
  assert.equal(row.ts.value, '2025-10-21T10:00:00.123Z');
  assert.equal(row.hits, 1);
  const [second] = await bigquery.query({ query: 'SELECT ? + ? AS sum', params: [1, 2] });
  assert.deepEqual(second, [{ sum: 3 }]);
});

test('nested and repeated values come back as objects', async () => {
  const [rows] = await bigquery.query(
    "SELECT STRUCT(1 AS a, 'x' AS b) AS s, [STRUCT(2 AS c), STRUCT(3 AS c)] AS l, NUMERIC '1.10' AS n, DATE '2025-01-02' AS d",
  );
  assert.deepEqual(rows[0].s, { a: 1, b: 'x' });
  assert.deepEqual(rows[0].l, [{ c: 2 }, { c: 3 }]);
  assert.equal(rows[0].n.toString(), '1.1');
  assert.equal(rows[0].d.value, '2025-01-02');
});

test('DML and MERGE tell how many rows they changed', async () => {
  await bigquery.query(`CREATE TABLE ${name('target')} (id INT64 NOT NULL, v STRING, made TIMESTAMP)
                        PARTITION BY DATE(made) CLUSTER BY id`);
  const [insert] = await bigquery.createQueryJob({
    query: `INSERT INTO ${name('target')} (id, v, made) VALUES (1, 'a', TIMESTAMP '2025-01-01'), (2, 'b', TIMESTAMP '2025-01-02')`,
  });
  await insert.getQueryResults();
  const [inserted] = await insert.getMetadata();
  assert.equal(inserted.statistics.query.statementType, 'INSERT');
  assert.equal(inserted.statistics.query.numDmlAffectedRows, '2');

  const [merge] = await bigquery.createQueryJob({
    query: `MERGE ${name('target')} AS t
            USING (SELECT * FROM UNNEST([STRUCT(2 AS id, 'B' AS v), STRUCT(3 AS id, 'c' AS v)])) AS s
            ON t.id = s.id
            WHEN MATCHED THEN UPDATE SET v = s.v
            WHEN NOT MATCHED THEN INSERT (id, v, made) VALUES (s.id, s.v, TIMESTAMP '2025-01-03')`,
    labels: { run: 'wire-test' },
  });
  await merge.getQueryResults();
  const [merged] = await merge.getMetadata();
  assert.equal(merged.status.state, 'DONE');
  assert.equal(merged.status.errorResult, undefined);
  assert.equal(merged.configuration.labels.run, 'wire-test');
  assert.deepEqual(
    [merged.statistics.query.dmlStats.insertedRowCount, merged.statistics.query.dmlStats.updatedRowCount],
    ['1', '1'],
  );
  const [rows] = await bigquery.query(`SELECT id, v FROM ${name('target')} ORDER BY id`);
  assert.deepEqual(rows, [{ id: 1, v: 'a' }, { id: 2, v: 'B' }, { id: 3, v: 'c' }]);

  await assert.rejects(
    bigquery.query(`MERGE ${name('target')} AS t USING (SELECT 1 AS id UNION ALL SELECT 1) AS s ON t.id = s.id
                    WHEN MATCHED THEN UPDATE SET v = 'twice'`),
    /must match at most one source row/,
  );
});

test('results come in pages', async () => {
  const [job] = await bigquery.createQueryJob('SELECT x FROM UNNEST(GENERATE_ARRAY(1, 25)) AS x ORDER BY x');
  const seen = [];
  let query = { maxResults: 10, autoPaginate: false };
  let pages = 0;
  while (query) {
    const [rows, next] = await job.getQueryResults(query);
    seen.push(...rows.map((r) => r.x));
    query = next;
    pages++;
  }
  assert.equal(pages, 3);
  assert.deepEqual(seen, Array.from({ length: 25 }, (_, i) => i + 1));
});

test('rows through insertAll and back', async () => {
  const [table] = await dataset.createTable('streamed', { schema: 'id:INTEGER,name:STRING,at:TIMESTAMP' });
  await table.insert([{ id: 1, name: 'x', at: '2025-10-21T10:00:00Z' }, { id: 2, name: null }]);
  const [rows] = await table.getRows();
  assert.deepEqual(rows.map((r) => [r.id, r.name, r.at?.value ?? null]), [
    [1, 'x', '2025-10-21T10:00:00.000Z'],
    [2, null, null],
  ]);
  await assert.rejects(table.insert([{ id: 3, nope: 1 }]), (err) => {
    assert.equal(err.name, 'PartialFailureError');
    assert.match(err.errors[0].errors[0].message, /no such field: nope/);
    return true;
  });
});

test('errors carry codes and reasons', async () => {
  const reasonOf = async (promise) => {
    const err = await promise.then(() => assert.fail('it did not fail'), (e) => e);
    return [err.code, err.errors?.[0]?.reason];
  };
  assert.deepEqual(await reasonOf(bigquery.query('SELEC 1')), [400, 'invalidQuery']);
  assert.deepEqual(await reasonOf(bigquery.query(`SELECT * FROM ${name('absent')}`)), [404, 'notFound']);
  assert.deepEqual(await reasonOf(dataset.create()), [409, 'duplicate']);
  const jobId = `job-${randomBytes(4).toString('hex')}`;
  await bigquery.createQueryJob({ query: 'SELECT 1', jobId });
  // The client looks the job up after a 409 on an id that it was given; the raw request shows the 409.
  const conflict = promisify(bigquery.request.bind(bigquery))({
    method: 'POST',
    uri: '/jobs',
    json: { jobReference: { projectId, jobId }, configuration: { query: { query: 'SELECT 1', useLegacySql: false } } },
  });
  assert.deepEqual(await reasonOf(conflict), [409, 'duplicate']);
});

test('a dry run tells the schema and runs nothing', async () => {
  const [job] = await bigquery.createQueryJob({ query: 'SELECT 1 AS one', dryRun: true });
  assert.equal(job.metadata.status.state, 'DONE');
  assert.equal(job.metadata.statistics.query.schema.fields[0].name, 'one');
});
