// Google's BigQuery Storage managed writer against st-local: offsets, pending commits, row errors, schema changes.
// Reads BIGQUERY_EMULATOR_HOST, BIGQUERY_STORAGE_EMULATOR_HOST (host:port) and BQ_PROJECT_ID; st-local must be running.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';

import { BigQuery } from '@google-cloud/bigquery';
import { adapt, managedwriter, protos } from '@google-cloud/bigquery-storage';
import grpc from '@grpc/grpc-js';
import { OAuth2Client } from 'google-auth-library';

const { WriterClient, JSONWriter } = managedwriter;
const { WriteStream } = protos.google.cloud.bigquery.storage.v1;
const restEndpoint = process.env.BIGQUERY_EMULATOR_HOST;
const [host, port] = (process.env.BIGQUERY_STORAGE_EMULATOR_HOST ?? '').split(':');
const projectId = process.env.BQ_PROJECT_ID ?? 'st-local';
assert.ok(restEndpoint && port, 'BIGQUERY_EMULATOR_HOST and BIGQUERY_STORAGE_EMULATOR_HOST must say where st-local is');
delete process.env.BIGQUERY_EMULATOR_HOST;

const oauth = new OAuth2Client();
oauth.setCredentials({ access_token: 'local', expiry_date: Date.now() + 24 * 3600_000 });
const bigquery = new BigQuery({ projectId, apiEndpoint: restEndpoint, authClient: oauth, location: 'US' });
const dataset = bigquery.dataset(`node_${randomBytes(4).toString('hex')}`);
const writer = new WriterClient({
  projectId,
  apiEndpoint: host,
  port: Number(port),
  sslCreds: grpc.credentials.createInsecure(),
});

let tables = 0;

// A fresh table, its path, and the writer descriptor made from its schema by Google's own converter.
async function makeTable(fields) {
  const tableId = `t${++tables}`;
  const [table] = await dataset.createTable(tableId, { schema: { fields } });
  const [metadata] = await table.getMetadata();
  const storageSchema = adapt.convertBigQuerySchemaToStorageTableSchema(metadata.schema);
  return {
    table,
    path: `projects/${projectId}/datasets/${dataset.id}/tables/${tableId}`,
    descriptor: adapt.convertStorageSchemaToProto2Descriptor(storageSchema, 'root'),
    rows: async (columns) =>
      (await bigquery.query(`SELECT ${columns} FROM \`${projectId}.${dataset.id}.${tableId}\` ORDER BY id`))[0],
  };
}

async function openWriter(target, streamId) {
  const connection = await writer.createStreamConnection({ streamId, destinationTable: target.path });
  return { connection, json: new JSONWriter({ connection, protoDescriptor: target.descriptor }) };
}

const ID_NAME = [
  { name: 'id', type: 'INTEGER', mode: 'REQUIRED' },
  { name: 'name', type: 'STRING', mode: 'NULLABLE', maxLength: '5' },
];

before(async () => {
  await dataset.create({ location: 'US' });
});

after(async () => {
  writer.close();
  await dataset.delete({ force: true });
});

test('default stream: every type of column arrives exactly', async () => {
  const target = await makeTable([
    { name: 'id', type: 'INTEGER', mode: 'REQUIRED' },
    { name: 's', type: 'STRING' },
    { name: 'f', type: 'FLOAT' },
    { name: 'b', type: 'BOOLEAN' },
    { name: 'n', type: 'NUMERIC' },
    { name: 'd', type: 'DATE' },
    { name: 'ts', type: 'TIMESTAMP' },
    { name: 'bytes', type: 'BYTES' },
    { name: 'list', type: 'STRING', mode: 'REPEATED' },
    { name: 'rec', type: 'RECORD', fields: [{ name: 'x', type: 'INTEGER' }, { name: 'y', type: 'STRING', mode: 'REPEATED' }] },
  ]);
  const { connection, json } = await openWriter(target, managedwriter.DefaultStream);
  const pending = json.appendRows([
    {
      id: 1,
      s: 'ünï "q" \\ \u0001',
      f: 1.5,
      b: true,
      n: '123456789012345678.123456789',
      d: new Date('2025-10-21T00:00:00Z'),
      ts: new Date('2025-10-21T10:00:00.123Z'),
      bytes: Buffer.from([0, 1, 255]),
      list: ['a', '', 'c'],
      rec: { x: 7, y: ['p', 'q'] },
    },
    { id: 2 },
  ]);
  const result = await pending.getResult();
  assert.ok(!result.error, result.error?.message);
  const [one, two] = await target.rows('*');
  assert.equal(one.s, 'ünï "q" \\ \u0001');
  assert.equal(one.f, 1.5);
  assert.equal(one.b, true);
  assert.equal(one.n.toString(), '123456789012345678.123456789');
  assert.equal(one.d.value, '2025-10-21');
  assert.equal(one.ts.value, '2025-10-21T10:00:00.123Z');
  assert.deepEqual([...one.bytes], [0, 1, 255]);
  assert.deepEqual(one.list, ['a', '', 'c']);
  assert.deepEqual(one.rec, { x: 7, y: ['p', 'q'] });
  assert.equal(two.s, null);
  assert.deepEqual(two.list, []);
  connection.close();
});

