// terraform/ against the argument schema that the provider publishes, and against itself.
import assert from 'node:assert/strict';
import test from 'node:test';
import { loadSchema, loadTerraform, sourceNames } from './lib/files.mjs';
import { mutationsOf, problemsOf } from './lib/arguments.mjs';
import { circle, referencesIn, unknownReferences } from './lib/references.mjs';

const schema = loadSchema();
const source = await loadTerraform();
const copy = (blocks) => structuredClone(blocks);

test('the schema is the one of the provider version that is pinned', () => {
  const pinned = source.files['versions.tf'].terraform[0].required_providers[0].google.version;
  assert.equal(pinned, `~> ${schema.provider}`);
});

test('every resource, block and argument is in the schema, and what is required is there', () => {
  assert.ok(source.blocks.length > 30, `only ${source.blocks.length} resources were found`);
  assert.deepEqual(problemsOf(source.blocks, schema), []);
});

test('each required argument and block, taken out, is missed; an invented one is noticed', () => {
  const mutations = mutationsOf(source.blocks, schema);
  const removals = mutations.filter(({ where }) => where.includes(' without '));
  assert.ok(removals.length > 100, `only ${removals.length} required arguments were found`);
  for (const { where, change } of mutations) {
    const blocks = copy(source.blocks);
    change(blocks);
    assert.equal(problemsOf(blocks, schema).length, 1, where);
  }
});

const broken = [
  ['a resource type that does not exist', (blocks) => { blocks[0].type = 'google_cloud_run_v3_worker_pool'; }, /has no resource/],
  ['a computed attribute that is set', (blocks) => { find(blocks, 'google_service_account').body.email = 'x'; }, /computed by the provider/],
  ['a block that may stand once, twice', (blocks) => { find(blocks, 'google_pubsub_subscription').body.expiration_policy.push({}); }, /may stand once/],
  ['text in place of a number', (blocks) => { find(blocks, 'google_pubsub_subscription').body.ack_deadline_seconds = 'sixty'; }, /of type "number"/],
  ['text in place of a truth value', (blocks) => { find(blocks, 'google_project_service').body.disable_on_destroy = 'no'; }, /of type "bool"/],
  ['an unknown dynamic block', (blocks) => { find(blocks, 'google_bigquery_table').body.dynamic.partitions = [{ content: [{}] }]; }, /no block 'partitions'/],
];
const find = (blocks, type) => blocks.find((block) => block.type === type);
for (const [what, change, message] of broken) {
  test(`it notices ${what}`, () => {
    const blocks = copy(source.blocks);
    change(blocks);
    assert.match(problemsOf(blocks, schema).join('\n'), message);
  });
}

test('references lead to what is declared, and none in a circle', () => {
  assert.ok(referencesIn(source.files).length > 200, 'hardly any references were found');
  assert.deepEqual(unknownReferences(source, schema), []);
  assert.equal(circle(source), null);
});

test('it notices a reference to nothing, to no attribute, and a circle', () => {
  const wrong = structuredClone(source);
  wrong.files['x.tf'] = { locals: [{ one: '${google_pubsub_topic.nothing.id}', two: '${google_pubsub_topic.queue["live"].colour}', three: '${var.nothing}', four: '${local.five}', five: 'x${local.four}' }] };
  assert.deepEqual(unknownReferences(wrong, schema), ['x.tf: there is no google_pubsub_topic.nothing', "x.tf: google_pubsub_topic.queue has no attribute 'colour'", 'x.tf: there is no var.nothing']);
  assert.deepEqual(circle(wrong), ['local.four', 'local.five', 'local.four']);
});

test('variables have a type and a description, outputs a description', () => {
  for (const name of sourceNames()) {
    for (const [variable, [body]] of Object.entries(source.files[name].variable ?? {})) {
      assert.ok(body.type && body.description?.length > 20, `variable ${variable}`);
    }
    for (const [output, [body]] of Object.entries(source.files[name].output ?? {})) assert.ok(body.description?.length > 10, `output ${output}`);
  }
});

test('every resource that can name its project does', () => {
  for (const { type, name, body } of source.blocks.filter(({ kind }) => kind === 'resource')) {
    if ('project' in schema.resources[type].arguments) assert.equal(body.project, '${var.project_id}', `${type}.${name}`);
  }
});
