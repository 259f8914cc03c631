// What init has made, as Google's client sees it, is what terraform makes: the same objects, the same policies of the queues.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { after, before } from 'node:test';
import { PubSub } from '@google-cloud/pubsub';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const readJson = (...names) => JSON.parse(fs.readFileSync(path.join(root, ...names)));
const config = readJson('config', 'config.json');
const wanted = readJson('terraform', 'generated', 'init.json');
const names = {
  live: [config.pubsub.topic, config.pubsub.subscription],
  backfill: [config.pubsub.backfillTopic, config.pubsub.backfillSubscription],
  dead_letter: [config.pubsub.deadLetterTopic, config.pubsub.deadLetterSubscription],
};
const client = new PubSub({ projectId: process.env.PUBSUB_PROJECT_ID });
const init = () => JSON.parse(execFileSync(path.join(process.env.ST_BUILD, 'st-ingestor'), ['init', '--json', '--env-file', '/dev/null'], { cwd: root, encoding: 'utf8' }));

before(init);
after(() => client.close());

test('init knows the objects that terraform makes', () => {
  const dataset = (role) => config.bigquery.datasets[role];
  const objects = [
    ...wanted.datasets.map((one) => `dataset ${dataset(one.dataset)}`),
    ...wanted.tables.map((one) => `table ${dataset(one.dataset)}.${one.name}`),
    ...wanted.views.map((one) => `view ${dataset(one.dataset)}.${one.name}`),
    ...Object.values(names).flatMap(([topic, subscription]) => [`topic ${topic}`, `subscription ${subscription}`]),
  ];
  const second = init();
  assert.deepEqual(second.map(({ object }) => object).sort(), objects.sort());
  assert.deepEqual([...new Set(second.map(({ state }) => state))], ['exists']);
});

const seconds = (duration) => (duration ? `${duration.seconds}s` : null);
for (const [role, [topic, subscription]] of Object.entries(names)) {
  test(`the ${role} subscription has the policies that terraform gives it`, async () => {
    const [there] = await client.subscription(subscription).getMetadata();
    assert.equal(there.topic, client.topic(topic).name);
    assert.deepEqual({
      ack_deadline_seconds: there.ackDeadlineSeconds,
      minimum_backoff: seconds(there.retryPolicy?.minimumBackoff),
      maximum_backoff: seconds(there.retryPolicy?.maximumBackoff),
      never_expires: Boolean(there.expirationPolicy) && !there.expirationPolicy.ttl,
      max_delivery_attempts: there.deadLetterPolicy?.maxDeliveryAttempts ?? null,
      message_retention_duration: wanted.queues[role].message_retention_duration && seconds(there.messageRetentionDuration),
    }, wanted.queues[role]);
    if (there.deadLetterPolicy) assert.equal(there.deadLetterPolicy.deadLetterTopic, client.topic(names.dead_letter[0]).name);
    assert.ok(!there.enableMessageOrdering && !there.enableExactlyOnceDelivery && !there.filter);
  });
}