test('committed stream: offsets make writing exactly once', async () => {
  const target = await makeTable(ID_NAME);
  const streamId = await writer.createWriteStream({ streamType: WriteStream.Type.COMMITTED, destinationTable: target.path });
  const { connection, json } = await openWriter(target, streamId);
  const batches = [[{ id: 1, name: 'a' }, { id: 2, name: 'b' }], [{ id: 3, name: 'c' }], [{ id: 4 }]];
  let offset = 0;
  const waiting = [];
  for (const batch of batches) {
    waiting.push(json.appendRows(batch, offset).getResult());
    offset += batch.length;
  }
  const results = await Promise.all(waiting);
  assert.deepEqual(results.map((r) => Number(r.appendResult.offset.value)), [0, 2, 3]);
  // Google's client reports what comes in-band as a result with an error.
  const again = await json.appendRows(batches[1], 2).getResult();
  assert.equal(again.error.code, grpc.status.ALREADY_EXISTS);
  assert.match(again.error.message, /expected offset 4, received 2/);
  const ahead = await json.appendRows(batches[1], 9).getResult();
  assert.equal(ahead.error.code, grpc.status.OUT_OF_RANGE);
  assert.match(ahead.error.message, /expected offset 4, received 9/);
  const { rowCount } = await connection.finalize();
  assert.equal(Number(rowCount), 4);
  const late = await json.appendRows(batches[1], 4).getResult();
  assert.match(late.error.message, /finalized/);
  assert.deepEqual((await target.rows('id')).map((r) => r.id), [1, 2, 3, 4]);
  connection.close();
});

test('pending streams become visible together, once', async () => {
  const target = await makeTable(ID_NAME);
  const writeStreams = [];
  for (let i = 0; i < 2; i++) {
    const streamId = await writer.createWriteStream({ streamType: WriteStream.Type.PENDING, destinationTable: target.path });
    const { connection, json } = await openWriter(target, streamId);
    await json.appendRows([{ id: 10 * i, name: 'x' }, { id: 10 * i + 1 }], 0).getResult();
    await connection.finalize();
    connection.close();
    writeStreams.push(streamId);
  }
  assert.equal((await target.rows('id')).length, 0);
  const committed = await writer.batchCommitWriteStream({ parent: target.path, writeStreams });
  assert.ok(committed.commitTime);
  assert.deepEqual(committed.streamErrors, []);
  assert.deepEqual((await target.rows('id')).map((r) => r.id), [0, 1, 10, 11]);
  const twice = await writer.batchCommitWriteStream({ parent: target.path, writeStreams });
  assert.equal(twice.commitTime, null);
  assert.deepEqual(twice.streamErrors.map((e) => e.code), ['STREAM_ALREADY_COMMITTED', 'STREAM_ALREADY_COMMITTED']);
});

test('buffered stream: rows appear with the flush', async () => {
  const target = await makeTable(ID_NAME);
  const streamId = await writer.createWriteStream({ streamType: WriteStream.Type.BUFFERED, destinationTable: target.path });
  const { connection, json } = await openWriter(target, streamId);
  await json.appendRows([{ id: 1 }, { id: 2 }, { id: 3 }], 0).getResult();
  assert.equal((await target.rows('id')).length, 0);
  const flushed = await connection.flushRows({ offset: 1 });
  assert.equal(Number(flushed.offset), 1);
  assert.deepEqual((await target.rows('id')).map((r) => r.id), [1, 2]);
  connection.close();
});

test('a bad row refuses its request and nothing else', async () => {
  const target = await makeTable(ID_NAME);
  const { connection, json } = await openWriter(target, managedwriter.DefaultStream);
  const results = await Promise.all([
    json.appendRows([{ id: 1, name: 'ok' }]).getResult(),
    json.appendRows([{ id: 2, name: 'ok' }, { id: 3, name: 'far too long' }]).getResult(),
    json.appendRows([{ id: 4, name: 'ok' }]).getResult(),
  ]);
  assert.deepEqual(results.map((r) => r.rowErrors.map((e) => Number(e.index))), [[], [1], []]);
  assert.equal(results[1].error.code, grpc.status.INVALID_ARGUMENT);
  assert.deepEqual((await target.rows('id')).map((r) => r.id), [1, 4]);
  connection.close();
});

test('fields that the table lacks are refused until the table has them', async () => {
  const target = await makeTable(ID_NAME);
  const wider = await makeTable([...ID_NAME, { name: 'extra', type: 'STRING' }]);
  const { connection, json } = await openWriter({ ...target, descriptor: wider.descriptor }, managedwriter.DefaultStream);
  const refused = await json.appendRows([{ id: 1, extra: 'x' }]).getResult();
  assert.equal(refused.error.code, grpc.status.INVALID_ARGUMENT);
  assert.match(refused.error.message, /extra/);
  const [metadata] = await target.table.getMetadata();
  await target.table.setMetadata({ schema: { fields: [...metadata.schema.fields, { name: 'extra', type: 'STRING' }] } });
  const stored = await json.appendRows([{ id: 1, extra: 'x' }]).getResult();
  assert.ok(!stored.error, stored.error?.message);
  assert.deepEqual(await target.rows('id, extra'), [{ id: 1, extra: 'x' }]);
  connection.close();
});
