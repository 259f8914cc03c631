// The project's own .proto files agree with Google's published ones, as they lie in Google's npm packages: every message, field,
// oneof and enum that ours name exists there with the same number, type and label. Ours may leave things out, never differ.
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

const here = dirname(fileURLToPath(import.meta.url));
const ours = process.env.ST_PROTO_DIR ?? resolve(here, '../../../proto');
const published = [
  'node_modules/@google-cloud/pubsub/build/protos',
  'node_modules/@google-cloud/bigquery-storage/build/protos',
  'node_modules/google-gax/build/protos',
].map((path) => join(here, path));
const publishedFiles = [
  'google/pubsub/v1/pubsub.proto',
  'google/pubsub/v1/schema.proto',
  'google/cloud/bigquery/storage/v1/storage.proto',
  'google/cloud/bigquery/storage/v1/stream.proto',
  'google/cloud/bigquery/storage/v1/protobuf.proto',
  'google/protobuf/timestamp.proto',
  'google/protobuf/duration.proto',
  'google/protobuf/wrappers.proto',
  'google/protobuf/field_mask.proto',
  'google/protobuf/any.proto',
  'google/protobuf/empty.proto',
  'google/rpc/status.proto',
];

// Fields that ours keep as ready-packed bytes where Google names a message: the same wire type, and nobody here reads inside.
const keptAsBytes = new Set([
  'google.cloud.bigquery.storage.v1.ProtoSchema.proto_descriptor',
]);

function loadGoogle() {
  const root = new protobuf.Root();
  root.resolvePath = (origin, target) =>
    published.map((dir) => join(dir, target)).find(existsSync) ?? protobuf.util.path.resolve(origin, target);
  root.loadSync(publishedFiles, { keepCase: true });
  root.resolveAll();
  return root;
}

function loadOurs() {
  const root = new protobuf.Root();
  root.resolvePath = (origin, target) => join(ours, target.split('/').at(-1));
  root.loadSync(readdirSync(ours).filter((name) => name.endsWith('.proto')), { keepCase: true });
  root.resolveAll();
  return root;
}

const nameOf = (object) => object.fullName.slice(1);
const typeOf = (field) => (field.resolvedType ? nameOf(field.resolvedType) : field.type);

function* walk(namespace) {
  for (const item of namespace.nestedArray ?? []) {
    if (item instanceof protobuf.Type || item instanceof protobuf.Enum) yield item;
    if (item instanceof protobuf.Namespace) yield* walk(item);
  }
}

function fieldShape(field) {
  return {
    number: field.id,
    repeated: field.repeated,
    map: field.map ? field.keyType : null,
    oneof: field.partOf && !field.partOf.isProto3Optional ? field.partOf.name : null,
    type: typeOf(field),
  };
}

function compareType(mine, google, differences) {
  let compared = 1;
  for (const field of mine.fieldsArray) {
    const name = `${nameOf(mine)}.${field.name}`;
    const other = google.fields[field.name];
    compared++;
    if (!other) {
      differences.push(`${name}: Google has no such field`);
      continue;
    }
    const [a, b] = [fieldShape(field), fieldShape(other)];
    if (keptAsBytes.has(name)) {
      if (a.type !== 'bytes' || !(other.resolvedType instanceof protobuf.Type))
        differences.push(`${name}: listed as kept as bytes, but it is ${a.type} here and ${b.type} there`);
      b.type = a.type;
    }
    if (JSON.stringify(a) !== JSON.stringify(b))
      differences.push(`${name}: ours ${JSON.stringify(a)}, Google's ${JSON.stringify(b)}`);
  }
  return compared;
}

function compareEnum(mine, google, differences) {
  for (const [name, value] of Object.entries(mine.values))
    if (google.values[name] !== value)
      differences.push(`${nameOf(mine)}.${name}: ours ${value}, Google's ${google.values[name]}`);
  return 1 + Object.keys(mine.values).length;
}

function compare(mine, google) {
  const differences = [];
  let names = 0;
  for (const item of walk(mine)) {
    const other = google.lookup(nameOf(item));
    if (!other || other.constructor !== item.constructor) {
      differences.push(`${nameOf(item)}: Google has no such ${item.constructor.className}`);
      continue;
    }
    names += item instanceof protobuf.Enum ? compareEnum(item, other, differences) : compareType(item, other, differences);
  }
  return { names, differences };
}

test("our .proto files agree with Google's", (t) => {
  const { names, differences } = compare(loadOurs(), loadGoogle());
  t.diagnostic(`${names} names compared`);
  assert.deepEqual(differences, []);
  assert.ok(names > 200, `only ${names} names were compared`);
});

test('everything in the list of bytes fields is used', () => {
  const mine = loadOurs();
  for (const name of keptAsBytes) {
    const [, type, field] = name.match(/^(.*)\.([^.]+)$/);
    assert.equal(mine.lookupType(type).fields[field]?.type, 'bytes', name);
  }
});

test('the comparison notices a changed number, type, label, name and enum value', () => {
  const google = loadGoogle();
  const changes = {
    number: (root) => (root.lookupType('google.pubsub.v1.PullRequest').fields.max_messages.id = 4),
    type: (root) => (root.lookupType('google.pubsub.v1.PullRequest').fields.max_messages.type = 'int64'),
    label: (root) => (root.lookupType('google.pubsub.v1.PublishRequest').fields.messages.repeated = false),
    name: (root) => root.lookupType('google.rpc.Status').add(new protobuf.Field('reason', 9, 'string')),
    value: (root) => (root.lookupEnum('google.pubsub.v1.Topic.State').values.ACTIVE = 7),
    message: (root) => root.lookup('google.pubsub.v1').add(new protobuf.Type('Topics')),
  };
  for (const [what, change] of Object.entries(changes)) {
    const mine = loadOurs();
    change(mine);
    assert.equal(compare(mine, google).differences.length, 1, what);
  }
});
